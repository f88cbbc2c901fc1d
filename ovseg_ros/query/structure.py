"""What a place is made of, in pieces that can be pointed at: wall by wall, and floors and ceilings by their height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovseg_ros.geometry import KEY_BITS
from ovseg_ros.vocabulary import STRUCTURE, Vocabulary

WALLS = frozenset(("wall", "walls"))
"""Names of what stands upright."""

ANGLES = np.deg2rad(np.arange(0.0, 180.0, 3.0))
"""Directions in which walls are looked for, radians."""

PLANE_DEPTH = 0.075
"""Metres, or one voxel, to each side of a plane that still belong to it: noise in depth, a wall that isn't quite flat.
What lies within twice as much is no other plane: mouldings, labels that reach beyond what they are of."""

MIN_AREA = 1.0
"""Smaller pieces are noise, square metres."""

OPENING = 1.0
"""Metres without any wall from which two walls in one plane are two."""

STANDS_OUT = 0.3
"""Share of its voxels off walls and floors from which a thing is more than a flat one on them."""

Rows = npt.NDArray[np.int64]


def is_structure(label: str, vocabulary: Vocabulary) -> bool:
    """Whether a name is of what a place is made of, and of no thing in it."""
    return any(label == group[0] and STRUCTURE & set(group) for group in vocabulary.synonyms)


@dataclass(frozen=True)
class Plane:
    """A wall, a floor or a ceiling.

    Attributes:
        rows: (m,) which of the voxels it was found in are its.
        normal: (3,) unit vector.
        along: (3, 2) unit vectors in the plane, across each other.
        offset: of the plane along its normal, voxels.
    """

    rows: Rows
    normal: npt.NDArray[np.float64]
    along: npt.NDArray[np.float64]
    offset: float


def walls(voxels: Rows, voxel_size: float) -> list[Plane]:
    """Split (n, 3) voxels of walls into flat ones: peaks of the Hough transform of the floor plan, the largest first.

    Voxels in no plane of `MIN_AREA` are left out.
    """
    packed = (voxels[:, 0] << KEY_BITS) + voxels[:, 1]
    _, first, column, heights = np.unique(packed, return_index=True, return_inverse=True, return_counts=True)
    columns = voxels[first, :2]
    across = np.stack((np.cos(ANGLES), np.sin(ANGLES)))
    found = []
    for angle, offset, members in _peaks(columns @ across, heights, voxel_size):
        cosine, sine = across[:, angle]
        along = np.array([[-sine, 0.0], [cosine, 0.0], [0.0, 1.0]])
        place = columns[members] @ along[:2, 0] * voxel_size
        order = np.argsort(place)
        cuts = np.flatnonzero(np.diff(place[order]) > OPENING) + 1
        for wall in np.split(members[order], cuts):
            if heights[wall].sum() >= MIN_AREA / voxel_size**2:
                rows = np.flatnonzero(np.isin(column, wall))
                found.append(Plane(rows, np.array([cosine, sine, 0.0]), along, offset))
    return found


def levels(voxels: Rows, voxel_size: float) -> list[Plane]:
    """Split (n, 3) voxels of what lies flat by height, as `walls`."""
    heights, height, counts = np.unique(voxels[:, 2], return_inverse=True, return_counts=True)
    axes = np.eye(3)
    return [
        Plane(np.flatnonzero(np.isin(height, members)), axes[2], axes[:, :2], offset)
        for _, offset, members in _peaks(heights[:, None].astype(np.float64), counts, voxel_size)
    ]


def clear_of(planes: Sequence[Plane], voxels: Rows, voxel_size: float) -> npt.NDArray[np.bool_]:
    """Which of (n, 3) voxels of a thing are not of the wall behind it or the floor under it.

    Labels reach beyond the outline of what they are of, onto what is seen beside it. What of a thing lies in a plane
    and not behind the rest of it is beside it. What is flat itself, as a picture is, keeps all.
    """
    if not planes:
        return np.ones(len(voxels), dtype=bool)
    normals, offsets = np.stack([plane.normal for plane in planes]), np.array([plane.offset for plane in planes])
    within = np.abs(voxels @ normals.T - offsets) <= _depth(voxel_size)
    off = ~within.any(axis=1)
    if off.mean() < STANDS_OUT:
        return np.ones(len(voxels), dtype=bool)
    clear = off.copy()
    for number in np.flatnonzero(within.any(axis=0)).tolist():
        shadow = voxels @ planes[number].along
        low, high = shadow[off].min(axis=0) - 1, shadow[off].max(axis=0) + 1
        clear |= within[:, number] & ((shadow >= low) & (shadow <= high)).all(axis=1)
    return clear


def _depth(voxel_size: float) -> float:
    """`PLANE_DEPTH` in voxels, and a little for rounding: most voxels are whole ones away from a plane."""
    return max(PLANE_DEPTH / voxel_size, 1.0) + 1e-6


def _peaks(places: npt.NDArray[np.float64], counts: Rows, voxel_size: float) -> list[tuple[int, float, Rows]]:
    """Planes that many voxels lie in, found one after the other among what those before have left.

    Args:
        places: (m, d) of m groups of voxels along d directions, voxels.
        counts: (m,) voxels of each group.
        voxel_size: metres.

    Returns:
        Of each plane its direction, its place along that, and the groups in it.
    """
    smallest, depth = MIN_AREA / voxel_size**2, _depth(voxel_size)
    bins = np.round(places / depth).astype(np.int64)
    bins -= bins.min(initial=0)
    width, directions = int(bins.max(initial=0)) + 1, places.shape[1]
    cells = bins + np.arange(directions) * width

    def votes(groups: Rows) -> Rows:
        weights = np.repeat(counts[groups], directions)
        return np.bincount(cells[groups].ravel(), weights, minlength=directions * width).astype(np.int64)

    free = np.arange(len(counts))
    left = votes(free)
    planes = []
    while left[best := int(left.argmax())] >= smallest:
        direction = best // width
        place = places[free, direction]
        peak = cells[free, direction] == best
        # Its bin cuts a plane somewhere: what lies around it says where the plane is.
        around = np.abs(place - place[peak].mean()) <= depth
        middle = float(np.average(place[around], weights=counts[free[around]]))
        planes.append((direction, middle, free[np.abs(place - middle) <= depth]))
        taken = peak | (np.abs(place - middle) <= 2 * depth)
        left -= votes(free[taken])
        free = free[~taken]
    return [plane for plane in planes if counts[plane[2]].sum() >= smallest]
