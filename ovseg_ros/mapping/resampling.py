"""Blocks of cells under a rigid transform, pulled: each cell takes what lies at its centre, so no turn leaves holes.

Pure functions on tensors. Transforms are in cells: a cell's centre is its index.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import KEY_LIMIT, pack_keys, transform_points, unpack_keys
from ovseg_ros.mapping.blocks import BLOCK, cell_numbers, cell_offsets

NEAR_BLOCKS = 3
"""A turned block reaches over at most this many blocks along each axis: its diagonal is below 14 cells."""

ROUNDING = 1e-6
"""Cells by which a transformed border may be off."""


@dataclass(frozen=True)
class Sources:
    """Where the cells of T blocks come from.

    Attributes:
        block_keys: (U,) int64 distinct packed keys of blocks, that needn't exist.
        block: (T, 512) int64 which of them each cell comes from.
        number: (T, 512) int64 which cell in it.
    """

    block_keys: torch.Tensor
    block: torch.Tensor
    number: torch.Tensor


def in_cells(transform: torch.Tensor, voxel_size: float, device: torch.device) -> torch.Tensor:
    """(4, 4) rigid transform in metres -> float64, its translation in cells of ``voxel_size`` metres."""
    scaled = transform.to(device, torch.float64, copy=True)
    scaled[:3, 3] /= voxel_size
    return scaled


def blocks_reached(block_keys: torch.Tensor, transform: torch.Tensor) -> torch.Tensor:
    """The blocks that hold all cells pulled from some blocks, and maybe some more.

    Args:
        block_keys: (B,) int64 packed keys.
        transform: (4, 4) float64, as from `in_cells`.

    Returns:
        (n,) int64 distinct packed keys, ascending.

    Raises:
        OvsegError: a block reaches out of the range of keys.
    """
    centres = transform_points(transform, unpack_keys(block_keys).double() * BLOCK + (BLOCK - 1) / 2)
    reach = transform[:3, :3].abs().sum(dim=1) * (BLOCK / 2) + ROUNDING
    low, high = torch.ceil(centres - reach), torch.floor(centres + reach)
    if ((low < -KEY_LIMIT) | (high >= KEY_LIMIT)).any():
        raise OvsegError("the transform moves free space out of the range of a map: check its translation, in metres")
    first, last = low.long() >> 3, high.long() >> 3
    blocks = first[:, None] + _near_offsets(block_keys.device)
    return torch.unique(pack_keys(blocks[(blocks <= last[:, None]).all(dim=-1)]))


def pulled(block_keys: torch.Tensor, transform: torch.Tensor) -> Sources:
    """Where the cells of (T,) blocks come from; ``transform`` is from there to here, as from `in_cells`."""
    inverse = torch.linalg.inv(transform)
    offsets = cell_offsets(block_keys.device).double() @ inverse[:3, :3].T
    corners = transform_points(inverse, unpack_keys(block_keys).double() * BLOCK)
    first = torch.round(corners + offsets.amin(dim=0)).long() >> 3
    # Counted from the first cell of the first block, 0 to 23, so that small integers do. Where a centre lies between
    # two cells, the sum may be rounded to another one than above, hence the clamp.
    corners = corners - first * BLOCK
    cells = torch.round(corners.T[:, :, None] + offsets.T[:, None]).clamp_(min=0.0).int().movedim(0, -1)
    x, y, z = (cells >> 3).unbind(dim=-1)
    near, row = torch.unique(pack_keys(first[:, None] + _near_offsets(block_keys.device)), return_inverse=True)
    return Sources(near, row.gather(1, ((x * NEAR_BLOCKS + y) * NEAR_BLOCKS + z).long()), cell_numbers(cells).long())


def _near_offsets(device: torch.device) -> torch.Tensor:
    """(27, 3) int64, by x, then y, then z."""
    steps = torch.arange(NEAR_BLOCKS, device=device)
    return torch.cartesian_prod(steps, steps, steps)
