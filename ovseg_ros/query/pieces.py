"""From voxels of one name to things: what hangs together, and what belongs together though what is between is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ovseg_ros.geometry import pack_keys
from ovseg_ros.query.calibration import MIN_OBJECT_VOXELS, MIN_VOXELS, STACK_GAP, STACK_SHARE
from ovseg_ros.query.components import connected_voxels
from ovseg_ros.query.structure import Plane, clear_of

Rows = npt.NDArray[np.int64]

ROWS = 512
"""Pieces that are compared with all others at a time."""


def pieces(voxels: Rows, planes: Sequence[Plane], voxel_size: float) -> list[Rows]:
    """Group (n, 3) voxels of one name into things; those in no thing of `MIN_OBJECT_VOXELS` are left out.

    Args:
        voxels: distinct.
        planes: walls, floors and ceilings near which labels aren't trusted.
        voxel_size: metres.
    """
    keys = pack_keys(torch.from_numpy(voxels)).numpy()
    found = []
    for rows in _split(connected_voxels(keys, max_gap=0)):
        if len(rows) >= MIN_VOXELS:
            found.append(rows[clear_of(planes, voxels[rows], voxel_size)])
    if not found:
        return []
    low = np.array([voxels[rows].min(axis=0) for rows in found])
    high = np.array([voxels[rows].max(axis=0) for rows in found]) + 1
    joined = [np.concatenate([found[i] for i in part]) for part in _split(_stacks(low, high, STACK_GAP / voxel_size))]
    return [rows for rows in joined if len(rows) >= MIN_OBJECT_VOXELS]


def _split(groups: npt.NDArray[np.int64]) -> list[Rows]:
    """Rows of each group, from (n,) numbers of groups."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.cumsum(np.bincount(groups))[:-1])


def _stacks(low: Rows, high: Rows, max_gap: float) -> npt.NDArray[np.int64]:
    """(m,) groups of boxes between (m, 3) corners that are over each other: a lamp's shade and its foot."""
    count = len(low)
    area = (high - low)[:, :2].prod(axis=1)
    pairs = []
    for start in range(0, count, ROWS):
        part = slice(start, start + ROWS)
        shared = np.minimum(high[part, None], high) - np.maximum(low[part, None], low)
        over = shared[..., :2].clip(0).prod(axis=-1) >= STACK_SHARE * np.minimum(area[part, None], area)
        here, there = np.nonzero(over & (-shared[..., 2] <= max_gap))
        pairs.append(np.stack((here + start, there)))
    edges: Rows = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(edges.shape[1], dtype=bool), (edges[0], edges[1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)
