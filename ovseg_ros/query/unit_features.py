"""Features as they are stored, compared as if they had unit length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from ovseg_ros.mapping.compression import FeatureCodec
from ovseg_ros.query.rows import replaced

PRODUCTS = 1 << 18
"""Products of features and texts made at a time: few enough for a processor's cache, enough to keep its cores busy."""

FEW_TEXTS = 16
"""Up to so many texts are multiplied from the right: on CPUs up to twice as fast as from the left, for more slower."""

MIN_NORM = 1e-12
"""Shorter features point nowhere."""


class UnitFeatures:
    """M features, half precision or compressed as they may be, that are made unit features as they are read."""

    def __init__(
        self, chunks: Sequence[torch.Tensor], codec: FeatureCodec | None = None, scales: torch.Tensor | None = None
    ) -> None:
        """Take the features; they are not copied.

        Args:
            chunks: (n, C) parts, M rows in all, or (n, K) codes of ``codec``.
            codec: what compressed them; None if nothing did.
            scales: (M,) what makes them unit features; None to find out when they are first needed.
        """
        self.chunks = chunks
        self.codec = codec
        self._scales = scales

    def __len__(self) -> int:
        return sum(map(len, self.chunks))

    @property
    def bytes_each(self) -> int:
        """Bytes that a feature takes."""
        return self.chunks[0].shape[1] * self.chunks[0].element_size() if self.chunks else 0

    @property
    def scales(self) -> torch.Tensor:
        """(M,) what makes products with unit texts cosines; 0 for features of no length. Codes need none."""
        if self._scales is None:
            norms = torch.cat([torch.linalg.vector_norm(chunk, dim=1, dtype=torch.float32) for chunk in self.chunks])
            self._scales = torch.where(norms > MIN_NORM, 1.0 / norms, 0.0)
        return self._scales

    def parts(self, texts: int) -> Iterator[tuple[slice, UnitFeatures]]:
        """Those that are best compared with so many texts at a time, and which they are."""
        rows, start = max(1, PRODUCTS // max(1, texts)), 0
        for chunk in self.chunks:
            for stored in torch.split(chunk, rows):
                part = slice(start, start + len(stored))
                yield part, UnitFeatures([stored], self.codec, None if self.codec else self.scales[part])
                start = part.stop

    def at(self, rows: torch.Tensor) -> UnitFeatures:
        """Copies of (n,) rows, which are in order."""
        ends = torch.tensor([len(chunk) for chunk in self.chunks]).cumsum(0)
        counts = torch.searchsorted(rows.cpu(), ends).diff(prepend=torch.zeros(1, dtype=torch.int64)).tolist()
        starts = [0, *ends.tolist()]
        chunks = [
            chunk.index_select(0, part - start)
            for chunk, part, start in zip(self.chunks, torch.split(rows, counts), starts, strict=False)
        ]
        return UnitFeatures(chunks, self.codec, None if self._scales is None else self._scales[rows])

    def replace(self, chunks: Sequence[torch.Tensor], rows: torch.Tensor) -> UnitFeatures:
        """Be these features now, of which (n,) ``rows``, in order, have changed; return those."""
        changed = UnitFeatures(chunks, self.codec).at(rows)
        self.chunks = chunks
        if self._scales is not None:
            self._scales = replaced(self._scales, rows, changed.scales, len(self))
        return changed

    def cosines(self, texts: torch.Tensor) -> torch.Tensor:
        """(T, C) texts -> (T, M) float32 products with the unit features; cosines for unit texts."""
        if self.codec:
            return torch.cat([self.codec.cosines(chunk, texts) for chunk in self.chunks], dim=1)
        result, start = torch.empty(len(texts), len(self), device=texts.device), 0
        for chunk in self.chunks:
            part = slice(start, start + len(chunk))
            torch.mul(products(chunk, texts), self.scales[part], out=result[:, part])
            start = part.stop
        return result


def products(features: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """(n, C) features of any precision, (T, C) texts -> (T, n) float32."""
    features, count = features.float(), len(texts)
    if count > FEW_TEXTS:
        return texts @ features.T
    # A product with a single column is left to a routine that reads memory at half the speed of that with two.
    columns = texts.repeat(2, 1) if count == 1 else texts
    return (features @ columns.T).T[:count]
