"""Which things of a scene a request means, how sure that is, and which other things speak for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import product

import numpy as np
import numpy.typing as npt

from ovseg_ros.referring.expressions import Condition, Description, Rank, Relation, Request, Wanted
from ovseg_ros.referring.predicates import Pairs, between, relation
from ovseg_ros.referring.ranks import ranked
from ovseg_ros.referring.scene import Boxes, Floats, Scene, Viewpoint

MIN_SCORE = 0.3
"""Score from which a thing is an answer."""

SAME = 0.95
"""Two answers whose scores have a ratio above this can't be told apart."""

MAX_ANCHORS = 64
"""Things that an anchor may be, the likeliest."""

ELIGIBLE = 0.5
"""Things are put in order that fit at least this well, relative to the best."""


class Status(StrEnum):
    """How the answer is to be taken."""

    FOUND = "found"
    AMBIGUOUS = "ambiguous"
    NOT_FOUND = "not_found"
    NOT_UNDERSTOOD = "not_understood"


class FrameOfReference(StrEnum):
    """Whose left, right and front the answer is about."""

    NONE = "none"
    VIEWPOINT = "viewpoint"
    ANCHOR = "anchor"


@dataclass(frozen=True)
class Support:
    """What speaks for a candidate: it stands so to these things of the scene."""

    relation: str
    anchors: tuple[int, ...]


@dataclass(frozen=True)
class Candidate:
    """One thing that may be meant.

    Attributes:
        index: in the scene.
        score: 0..1.
        support: for each relation and rank of the target that has anchors, those that fit best.
    """

    index: int
    score: float
    support: tuple[Support, ...]


@dataclass(frozen=True)
class Answer:
    """What a request means in a scene.

    Attributes:
        request: as it was understood; None if it wasn't.
        status: how to take it.
        candidates: best first; all that count for ALL and COUNT.
        frame: whose left, right and front were used.
        message: one sentence.
    """

    request: Request | None
    status: Status
    candidates: tuple[Candidate, ...]
    frame: FrameOfReference
    message: str

    @property
    def count(self) -> int:
        """How many things fit."""
        return len(self.candidates)


def resolve(
    request: Request,
    scene: Scene,
    viewpoint: Viewpoint | None = None,
    *,
    min_score: float = MIN_SCORE,
    max_candidates: int = 5,
) -> Answer:
    """Find what a request means.

    A thing's score is the geometric mean of how well the noun and each relation fit it. A relation fits as well as its
    best anchor does, and an anchor is as good as its own description: so sentences nest.

    Args:
        request: what is asked for.
        scene: what there is.
        viewpoint: from where "left", "in front of" and "the closest" are meant; None: from in front of each anchor,
            its front being the side that faces the middle of the scene.
        min_score: 0..1; weaker candidates don't count.
        max_candidates: kept of those for ONE.
    """
    reading = _Reading(scene, viewpoint)
    fit = reading.describe(request.target)
    order = np.argsort(-fit.score, kind="stable")
    good = [int(i) for i in order if fit.score[i] >= min_score]
    candidates = tuple(Candidate(i, float(fit.score[i]), reading.support(fit, i)) for i in good)
    frame = reading.frame
    if not candidates:
        if request.wanted is Wanted.COUNT and not reading.absent:
            return Answer(request, Status.FOUND, (), frame, f"there are 0 of {request.target.noun!r}")
        return Answer(request, Status.NOT_FOUND, (), frame, _why_not_found(request, reading, fit))
    if request.wanted is not Wanted.ONE:
        return Answer(request, Status.FOUND, candidates, frame, f"{len(candidates)} of {request.target.noun!r}")
    rivals = [i for i in good if fit.evidence[i] >= SAME * fit.evidence[good[0]]]
    if len(rivals) > 1:
        shown = candidates[: max(max_candidates, len(rivals))]
        return Answer(request, Status.AMBIGUOUS, shown, frame, f"{len(rivals)} things fit equally well: say more")
    return Answer(request, Status.FOUND, candidates[:max_candidates], frame, "found")


@dataclass(frozen=True)
class _Fit:
    """How well each of N things fits a description.

    Attributes:
        evidence: (N,) product over noun, relations and rank.
        score: (N,) its geometric mean.
        noun: (N,) of the noun alone.
        supports: for each relation, its name and (N, k) which anchors fit best.
    """

    evidence: Floats
    score: Floats
    noun: Floats
    supports: tuple[tuple[str, npt.NDArray[np.int64]], ...]


class _Reading:
    """One request in one scene."""

    def __init__(self, scene: Scene, viewpoint: Viewpoint | None) -> None:
        self._scene = scene
        self._viewpoint = viewpoint
        self.frame = FrameOfReference.NONE
        self.absent: list[str] = []

    def describe(self, description: Description) -> _Fit:
        """How well each thing fits."""
        noun = self._noun(description)
        evidence, factors = noun.copy(), 1
        supports: list[tuple[str, npt.NDArray[np.int64]]] = []
        for condition in description.conditions:
            holds, anchors = self._condition(condition)
            evidence = evidence * (1.0 - holds if condition.negated else holds)
            factors += 1
            if not condition.negated and anchors is not None:
                supports.append((condition.relation.value, anchors))
        if description.ranking:
            evidence, anchors = self._ranked(description, evidence)
            if anchors is not None:
                supports.append((description.ranking.rank.value, anchors))
        return _Fit(evidence, evidence ** (1.0 / factors), noun, tuple(supports))

    def support(self, fit: _Fit, index: int) -> tuple[Support, ...]:
        """What speaks for one thing."""
        return tuple(Support(name, tuple(int(a) for a in anchors[index])) for name, anchors in fit.supports)

    def _noun(self, description: Description) -> Floats:
        fit = np.asarray(self._scene.fit(description.noun), np.float64)
        for word in description.without:
            fit = fit * (1.0 - np.asarray(self._scene.fit(word), np.float64))
        if (fit < MIN_SCORE).all():
            self.absent.append(description.noun)
        return fit

    def _condition(self, condition: Condition) -> tuple[Floats, npt.NDArray[np.int64] | None]:
        """(N,) how far each thing stands in the relation to the best anchors; (N, k) which those are."""
        region = self._scene.regions.get(condition.anchors[0].noun)
        if condition.relation is Relation.INSIDE and region is not None:
            pairs = Pairs.of(self._scene.boxes, region)
            return relation(pairs, Relation.INSIDE, np.zeros((len(region), 2))).max(axis=1, initial=0.0), None
        anchors = [self._anchors(anchor) for anchor in condition.anchors]
        if any(not len(indices) for indices, _ in anchors):
            return np.zeros(len(self._scene.boxes)), None
        if condition.relation is Relation.BETWEEN:
            return self._between(*anchors)
        indices, quality = anchors[0]
        boxes = self._scene.boxes
        pairs = Pairs.of(boxes, boxes[indices])
        fronts = self._fronts(boxes[indices]) if condition.relation.needs_direction else np.zeros((len(indices), 2))
        holds = relation(pairs, condition.relation, fronts) * quality
        holds[indices, np.arange(len(indices))] = 0.0  # nothing is next to itself
        return holds.max(axis=1), indices[holds.argmax(axis=1)][:, None]

    def _between(
        self, first: tuple[npt.NDArray[np.int64], Floats], second: tuple[npt.NDArray[np.int64], Floats]
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        boxes, (one, good), (other, fine) = self._scene.boxes, first, second
        holds = between(boxes, boxes[one], boxes[other]) * np.sqrt(good[:, None] * fine)
        holds[:, one[:, None] == other] = 0.0
        holds[one, np.arange(len(one))] = 0.0
        holds[other, :, np.arange(len(other))] = 0.0
        best = holds.reshape(len(boxes), -1).argmax(axis=1)
        pairs = np.array(list(product(one, other)), dtype=np.int64)
        return holds.reshape(len(boxes), -1).max(axis=1), pairs[best]

    def _anchors(self, description: Description) -> tuple[npt.NDArray[np.int64], Floats]:
        """The likeliest things that a description within a request may mean, and how well they fit."""
        fit = self.describe(description).score
        indices = np.argsort(-fit, kind="stable")[:MAX_ANCHORS]
        indices = indices[fit[indices] >= MIN_SCORE]
        return indices, fit[indices]

    def _ranked(self, description: Description, evidence: Floats) -> tuple[Floats, npt.NDArray[np.int64] | None]:
        ranking = description.ranking
        assert ranking is not None
        boxes = self._scene.boxes
        eligible = np.flatnonzero((evidence >= ELIGIBLE * evidence.max(initial=0.0)) & (evidence > 0))
        result = np.zeros(len(boxes))
        anchors: npt.NDArray[np.int64] | None = None
        if ranking.anchor is not None:
            indices, _ = self._anchors(ranking.anchor)
            if not len(indices):
                return result, None
            distances = Pairs.of(boxes, boxes[indices]).distance
            distances[indices, np.arange(len(indices))] = np.inf
            anchors = indices[distances.argmin(axis=1)][:, None]
            distance = distances.min(axis=1)
            eligible = eligible[np.isfinite(distance[eligible])]
        else:
            distance = self._from_viewpoint(boxes)
        if ranking.rank in (Rank.LEFTMOST, Rank.RIGHTMOST):
            self.frame = FrameOfReference.VIEWPOINT if self._viewpoint else FrameOfReference.ANCHOR
        sideways = self._sideways(boxes, eligible)
        result[eligible] = evidence[eligible] * ranked(
            ranking.rank, boxes[eligible], distance[eligible], sideways[eligible], ranking.position
        )
        return result, anchors

    def _from_viewpoint(self, boxes: Boxes) -> Floats:
        """(N,) metres from where somebody looks, or from the middle of the scene."""
        start = self._viewpoint.position if self._viewpoint else boxes.centres.mean(axis=0)
        return np.linalg.norm(boxes.centres - start, axis=1)

    def _sideways(self, boxes: Boxes, eligible: npt.NDArray[np.int64]) -> Floats:
        """(N,) metres to the left, for who looks; without a viewpoint, for who looks there from the middle."""
        if not len(eligible):
            return np.zeros(len(boxes))
        if self._viewpoint:
            forward = np.array([np.cos(self._viewpoint.yaw), np.sin(self._viewpoint.yaw)])
        else:
            forward = _unit((boxes.centres[eligible].mean(axis=0) - boxes.centres.mean(axis=0))[None, :2])[0]
        return boxes.centres[:, :2] @ np.array([-forward[1], forward[0]])

    def _fronts(self, anchors: Boxes) -> Floats:
        """(A, 2) unit vectors to the side of each anchor that is its front."""
        if self._viewpoint:
            self.frame = FrameOfReference.VIEWPOINT
            return _unit(self._viewpoint.position[:2] - anchors.centres[:, :2])
        self.frame = FrameOfReference.ANCHOR
        inward = self._scene.boxes.centres[:, :2].mean(axis=0) - anchors.centres[:, :2]
        quarter = np.pi / 2
        angle = np.arctan2(inward[:, 1], inward[:, 0]) - anchors.yaws
        snapped = np.round(angle / quarter) * quarter + anchors.yaws
        return np.stack((np.cos(snapped), np.sin(snapped)), axis=1)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _why_not_found(request: Request, reading: _Reading, fit: _Fit) -> str:
    if reading.absent:
        return f"nothing here is {' or '.join(repr(noun) for noun in dict.fromkeys(reading.absent))}"
    several = int((fit.noun >= MIN_SCORE).sum())
    return f"there {'is' if several == 1 else 'are'} {several} of {request.target.noun!r}, but none that fits the rest"
