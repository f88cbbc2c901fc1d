"""Which voxels a surface runs through, and which are only where noise in depth has put a few of its readings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ovseg_ros.geometry import KEY_BITS
from ovseg_ros.query.calibration import FRINGE

_COLUMNS = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Offsets (x, y) to the neighbouring columns, one of each opposite pair."""


def on_surface(keys: npt.NDArray[np.int64], weights: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Whether each voxel has at least `FRINGE` of the weight of the heaviest of its 26 neighbours.

    Voxels side by side on a surface are seen about equally often. What lies before or behind one gets only the few
    readings that are far off.

    Args:
        keys: (n,) distinct packed voxels, ascending.
        weights: (n,) of what fell into each.

    Returns:
        (n,)
    """
    heaviest = weights.copy()

    def compare(here: npt.NDArray[np.int64], there: npt.NDArray[np.int64]) -> None:
        """Take in pairs of neighbours, no voxel twice on one side."""
        heaviest[here] = np.maximum(heaviest[here], weights[there])
        heaviest[there] = np.maximum(heaviest[there], weights[here])

    below = np.flatnonzero(np.diff(keys) == 1)
    compare(below, below + 1)
    last = len(keys) - 1
    for x, y in _COLUMNS:
        column = keys + (x << (2 * KEY_BITS)) + (y << KEY_BITS)
        place = np.searchsorted(keys, column - 1)
        for z in (-1, 0, 1):
            # Keys sort by z within a column: the voxel above the one just found is the next, if it is there.
            found = keys[np.minimum(place, last)] == column + z
            here = np.flatnonzero(found)
            compare(here, place[here])
            place += found
    return weights >= FRINGE * heaviest
