"""Sparse matrices row by row, and their products with dense ones, of which nobody needs all rows at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SparseMatrix:
    """A matrix of M rows as the entries that aren't zero (CSR).

    Attributes:
        starts: (M + 1,) int64 where the entries of each row begin, and where the last one's end.
        columns: (E,) int64.
        values: (E,) float32.
    """

    starts: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor

    def __len__(self) -> int:
        return len(self.starts) - 1

    def rows(self, rows: torch.Tensor) -> SparseMatrix:
        """The matrix of (n,) of the rows."""
        ends = (self.starts[rows + 1] - self.starts[rows]).cumsum(0)
        lengths = ends.diff(prepend=ends.new_zeros(1))
        entries = torch.repeat_interleave(self.starts[rows + 1] - ends, lengths)
        entries += torch.arange(len(entries), device=entries.device)
        return SparseMatrix(torch.nn.functional.pad(ends, (1, 0)), self.columns[entries], self.values[entries])

    def times(self, dense: torch.Tensor) -> torch.Tensor:
        """(columns, C) float32 -> (M, C) float32 product."""
        # On a CPU this takes half as long as the product of torch's own sparse matrices.
        return torch.nn.functional.embedding_bag(
            self.columns, dense, self.starts, mode="sum", per_sample_weights=self.values, include_last_offset=True
        )


@dataclass(frozen=True)
class ProductRows:
    """The (M, C) product of a sparse and a dense matrix, computed row by row when it is asked for.

    Attributes:
        sparse: (M, columns).
        dense: (columns, C) float32.
    """

    sparse: SparseMatrix
    dense: torch.Tensor

    def __getitem__(self, rows: torch.Tensor | slice) -> torch.Tensor:
        """(n, C) float32: those of a slice, or of (n,) int64 rows."""
        if isinstance(rows, slice):
            bounds = rows.indices(len(self.sparse))
            if bounds == (0, len(self.sparse), 1):
                return self.sparse.times(self.dense)
            rows = torch.arange(*bounds, device=self.dense.device)
        return self.sparse.rows(rows).times(self.dense)
