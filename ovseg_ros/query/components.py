"""Voxels that hang together: connected components on sparse voxel indices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ovseg_ros.geometry import KEY_BITS


def connected_voxels(keys: npt.NDArray[np.int64], max_gap: int) -> npt.NDArray[np.int64]:
    """Group voxels that are neighbours or have at most ``max_gap`` empty voxels between them along each axis.

    With no gap these are the 26-connected components.

    Args:
        keys: (n,) distinct packed voxel keys in any order.
        max_gap: empty voxels that a connection may bridge.

    Returns:
        (n,) component numbers from 0.
    """
    reach = max_gap + 1
    order = np.argsort(keys)
    ordered = keys[order]
    edges = [_edges_to_column(ordered, x, y, reach) for x, y in _half_plane(reach)]
    edges.append(_edges_along_z(ordered, reach))
    first, second = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(len(keys), len(keys)))
    _, ordered_components = connected_components(graph, directed=False)
    components = np.empty(len(keys), dtype=np.int64)
    components[order] = ordered_components
    return components


def _half_plane(reach: int) -> list[tuple[int, int]]:
    """Offsets (x, y) to the columns within reach, one of each opposite pair, without the column itself."""
    return [(x, y) for x in range(reach + 1) for y in range(-reach, reach + 1) if x > 0 or y > 0]


def _edges_to_column(ordered: npt.NDArray[np.int64], x: int, y: int, reach: int) -> npt.NDArray[np.int64]:
    """(2, e) links from each voxel to the voxels within ``reach`` of it along z in the column at (x, y).

    Keys sort by z within a column, so these voxels lie next to each other in ``ordered``. The first and
    the last suffice: between them there is room for one gap wider than reach at most, so each of the
    others is linked along z to one of the two.
    """
    column = ordered + (x << (2 * KEY_BITS)) + (y << KEY_BITS)
    first = np.searchsorted(ordered, column - reach, side="left")
    end = np.searchsorted(ordered, column + reach, side="right")
    voxels = np.flatnonzero(end > first)
    return np.stack((np.tile(voxels, 2), np.concatenate((first[voxels], end[voxels] - 1))))


def _edges_along_z(ordered: npt.NDArray[np.int64], reach: int) -> npt.NDArray[np.int64]:
    """(2, e) links between successive voxels of one column."""
    voxels = np.flatnonzero(np.diff(ordered) <= reach)
    return np.stack((voxels, voxels + 1))
