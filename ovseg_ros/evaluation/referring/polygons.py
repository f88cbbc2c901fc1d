"""Convex polygons in the plane: how far apart they are, and how much of one lies in another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

Floats = NDArray[np.float64]

GRID = 11
"""Points along each side of the grid that an area is measured with."""


def convex_hull(points: Floats) -> Floats:
    """(N, 2) points -> (K, 2) corners of the polygon around them, counter-clockwise."""
    return points[ConvexHull(points).vertices]


def area(polygon: Floats) -> float:
    """Square metres."""
    x, y = polygon.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def centroid(polygon: Floats) -> Floats:
    """(2,) centre of the area."""
    following = np.roll(polygon, -1, axis=0)
    weights = polygon[:, 0] * following[:, 1] - polygon[:, 1] * following[:, 0]
    return (polygon + following).T @ weights / (3 * weights.sum())


def outside(points: Floats, polygon: Floats) -> Floats:
    """(P, 2) points -> (P,) metres to the polygon, 0 within it."""
    start, along = polygon, np.roll(polygon, -1, axis=0) - polygon
    offset = points[:, None] - start
    share = np.clip((offset * along).sum(-1) / (along**2).sum(-1), 0.0, 1.0)
    to_edges = np.linalg.norm(offset - share[..., None] * along, axis=-1).min(axis=1)
    within = (along[:, 0] * offset[..., 1] - along[:, 1] * offset[..., 0] >= 0).all(axis=1)
    return np.where(within, 0.0, to_edges)


def distance(first: Floats, second: Floats) -> float:
    """Metres between two polygons, 0 where they meet."""
    for polygon in (first, second):
        along = np.roll(polygon, -1, axis=0) - polygon
        normals = np.stack((along[:, 1], -along[:, 0]), axis=1)
        other = second if polygon is first else first
        if ((other @ normals.T).min(axis=0) > (polygon @ normals.T).max(axis=0)).any():
            return float(min(outside(first, second).min(), outside(second, first).min()))
    return 0.0


def spread(polygon: Floats) -> Floats:
    """(P, 2) points spread evenly over the polygon."""
    steps = (np.arange(GRID) + 0.5) / GRID
    lower, upper = polygon.min(axis=0), polygon.max(axis=0)
    grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2) * (upper - lower) + lower
    return grid[outside(grid, polygon) == 0]


def rectangle(lower: Floats, upper: Floats) -> Floats:
    """(4, 2) corners between the lowest and the highest one, counter-clockwise."""
    return np.array([[lower[0], lower[1]], [upper[0], lower[1]], [upper[0], upper[1]], [lower[0], upper[1]]])


def smallest_rectangle(polygon: Floats) -> tuple[Floats, Floats, float]:
    """The smallest rectangle around a polygon: (2,) centre, (2,) sides in metres, radians from x to the first side."""
    along = np.roll(polygon, -1, axis=0) - polygon
    angles = np.arctan2(along[:, 1], along[:, 0]) % (np.pi / 2)
    best: tuple[float, Floats, Floats, float] | None = None
    for angle in angles:
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        turned = polygon @ turn.T
        lower, upper = turned.min(axis=0), turned.max(axis=0)
        size = upper - lower
        if best is None or size.prod() < best[0]:
            best = (float(size.prod()), (lower + upper) / 2 @ turn, size, float(angle))
    assert best is not None
    return best[1:]
