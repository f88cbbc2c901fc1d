"""From the voxels of a map to the voxels of the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ovseg_ros.evaluation.voxel_truth import VoxelTruth

MAX_DISTANCE_VOXELS = 2.0
NOBODY = -1
"""No label id: stands for a point that is out of reach."""


@dataclass(frozen=True)
class Transfer:
    """What the map says at each truth voxel.

    Attributes:
        labels: (N,) int32; 0 where no predicted voxel is near enough.
        coverage: share of the truth voxels that have a predicted voxel near enough, 0..1; NaN without truth.
    """

    labels: NDArray[np.int32]
    coverage: float


def transfer_labels(truth: VoxelTruth, centres: NDArray[np.float64], labels: NDArray[np.int32]) -> Transfer:
    """Give each truth voxel the label of the nearest predicted voxel within `MAX_DISTANCE_VOXELS`.

    Args:
        truth: voxels to answer for.
        centres: (M, 3) metres, centres of the map's voxels.
        labels: (M,) label ids; 0 where the map has no answer.
    """
    transferred, found = neighbour_labels(truth.centres, centres, labels, reach=MAX_DISTANCE_VOXELS * truth.voxel_size)
    return Transfer(transferred, float(np.mean(found)) if len(found) else float("nan"))


def neighbour_labels(
    queries: NDArray[np.float64],
    points: NDArray[np.float64],
    labels: NDArray[np.int32],
    *,
    neighbours: int = 1,
    reach: float = math.inf,
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The label that most of the nearest points have; ties go to the lower id.

    Args:
        queries: (N, 3) metres.
        points: (M, 3) metres.
        labels: (M,) label ids.
        neighbours: how many points have a vote.
        reach: metres beyond which none has.

    Returns:
        (N,) int32 labels, 0 where no point is within reach; (N,) bool whether one is.
    """
    if not len(queries) or not len(points):
        return np.zeros(len(queries), dtype=np.int32), np.zeros(len(queries), dtype=np.bool_)
    # A hair more, so that points exactly at the limit don't depend on rounding.
    _, nearest = cKDTree(points).query(queries, k=[*range(1, neighbours + 1)], distance_upper_bound=reach * (1 + 1e-6))
    # The tree answers with an index one past the end where nothing is near enough: that place holds no label.
    ballots = np.append(labels, NOBODY).astype(np.int32)[nearest]
    votes = (ballots[:, :, None] == ballots[:, None, :]).sum(axis=2)
    votes[ballots == NOBODY] = 0
    winner = np.lexsort((ballots, -votes), axis=1)[:, :1]
    chosen = np.take_along_axis(ballots, winner, axis=1)[:, 0]
    found = chosen != NOBODY
    return np.where(found, chosen, 0).astype(np.int32), found
