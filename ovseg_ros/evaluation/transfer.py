"""From the voxels of a map to the voxels of the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ovseg_ros.evaluation.voxel_truth import VoxelTruth

MAX_DISTANCE_VOXELS = 2.0


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
    count = len(truth.keys)
    if count == 0 or len(centres) == 0:
        return Transfer(np.zeros(count, dtype=np.int32), 0.0 if count else float("nan"))
    # A hair more than two voxels, so that centres exactly two apart don't depend on rounding.
    limit = MAX_DISTANCE_VOXELS * truth.voxel_size * (1 + 1e-6)
    _, nearest = cKDTree(centres).query(truth.centres, distance_upper_bound=limit)
    # The tree answers with an index one past the end where nothing is near enough: that place holds 0.
    transferred = np.append(labels, 0).astype(np.int32)[nearest]
    return Transfer(transferred, float(np.mean(nearest < len(centres))))
