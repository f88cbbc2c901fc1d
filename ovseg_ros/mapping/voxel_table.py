"""A table with one row per voxel: found by key, added, changed and removed at a cost that doesn't grow with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from ovseg_ros.mapping.columns import Block, BlockColumns, Column, Located
from ovseg_ros.mapping.voxel_hash import EMPTY, VoxelHash


@dataclass(frozen=True)
class Places:
    """Where the rows of a batch of distinct keys are, or will be once they are written.

    Attributes:
        keys: (n,) int64.
        rows: (n,) int64.
        known: (n,) bool: whether the table has the key already.
        located: the rows in their blocks.
    """

    keys: torch.Tensor
    rows: torch.Tensor
    known: torch.Tensor
    located: Located


@dataclass(frozen=True)
class Snapshot:
    """Which table, and how often it had changed: for asking later what has changed since."""

    table: VoxelTable
    version: int


class VoxelTable:
    """Rows under distinct packed voxel keys: a hash from keys to rows, and columns."""

    def __init__(self, columns: Mapping[str, Column], device: torch.device) -> None:
        self.device = device
        self._columns = BlockColumns({"keys": Column(torch.int64), **columns}, device)
        self._hash = VoxelHash(device)
        self._version = 0
        self._versions = BlockColumns({"version": Column(torch.int64)}, device)

    def __len__(self) -> int:
        return self._columns.count

    @property
    def schema(self) -> Mapping[str, Column]:
        """The columns, "keys" first."""
        return self._columns.schema

    @property
    def column_bytes(self) -> int:
        """Of the rows in use."""
        return self._columns.row_bytes * len(self)

    def column(self, name: str) -> torch.Tensor:
        """The whole (N, ...) column: a view while it is in one block, else a copy."""
        return self._columns.column(name)

    def chunks(self, *names: str) -> Iterator[tuple[torch.Tensor, ...]]:
        """Views of the columns ``names``, block by block in the order of the rows; at least one, maybe of no rows."""
        return self._columns.chunks(*names)

    def snapshot(self) -> Snapshot:
        """For `changed_since`."""
        return Snapshot(self, self._version)

    def changed_since(self, snapshot: Snapshot) -> torch.Tensor | None:
        """(n,) int64 rows, in order, that were written or hold another voxel since; None for another table's."""
        if snapshot.table is not self:
            return None
        return (self._versions.column("version") > snapshot.version).nonzero().squeeze(1)

    def rows_of(self, keys: torch.Tensor) -> torch.Tensor:
        """(n,) keys -> (n,) int64 rows, -1 where the table doesn't have the key."""
        return self._hash.lookup(keys)

    def find_or_reserve(self, keys: torch.Tensor) -> Places:
        """Rows for (n,) distinct keys; the table looks as before until `write`."""
        found = self._hash.lookup(keys)
        known = found != EMPTY
        rows = torch.where(known, found, len(self) + torch.cumsum(~known, dim=0) - 1)
        new = len(keys) - int(known.sum())
        self._columns.reserve(len(self) + new)
        self._versions.reserve(len(self) + new)
        self._hash.reserve(new)
        return Places(keys, rows, known, self._columns.locate(rows))

    def read(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        """(n, ...) copies of a column's values at (n,) rows; those only reserved are finite and mean nothing."""
        return self._columns.read(name, self._columns.locate(rows))

    def read_places(self, name: str, places: Places) -> torch.Tensor:
        """(n, ...) copies of a column's values at ``places``; those of new keys are finite and mean nothing."""
        return self._columns.read(name, places.located)

    def pieces(self, places: Places, size: int) -> Iterator[tuple[Block, torch.Tensor, torch.Tensor | slice]]:
        """The blocks that the rows of ``places`` are in, for changing columns in place; see `BlockColumns.pieces`.

        Whoever does must `write` these places afterwards, so that `changed_since` knows.
        """
        return self._columns.pieces(places.located, size)

    def write(self, places: Places, values: Mapping[str, torch.Tensor]) -> None:
        """Write (n, ...) values to the columns they are named after; new keys appear."""
        new = ~places.known
        self._hash.insert(places.keys[new], places.rows[new])
        self._columns.write(places.located, {"keys": places.keys, **values})
        self._columns.count += int(new.sum())
        self._mark(places.rows)

    def remove(self, keys: torch.Tensor) -> int:
        """Forget (n,) distinct keys, those that are there; the last rows move into the gaps.

        Returns:
            How many were there.
        """
        rows = self._hash.lookup(keys)
        present = rows != EMPTY
        keys, rows = keys[present], rows[present]
        left = len(self) - len(rows)
        gaps = rows[rows < left]
        stays = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
        stays[rows[rows >= left] - left] = False
        movers = left + stays.nonzero().squeeze(1)
        moved = self.read("keys", movers)
        self._columns.move(movers, gaps)
        self._hash.remove(keys)
        self._hash.assign(moved, gaps)
        self._columns.shrink(left)
        self._versions.shrink(left)
        self._mark(gaps)
        return len(rows)

    def _mark(self, rows: torch.Tensor) -> None:
        """Note that (n,) rows have changed."""
        self._version += 1
        self._versions.count = len(self)
        self._versions.write(self._versions.locate(rows), {"version": torch.full_like(rows, self._version)})
