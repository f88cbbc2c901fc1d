"""The voxels of a map as a structure of arrays: one preallocated tensor per attribute, grown in steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch

GROWTH = 1.5
MIN_ROWS = 4096


class VoxelColumns:
    """Tensors with one row per voxel that grow together.

    Columns: ``keys`` (N,) int64, ``weights`` (N,) float32, ``colours`` (N, 3) float32,
    ``features`` (N, C) float32 or float16, ``last_seen`` (N,) int64.
    """

    def __init__(self, channels: int, feature_dtype: torch.dtype, device: torch.device) -> None:
        self.count = 0
        self._storage = {
            "keys": torch.zeros(0, dtype=torch.int64, device=device),
            "weights": torch.zeros(0, dtype=torch.float32, device=device),
            "colours": torch.zeros(0, 3, dtype=torch.float32, device=device),
            "features": torch.zeros(0, channels, dtype=feature_dtype, device=device),
            "last_seen": torch.zeros(0, dtype=torch.int64, device=device),
        }

    def __getitem__(self, name: str) -> torch.Tensor:
        """The (N, ...) column, a view."""
        return self._storage[name][: self.count]

    def views(self) -> dict[str, torch.Tensor]:
        """All columns, as views."""
        return {name: self[name] for name in self._storage}

    def reserve(self, rows: int) -> None:
        """Make room for ``rows`` voxels; rows beyond `count` hold finite values."""
        for name, old in self._storage.items():
            if rows > len(old):
                capacity = max(rows, int(GROWTH * len(old)), MIN_ROWS)
                grown = torch.zeros(capacity, *old.shape[1:], dtype=old.dtype, device=old.device)
                grown[: self.count] = old[: self.count]
                self._storage[name] = grown

    def read(self, name: str, slots: torch.Tensor) -> torch.Tensor:
        """(n,) slots within the reserved rows -> (n, ...) copies of a column's rows."""
        return self._storage[name][slots]

    def write(self, slots: torch.Tensor, rows: Mapping[str, torch.Tensor]) -> None:
        """Write (n, ...) rows to (n,) distinct slots within the reserved rows, column by column."""
        for name, values in rows.items():
            column = self._storage[name]
            column[slots] = values.to(column.dtype)
