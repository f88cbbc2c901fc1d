"""An OccupancyGrid seen from above: what a robot of some height can drive under, into or through."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import unpack_keys
from ovseg_ros.mapping.blocks import BLOCK
from ovseg_ros.mapping.occupancy import UNOBSERVED, OccupancyGrid

UNKNOWN, FREE, OCCUPIED = -1, 0, 100
"""As nav_msgs/OccupancyGrid counts."""

MAX_CELLS = 1 << 26
"""A plan is one dense array: 64 MB, 400 x 400 m in cells of 5 cm."""


@dataclass(frozen=True)
class GroundPlan:
    """The columns of a height band.

    Attributes:
        cells: (ny, nx) int8: OCCUPIED if any cell of the column is, else FREE if any is, else UNKNOWN.
        corner: x, y in the world of the outer corner of ``cells[0, 0]``, metres.
        cell_size: edge of a cell, metres.
    """

    cells: torch.Tensor
    corner: tuple[float, float]
    cell_size: float


def ground_plan(occupancy: OccupancyGrid, lowest: float, highest: float) -> GroundPlan:
    """Look at the cells whose centres are at heights from ``lowest`` to ``highest``, metres.

    Raises:
        OvsegError: the blocks lie so far apart that the plan has more than MAX_CELLS cells.
    """
    size = occupancy.voxel_size
    columns = occupancy.columns
    blocks = unpack_keys(columns["block_keys"])
    heights = blocks[:, 2, None] * BLOCK + torch.arange(BLOCK, device=blocks.device)
    inside = (heights >= math.ceil(lowest / size)) & (heights <= math.floor(highest / size))
    chosen = inside.any(dim=1)
    if not chosen.any():
        return GroundPlan(torch.empty(0, 0, dtype=torch.int8, device=blocks.device), (0.0, 0.0), size)
    blocks, log_odds = blocks[chosen, :2], columns["log_odds"][chosen].view(-1, BLOCK, BLOCK, BLOCK)
    low = blocks.amin(dim=0)
    nx, ny = (blocks.amax(dim=0) - low + 1).tolist()
    if nx * ny * BLOCK**2 > MAX_CELLS:
        raise OvsegError(
            f"the occupancy grid would have {nx * BLOCK} x {ny * BLOCK} cells, the limit is {MAX_CELLS} in all: "
            "set mapping.region or take larger voxels"
        )
    states = torch.full_like(log_odds, UNKNOWN)
    states.masked_fill_((log_odds < 0) & (log_odds != UNOBSERVED), FREE)
    states.masked_fill_(log_odds > 0, OCCUPIED)
    states.masked_fill_(~inside[chosen, None, None], UNKNOWN)
    seen = states.amax(dim=3).transpose(1, 2).reshape(-1, BLOCK * BLOCK)

    plan = torch.full((ny * nx, BLOCK * BLOCK), UNKNOWN, dtype=torch.int8, device=blocks.device)
    x, y = (blocks - low).unbind(dim=1)
    plan.scatter_reduce_(0, (y * nx + x)[:, None].expand_as(seen), seen, "amax")
    cells = plan.view(ny, nx, BLOCK, BLOCK).transpose(1, 2).reshape(ny * BLOCK, nx * BLOCK)
    left, lower = ((low * BLOCK).double() - 0.5).mul(size).tolist()
    return GroundPlan(cells, (left, lower), size)
