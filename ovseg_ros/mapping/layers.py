"""What a map knows beside its voxels: which space is free, where that ends, and what lies beyond.

The layers build on each other, so a map has the first few of them: occupancy, frontiers, rays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping.config import LAYERS, MappingConfig
from ovseg_ros.mapping.frontiers import Frontiers
from ovseg_ros.mapping.layer_config import FrontierConfig, OccupancyConfig, RayConfig
from ovseg_ros.mapping.occupancy import Observation, OccupancyGrid
from ovseg_ros.mapping.rays import SemanticRays
from ovseg_ros.types import RgbdFrame

LAYER_SEPARATOR = "."
"""Between the name of a layer and that of its column; in no other column's name."""

RAY_REACH = 3.0
"""Frontiers take rays up to this many times the depth range away, as in RayFronts."""


class SpatialLayers:
    """The layers of one map that its configuration names.

    Attributes:
        occupancy: free and occupied cells; None without that layer.
        frontiers: where free space ends; None without that layer.
        rays: features seen beyond depth range; None without that layer.
    """

    def __init__(self, config: MappingConfig, device: torch.device | str = "cpu") -> None:
        """Make the layers empty."""
        count = LAYERS.index(config.layers)
        self._config = config
        self._frontier_config = FrontierConfig()
        self._ray_config = RayConfig(max_distance=RAY_REACH * config.max_depth)
        self.occupancy: OccupancyGrid | None = None
        self.frontiers: Frontiers | None = None
        self.rays: SemanticRays | None = None
        if count >= 1:
            self.occupancy = OccupancyGrid(
                OccupancyConfig(decay_seconds=config.decay_seconds), config.voxel_size, device
            )
        if count >= 2:
            self.frontiers = Frontiers(self._frontier_config, config.voxel_size, device, config.region_voxels)
        if count >= 3:
            self.rays = SemanticRays(self._ray_config, self._frontier_config.group * config.voxel_size, device)

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, torch.Tensor], config: MappingConfig, device: torch.device | str = "cpu"
    ) -> SpatialLayers:
        """Rebuild what `columns` returned; the tensors are copied.

        Raises:
            OvsegError: naming what makes these no columns of the configured layers.
        """
        layers = cls(config, device)
        parts: dict[str, dict[str, torch.Tensor]] = {name: {} for name in layers._present()}
        for name, column in columns.items():
            layer, _, rest = name.partition(LAYER_SEPARATOR)
            if layer not in parts:
                raise OvsegError(f"a map with layers {config.layers!r} has no column {name!r}: save the map again")
            parts[layer][rest] = column
        if layers.occupancy is not None:
            layers.occupancy = OccupancyGrid.from_columns(
                parts["occupancy"], layers.occupancy.config, config.voxel_size, device
            )
        if layers.frontiers is not None:
            layers.frontiers = Frontiers.from_columns(
                parts["frontiers"], layers._frontier_config, config.voxel_size, device, config.region_voxels
            )
        if layers.rays is not None:
            layers.rays = SemanticRays.from_columns(parts["rays"], layers._ray_config, layers.rays.cell_size, device)
        return layers

    def observe(self, frame: RgbdFrame, hits: torch.Tensor) -> Observation | None:
        """Work out what a frame says of space; nothing changes.

        Args:
            frame: its depth may have no reading in range: +inf and readings too far tell of free space.
            hits: (V,) int64 packed keys of the voxels that its readings fell into.
        """
        if self.occupancy is None:
            return None
        return self.occupancy.observe(frame, hits, self._config)

    def apply(self, observation: Observation, frame: RgbdFrame, features: torch.Tensor) -> torch.Tensor:
        """Write what `observe` returned, and bring the layers above up to date.

        Args:
            observation: of this frame.
            frame: the frame.
            features: (C, h, w) over its image.

        Returns:
            (n,) int64 packed keys of cells that turned out to be free: no voxel belongs there any more.
        """
        if self.occupancy is None:
            return observation.freed
        self.occupancy.apply(observation)
        if self.frontiers is not None:
            self.frontiers.update(self.occupancy, observation.box)
        if self.frontiers is not None and self.rays is not None:
            self.rays.prune(self.frontiers.keys)
            depth = torch.where(frame.depth > self._config.max_depth, math.inf, frame.depth)
            self.rays.cast(depth, features, frame.intrinsics, frame.pose, self.frontiers.positions, self.frontiers.keys)
        return observation.freed

    def add(self, others: Sequence[tuple[SpatialLayers, torch.Tensor | None]]) -> None:
        """Add what the layers of other maps know, where these and they have a layer.

        Log-odds are added, frontiers are found anew in all of it, and the rays that still start at one are joined.

        Args:
            others: of maps of the same voxel size and feature length, each with a (4, 4) rigid transform from
                points there to points here, metres; None where both are in one frame.

        Raises:
            OvsegError: a transform moves space out of the range of a map.
        """
        if self.occupancy is None:
            return
        for other, transform in others:
            if other.occupancy is not None:
                self.occupancy.add(other.occupancy, transform)
        if self.frontiers is None:
            return
        self.frontiers.rebuild(self.occupancy)
        if self.rays is None:
            return
        self.rays.prune(self.frontiers.keys)
        for other, transform in others:
            if other.rays is not None:
                self.rays.add(other.rays, self.frontiers, transform)

    def with_ray_features(self, change: Callable[[torch.Tensor], torch.Tensor]) -> SpatialLayers:
        """The same layers, where ``change`` makes the features of rays; see `SemanticRays.with_features`."""
        changed = copy(self)
        if self.rays is not None:
            changed.rays = self.rays.with_features(change)
        return changed

    @property
    def columns(self) -> dict[str, torch.Tensor]:
        """All that is stored, as "layer.column"; the inverse of `from_columns`."""
        return {
            f"{name}{LAYER_SEPARATOR}{column}": values
            for name, layer in self._present().items()
            for column, values in layer.columns.items()
        }

    def _present(self) -> dict[str, OccupancyGrid | Frontiers | SemanticRays]:
        layers = {"occupancy": self.occupancy, "frontiers": self.frontiers, "rays": self.rays}
        return {name: layer for name, layer in layers.items() if layer is not None}
