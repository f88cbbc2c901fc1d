"""Unprojection, rigid transforms and voxel keys: pure functions on tensors of any device."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovseg_ros.types import Intrinsics

KEY_BITS = 21
KEY_LIMIT = 1 << (KEY_BITS - 1)
"""Voxel indices lie in [-KEY_LIMIT, KEY_LIMIT): at 5 cm that is 52 km to each side of the origin."""


def unproject(depth: torch.Tensor, intrinsics: Intrinsics) -> torch.Tensor:
    """Back-project every pixel.

    Args:
        depth: (H, W) metres along the optical axis.
        intrinsics: of the same image; integer pixel coordinates are pixel centres.

    Returns:
        (H, W, 3) points in optical axes, same dtype; not finite where depth isn't.
    """
    height, width = depth.shape
    u = (torch.arange(width, device=depth.device, dtype=depth.dtype) - intrinsics.cx) / intrinsics.fx
    v = (torch.arange(height, device=depth.device, dtype=depth.dtype) - intrinsics.cy) / intrinsics.fy
    return torch.stack((u[None, :] * depth, v[:, None] * depth, depth), dim=-1)


def transform_points(pose: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Apply a rigid (4, 4) transform to (..., 3) points, in the precision of the points."""
    pose = pose.to(points)
    return points @ pose[:3, :3].T + pose[:3, 3]


def rigid_transform(position: Sequence[float], quaternion: Sequence[float]) -> torch.Tensor:
    """(4, 4) float64 transform with the origin of a frame, metres, and its orientation, a unit quaternion x y z w."""
    x, y, z, w = quaternion
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    rows = [[*row, value] for row, value in zip(rotation, position, strict=True)]
    return torch.tensor([*rows, [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)


def voxel_indices(points: torch.Tensor, voxel_size: float) -> torch.Tensor:
    """(..., 3) metres -> (..., 3) int64: the voxel whose centre ``index * voxel_size`` is nearest.

    Ties go to the even index (IEEE rounding), as in RayFronts.
    """
    return torch.round(points / voxel_size).long()


def voxel_centres(indices: torch.Tensor, voxel_size: float) -> torch.Tensor:
    """(..., 3) int64 voxel indices -> (..., 3) float64 centres in metres."""
    return indices.double() * voxel_size


def pack_keys(indices: torch.Tensor) -> torch.Tensor:
    """(..., 3) voxel indices -> (...) int64 keys that sort by x, then y, then z.

    Indices outside [-KEY_LIMIT, KEY_LIMIT) would collide: mask them first with `in_key_range`.
    """
    shifted = indices + KEY_LIMIT
    return (shifted[..., 0] << (2 * KEY_BITS)) | (shifted[..., 1] << KEY_BITS) | shifted[..., 2]


def unpack_keys(keys: torch.Tensor) -> torch.Tensor:
    """Inverse of `pack_keys`: (...) int64 keys -> (..., 3) int64 voxel indices."""
    mask = (1 << KEY_BITS) - 1
    return torch.stack(((keys >> (2 * KEY_BITS)) & mask, (keys >> KEY_BITS) & mask, keys & mask), dim=-1) - KEY_LIMIT


def in_key_range(indices: torch.Tensor) -> torch.Tensor:
    """(..., 3) voxel indices -> (...) bool: whether `pack_keys` can represent them."""
    return ((indices >= -KEY_LIMIT) & (indices < KEY_LIMIT)).all(dim=-1)
