"""How true things stand to each other: clearly so, clearly not, or anybody's guess.

Limits come in pairs with room between them. Questions are made only of what is clear, so that being right doesn't
depend on where exactly a word begins: "near" is certain within 0.6 m and certainly wrong from 1.8 m.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.referring.polygons import Floats, convex_hull, distance, outside
from ovseg_ros.evaluation.referring.things import Thing
from ovseg_ros.referring import Relation, Viewpoint

Verdicts = NDArray[np.int8]
"""1 clearly, 0 unclear, -1 clearly not."""

NEAR = (0.6, 1.8)
NEXT_TO = (0.4, 1.2)
FAR = (2.6, 1.2)
TOUCHING = (0.05, 0.3)
"""Metres at which a relation certainly holds, and certainly doesn't."""

SUPPORT = (0.6, 0.02)
"""Share of a thing that has a surface right below it when it certainly stands there, and certainly not."""

LEVEL = 0.04
SUNK = 0.12
"""Metres between a thing and the surface below that it stands on, and by which it may have sunk into a soft one."""

HUNG = (0.3, 0.05)
"""Metres above the floor from which something at a wall hangs there, and below which it stands."""

COVER = 0.7
"""Share of a thing in the area that two others span when it certainly is between them."""

SIDEWAYS = (0.8, 2.2)
"""How far a thing may be off a direction at most, and must be at least, per metre along it."""

OPENINGS = ("door", "window", "curtain")
"""Parts of a wall rather than on it."""


def verdicts(yes: NDArray[np.bool_], no: NDArray[np.bool_]) -> Verdicts:
    """1 where yes and not no, -1 where no and not yes, else 0."""
    return yes.astype(np.int8) - no.astype(np.int8)


class Relations:
    """N things, each against each; rows stand in the relation, columns are what they stand to.

    Args:
        things: of one room.
    """

    def __init__(self, things: Sequence[Thing]) -> None:
        self.things = things
        self._starts = np.cumsum([0, *(len(thing.points) for thing in things[:-1])])

    def of(self, relation: Relation, viewpoint: Viewpoint | None = None) -> Verdicts:
        """(N, N) verdicts on any relation between two things; the diagonal is clearly not.

        Args:
            relation: any but BETWEEN and INSIDE.
            viewpoint: of whom left, right, in front and behind are meant.
        """
        if relation.needs_direction:
            assert viewpoint is not None, "left and right are somebody's"
            result = self._towards(relation, viewpoint.position[:2])
        else:
            result = self._of(relation)
        np.fill_diagonal(result, -1)
        return result

    def _of(self, relation: Relation) -> Verdicts:
        apart, level = self.distance, self._level
        match relation:
            case Relation.NEAR:
                return verdicts((apart <= NEAR[0]) & (self._overlap <= 0.05), apart >= NEAR[1])
            case Relation.FAR:
                return verdicts(apart >= FAR[0], apart <= FAR[1])
            case Relation.NEXT_TO:
                beside = (self._gap <= NEXT_TO[0]) & (self._overlap <= 0.02) & (level >= np.minimum(0.1, self._low / 2))
                return verdicts(beside, (self._gap >= NEXT_TO[1]) | (level <= -0.4) | (self._overlap >= 0.5))
            case Relation.AGAINST:
                touching = (self._gap <= TOUCHING[0]) & (level >= np.minimum(0.05, self._low / 2))
                return verdicts(touching & (self._overlap <= 0.02), apart >= TOUCHING[1])
            case Relation.ON:
                return self._on
            case Relation.ABOVE:
                higher = self._bottoms[:, None] >= self._tops + 0.05
                lower = self._bottoms[:, None] <= self._tops - 0.3
                return verdicts(higher & self._over, lower | (self._gap >= 0.4))
            case Relation.UNDER:
                return self._under
            case _:
                raise ValueError(f"{relation.value!r} is not between two things")

    def between(self, first: int, second: int) -> Verdicts:
        """(N,) verdicts on being between two of the things."""
        one, other = self.things[first], self.things[second]
        span = convex_hull(np.concatenate((one.footprint, other.footprint)))
        centres = np.array([thing.centre for thing in self.things])
        along = other.centre - one.centre
        length = max(float(np.linalg.norm(along)), 1e-9)
        at = (centres - one.centre) @ along / length**2
        aside = np.abs(_cross(centres - one.centre, along)) / length
        free = np.maximum(self._overlap[:, first], self._overlap[:, second]) <= 0.02
        yes = (self._share_in(span) >= COVER) & (at >= 0.2) & (at <= 0.8) & (aside <= 0.2 * length) & free
        # Who stands there sees the two at a right angle or less.
        no = ((centres - one.centre) * (centres - other.centre)).sum(axis=1) >= 0
        no[[first, second]], yes[[first, second]] = True, False
        return verdicts(yes, no)

    def _share_in(self, polygon: Floats) -> Floats:
        """(N,) share of each thing that lies within a polygon."""
        within = outside(np.concatenate([thing.points for thing in self.things]), polygon) == 0
        return np.add.reduceat(within, self._starts, dtype=np.int64) / [len(thing.points) for thing in self.things]

    @cached_property
    def distance(self) -> Floats:
        """(N, N) metres between things."""
        return np.hypot(self._gap, np.maximum(-self._level, 0.0))

    @cached_property
    def _tops(self) -> Floats:
        return np.array([thing.top for thing in self.things])

    @cached_property
    def _bottoms(self) -> Floats:
        return np.array([thing.bottom for thing in self.things])

    @cached_property
    def _level(self) -> Floats:
        """Metres of height that both share; negative: how far one is above the other."""
        return np.minimum(self._tops[:, None], self._tops) - np.maximum(self._bottoms[:, None], self._bottoms)

    @cached_property
    def _low(self) -> Floats:
        """Height of the lower of two things."""
        height = self._tops - self._bottoms
        return np.minimum(height[:, None], height)

    @cached_property
    def _gap(self) -> Floats:
        count = len(self.things)
        result = np.zeros((count, count))
        for i in range(count):
            for j in range(i):
                result[i, j] = result[j, i] = distance(self.things[i].footprint, self.things[j].footprint)
        return result

    @cached_property
    def _covered(self) -> Floats:
        """Share of each thing that lies within the footprint of each other."""
        return np.array([self._share_in(thing.footprint) for thing in self.things]).T

    @cached_property
    def _overlap(self) -> Floats:
        """Share of the smaller of two footprints in the other."""
        return np.maximum(self._covered, self._covered.T)

    @cached_property
    def _over(self) -> NDArray[np.bool_]:
        """Whether the middle of one lies over or right beside the other: a picture over a sofa that is off the wall."""
        middles = np.array(
            [outside(np.array([t.centre for t in self.things]), other.footprint) for other in self.things]
        )
        return (self._gap <= 0.1) & (np.minimum(middles, middles.T) <= 0.15)

    @cached_property
    def _on(self) -> Verdicts:
        held = np.zeros_like(self._gap)
        for i, j in np.argwhere(self._covered > 0):
            held[i, j] = _support(self.things[i], self.things[j])
        labels = np.array([thing.label for thing in self.things])
        result = verdicts(held >= SUPPORT[0], held <= SUPPORT[1])
        rug, floor, wall = labels == "rug", labels == "floor", labels == "wall"
        # What stands on a rug stands on the floor for some.
        result[np.ix_((held[:, rug] > SUPPORT[1]).any(axis=1), floor)] = 0
        unheld, risen = ~(held[:, ~wall] > SUPPORT[1]).any(axis=1, keepdims=True), self._bottoms[:, None]
        at_wall = self._gap[:, wall]
        hung = (at_wall <= TOUCHING[0]) & (risen >= HUNG[0]) & unheld
        free = (at_wall >= TOUCHING[1]) | (risen <= HUNG[1]) | ~unheld
        result[:, wall] = verdicts(hung, free)
        result[np.ix_(np.isin(labels, OPENINGS), wall)] = 0
        return result

    @cached_property
    def _under(self) -> Verdicts:
        tops, bottoms = self._tops[:, None], self._bottoms[:, None]
        flat = (tops - bottoms <= 0.05) & (bottoms <= 0.05)
        trodden = flat & (self._bottoms <= 0.05) & (self._overlap >= 0.5) & (self._tops > tops + 0.1)
        beside = (self._overlap <= 0.02) & (self._level >= np.minimum(0.1, self._low / 2))
        above = bottoms >= self._tops - 0.02
        yes = ((self._bottoms >= tops - 0.03) & self._over) | trodden
        return verdicts(yes, ~yes & ((self._gap >= 0.4) | beside | above))

    def _towards(self, relation: Relation, eye: Floats) -> Verdicts:
        """Beyond the anchor's edge, and not too far off the direction, for who looks at it from (2,) ``eye``."""
        count = len(self.things)
        yes, no = np.zeros((2, count, count), dtype=bool)
        for j, anchor in enumerate(self.things):
            sight = anchor.centre - eye
            sight = sight / max(float(np.linalg.norm(sight)), 1e-9)
            left = np.array([-sight[1], sight[0]])
            along = {Relation.LEFT: left, Relation.RIGHT: -left, Relation.BEHIND: sight, Relation.FRONT: -sight}[
                relation
            ]
            across = np.array([-along[1], along[0]])
            edge = float((anchor.footprint @ along).max())
            for i, thing in enumerate(self.things):
                offset = thing.centre - anchor.centre
                ahead, aside = float(offset @ along), abs(float(offset @ across))
                seen = float((thing.centre - eye) @ sight) > 0.3
                beyond = float((thing.footprint @ along).min()) >= edge - 0.05
                yes[i, j] = seen and beyond and aside <= SIDEWAYS[0] * ahead
                # A window over a table may be behind it; a cup on it may not.
                stacked = self._overlap[i, j] >= 0.5
                resting = stacked and self._level[i, j] >= -LEVEL
                no[i, j] = ahead <= 0 or (aside >= SIDEWAYS[1] * ahead and not stacked) or resting
        return verdicts(yes, no)


def _support(thing: Thing, base: Thing) -> float:
    """Share of a thing's footprint with a surface of the base right below its bottom."""
    if thing is base or not len(base.triangles) or thing.bottom > base.top + LEVEL:
        return 0.0
    points = thing.points
    corners = base.triangles[:, :, :2]
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = _cross(b - a, c - a)
    level = np.abs(area) > 1e-9
    a, b, c, area, heights = a[level], b[level], c[level], area[level], base.triangles[level][:, :, 2]
    p = points[:, None]
    weights = np.stack((_cross(b - p, c - p), _cross(c - p, a - p), _cross(a - p, b - p)), axis=-1) / area[:, None]
    height = (weights * heights).sum(axis=-1)
    below, sunk = thing.bottom - height, height - thing.bottom
    hit = (weights >= -1e-9).all(axis=-1) & (below <= LEVEL) & (sunk <= SUNK) & (height < thing.top)
    return float(hit.any(axis=1).mean())


def _cross(first: Floats, second: Floats) -> Floats:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
