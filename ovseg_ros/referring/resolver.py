"""Which things of a scene a request means, how sure that is, and which other things speak for it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from ovseg_ros.referring.answers import Answer, Candidate, FrameOfReference, Status, Support
from ovseg_ros.referring.expressions import Condition, Description, Rank, Relation, Request, Wanted
from ovseg_ros.referring.predicates import Pairs, between, ramp, relation
from ovseg_ros.referring.ranks import ranked
from ovseg_ros.referring.regions import inside_place
from ovseg_ros.referring.scene import Boxes, Floats, Scene, Viewpoint

MIN_SCORE = 0.3
"""Score from which a thing is an answer."""

SAME = 0.95
"""Two answers whose scores have a ratio above this can't be told apart."""

MAX_ANCHORS = 64
"""Things that an anchor may be, the likeliest."""

ELIGIBLE = 0.5
"""Things are put in order that fit at least this well, relative to the best."""

WELL_ENOUGH = (0.25, 0.75)
"""Share of the best relation from which another begins to count in an order, and fully does."""


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
    reading = _Reading(scene, viewpoint, min_score)
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

    def __init__(self, scene: Scene, viewpoint: Viewpoint | None, min_score: float) -> None:
        self._scene = scene
        self._viewpoint = viewpoint
        self._min_score = min(min_score, MIN_SCORE)
        self.frame = FrameOfReference.NONE
        self.absent: list[str] = []

    def describe(self, description: Description) -> _Fit:
        """How well each thing fits."""
        noun = self._noun(description)
        factors = 1 + len(description.conditions)
        # What the noun alone rules out needs no geometry.
        among = np.flatnonzero(noun >= max(self._min_score**factors, 1e-9))
        evidence = np.zeros_like(noun)
        evidence[among] = noun[among]
        supports: list[tuple[str, npt.NDArray[np.int64]]] = []
        for condition in description.conditions:
            holds, anchors = self._condition(condition, among)
            evidence[among] *= 1.0 - holds if condition.negated else holds
            if not condition.negated and anchors is not None:
                chosen = np.zeros((len(noun), anchors.shape[1]), np.int64)
                chosen[among] = anchors
                supports.append((condition.relation.value, chosen))
        if description.ranking:
            evidence, anchors = self._ranked(description, noun, evidence)
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

    def _condition(
        self, condition: Condition, among: npt.NDArray[np.int64]
    ) -> tuple[Floats, npt.NDArray[np.int64] | None]:
        """(M,) how far each of M things stands in the relation to the best anchors; (M, k) which those are."""
        things = self._scene.boxes[among]
        region = self._scene.regions.get(condition.anchors[0].noun)
        if condition.relation in (Relation.INSIDE, Relation.ON) and region is not None:
            return inside_place(things, region), None
        anchors = [self._anchors(anchor) for anchor in condition.anchors]
        if not len(among) or any(not len(indices) for indices, _ in anchors):
            return np.zeros(len(among)), None
        if condition.relation is Relation.BETWEEN:
            return self._between(among, *anchors)
        indices, quality = anchors[0]
        targets = self._scene.boxes[indices]
        pairs = Pairs.of(things, targets)
        fronts = self._fronts(targets) if condition.relation.needs_direction else np.zeros((len(indices), 2))
        holds = relation(pairs, condition.relation, fronts) * quality
        holds[among[:, None] == indices] = 0.0  # nothing is next to itself
        return holds.max(axis=1), indices[holds.argmax(axis=1)][:, None]

    def _between(
        self,
        among: npt.NDArray[np.int64],
        first: tuple[npt.NDArray[np.int64], Floats],
        second: tuple[npt.NDArray[np.int64], Floats],
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        boxes, (one, good), (other, fine) = self._scene.boxes, first, second
        holds = between(boxes[among], boxes[one], boxes[other]) * np.sqrt(good[:, None] * fine)
        holds[:, one[:, None] == other] = 0.0
        holds[among[:, None] == one] = 0.0
        holds.swapaxes(1, 2)[among[:, None] == other] = 0.0
        flat = holds.reshape(len(among), -1)
        pairs = np.array(list(product(one, other)), dtype=np.int64)
        return flat.max(axis=1), pairs[flat.argmax(axis=1)]

    def _anchors(self, description: Description) -> tuple[npt.NDArray[np.int64], Floats]:
        """The likeliest things that a description within a request may mean, and how well they fit."""
        fit = self.describe(description).score
        indices = np.argsort(-fit, kind="stable")[:MAX_ANCHORS]
        indices = indices[fit[indices] >= MIN_SCORE]
        return indices, fit[indices]

    def _ranked(
        self, description: Description, noun: Floats, evidence: Floats
    ) -> tuple[Floats, npt.NDArray[np.int64] | None]:
        """(N,) evidence with the rank; (N, 1) what it was measured from.

        Among things that stand in the relations well enough, how well is of no matter: the largest box near the door
        is the largest of those near it. How likely each is a box still counts.
        """
        ranking = description.ranking
        assert ranking is not None
        boxes = self._scene.boxes
        eligible = np.flatnonzero((evidence >= ELIGIBLE * evidence.max(initial=0.0)) & (evidence > 0))
        result = np.zeros(len(boxes))
        anchors: npt.NDArray[np.int64] | None = None
        if ranking.anchor is not None:
            indices, _ = self._anchors(ranking.anchor)
            if len(indices) == 1:
                eligible = eligible[eligible != indices[0]]
            if not len(indices) or not len(eligible):
                return result, None
            distances = Pairs.of(boxes[eligible], boxes[indices]).distance
            distances[eligible[:, None] == indices] = np.inf
            anchors = np.zeros((len(boxes), 1), np.int64)
            anchors[eligible, 0] = indices[distances.argmin(axis=1)]
            distance = distances.min(axis=1)
        else:
            distance = self._from_viewpoint(boxes[eligible])
        if ranking.rank in (Rank.LEFTMOST, Rank.RIGHTMOST):
            self.frame = FrameOfReference.VIEWPOINT if self._viewpoint else FrameOfReference.ANCHOR
        chosen = boxes[eligible]
        place = ranked(ranking.rank, chosen, distance, self._sideways(chosen), ranking.position)
        related = evidence[eligible] / noun[eligible]
        most = related.max(initial=0.0)
        result[eligible] = noun[eligible] * most * ramp(related, *(share * most for share in WELL_ENOUGH)) * place
        return result, anchors

    def _from_viewpoint(self, boxes: Boxes) -> Floats:
        """(n,) metres along the floor from where somebody looks, or from the middle of the scene, to n boxes."""
        start = self._viewpoint.position if self._viewpoint else self._scene.boxes.centres.mean(axis=0)
        return Pairs.of(boxes, Boxes.axis_aligned(start, start)).gap[:, 0]

    def _sideways(self, boxes: Boxes) -> Floats:
        """(n,) how far n boxes are to the left, for who looks; without a viewpoint, from the middle of the scene.

        As it is seen: by the angle, as metres along the circle at the mean distance.
        """
        centres = boxes.centres[:, :2]
        if not len(boxes):
            return np.zeros(0)
        if self._viewpoint is None:
            forward = _unit((centres.mean(axis=0) - self._scene.boxes.centres[:, :2].mean(axis=0))[None])[0]
            return centres @ np.array([-forward[1], forward[0]])
        x, y = (centres - self._viewpoint.position[:2]).T
        angle = (np.arctan2(y, x) - self._viewpoint.yaw + np.pi) % (2 * np.pi) - np.pi
        return angle * np.hypot(x, y).mean()

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
