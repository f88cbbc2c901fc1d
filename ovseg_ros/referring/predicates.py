"""How far a thing stands in a relation to another, from their boxes: 0 not at all, 1 fully, and between.

Limits are soft, because boxes of mapped things are some centimetres off and words have no sharp edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovseg_ros.referring.expressions import Relation
from ovseg_ros.referring.scene import Boxes, Floats

SAMPLES = 5
"""A footprint is judged by so many points along each side."""

_CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
_GRID = np.stack(np.meshgrid(*2 * [np.linspace(-0.5, 0.5, SAMPLES)], indexing="ij"), axis=-1).reshape(-1, 2)

CONTACT = (0.25, 0.08)
"""Gap at which two things certainly don't touch, and one at which they may, metres."""

REACH = 0.15
"""Metres beside something within which a thing still is over or under it: a picture over a sofa off the wall."""

NEAR = (2.0, 0.6)
NEXT_TO = (1.2, 0.4)
FAR = (1.0, 3.0)
"""Gaps at which these relations begin and fully hold, metres."""

CONE = (np.cos(np.deg2rad(65.0)), np.cos(np.deg2rad(40.0)))
"""Cosine of the angle to a direction at which a thing begins to lie in it, and fully does."""

HIDDEN = 0.5
"""What is left of "left of" for things that are far apart."""

RESTING = (0.5, 0.1)
"""How far one thing stands on another from which they aren't side by side, and up to which they certainly may be."""

WALL = 0.3
"""Things thinner than this share of their width and height are stood against or hung on, not stood on."""


@dataclass(frozen=True)
class Pairs:
    """Geometry of N things against A others, computed once for all relations.

    Attributes:
        things: N boxes.
        anchors: A boxes.
        inside: (N, A) share of the footprint of each thing that lies in that of each anchor, 0..1.
        holds: (N, A) share of the anchor's footprint that lies in that of the thing.
        over: (N, A) share of the smaller footprint that lies in the other or within `REACH` of it.
        gap: (N, A) horizontal distance between footprints, metres.
        drop: (N, A) vertical distance between the boxes, metres.
    """

    things: Boxes
    anchors: Boxes
    inside: Floats
    holds: Floats
    over: Floats
    gap: Floats
    drop: Floats

    @classmethod
    def of(cls, things: Boxes, anchors: Boxes) -> Pairs:
        """Compare every thing with every anchor."""
        gap = _gaps(things, anchors)
        inside, holds, over = np.zeros((3, *gap.shape))
        # Few are close enough to share ground, and only of those is it worth counting how much.
        near = np.nonzero(gap <= REACH)
        ours, theirs = _outside(things[near[0]], anchors[near[1]]), _outside(anchors[near[1]], things[near[0]])
        inside[near] = (ours <= 0).mean(axis=1)
        holds[near] = (theirs <= 0).mean(axis=1)
        over[near] = np.maximum((ours <= REACH).mean(axis=1), (theirs <= REACH).mean(axis=1))
        above = things.bottoms[:, None] - anchors.tops
        below = anchors.bottoms - things.tops[:, None]
        return cls(things, anchors, inside, holds, over, gap, np.maximum(np.maximum(above, below), 0.0))

    @property
    def swapped(self) -> Pairs:
        """Every anchor with every thing."""
        return Pairs(self.anchors, self.things, self.holds.T, self.inside.T, self.over.T, self.gap.T, self.drop.T)

    @property
    def distance(self) -> Floats:
        """(N, A) between the boxes, metres."""
        return np.hypot(self.gap, self.drop)


def relation(pairs: Pairs, kind: Relation, fronts: Floats) -> Floats:
    """How far each thing stands in a relation to each anchor.

    Args:
        pairs: the N things and A anchors.
        kind: any but BETWEEN, which takes two anchors: see `between`.
        fronts: (A, 2) unit vectors: where the front of each anchor is, horizontally. Its left is where somebody has
            his left who stands in front of it and looks at it.

    Returns:
        (N, A) in 0..1.
    """
    match kind:
        case Relation.NEAR:
            return ramp(pairs.distance, *NEAR)
        case Relation.NEXT_TO:
            beside = np.minimum(pairs.things.tops[:, None], pairs.anchors.tops) - np.maximum(
                pairs.things.bottoms[:, None], pairs.anchors.bottoms
            )
            return _apart(pairs) * ramp(pairs.gap, *NEXT_TO) * ramp(beside, -0.3, 0.0)
        case Relation.FAR:
            return ramp(pairs.distance, *FAR)
        case Relation.AGAINST:
            return ramp(pairs.distance, *CONTACT)
        case Relation.ON:
            return _on(pairs)
        case Relation.ABOVE:
            return _above(pairs)
        case Relation.UNDER:
            return _under(pairs)
        case Relation.INSIDE:
            return _within(pairs)
        case _:
            return _towards(pairs, kind, fronts)


def between(things: Boxes, first: Boxes, second: Boxes) -> Floats:
    """(N, A, B) in 0..1: how far each thing lies between each of A and each of B others."""
    start, end = first.centres[:, None, :2], second.centres[None, :, :2]
    along = end - start
    length = np.maximum(np.linalg.norm(along, axis=-1), 1e-9)
    offset = things.centres[:, None, None, :2] - start
    share = (offset * along).sum(axis=-1) / length**2
    across = np.abs(offset[..., 0] * along[..., 1] - offset[..., 1] * along[..., 0]) / length
    width = 0.25 * length + (things.sizes[:, :2].min(axis=1) / 2)[:, None, None]
    inner = np.minimum(share, 1.0 - share)
    return ramp(inner, 0.0, 0.15) * ramp(across / width, 1.5, 0.75)


def covered(things: Boxes, place: Boxes) -> Floats:
    """(N,) 0..1: the share of each thing that lies in the boxes of a place, where these may overlap."""
    rows, columns = np.indices((len(things), len(place))).reshape(2, -1)
    flat = (_outside(things[rows], place[columns]) <= 0).reshape(len(things), len(place), len(_GRID))
    shared = np.minimum(things.tops[:, None], place.tops) - np.maximum(things.bottoms[:, None], place.bottoms)
    upright = np.clip(shared / np.maximum(things.sizes[:, 2:], 1e-9), 0.0, 1.0)
    return (flat * upright[:, :, None]).max(axis=1, initial=0.0).mean(axis=1)


def ramp(values: Floats, zero: float, one: float) -> Floats:
    """0 at ``zero`` and beyond, 1 at ``one`` and beyond, linear between."""
    return np.clip((values - zero) / (one - zero), 0.0, 1.0)


def _on(pairs: Pairs) -> Floats:
    """Standing on it; hanging on what is thin and high."""
    anchors = pairs.anchors
    lifted = pairs.things.bottoms[:, None] - anchors.bottoms
    flat = anchors.sizes[:, :2].min(axis=1) < WALL * np.minimum(anchors.sizes[:, :2].max(axis=1), anchors.sizes[:, 2])
    hung = ramp(pairs.distance, *CONTACT) * ramp(lifted, 0.1, 0.3)
    return np.maximum(_standing(pairs), np.where(flat, hung, 0.0))


def _standing(pairs: Pairs) -> Floats:
    """On the top, or on a seat below it."""
    things, anchors = pairs.things, pairs.anchors
    over = ramp(pairs.inside, 0.1, 0.5)
    on_top = over * ramp(np.abs(things.bottoms[:, None] - anchors.tops), *CONTACT)
    lifted = things.bottoms[:, None] - anchors.bottoms
    seated = over * ramp(lifted, 0.1, 0.25) * ramp(anchors.tops - things.bottoms[:, None], -CONTACT[1], 0.0)
    return np.maximum(on_top, 0.9 * seated)


def _above(pairs: Pairs) -> Floats:
    """Higher, over the same place."""
    lift = pairs.things.bottoms[:, None] - pairs.anchors.tops
    return ramp(pairs.over, 0.2, 0.5) * ramp(lift, -0.25, -0.08)


def _under(pairs: Pairs) -> Floats:
    """Below what is there, or in the space below it that its box holds."""
    things, anchors = pairs.things, pairs.anchors
    below = ramp(pairs.over, 0.2, 0.5) * ramp(anchors.bottoms - things.tops[:, None], -0.25, -0.08)
    stowed = ramp(pairs.inside, 0.2, 0.6) * ramp(anchors.tops - things.tops[:, None], 0.05, 0.2)
    return np.maximum(below, stowed * ramp(things.bottoms[:, None] - anchors.bottoms, 0.3, 0.15))


def _within(pairs: Pairs) -> Floats:
    """The share of the thing that the anchor's box holds."""
    things, anchors = pairs.things, pairs.anchors
    shared = np.minimum(things.tops[:, None], anchors.tops) - np.maximum(things.bottoms[:, None], anchors.bottoms)
    upright = np.clip(shared / np.maximum(things.sizes[:, 2:], 1e-9), 0.0, 1.0)
    return ramp(pairs.inside * upright, 0.3, 0.8)


def _apart(pairs: Pairs) -> Floats:
    """Neither on the other: a cup on a table is not beside it, nor left of it."""
    return ramp(np.maximum(_standing(pairs), _standing(pairs.swapped).T), *RESTING)


def _towards(pairs: Pairs, kind: Relation, fronts: Floats) -> Floats:
    """In a horizontal direction from the anchor, nearer things more so."""
    left = np.stack((fronts[:, 1], -fronts[:, 0]), axis=1)
    direction = {Relation.FRONT: fronts, Relation.BEHIND: -fronts, Relation.LEFT: left, Relation.RIGHT: -left}[kind]
    offset = pairs.things.centres[:, None, :2] - pairs.anchors.centres[:, :2]
    length = np.maximum(np.linalg.norm(offset, axis=-1), 1e-9)
    cosine = (offset * direction).sum(axis=-1) / length
    return _apart(pairs) * ramp(cosine, *CONE) * (HIDDEN + (1.0 - HIDDEN) * ramp(pairs.gap, 5.0, 1.0))


def _gaps(things: Boxes, anchors: Boxes) -> Floats:
    """(N, A) horizontal distances between footprints, 0 where they meet."""
    ours, meet = _corner_distances(things, anchors)
    theirs, also = _corner_distances(anchors, things)
    return np.where(meet & also.T, 0.0, np.minimum(ours, theirs.T))


def _corner_distances(boxes: Boxes, others: Boxes) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """(N, M) metres from the nearest corner of N footprints to M others; whether no side of the others parts them."""
    corners = _footprints(boxes, _CORNERS)
    cosine, sine, half = np.cos(others.yaws), np.sin(others.yaws), others.sizes[:, :2] / 2
    offset = corners[:, None] - others.centres[:, None, :2]
    along = offset[..., 0] * cosine[:, None] + offset[..., 1] * sine[:, None]
    across = offset[..., 1] * cosine[:, None] - offset[..., 0] * sine[:, None]
    meet = np.ones((len(boxes), len(others)), dtype=bool)
    for side, reach in ((along, half[:, 0]), (across, half[:, 1])):
        meet &= (side.min(axis=2) <= reach) & (side.max(axis=2) >= -reach)
    x, y = np.abs(along) - half[:, :1], np.abs(across) - half[:, 1:]
    return np.sqrt((x.clip(0) ** 2 + y.clip(0) ** 2).min(axis=2)), meet


def _outside(boxes: Boxes, others: Boxes) -> Floats:
    """(K, P) horizontal distances from points spread over each of K footprints to the other of its pair, 0 inside."""
    offsets = _footprints(boxes, _GRID) - others.centres[:, None, :2]
    local = np.abs(_rotated(offsets, -others.yaws[:, None])) - others.sizes[:, None, :2] / 2
    return np.hypot(*np.moveaxis(np.maximum(local, 0.0), -1, 0))


def _footprints(boxes: Boxes, shares: Floats) -> Floats:
    """(N, P, 2) points of footprints, at (P, 2) shares of their sides from -0.5 to 0.5."""
    return _rotated(shares * boxes.sizes[:, None, :2], boxes.yaws[:, None]) + boxes.centres[:, None, :2]


def _rotated(vectors: Floats, yaws: Floats) -> Floats:
    """(..., 2) vectors turned by (...) radians."""
    cosine, sine = np.cos(yaws), np.sin(yaws)
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack((cosine * x - sine * y, sine * x + cosine * y), axis=-1)
