"""The things of a generated room as they are: footprint, height and surface of each, from its triangles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ovseg_ros.evaluation.referring.polygons import Floats, centroid, convex_hull, rectangle, spread
from ovseg_ros.simulation import Room

STRUCTURE = ("wall", "floor", "ceiling")
"""What a room is made of: nobody means it by "thing"."""

WALL_THICKNESS = 0.02


@dataclass(frozen=True)
class Thing:
    """One thing, exactly.

    Attributes:
        label: class name.
        colour: what a person would call it, or "" where that isn't known.
        footprint: (K, 2) corners of the convex polygon that it covers, counter-clockwise, metres.
        bottom, top: metres.
        triangles: (T, 3, 3) metres.
    """

    label: str
    colour: str
    footprint: Floats
    bottom: float
    top: float
    triangles: Floats

    @cached_property
    def centre(self) -> Floats:
        """(2,) of the footprint."""
        return centroid(self.footprint)

    @cached_property
    def points(self) -> Floats:
        """(P, 2) spread over the footprint."""
        return spread(self.footprint)

    @property
    def lower(self) -> Floats:
        """(3,) lowest corner of its box along the axes."""
        return np.append(self.footprint.min(axis=0), self.bottom)

    @property
    def upper(self) -> Floats:
        """(3,) highest corner of its box along the axes."""
        return np.append(self.footprint.max(axis=0), self.top)


def things_of(room: Room) -> tuple[Thing, ...]:
    """What a room holds: the four walls one by one, and no ceiling."""
    things = list(_walls(room))
    corners = room.vertices.astype(np.float64)[room.triangles]
    for number, entry in enumerate(room.objects):
        if entry.label in ("wall", "ceiling"):
            continue
        triangles = corners[room.triangle_objects == number]
        footprint = convex_hull(triangles.reshape(-1, 3)[:, :2])
        bottom, top = float(entry.lower[2]), float(entry.upper[2])
        things.append(Thing(entry.label, entry.colour, footprint, bottom, top, triangles))
    return tuple(things)


def _walls(room: Room) -> list[Thing]:
    x, y, height = room.size / [2, 2, 1]
    thick = WALL_THICKNESS
    sides = [
        ((-x, y), (x, y + thick)),
        ((-x, -y - thick), (x, -y)),
        ((x, -y), (x + thick, y)),
        ((-x - thick, -y), (-x, y)),
    ]
    return [
        Thing("wall", "", rectangle(np.array(low), np.array(high)), 0.0, float(height), np.zeros((0, 3, 3)))
        for low, high in sides
    ]
