"""Rows of a table as a structure of arrays, in blocks: growing adds a block and copies nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

BLOCK_BYTES = 1 << 26
"""Of one block over all columns, at most. On a CPU, memory of rows that were never written is not used."""

MIN_BLOCK_ROWS = 1024


@dataclass(frozen=True)
class Column:
    """What one row holds in a column: a tensor of this shape and type."""

    dtype: torch.dtype
    shape: tuple[int, ...] = ()

    @property
    def bytes(self) -> int:
        """Of one row."""
        return math.prod(self.shape) * self.dtype.itemsize


Block = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Located:
    """``count`` rows: for each block with some of them, the block, their places in it, and which of them they are."""

    count: int
    parts: tuple[tuple[Block, torch.Tensor, torch.Tensor | slice], ...]


class BlockColumns:
    """Columns of equal length N, each a list of blocks of as many rows; row ``i`` is in block ``i // block rows``."""

    def __init__(self, columns: Mapping[str, Column], device: torch.device) -> None:
        self.count = 0
        self.schema = dict(columns)
        self._device = device
        self.row_bytes = sum(column.bytes for column in columns.values())
        self._shift = max(MIN_BLOCK_ROWS, BLOCK_BYTES // self.row_bytes).bit_length() - 1
        self._blocks: list[Block] = []

    def column(self, name: str) -> torch.Tensor:
        """The whole (N, ...) column: a view while it is in one block, else a copy."""
        parts = [part for (part,) in self.chunks(name)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def chunks(self, *names: str) -> Iterator[tuple[torch.Tensor, ...]]:
        """Views of the columns ``names``, block by block in the order of the rows; at least one, maybe of no rows."""
        rows = 1 << self._shift
        for start in range(0, max(self.count, 1), rows):
            if start >> self._shift < len(self._blocks):
                block = self._blocks[start >> self._shift]
                yield tuple(block[name][: max(self.count - start, 0)] for name in names)
            else:
                yield tuple(self._empty(name, 0) for name in names)

    def reserve(self, rows: int) -> None:
        """Make room for ``rows`` rows; those not written yet hold zeros or what was there before."""
        while len(self._blocks) << self._shift < rows:
            self._blocks.append({name: self._empty(name, 1 << self._shift) for name in self.schema})

    def shrink(self, rows: int) -> None:
        """Keep the first ``rows`` rows, and of the blocks behind them one, for what comes next."""
        self.count = rows
        del self._blocks[(rows >> self._shift) + 2 :]

    def locate(self, rows: torch.Tensor) -> Located:
        """Find the blocks of (n,) reserved rows, once for all columns."""
        return Located(len(rows), tuple(self._by_block(rows)))

    def read(self, name: str, rows: Located) -> torch.Tensor:
        """(n, ...) copies of what the column holds at the rows."""
        if len(rows.parts) == 1 and isinstance(rows.parts[0][2], slice):
            block, local, _ = rows.parts[0]
            return block[name].index_select(0, local)
        column = self.schema[name]
        result = torch.empty(rows.count, *column.shape, dtype=column.dtype, device=self._device)
        for block, local, positions in rows.parts:
            result[positions] = block[name].index_select(0, local)
        return result

    def write(self, rows: Located, values: Mapping[str, torch.Tensor]) -> None:
        """Write (n, ...) values to distinct rows, column by column."""
        for block, local, positions in rows.parts:
            for name, column in values.items():
                block[name][local] = column[positions].to(block[name].dtype)

    def pieces(self, rows: Located, size: int) -> Iterator[tuple[Block, torch.Tensor, torch.Tensor | slice]]:
        """The rows in pieces of at most ``size``: its block, their places in it, which of the rows they are.

        To change a wide column without copies of all rows at once: large tensors are memory that the system has to
        hand out afresh, which can take longer than the work.
        """
        for block, local, positions in rows.parts:
            for start in range(0, len(local), size):
                piece = slice(start, start + size)
                yield block, local[piece], piece if isinstance(positions, slice) else positions[piece]

    def move(self, sources: torch.Tensor, targets: torch.Tensor) -> None:
        """Copy whole rows from (n,) rows to as many others."""
        located = self.locate(sources)
        self.write(self.locate(targets), {name: self.read(name, located) for name in self.schema})

    def _empty(self, name: str, rows: int) -> torch.Tensor:
        column = self.schema[name]
        shape = (rows, *column.shape)
        if self._device.type != "cpu":
            return torch.zeros(shape, dtype=column.dtype, device=self._device)
        # torch.zeros writes its memory; NumPy takes pages that the system fills with zeros when they are first used.
        return torch.from_numpy(np.zeros(shape, dtype=torch.empty(0, dtype=column.dtype).numpy().dtype))

    def _by_block(self, rows: torch.Tensor) -> Iterator[tuple[Block, torch.Tensor, torch.Tensor | slice]]:
        if len(self._blocks) == 1:
            yield self._blocks[0], rows, slice(None)
            return
        numbers = rows >> self._shift
        for number in torch.unique(numbers).tolist():
            positions = (numbers == number).nonzero().squeeze(1)
            yield self._blocks[number], rows[positions] & ((1 << self._shift) - 1), positions
