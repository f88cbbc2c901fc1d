"""Answers beside the truth: what was right, how well boxes lie, and why what was wrong was wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.referring.queries import EASY, Query
from ovseg_ros.evaluation.referring.things import STRUCTURE, Thing
from ovseg_ros.referring import Answer, Boxes, Scene, Status, Wanted, parse_request, resolve
from ovseg_ros.referring.answers import FrameOfReference
from ovseg_ros.referring.resolver import MIN_SCORE

Floats = NDArray[np.float64]

SAME_BOX = 0.25
TIGHT_BOX = 0.5
"""Intersection over union of two boxes from which one stands for the other: Acc@0.25 and Acc@0.5."""

THERE = 0.01
"""Intersection over union from which a thing of the map lies where a true one is."""


class Cause(StrEnum):
    """Why an answer is wrong, the first of these that holds.

    LANGUAGE: what was meant, in plain names and as data, is answered rightly. SEGMENTATION: the target, or what it is
    described by, has nothing of its class where it is. ASSOCIATION: it has, but no box of it overlaps by `SAME_BOX`.
    RELATION: all are there, and another was chosen.
    """

    LANGUAGE = "language"
    SEGMENTATION = "segmentation"
    ASSOCIATION = "association"
    RELATION = "relation"


@dataclass(frozen=True)
class Outcome:
    """One question and what became of it.

    Attributes:
        query: with what is right.
        status: of the answer.
        said: indices in the scene of what was answered.
        right: whether it is: box overlaps count from `SAME_BOX`.
        iou: of the box answered and the target's, for questions about one thing; else 0.
        f1: of the set answered and the set meant.
        cause: of what is wrong, where things were meant.
    """

    query: Query
    status: Status
    said: tuple[int, ...]
    right: bool
    iou: float
    f1: float
    cause: Cause | None = None


def ask(query: Query, scene: Scene, things: Sequence[Thing]) -> Outcome:
    """Put a question to a scene and judge the answer.

    Args:
        query: about ``things``.
        scene: that is asked.
        things: N, the truth.
    """
    overlap = overlaps(scene.boxes, np.array([t.lower for t in things]), np.array([t.upper for t in things]))
    try:
        answer = resolve(parse_request(query.text), scene, query.viewpoint)
    except OvsegError as error:
        answer = Answer(None, Status.NOT_UNDERSTOOD, (), FrameOfReference.NONE, str(error))
    outcome = _judge(query, answer, overlap)
    if outcome.right or not query.targets:
        return outcome
    return replace(outcome, cause=_cause(query, scene, things, overlap))


def overlaps(boxes: Boxes, lower: Floats, upper: Floats) -> Floats:
    """(M, N) intersection over union of M upright boxes, as boxes along the axes, and N between (N, 3) corners."""
    cosine, sine = np.abs(np.cos(boxes.yaws)), np.abs(np.sin(boxes.yaws))
    x, y, z = boxes.sizes.T / 2
    reach = np.stack((cosine * x + sine * y, sine * x + cosine * y, z), axis=1)
    low, high = boxes.centres - reach, boxes.centres + reach
    shared = (np.minimum(high[:, None], upper) - np.maximum(low[:, None], lower)).clip(0).prod(axis=-1)
    both = (high - low).prod(axis=1)[:, None] + (upper - lower).prod(axis=1) - shared
    return shared / np.maximum(both, 1e-12)


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Figures over all questions, under the keys of results files; None where there is nothing to count."""
    single = [outcome for outcome in outcomes if outcome.query.answerable]
    related = [outcome for outcome in single if outcome.query.relates]
    meant = {
        "zero": [o for o in outcomes if not o.query.targets],
        "one": [o for o in outcomes if len(o.query.targets) == 1],
        "many": [o for o in outcomes if len(o.query.targets) > 1],
    }
    return {
        "queries": len(outcomes),
        "accuracy": _share(outcome.right for outcome in outcomes),
        "relations": {"queries": len(related), "accuracy": _share(outcome.right for outcome in related)},
        "boxes": {name: _boxes(part) for name, part in _splits(single).items()},
        "f1": {name: _mean([outcome.f1 for outcome in part]) for name, part in meant.items()},
        "abstention": {
            "absent": _abstention(outcomes, Status.NOT_FOUND),
            "ambiguous": _abstention(outcomes, Status.AMBIGUOUS),
            "refused though there": _share(outcome.status is not Status.FOUND for outcome in single),
        },
        "causes": dict(Counter(outcome.cause.value for outcome in outcomes if outcome.cause)),
        "kinds": {
            kind: {"queries": len(part), "accuracy": _share(outcome.right for outcome in part)}
            for kind, part in _by_kind(outcomes).items()
        },
    }


def _judge(query: Query, answer: Answer, overlap: Floats) -> Outcome:
    said = tuple(candidate.index for candidate in answer.candidates)
    if query.meaning.wanted is Wanted.ONE and answer.status is Status.FOUND:
        said = said[:1]
    pairs = overlap[np.ix_(said, query.targets)]
    matched = int((pairs[linear_sum_assignment(-pairs)] >= SAME_BOX).sum()) if pairs.size else 0
    f1 = 2 * matched / (len(said) + len(query.targets)) if said or query.targets else 1.0
    iou = float(pairs[0, 0]) if query.answerable and answer.status is Status.FOUND else 0.0
    match query.meaning.wanted:
        case Wanted.COUNT:
            right = answer.status in (Status.FOUND, Status.NOT_FOUND) and len(said) == len(query.targets)
        case Wanted.ALL:
            right = f1 == 1
        case Wanted.ONE:
            right = answer.status is query.status and matched == len(query.targets)
    return Outcome(query, answer.status, said, right, iou, f1)


def _cause(query: Query, scene: Scene, things: Sequence[Thing], overlap: Floats) -> Cause:
    """The first thing that went wrong on the way from the image to the answer."""
    if _judge(query, resolve(query.meaning, scene, query.viewpoint), overlap).right:
        return Cause.LANGUAGE
    best = []
    for index in (*query.targets, *query.anchors):
        label = things[index].label
        named = scene.fit(label) >= MIN_SCORE
        # One thing of a map may be all walls, so where it lies says little.
        placed = np.ones(len(named)) if label in STRUCTURE else overlap[:, index]
        best.append(float(placed[named].max(initial=0.0)))
    if min(best, default=1.0) < THERE:
        return Cause.SEGMENTATION
    return Cause.ASSOCIATION if min(best, default=1.0) < SAME_BOX else Cause.RELATION


def _splits(single: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    return {
        "all": list(single),
        "unique": [outcome for outcome in single if not outcome.query.others],
        "multiple": [outcome for outcome in single if outcome.query.others],
        "easy": [outcome for outcome in single if outcome.query.others <= EASY],
        "hard": [outcome for outcome in single if outcome.query.others > EASY],
        "view-dependent": [outcome for outcome in single if outcome.query.viewpoint],
        "view-independent": [outcome for outcome in single if not outcome.query.viewpoint],
    }


def _boxes(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "queries": len(outcomes),
        "Acc@0.25": _share(outcome.iou >= SAME_BOX for outcome in outcomes),
        "Acc@0.5": _share(outcome.iou >= TIGHT_BOX for outcome in outcomes),
    }


def _abstention(outcomes: Sequence[Outcome], status: Status) -> dict[str, Any]:
    """How often the answer that names nothing, or more than one, was given where it was due."""
    due = [outcome for outcome in outcomes if outcome.query.status is status]
    return {"queries": len(due), "share": _share(outcome.status is status for outcome in due)}


def _by_kind(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    kinds: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        kinds.setdefault(outcome.query.kind, []).append(outcome)
    return kinds


def _share(values: Iterable[bool]) -> float:
    return _mean([float(value) for value in values])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
