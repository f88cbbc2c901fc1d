"""Semantic rays: what is seen beyond depth range, remembered as directions out of frontiers.

A pixel at infinite depth has a feature and a direction but no place. Its ray is handed to the frontier
that it most likely leaves known space through, and there joins the other rays of about the same
direction, as in RayFronts (Alama et al. 2025, arXiv 2504.06994). Apart from RayFronts:

- a match costs the same whatever else the frame holds: distances are scaled by their limits, not by
  the largest distance in the frame;
- directions are binned about the world's up axis in bins of nearly equal area, without a seam;
- a bin keeps the mean of its directions and their spread, so its own centre and size don't show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import transform_points, unpack_keys
from ovseg_ros.mapping.columns import Column
from ovseg_ros.mapping.frontiers import Frontiers
from ovseg_ros.mapping.layer_config import MIN_DISTANCE_CELLS, RayConfig
from ovseg_ros.mapping.ray_casting import (
    DirectionBins,
    match_frontiers,
    pixel_directions,
    pixels_beyond_range,
    sample_bilinear,
    turned,
)
from ovseg_ros.mapping.voxel_table import VoxelTable
from ovseg_ros.types import Intrinsics, InvalidFrameError

ROUNDING = 1e-9
"""By how much the mean of unit vectors may seem longer than 1."""

RAY_KEY_BITS = 63
"""Of a non-negative int64: three indices of a frontier cell and a bin share them."""


class SemanticRays:
    """Rays out of frontiers, one for each frontier and bin of directions, with their mean features.

    Every cast adds a weight of 1, shared among its matched rays. Means don't depend on the order of
    casts, except that rays forgotten for `RayConfig.max_rays` lose what they had. Memory is bounded by
    ``max_rays + max_rays_per_frame`` rows of 4 C + 80 bytes. Properties that are tensors may be views:
    read them, and don't keep them across a `cast` or `prune`.
    """

    def __init__(self, config: RayConfig, cell_size: float, device: torch.device | str = "cpu") -> None:
        """Make an empty set of rays.

        Args:
            config: binning, limits and bounds.
            cell_size: edge of a frontier cell, metres.
            device: where the rays live; all inputs are brought there.

        Raises:
            OvsegError: no frontier of this size is within ``config.max_distance``.
        """
        if not 0.0 < MIN_DISTANCE_CELLS * cell_size < config.max_distance:
            raise OvsegError(
                f"max_distance must be above {MIN_DISTANCE_CELLS} frontier cells of {cell_size} m, got "
                f"{config.max_distance}: take 3 times max_depth"
            )
        self.config = config
        self.cell_size = cell_size
        self.device = torch.device(device)
        self._bins = DirectionBins(config.angle_bin_degrees)
        self.clear()

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, torch.Tensor],
        config: RayConfig,
        cell_size: float,
        device: torch.device | str = "cpu",
    ) -> SemanticRays:
        """Rebuild rays from what `columns` returned, with the config they were cast with; tensors are copied.

        Raises:
            OvsegError: naming what makes these no columns of such rays.
        """
        rays = cls(config, cell_size, device)
        columns = {name: column.to(rays.device) for name, column in columns.items()}
        rays._check_columns(columns)
        rays._table = rays._empty_table(columns["features"].shape[1])
        keys = rays._keys(columns["frontier_keys"], columns["bins"])
        rays._table.write(rays._table.find_or_reserve(keys), columns)
        return rays

    def __len__(self) -> int:
        return len(self._table)

    def cast(
        self,
        depth: torch.Tensor,
        features: torch.Tensor,
        intrinsics: Intrinsics,
        pose: torch.Tensor,
        frontiers: torch.Tensor,
        frontier_keys: torch.Tensor,
    ) -> None:
        """Add the rays of one frame; either all of them or, when it fails, none.

        Args:
            depth: (H, W) metres; pixels at +inf are cast. To cast what lies beyond a nearer limit of the
                map too, set those readings to +inf.
            features: (C, h, w) features whose grid covers the image.
            intrinsics: of the depth image.
            pose: (4, 4) float64 camera -> world, optical axes.
            frontiers: (F, 3) float64 centres of the frontier cells in the world, metres.
            frontier_keys: (F,) int64 their packed keys.

        Raises:
            InvalidFrameError: "features" (not finite where they are needed, or not C channels).
        """
        channels = self.channels
        if features.dim() != 3 or 0 in features.shape or channels not in (None, len(features)):
            raise InvalidFrameError(
                "features",
                f"features must be ({channels or 'C'}, h, w), got {tuple(features.shape)}: check the backend's output",
            )
        depth, pose = depth.to(self.device), pose.to(self.device, torch.float64)
        rows, columns = pixels_beyond_range(depth, self.config.erosion, self.config.max_rays_per_frame)
        if not len(rows):
            return
        directions = pixel_directions(rows, columns, intrinsics, pose)
        frontiers, frontier_keys = frontiers.to(self.device), frontier_keys.to(self.device)
        inside = self._representable(frontier_keys)
        frontiers, frontier_keys = frontiers[inside], frontier_keys[inside]
        rays, chosen, cost = match_frontiers(
            directions,
            frontiers - pose[:3, 3],
            min_distance=MIN_DISTANCE_CELLS * self.cell_size,
            max_distance=self.config.max_distance,
            max_ortho=self.config.max_ortho_cells * self.cell_size,
        )
        if len(rays):
            image = (intrinsics.height, intrinsics.width)
            sampled = sample_bilinear(features.to(self.device), rows[rays], columns[rays], image)
            weights = (1.0 - cost) / (1.0 - cost).sum()
            if not sampled.isfinite().all():
                raise InvalidFrameError("features", "features are not finite: check the model's weights and precision")
            bins = self._bins.of(directions[rays])
            self._add(frontier_keys[chosen], frontiers[chosen], bins, directions[rays], weights, sampled)
        self._unmatched += len(rows) - len(rays)

    def add(self, other: SemanticRays, frontiers: Frontiers, transform: torch.Tensor | None = None) -> None:
        """Add the rays of another set that still start at a frontier; those of one frontier and bin become one.

        Args:
            other: of the same bins, frontier cells and feature length.
            frontiers: those there are now, in the world of these rays. A ray starts at the nearest one that the
                frontier cell it comes from, moved, reaches into; without a transform that can only be itself.
            transform: (4, 4) rigid, points of ``other`` -> points of these rays, metres; None where both are in
                one frame.
        """
        rays = {name: column.to(self.device) for name, column in other.columns.items()}
        origins, directions, bins = rays["origins"], rays["mean_directions"], rays["bins"]
        reach = torch.full((3,), self.cell_size / 2, dtype=torch.float64, device=self.device)
        if transform is not None:
            pose = transform.to(self.device, torch.float64)
            origins = transform_points(pose, origins)
            directions = turned(directions, pose)
            bins = self._bins.of(directions)
            reach = pose[:3, :3].abs() @ reach
        start = frontiers.nearest(origins, reach)
        kept = (start >= 0).nonzero().squeeze(1)
        kept = kept[self._representable(frontiers.keys[start[kept]])]
        if len(kept):
            keys, positions = frontiers.keys[start[kept]], frontiers.positions[start[kept]]
            self._add(keys, positions, bins[kept], directions[kept], rays["weights"][kept], rays["features"][kept])
        self._unmatched += other.unmatched

    def prune(self, frontier_keys: torch.Tensor) -> int:
        """Forget the rays whose origin is not among the (F,) packed keys of the frontiers; returns how many."""
        gone = ~torch.isin(self._table.column("frontier_keys"), frontier_keys.to(self.device))
        return self._table.remove(self._table.column("keys")[gone])

    def with_features(self, change: Callable[[torch.Tensor], torch.Tensor]) -> SemanticRays:
        """The same rays with other features: (R, D) float32 that ``change`` makes of the (R, C)."""
        changed = SemanticRays(self.config, self.cell_size, self.device)
        changed._unmatched = self._unmatched
        if len(self):
            values = {name: self._table.column(name) for name in self._table.schema}
            values["features"] = change(values["features"])
            changed._table = self._empty_table(values["features"].shape[1])
            changed._table.write(changed._table.find_or_reserve(values.pop("keys")), values)
        return changed

    def clear(self) -> None:
        """Forget everything, the number of unmatched rays too."""
        self._table = self._empty_table(0)
        self._unmatched = 0

    @property
    def channels(self) -> int | None:
        """Numbers per feature, C below; None while there is no ray."""
        return self._table.schema["features"].shape[0] if len(self) else None

    @property
    def unmatched(self) -> int:
        """Rays cast so far that no frontier took."""
        return self._unmatched

    @property
    def frontier_keys(self) -> torch.Tensor:
        """(R,) int64 packed key of the frontier that each ray starts at."""
        return self._table.column("frontier_keys")

    @property
    def origins(self) -> torch.Tensor:
        """(R, 3) float64 centres of these frontiers in the world, metres."""
        return self._table.column("origins")

    @property
    def directions(self) -> torch.Tensor:
        """(R, 3) float64 weighted mean directions in the world, of unit length."""
        return torch.nn.functional.normalize(self._table.column("mean_directions"), dim=-1)

    @property
    def spread(self) -> torch.Tensor:
        """(R,) float64 half angles in radians: of the evenly filled cone that scatters as the ray's directions do.

        In such a cone of half angle a the mean of all unit directions has the length (1 + cos a) / 2, the
        mean resultant length of directional statistics (Mardia and Jupp 2000, section 9.2).
        """
        length = self._table.column("mean_directions").norm(dim=-1)
        return 2.0 * torch.asin((1.0 - length).clamp_(0.0, 1.0).sqrt_())

    @property
    def weights(self) -> torch.Tensor:
        """(R,) float64 sums of the shares that each ray had in its casts."""
        return self._table.column("weights")

    @property
    def features(self) -> torch.Tensor:
        """(R, C) float32 weighted mean features."""
        return self._table.column("features")

    @property
    def columns(self) -> dict[str, torch.Tensor]:
        """All that is stored, by name; the inverse of `from_columns`."""
        return {name: self._table.column(name) for name in self._table.schema if name != "keys"}

    def _empty_table(self, channels: int) -> VoxelTable:
        columns = {
            "frontier_keys": Column(torch.int64),
            "bins": Column(torch.int64),
            "origins": Column(torch.float64, (3,)),
            # float64: the spread is a small difference from 1, and shares of a cast are small beside their sum.
            "mean_directions": Column(torch.float64, (3,)),
            "weights": Column(torch.float64),
            "features": Column(torch.float32, (channels,)),
        }
        return VoxelTable(columns, self.device)

    def _add(
        self,
        frontier_keys: torch.Tensor,
        origins: torch.Tensor,
        bins: torch.Tensor,
        directions: torch.Tensor,
        weights: torch.Tensor,
        features: torch.Tensor,
    ) -> None:
        """Add n matched rays to the means of their bins, and forget the lightest bins beyond the limit."""
        keys, bin_of_ray, example = _distinct(self._keys(frontier_keys, bins))
        table = self._table if len(self) else self._empty_table(features.shape[1])
        places = table.find_or_reserve(keys)
        before = torch.where(places.known, table.read("weights", places.rows), 0.0)
        after = before.index_add(0, bin_of_ray, weights)

        def mean(name: str, values: torch.Tensor) -> torch.Tensor:
            share = (weights / after[bin_of_ray]).to(values)
            kept = table.read(name, places.rows) * (before / after).to(values)[:, None]
            return kept.index_add_(0, bin_of_ray, values * share[:, None])

        values = {
            "frontier_keys": frontier_keys[example],
            "bins": bins[example],
            "origins": origins[example],
            "mean_directions": mean("mean_directions", directions),
            "weights": after,
            "features": mean("features", features),
        }
        table.write(places, values)
        self._table = table
        excess = len(table) - self.config.max_rays
        if excess > 0:
            lightest = torch.argsort(table.column("weights"), stable=True)[:excess]
            table.remove(table.column("keys")[lightest])

    def _keys(self, frontier_keys: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
        """(n,) packed keys of `_representable` frontiers and (n,) bins -> (n,) int64 keys of rays."""
        x, y, z = (unpack_keys(frontier_keys) + (1 << (self._axis_bits - 1))).unbind(dim=-1)
        cell = (((x << self._axis_bits) | y) << self._axis_bits) | z
        return (cell << self._bin_bits) | bins

    def _representable(self, frontier_keys: torch.Tensor) -> torch.Tensor:
        """(F,) bool: which of the (F,) keys of frontiers `_keys` can pack beside a bin.

        With bins of 30 degrees these reach 65 km from the origin for cells of 0.25 m, with 10 degrees 32 km.
        """
        limit = 1 << (self._axis_bits - 1)
        indices = unpack_keys(frontier_keys)
        return ((indices >= -limit) & (indices < limit)).all(dim=-1)

    @property
    def _bin_bits(self) -> int:
        return (self._bins.count - 1).bit_length()

    @property
    def _axis_bits(self) -> int:
        return (RAY_KEY_BITS - self._bin_bits) // 3

    def _check_columns(self, columns: Mapping[str, torch.Tensor]) -> None:
        """Refuse what `columns` can't have returned."""
        features = columns.get("features", torch.empty(0))
        count, channels = features.shape if features.dim() == 2 else (0, 0)
        schema = self._empty_table(channels).schema.items()
        expected = {name: (column.dtype, (count, *column.shape)) for name, column in schema if name != "keys"}
        found = {name: (column.dtype, tuple(column.shape)) for name, column in columns.items()}
        if found != expected:
            wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            raise OvsegError(f"rays have columns of another size or type ({', '.join(wrong)}): save the map again")
        origins, keys, bins = columns["origins"], columns["frontier_keys"], columns["bins"]
        weights, length = columns["weights"], columns["mean_directions"].norm(dim=-1)
        problems = {
            "features that are not finite": not features.isfinite().all(),
            "origins that are not finite": not origins.isfinite().all(),
            "weights that are not positive and finite": not (weights.isfinite() & (weights > 0)).all(),
            "mean directions longer than 1 or of no length": not ((length > 0) & (length < 1 + ROUNDING)).all(),
            "bins out of range": not ((bins >= 0) & (bins < self._bins.count)).all(),
            "frontier keys out of range": (keys < 0).any() or not self._representable(keys).all(),
            "the same ray twice": len(torch.unique(self._keys(keys, bins))) != count,
        }
        present = [problem for problem, there in problems.items() if there]
        if present:
            raise OvsegError(f"rays are damaged: they have {' and '.join(present)}: save the map again")


def _distinct(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(n,) keys -> (m,) distinct ones, in the order they come in; (n,) which each is; (m,) where each is first."""
    ascending, place = torch.unique(keys, return_inverse=True)
    numbers = torch.arange(len(keys), device=keys.device)
    first, order = torch.zeros_like(ascending).scatter_reduce_(0, place, numbers, "amin", include_self=False).sort()
    return ascending[order], order.argsort()[place], first
