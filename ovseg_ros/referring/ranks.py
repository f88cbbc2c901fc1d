"""Which of several is the largest, the second from the left, the closest: with a score, as boxes are not exact."""

from __future__ import annotations

import numpy as np

from ovseg_ros.referring.expressions import Rank
from ovseg_ros.referring.scene import Boxes, Floats

CERTAIN = 0.3
"""Metres by which places differ that are told apart for certain."""

DISTANCE_FLOOR = 0.1
"""Added to distances before they are compared: what touches is not infinitely closer than what nearly does."""

OUT_OF_TURN = 0.5
"""What is left of a thing that is one place off the one asked for."""


def ranked(rank: Rank, boxes: Boxes, distance: Floats, sideways: Floats, position: int) -> Floats:
    """How far each of n things is the ``position``-th by a rank.

    Args:
        rank: the order.
        boxes: the n things.
        distance: (n,) metres from what CLOSEST and FARTHEST are measured from.
        sideways: (n,) metres to the left.
        position: from 1.

    Returns:
        (n,) in 0..1. For the first place, how near each comes to the first; for others, 1 at that place and less before
        and after; 0 everywhere if there are not so many.
    """
    n = len(boxes)
    if position > n:
        return np.zeros(n)
    amount = _amount(rank, boxes, distance, sideways)
    if position == 1:
        return _share(rank, amount)
    order = np.empty(n, dtype=np.int64)
    order[np.argsort(-amount, kind="stable")] = np.arange(1, n + 1)
    return OUT_OF_TURN ** np.abs(order - position)


def _amount(rank: Rank, boxes: Boxes, distance: Floats, sideways: Floats) -> Floats:
    """(n,) the more, the more so."""
    match rank:
        case Rank.LARGEST:
            return boxes.volumes
        case Rank.SMALLEST:
            return 1.0 / np.maximum(boxes.volumes, 1e-9)
        case Rank.TALLEST:
            return boxes.sizes[:, 2]
        case Rank.SHORTEST:
            return 1.0 / np.maximum(boxes.sizes[:, 2], 1e-9)
        case Rank.HIGHEST:
            return boxes.centres[:, 2]
        case Rank.LOWEST:
            return -boxes.centres[:, 2]
        case Rank.CLOSEST:
            return 1.0 / (distance + DISTANCE_FLOOR)
        case Rank.FARTHEST:
            return distance + DISTANCE_FLOOR
        case Rank.LEFTMOST:
            return sideways
        case Rank.RIGHTMOST:
            return -sideways


def _share(rank: Rank, amount: Floats) -> Floats:
    """(n,) 1 for the most, less for the others: by ratio for sizes and distances, by difference for places."""
    if rank in (Rank.HIGHEST, Rank.LOWEST, Rank.LEFTMOST, Rank.RIGHTMOST):
        return np.exp((amount - amount.max()) / CERTAIN)
    return amount / amount.max() if amount.max() > 0 else np.ones(len(amount))
