"""Which voxels a camera path has seen of a labelled mesh, and what they are: the truth a map is held against.

Nothing here is shared with the map's own geometry: points are sampled on the mesh and projected into
the noise-free views, so a mistake in unprojection or poses shows up as a worse score.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.datasets import LabelledMesh
from ovseg_ros.geometry import pack_keys, unpack_keys, voxel_centres, voxel_indices
from ovseg_ros.types import Intrinsics

POINTS_PER_SQUARE_METRE = 4000.0
"""At 5 cm about ten points fall in a voxel of a flat wall."""
DEPTH_TOLERANCE = 0.02
"""Metres between a point and the noise-free depth at its pixel up to which the point counts as seen."""

View = tuple[NDArray[np.float32], Intrinsics, NDArray[np.float64]]
"""Noise-free depth (H, W) in metres, the camera, and its (4, 4) pose camera -> world."""


@dataclass(frozen=True)
class VoxelTruth:
    """Labelled voxels.

    Attributes:
        keys: (N,) int64, ascending, as `geometry.pack_keys` makes them.
        labels: (N,) int32 label ids, none of them 0.
        voxel_size: metres.
    """

    keys: NDArray[np.int64]
    labels: NDArray[np.int32]
    voxel_size: float

    @property
    def centres(self) -> NDArray[np.float64]:
        """(N, 3) metres, world frame."""
        return voxel_centres(unpack_keys(torch.from_numpy(self.keys)), self.voxel_size).numpy()


def voxel_truth(mesh: LabelledMesh, views: Iterable[View], voxel_size: float, *, seed: int = 0) -> VoxelTruth:
    """Label the voxels of the surface that at least one view saw.

    A voxel takes the label that most of its sampled, labelled points have; ties go to the lower id.

    Args:
        mesh: ground truth, world frame.
        views: noise-free views along the camera path, read once.
        voxel_size: metres.
        seed: of the sampling.
    """
    points, labels = sample_surface(mesh, POINTS_PER_SQUARE_METRE, seed)
    seen = seen_in_any(points, views)
    return _majority(points[seen], labels[seen], voxel_size)


def sample_surface(
    mesh: LabelledMesh, points_per_square_metre: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Random points on the triangles, evenly by area.

    Returns:
        (P, 3) float64 points in metres and (P,) int32 labels, each of the corner nearest to its point.
    """
    generator = np.random.default_rng(seed)
    corners = mesh.vertices.astype(np.float64)[mesh.triangles]
    areas = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    ends = np.cumsum(areas)
    count = int(np.ceil(ends[-1] * points_per_square_metre)) if len(ends) else 0
    # Even steps with a random start in each: as fair as drawing at random, with less clumping.
    positions = (np.arange(count) + generator.random(count)) * (ends[-1] / max(count, 1)) if count else np.empty(0)
    chosen = np.minimum(np.searchsorted(ends, positions, side="right"), max(len(ends) - 1, 0))
    root, share = np.sqrt(generator.random(count)), generator.random(count)
    weights = np.stack([1 - root, root * (1 - share), root * share], axis=1)
    points = np.einsum("pk,pkd->pd", weights, corners[chosen]) if count else np.empty((0, 3))
    nearest = mesh.triangles[chosen, weights.argmax(axis=1)] if count else np.empty(0, dtype=np.int32)
    return points, mesh.labels[nearest].astype(np.int32)


def seen_in_any(points: NDArray[np.float64], views: Iterable[View]) -> NDArray[np.bool_]:
    """(P, 3) world points -> (P,) whether some view has its surface within `DEPTH_TOLERANCE` of the point."""
    seen = np.zeros(len(points), dtype=np.bool_)
    for depth, camera, pose in views:
        hidden = np.flatnonzero(~seen)
        rotation, translation = pose[:3, :3], pose[:3, 3]
        x, y, z = ((points[hidden] - translation) @ rotation).T
        ahead = z > 0
        hidden, x, y, z = hidden[ahead], x[ahead], y[ahead], z[ahead]
        column = np.rint(camera.fx * x / z + camera.cx)
        row = np.rint(camera.fy * y / z + camera.cy)
        inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        at_pixel = depth[row[inside].astype(np.int64), column[inside].astype(np.int64)]
        seen[hidden[inside]] = np.abs(at_pixel - z[inside]) < DEPTH_TOLERANCE
    return seen


def _majority(points: NDArray[np.float64], labels: NDArray[np.int32], voxel_size: float) -> VoxelTruth:
    labelled = labels > 0
    keys = pack_keys(voxel_indices(torch.from_numpy(points[labelled]), voxel_size)).numpy()
    voxel_keys, voxel_of_point = np.unique(keys, return_inverse=True)
    size = int(labels.max(initial=0)) + 1
    pairs, votes = np.unique(voxel_of_point * size + labels[labelled], return_counts=True)
    voxel, label = np.divmod(pairs, size)
    order = np.lexsort((label, -votes, voxel))
    _, first = np.unique(voxel[order], return_index=True)
    return VoxelTruth(voxel_keys, label[order][first].astype(np.int32), voxel_size)
