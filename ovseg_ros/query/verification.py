"""Answers looked up in the pictures of the map: does a referring model see there what was asked for?

The 3D answer is projected into its best pictures, and compared with what the model marks in them for the words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ovseg_ros.mapping import SemanticMap
from ovseg_ros.mapping.view import View
from ovseg_ros.query.matches import FoundMatch, Match
from ovseg_ros.query.views import ThingView, best_views
from ovseg_ros.types import Referrer

UNSEEN = 0.5
"""What a thing counts that no picture shows: its pictures speak neither for it nor against it."""


@dataclass(frozen=True)
class Unverified:
    """Matches with the pictures to look at. It holds no part of the map, which may change meanwhile."""

    matches: tuple[Match, ...]
    views: tuple[tuple[ThingView, ...], ...]


def gather(semantic_map: SemanticMap, found: Sequence[FoundMatch]) -> Unverified:
    """Take what `verify_matches` needs from a map; quick, no model runs."""
    matches = tuple(entry.match for entry in found)
    return Unverified(matches, tuple(best_views(semantic_map, entry.keys) for entry in found))


def verify_matches(unverified: Unverified, referrer: Referrer) -> tuple[Match, ...]:
    """Score matches anew and put those of each query in order.

    Args:
        unverified: from `gather`.
        referrer: marks each query in the pictures.

    Returns:
        The matches, in the order of the queries, with scores from `combined`.
    """
    result: list[Match] = []
    for query in dict.fromkeys(match.query for match in unverified.matches):
        own = [i for i, match in enumerate(unverified.matches) if match.query == query]
        seen = verify([unverified.views[i] for i in own], referrer, query)
        scored = [
            replace(unverified.matches[i], score=combined(unverified.matches[i].score, value))
            for i, value in zip(own, seen, strict=True)
        ]
        result += sorted(scored, key=lambda match: -match.score)
    return tuple(result)


def verify(things: Sequence[Sequence[ThingView]], referrer: Referrer, expression: str) -> tuple[float | None, ...]:
    """How far a model sees what an expression means where the things are. Each picture is looked at once.

    Args:
        things: the pictures of each, from `best_views`.
        referrer: marks the expression in a picture.
        expression: words that it takes.

    Returns:
        For each thing, over its pictures weighted by its size in them, the mean of the mask's overlap with it times
        the mask's score, 0..1; None where there is no picture.
    """
    marked: dict[int, tuple[np.ndarray, float]] = {}
    for view in {id(entry.view): entry.view for views in things for entry in views}.values():
        marked[id(view)] = _marked(view, referrer, expression)
    result: list[float | None] = []
    for views in things:
        sizes = [int(entry.mask.sum()) for entry in views]
        values = [_overlap(marked[id(entry.view)], entry.mask.numpy()) for entry in views]
        result.append(float(np.average(values, weights=sizes)) if views else None)
    return tuple(result)


def combined(score: float, verified: float | None) -> float:
    """The geometric mean of an answer's score and what `verify` says of it, 0..1."""
    return math.sqrt(score * (UNSEEN if verified is None else verified))


def _marked(view: View, referrer: Referrer, expression: str) -> tuple[np.ndarray, float]:
    """(h, w) int32 numbers of the pieces that are marked, from 1, and their score."""
    rows, columns = view.depth_codes.shape
    prediction = referrer.refer(view.rgb(), [expression], (rows, columns))
    mask = prediction.masks[0].cpu().numpy().astype(np.uint8)
    return cv2.connectedComponents(mask, connectivity=8)[1], float(prediction.scores[0])


def _overlap(marked: tuple[np.ndarray, float], mask: np.ndarray) -> float:
    """Intersection over union of a thing and the marked pieces that touch it, times their score.

    Other pieces don't count: others of its kind may be marked, too.
    """
    pieces, score = marked
    touching = np.isin(pieces, np.setdiff1d(pieces[mask], [0]))
    return score * float((touching & mask).sum() / max(1, (touching | mask).sum()))
