"""Which cells one depth image shows to be empty: pure functions.

Cells are projected into the image, whole blocks at a time, so no cell in view is missed and none is met
twice. A cell is free if all that the image shows within the disc of the cell's inscribed ball, to half a
pixel, lies beyond its centre. So a plane seen at an angle a frees cells whose centre is more than
cos(a) / 2 of a cell in front of it. Seen flat, where readings are too far apart to hit every cell, that
protects all of the surface. Seen face on, readings are dense, and hits win over free space.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ovseg_ros.mapping.blocks import BLOCK, BLOCK_CELLS, BlockBox, cell_offsets
from ovseg_ros.types import Intrinsics

MOST_NEIGHBOURS = 5
"""Of 8: the rest may be a line of dropped pixels, and no more."""

BLOCKS_AT_ONCE = 256
"""Blocks projected in one go: 512 kB for each float32 of a cell, which stays in a processor's cache."""


def reach_of(depth: torch.Tensor, *, min_depth: float, max_depth: float) -> torch.Tensor:
    """(H, W) depth -> (H, W) float32 metres of empty space along each pixel's optical depth, 0 where nothing is known.

    Beyond ``max_depth``, +inf included, space is known to be empty up to ``max_depth``. A pixel without a reading (NaN
    or 0) whose neighbours mostly have one reaches as far as the nearest of them: sensors drop single pixels, and one
    among the many that a cell near the camera covers would say that nothing is known of the cell.
    """
    reach = depth.to(torch.float32).clamp(max=max_depth)
    reach = torch.where((reach >= min_depth) & (reach > 0), reach, 0.0)
    dropped = depth.isnan() | (depth == 0)
    dropped &= _over_neighbours((reach > 0).to(torch.int8), torch.add, 0) >= MOST_NEIGHBOURS
    nearest = _over_neighbours(reach.masked_fill(reach == 0, torch.inf), torch.minimum, torch.inf)
    return torch.where(dropped, nearest, reach)


def _over_neighbours(
    image: torch.Tensor, join: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], outside: float
) -> torch.Tensor:
    """(H, W) -> (H, W): what a pixel and its 8 neighbours come to, several times as fast as pooling on a CPU."""
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1), value=outside)
    rows = join(join(padded[:-2], padded[1:-1]), padded[2:])
    return join(join(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])


def view_box(far: float, intrinsics: Intrinsics, pose: torch.Tensor, voxel_size: float) -> torch.Tensor:
    """(2, 3) float64 lowest and highest cell that the view up to the depth ``far`` touches, as whole numbers."""
    u = torch.tensor([-0.5, intrinsics.width - 0.5], dtype=torch.float64, device=pose.device)
    v = torch.tensor([-0.5, intrinsics.height - 0.5], dtype=torch.float64, device=pose.device)
    x, y = torch.meshgrid((u - intrinsics.cx) / intrinsics.fx, (v - intrinsics.cy) / intrinsics.fy, indexing="ij")
    corners = torch.stack((x, y, torch.ones_like(x)), dim=-1).view(-1, 3) * far
    corners = torch.cat((corners.new_zeros(1, 3), corners)) @ pose[:3, :3].T + pose[:3, 3]
    return (torch.stack((corners.amin(dim=0), corners.amax(dim=0))) / voxel_size).round()


def blocks_in_view(
    box: BlockBox, *, near: float, far: float, intrinsics: Intrinsics, pose: torch.Tensor, voxel_size: float
) -> torch.Tensor:
    """(len(box),) bool: false only for blocks that no cell centre in view can lie in."""
    camera = _camera_matrix(intrinsics, pose)
    middle = (box.blocks(pose.device).double() * BLOCK + (BLOCK - 1) / 2) * voxel_size - pose[:3, 3]
    # The planes of the view, pointing inwards, as rows that multiply (u z, v z, z).
    planes = torch.tensor(
        [
            [1.0, 0.0, 0.5],
            [-1.0, 0.0, intrinsics.width - 0.5],
            [0.0, 1.0, 0.5],
            [0.0, -1.0, intrinsics.height - 0.5],
            [0.0, 0.0, 1.0],
            [0.0, 0.0, -1.0],
        ],
        dtype=torch.float64,
        device=pose.device,
    )
    normals = planes @ camera
    beyond = torch.tensor([0.0, 0.0, 0.0, 0.0, -near, far], dtype=torch.float64, device=pose.device)
    radius = math.sqrt(3) * (BLOCK - 1) / 2 * voxel_size
    return (middle @ normals.T + beyond >= -radius * normals.norm(dim=-1)).all(dim=-1)


def free_cells(
    blocks: torch.Tensor,
    reach: torch.Tensor,
    *,
    near: float,
    intrinsics: Intrinsics,
    pose: torch.Tensor,
    voxel_size: float,
) -> torch.Tensor:
    """Test all cells of some blocks.

    Args:
        blocks: (B, 3) int64 block indices.
        reach: (H, W) float32, from `reach_of`.
        near: cells whose centre is nearer, in metres along the optical axis, are not free; above 0.
        intrinsics: of the depth image.
        pose: (4, 4) float64 camera -> world, optical axes.
        voxel_size: edge of a cell, metres.

    Returns:
        (B, 512) bool, cells numbered as in blocks.py.
    """
    pixels = _widest_stretch(intrinsics) * voxel_size / 2
    widest = math.ceil(pixels / near)
    radii, clear = _clear_depths(reach, widest)
    level_of_disc = torch.bucketize(torch.arange(widest + 1, device=reach.device), radii).int() * clear[0].numel()
    clear = clear.flatten()

    # In float64 up to here: relative to the camera float32 is exact enough, 1 km from the origin it isn't.
    camera = _camera_matrix(intrinsics, pose)
    first = ((blocks.double() * (BLOCK * voxel_size) - pose[:3, 3]) @ camera.T).float()
    offsets = ((cell_offsets(reach.device).double() * voxel_size) @ camera.T).float()
    free = torch.empty(len(blocks), BLOCK_CELLS, dtype=torch.bool, device=reach.device)
    height, width = reach.shape
    for start in range(0, len(blocks), BLOCKS_AT_ONCE):
        part = slice(start, start + BLOCKS_AT_ONCE)
        u, v, z = (first[part, None, axis] + offsets[:, axis] for axis in range(3))
        ahead = z >= near
        per_depth = z.clamp(min=near).reciprocal_()
        # Pixels outside the image fall on its border, one pixel wide, where nothing is known.
        u.mul_(per_depth).round_().clamp_(-1, width)
        v.mul_(per_depth).round_().clamp_(-1, height)
        place = v.add_(1).mul_(width + 2).add_(u).add_(1).int().view(-1)
        disc = per_depth.mul_(pixels).ceil_().clamp_(max=widest).int().view(-1)
        # index_select is three times as fast as indexing here.
        place += level_of_disc.index_select(0, disc)
        free[part] = ahead & (z < clear.index_select(0, place).view(z.shape))
    return free


def _camera_matrix(intrinsics: Intrinsics, pose: torch.Tensor) -> torch.Tensor:
    """(3, 3) float64: takes a point relative to the camera's place, in world axes, to (u z, v z, z)."""
    calibration = torch.tensor(
        [[intrinsics.fx, 0.0, intrinsics.cx], [0.0, intrinsics.fy, intrinsics.cy], [0.0, 0.0, 1.0]],
        dtype=torch.float64,
        device=pose.device,
    )
    return calibration @ pose[:3, :3].T


def _widest_stretch(intrinsics: Intrinsics) -> float:
    """Pixels along an image axis that a small ball of radius 1 at the depth 1 takes to each side, at most.

    Off the optical axis, where a point's slope is t, that is the focal length times sqrt(1 + t * t).
    """
    of_x = math.hypot(intrinsics.fx, max(intrinsics.cx, intrinsics.width - 1 - intrinsics.cx))
    of_y = math.hypot(intrinsics.fy, max(intrinsics.cy, intrinsics.height - 1 - intrinsics.cy))
    return max(of_x, of_y)


def _clear_depths(reach: torch.Tensor, widest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The least reach around each pixel, in squares of several sizes.

    Args:
        reach: (H, W).
        widest: pixels to each side of the largest square, at least 1.

    Returns:
        (L,) int64 pixels to each side: 1, 2, 3, 4, 6, 8, 12 ... up to ``widest`` or more. And
        (L, H + 2, W + 2) minima with a border of zeros; 0 where the square leaves the image.
    """
    radii: list[int] = []
    while not radii or radii[-1] < widest:
        # By about half each time: 0, 1, 2, 3, 4, 6, 8, 12 ...
        last = radii[-1] if radii else 0
        radii.append(last + max(1, (1 << last.bit_length()) >> 2))
    height, width = reach.shape
    clear = reach.new_zeros(len(radii), height + 2, width + 2)
    radius, image = 0, torch.nn.functional.pad(reach, (1, 1, 1, 1))
    for larger, result in zip(radii, clear, strict=True):
        # The square of the last size, moved to four corners and between: no gap, as it moves by less than its size.
        rows = torch.zeros_like(image)
        _least_of_shifted(image, larger - radius, 0, rows)
        _least_of_shifted(rows, larger - radius, 1, result)
        radius, image = larger, result
    return torch.tensor(radii, device=reach.device), clear


def _least_of_shifted(image: torch.Tensor, step: int, axis: int, result: torch.Tensor) -> None:
    """Write the minimum of an image and of itself moved by ``step`` pixels to both sides, where all of them are."""
    inner = image.shape[axis] - 2 * step
    if inner > 0:
        before, here, behind = (image.narrow(axis, start, inner) for start in (0, step, 2 * step))
        target = result.narrow(axis, step, inner)
        torch.minimum(before, behind, out=target)
        torch.minimum(target, here, out=target)
