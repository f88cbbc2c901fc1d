"""What a map stores: a table of voxels and a table of features, and how sums are added to both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch

from ovseg_ros.geometry import pack_keys, unpack_keys
from ovseg_ros.mapping.columns import Column
from ovseg_ros.mapping.compression import FeatureCodec
from ovseg_ros.mapping.config import MappingConfig
from ovseg_ros.mapping.fusion import coarse_keys
from ovseg_ros.mapping.half import join_half, split_half
from ovseg_ros.mapping.voxel_table import Places, VoxelTable

PIECE_NUMBERS = 1 << 18
"""Features changed at a time: a megabyte of float32, which stays in a processor's cache."""

FEATURE_PREFIX = "feature_"
"""Tells columns of a separate table of features from those of the voxels."""


FEATURE_COLUMNS = ("features", "feature_remainders")
"""As wide as features are."""


class FeatureRows(Protocol):
    """(M, C) float32 numbers by row: a tensor, or what makes rows when they are asked for."""

    def __getitem__(self, rows: torch.Tensor | slice, /) -> torch.Tensor:
        """The rows of a slice, or (n,) rows."""


@dataclass(frozen=True)
class VoxelSums:
    """What a frame or another map adds to V voxels and M feature voxels.

    Attributes:
        keys: (V,) int64 distinct packed voxel keys.
        counts: (V,) float32 pixels, positive.
        colours: (V, 3) float32 sums over pixels.
        stamps: (V,) int64 newest stamps, nanoseconds.
        feature_keys: (M,) int64 distinct packed keys; the same tensor as ``keys`` where features are not coarser.
        feature_counts: (M,) float32 pixels, positive.
        features: (M, C) sums over pixels.
    """

    keys: torch.Tensor
    counts: torch.Tensor
    colours: torch.Tensor
    stamps: torch.Tensor
    feature_keys: torch.Tensor
    feature_counts: torch.Tensor
    features: FeatureRows

    def to(self, device: torch.device) -> VoxelSums:
        """The same sums on another device."""
        whole = replace(self, features=self.features[:])
        return VoxelSums(*(getattr(whole, field.name).to(device) for field in fields(whole)))

    def regrouped(self, keys: torch.Tensor, block: int) -> VoxelSums:
        """Sums of voxels that each have a feature, under other (V,) keys, not distinct; features by coarser blocks."""
        distinct, row = torch.unique(keys, return_inverse=True)
        coarse, coarse_row = (
            (distinct, row) if block == 1 else torch.unique(coarse_keys(keys, block), return_inverse=True)
        )
        return VoxelSums(
            keys=distinct,
            counts=_sum_rows(self.counts, row, len(distinct)),
            colours=_sum_rows(self.colours, row, len(distinct)),
            stamps=torch.zeros_like(distinct).scatter_reduce_(0, row, self.stamps, "amax", include_self=False),
            feature_keys=coarse,
            feature_counts=_sum_rows(self.feature_counts, coarse_row, len(coarse)),
            features=_sum_rows(self.features[:], coarse_row, len(coarse)),
        )


class MapTables:
    """The voxels and their features; one table for both unless features live on a coarser level."""

    def __init__(self, config: MappingConfig, channels: int, device: torch.device) -> None:
        self._config = config
        self._block = config.feature_block
        self._max_weight = config.max_weight if config.max_weight else float("inf")
        self._halved = config.torch_feature_dtype == torch.float16
        features = {"features": Column(config.torch_feature_dtype, (channels,))}
        if self._halved:
            features["feature_remainders"] = Column(torch.int8, (channels,))
        voxels = {"weights": Column(torch.float32), "colours": Column(torch.float32, (3,))}
        voxels["last_seen"] = Column(torch.int64)
        if self._block == 1:
            self.voxels = self.features = VoxelTable(voxels | features, device)
        else:
            self.voxels = VoxelTable(voxels, device)
            self.features = VoxelTable({"weights": Column(torch.float32), **features}, device)
        self.channels = channels

    @property
    def column_bytes(self) -> int:
        """Of the rows in use."""
        return self.voxels.column_bytes + (self.features.column_bytes if self._separate else 0)

    def add(self, sums: VoxelSums) -> None:
        """Add sums to the means; either all of them or, when memory runs out for more rows, none."""
        voxels = self.voxels.find_or_reserve(sums.keys)
        before = torch.where(voxels.known, self.voxels.read_places("weights", voxels), 0.0)
        seen = torch.maximum(self.voxels.read_places("last_seen", voxels), sums.stamps)
        after = before + sums.counts
        values = {
            "weights": after.clamp(max=self._max_weight),
            "colours": _mean(self.voxels.read_places("colours", voxels), before, sums.colours, after),
            "last_seen": torch.where(voxels.known, seen, sums.stamps),
        }
        features = voxels
        if self._separate:
            features = self.features.find_or_reserve(sums.feature_keys)
            before = torch.where(features.known, self.features.read_places("weights", features), 0.0)
            after = before + sums.feature_counts
        self._add_features(features, before, sums.features, after)
        self.voxels.write(voxels, values)
        if self._separate:
            self.features.write(features, {"weights": after.clamp(max=self._max_weight)})

    def sums(self) -> Iterator[VoxelSums]:
        """All that is in the tables, chunk by chunk, as it could be added to empty ones."""
        if not len(self.voxels):
            return
        geometry = self.voxels.chunks("keys", "weights", "colours", "last_seen")
        features = zip(self.features.chunks("keys", "weights"), self.exact_feature_chunks(), strict=True)
        if not self._separate:
            for (keys, weights, colours, stamps), (_, means) in zip(geometry, features, strict=True):
                colours, sums = colours * weights[:, None], means * weights[:, None]
                yield VoxelSums(keys, weights, colours, stamps, keys, weights, sums)
            return
        device = self.voxels.device
        no_keys, no_counts = torch.zeros(0, dtype=torch.int64, device=device), torch.zeros(0, device=device)
        for keys, weights, colours, stamps in geometry:
            no_features = torch.zeros(0, self.channels, device=device)
            yield VoxelSums(keys, weights, colours * weights[:, None], stamps, no_keys, no_counts, no_features)
        for (keys, weights), means in features:
            no_colours = torch.zeros(0, 3, device=device)
            yield VoxelSums(no_keys, no_counts, no_colours, no_keys, keys, weights, means * weights[:, None])

    def voxel_sums(self) -> Iterator[VoxelSums]:
        """All that is in the tables, chunk by chunk, where each voxel brings a feature, weighted with its pixels."""
        if not self._separate or not len(self.voxels):
            yield from self.sums()
            return
        for keys, counts, colours, stamps in self.voxels.chunks("keys", "weights", "colours", "last_seen"):
            rows = self.features.rows_of(coarse_keys(keys, self._block))
            features = self.exact_features(rows) * counts[:, None]
            yield VoxelSums(keys, counts, colours * counts[:, None], stamps, keys, counts, features)

    def encoded(self, codec: FeatureCodec) -> MapTables:
        """Tables with codes instead of the features."""
        codes = MapTables(self._config, codec.components, self.voxels.device)
        for sums in self.sums():
            counts = sums.feature_counts[:, None]
            codes.add(replace(sums, features=codec.encode_rows(sums.features[:] / counts) * counts))
        return codes

    def widened(self, channels: int) -> MapTables:
        """Tables with the same rows whose features have further numbers, 0 so far: a copy, never half done."""
        wide = MapTables(self._config, channels, self.voxels.device)
        for narrow, target in zip(self._tables(), wide._tables(), strict=True):
            for columns in narrow.chunks(*narrow.schema):
                values = padded(dict(zip(narrow.schema, columns, strict=True)), channels)
                target.write(target.find_or_reserve(values.pop("keys")), values)
        return wide

    def remove(self, keys: torch.Tensor) -> int:
        """Forget (n,) distinct voxels, and features that no voxel is left for; returns how many voxels there were."""
        removed = self.voxels.remove(keys)
        if removed and self._separate:
            self.features.remove(self._orphans(torch.unique(coarse_keys(keys, self._block))))
        return removed

    def feature_rows(self) -> torch.Tensor:
        """(N,) int64 row in the table of features of each voxel."""
        if not self._separate:
            return torch.arange(len(self.voxels), device=self.voxels.device)
        return torch.cat(
            [self.features.rows_of(coarse_keys(keys, self._block)) for (keys,) in self.voxels.chunks("keys")]
        )

    def feature_chunks(self) -> Iterator[torch.Tensor]:
        """(n, C) means of the feature voxels, block by block, float32 or, for comparing only, float16; views."""
        for (chunk,) in self.features.chunks("features"):
            yield chunk

    def exact_feature_chunks(self) -> Iterator[torch.Tensor]:
        """(n, C) float32 means of the feature voxels, block by block."""
        if not self._halved:
            yield from self.feature_chunks()
            return
        for high, remainder in self.features.chunks("features", "feature_remainders"):
            yield join_half(high, remainder)

    def columns(self) -> dict[str, torch.Tensor]:
        """All columns by name; "feature_keys" and "feature_weights" are those of a separate table of features."""
        return {stored: table.column(name) for table in self._tables() for stored, name in self._names(table)}

    def schema(self, voxels: int, feature_voxels: int) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Type and shape of all `columns` of a map of so many voxels and, if apart, feature voxels."""
        return {
            stored: (table.schema[name].dtype, (count, *table.schema[name].shape))
            for table, count in zip(self._tables(), (voxels, feature_voxels), strict=False)
            for stored, name in self._names(table)
        }

    def columns_of(self, keys: torch.Tensor) -> dict[str, torch.Tensor]:
        """Copies of `columns` for (n,) distinct voxels that are there; features in whose blocks they lie are whole."""
        feature_keys = torch.unique(coarse_keys(keys, self._block)) if self._separate else keys
        rows = {
            table: table.rows_of(wanted) for table, wanted in zip(self._tables(), (keys, feature_keys), strict=False)
        }
        return {stored: table.read(name, rows[table]) for table in rows for stored, name in self._names(table)}

    def load(self, columns: Mapping[str, torch.Tensor]) -> None:
        """Add what `columns` or `columns_of` returned; the tensors are copied, all keys must be new and distinct.

        Features may have fewer numbers than those here, as before tables were `widened`.
        """
        columns = padded(columns, self.channels)
        for table in self._tables():
            values = {name: columns[stored] for stored, name in self._names(table)}
            table.write(table.find_or_reserve(values.pop("keys")), values)

    def _tables(self) -> tuple[VoxelTable, ...]:
        return (self.voxels, self.features) if self._separate else (self.voxels,)

    def _names(self, table: VoxelTable) -> list[tuple[str, str]]:
        """The columns of a table: the name among those of both tables, and the table's own."""
        shared = self.voxels.schema if table is not self.voxels else {}
        return [(FEATURE_PREFIX + name if name in shared else name, name) for name in table.schema]

    @property
    def _separate(self) -> bool:
        return self.features is not self.voxels

    def _add_features(self, places: Places, before: torch.Tensor, sums: FeatureRows, after: torch.Tensor) -> None:
        """Take (M, C) sums into the mean features at ``places``, of (M,) weights before and after."""
        on_cpu = before.device.type == "cpu"
        rows = max(1, PIECE_NUMBERS // self.channels) if on_cpu else max(1, len(before))
        for block, local, part in self.features.pieces(places, rows):
            # Several times as fast as block["features"][local].
            mean = block["features"].index_select(0, local)
            if not self._halved:
                block["features"][local] = _mean(mean, before[part], sums[part], after[part])
                continue
            mean = _mean(
                join_half(mean, block["feature_remainders"].index_select(0, local)),
                before[part],
                sums[part],
                after[part],
            )
            block["features"][local], block["feature_remainders"][local] = split_half(mean)

    def exact_features(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, C) float32 copies of the means at the (n,) rows."""
        mean = self.features.read("features", rows)
        return join_half(mean, self.features.read("feature_remainders", rows)) if self._halved else mean

    def _orphans(self, feature_keys: torch.Tensor) -> torch.Tensor:
        """Those of the (m,) keys in whose block of voxels there is none."""
        steps = torch.arange(self._block, device=feature_keys.device)
        offsets = torch.cartesian_prod(steps, steps, steps).view(-1, 3)
        inside = pack_keys(unpack_keys(feature_keys)[:, None] * self._block + offsets)
        empty = (self.voxels.rows_of(inside.flatten()) < 0).view(inside.shape).all(dim=1)
        return feature_keys[empty]


def padded(columns: Mapping[str, torch.Tensor], channels: int) -> dict[str, torch.Tensor]:
    """Columns by name, where those of features that have fewer numbers are followed by zeros."""
    return {
        name: torch.nn.functional.pad(column, (0, channels - column.shape[1]))
        if name in FEATURE_COLUMNS and column.shape[1] < channels
        else column
        for name, column in columns.items()
    }


def _sum_rows(values: torch.Tensor, row: torch.Tensor, rows: int) -> torch.Tensor:
    """(n, ...) values and the (n,) row each goes to -> (rows, ...) sums."""
    return values.new_zeros(rows, *values.shape[1:]).index_add_(0, row, values)


def _mean(mean: torch.Tensor, before: torch.Tensor, sums: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """(n, C) means over ``before`` pixels, a copy that is overwritten, and (n, C) sums -> means over ``after``."""
    return mean.mul_(before[:, None]).add_(sums).div_(after[:, None])
