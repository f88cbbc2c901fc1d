"""Cells in cubic blocks: how cells, blocks and places in tensors are numbered. Pure functions on tensors.

Cell ``c`` of an axis lies in block ``c // 8``. The 512 cells of a block are numbered by x, then y, then z.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import KEY_LIMIT, pack_keys, unpack_keys

BLOCK = 8
"""Cells along the edge of a block."""

BLOCK_CELLS = BLOCK**3

BLOCK_LIMIT = KEY_LIMIT // BLOCK
"""Block indices of cells that have a key lie in [-BLOCK_LIMIT, BLOCK_LIMIT)."""

MAX_BOX_BLOCKS = 1 << 22
"""A box of more blocks would take more than 2 GB of cells."""


@dataclass(frozen=True)
class BlockBox:
    """A box of blocks that one frame is looked at in.

    Attributes:
        low: lowest block index along each axis.
        shape: blocks along each axis, at least 0.

    Raises:
        OvsegError: the box is too large to be looked at block by block.
    """

    low: tuple[int, int, int]
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        if len(self) > MAX_BOX_BLOCKS:
            size = " x ".join(str(BLOCK * n) for n in self.shape)
            raise OvsegError(
                f"a frame reaches over {size} cells, the limit is {MAX_BOX_BLOCKS * BLOCK_CELLS} in all: "
                "lower max_depth or take larger voxels"
            )

    @classmethod
    def around(cls, low: torch.Tensor, high: torch.Tensor) -> BlockBox:
        """The blocks of the cells from ``low`` to ``high``, (3,) indices that are clipped to those that have a key."""
        first = low.clamp(-KEY_LIMIT, KEY_LIMIT).long() // BLOCK
        last = high.clamp(-KEY_LIMIT - 1, KEY_LIMIT - 1).long() // BLOCK
        x, y, z = first.tolist()
        nx, ny, nz = (last - first + 1).clamp(min=0).tolist()
        return cls((x, y, z), (nx, ny, nz))

    def __len__(self) -> int:
        nx, ny, nz = self.shape
        return nx * ny * nz

    def blocks(self, device: torch.device) -> torch.Tensor:
        """(len, 3) int64 indices of its blocks, by x, then y, then z."""
        axes = [torch.arange(n, device=device) + low for low, n in zip(self.low, self.shape, strict=True)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).view(-1, 3)

    def numbers_of(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, 3) cell indices within the box -> (n,) number of the block in `blocks`, (n,) number within the block."""
        x, y, z = cells.unbind(dim=-1)
        _, ny, nz = self.shape
        low_x, low_y, low_z = self.low
        block = (((x >> 3) - low_x) * ny + ((y >> 3) - low_y)) * nz + ((z >> 3) - low_z)
        return block, cell_numbers(cells)


def cell_numbers(cells: torch.Tensor) -> torch.Tensor:
    """(n, 3) cell indices -> (n,) int64 numbers within their blocks, 0 to 511."""
    x, y, z = (cells & (BLOCK - 1)).unbind(dim=-1)
    return (x << 6) | (y << 3) | z


def block_keys_of(cells: torch.Tensor) -> torch.Tensor:
    """(n, 3) cell indices -> (n,) int64 packed keys of their blocks."""
    return pack_keys(cells >> 3)


def cell_offsets(device: torch.device) -> torch.Tensor:
    """(512, 3) int64 offsets of the cells from the first of their block."""
    numbers = torch.arange(BLOCK_CELLS, device=device)
    return torch.stack((numbers >> 6, (numbers >> 3) & 7, numbers & 7), dim=-1)


def marked_keys(block_keys: torch.Tensor, marks: torch.Tensor) -> torch.Tensor:
    """(B,) block keys and (B, 512) bool -> (n,) int64 packed keys of the marked cells, block by block."""
    row, number = marks.nonzero(as_tuple=True)
    first = pack_keys(unpack_keys(block_keys) * BLOCK)
    # Offsets within a block change only the low bits of each axis, so they add without a carry.
    return first[row] + pack_keys(cell_offsets(marks.device) - KEY_LIMIT)[number]


def neighbours_towards(viewpoint: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """The neighbours of (V, 3) cells that face ``viewpoint``, (3,) in cells, along each axis: (3 V, 3) indices.

    These lie in front of the surface that was hit, but maybe too near to it to be seen free. Left unobserved,
    they would make a frontier of every wall. Where there is no cell with a key, it is the cell itself.
    """
    neighbours = cells.repeat(3, 1, 1)
    for axis in range(3):
        neighbours[axis, :, axis] += torch.sign(viewpoint[axis] - cells[:, axis]).long()
    return neighbours.clamp_(-KEY_LIMIT, KEY_LIMIT - 1).view(-1, 3)
