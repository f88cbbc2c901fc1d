"""What a map is built with: voxel size, depth range and the precision of its features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import KEY_LIMIT
from ovseg_ros.mapping.layer_config import OccupancyConfig

FEATURE_DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}
LAYERS = ("voxels", "occupancy", "frontiers", "rays")
"""What a map may hold; each includes those before it."""

MIN_VOXEL_SIZE = 0.001
MAX_VOXEL_SIZE = 10.0
MAX_FEATURE_BLOCK = 16
RATIO_TOLERANCE = 1e-6
MIN_MEMORY_LIMIT = 1.0
MAX_VIEWS = 1000

EVERYWHERE = ((-KEY_LIMIT, KEY_LIMIT - 1),) * 3
"""The voxels that have a key, along x, y and z."""


@dataclass(frozen=True)
class MappingConfig:
    """Parameters of a SemanticMap.

    Attributes:
        voxel_size: edge length of a voxel in metres.
        min_depth: nearer readings are left out, metres along the optical axis.
        max_depth: farther readings are left out, metres along the optical axis.
        feature_dtype: "float32" or "float16" (with 8 bits of remainder, see half.py): how mean features are
            stored; sums are always float32.
        feature_voxel_size: edge length in metres of the voxels that share one feature, a multiple of ``voxel_size``
            up to 16 of them; 0 keeps a feature for every voxel.
        feature_components: numbers that each feature is compressed to by a principal component analysis of the first
            frames, fewer than the features have; 0 keeps features as they are.
        layers: "voxels" alone; "occupancy": free space too, and what turns out to be gone is forgotten; "frontiers":
            and where free space ends; "rays": and in which directions from there something was seen out of range.
        max_weight: pixels that a voxel's means count for at most: smaller lets old views fade; 0 is no limit.
        decay_seconds: time in which the evidence of the occupancy layer fades by one of 20 steps; 0 keeps it for ever.
        region: lowest x, y, z and highest x, y, z of the box to map, metres in the map frame: voxels whose centres
            lie within. Empty: everything.
        views: pictures kept in the map at most, to check answers in: those that together show all of it best, scaled
            down to 640 pixels a side; 0 keeps none.
        memory_limit: megabytes that the map's columns take; what wasn't seen for longest goes to disk beyond that, is
            read there when it is asked about, and comes back when it is seen; 0 is no limit.

    Raises:
        OvsegError: naming the value, the limit and the fix.
    """

    voxel_size: float = 0.05
    min_depth: float = 0.1
    max_depth: float = 5.0
    feature_dtype: str = "float32"
    feature_voxel_size: float = 0.0
    feature_components: int = 0
    max_weight: float = 0.0
    layers: str = "voxels"
    decay_seconds: float = 0.0
    region: tuple[float, ...] = ()
    memory_limit: float = 0.0
    views: int = 0

    def __post_init__(self) -> None:
        if not MIN_VOXEL_SIZE <= self.voxel_size <= MAX_VOXEL_SIZE:
            raise OvsegError(
                f"voxel_size must be {MIN_VOXEL_SIZE} to {MAX_VOXEL_SIZE} m, got {self.voxel_size}: 0.05 suits a room"
            )
        if not (self.min_depth >= 0.0 and math.isfinite(self.max_depth) and self.max_depth > self.min_depth):
            raise OvsegError(
                f"depth limits need 0 <= min_depth < max_depth, both finite, got min_depth={self.min_depth} "
                f"max_depth={self.max_depth}: 0.1 and 5.0 suit an indoor depth camera"
            )
        if self.feature_dtype not in FEATURE_DTYPES:
            raise OvsegError(
                f"feature_dtype must be one of {', '.join(FEATURE_DTYPES)}, got {self.feature_dtype!r}: "
                "float16 halves the memory of the features"
            )

        if self.layers not in LAYERS:
            raise OvsegError(
                f"layers must be one of {', '.join(LAYERS)}, got {self.layers!r}: each includes those before it"
            )
        ratio = self.feature_voxel_size / self.voxel_size
        if self.feature_voxel_size and not (
            abs(ratio - round(ratio)) < RATIO_TOLERANCE and 1 <= round(ratio) <= MAX_FEATURE_BLOCK
        ):
            raise OvsegError(
                f"feature_voxel_size must be 1 to {MAX_FEATURE_BLOCK} times voxel_size, {self.voxel_size} m, got "
                f"{self.feature_voxel_size}: {2 * self.voxel_size:g} keeps one feature for 8 voxels, 0 one for each"
            )
        if self.feature_components < 0:
            raise OvsegError(
                f"feature_components must be at least 1, or 0 for no compression, got {self.feature_components}: "
                "a quarter of the feature's numbers loses little"
            )
        if not (self.max_weight == 0 or 1 <= self.max_weight < math.inf):
            raise OvsegError(
                f"max_weight must be at least 1 pixel, or 0 for no limit, got {self.max_weight}: "
                "1000 lets a view fade after some tens of frames"
            )
        OccupancyConfig(decay_seconds=self.decay_seconds)
        low, high = self.region[:3], self.region[3:]
        if self.region and not (
            len(self.region) == 6
            and all(a < b for a, b in zip(low, high, strict=True))
            and math.isfinite(sum(self.region))
        ):
            raise OvsegError(
                f"region must be the lowest x y z and the highest x y z of a box in metres, got {self.region}: "
                "-5 -5 -1 5 5 3 maps a room, nothing at all maps everything"
            )
        if not (self.memory_limit == 0 or MIN_MEMORY_LIMIT <= self.memory_limit < math.inf):
            raise OvsegError(
                f"memory_limit must be at least {MIN_MEMORY_LIMIT:g} MB, or 0 for no limit, got {self.memory_limit}: "
                "what one frame sees stays in memory"
            )

        if not 0 <= self.views <= MAX_VIEWS:
            raise OvsegError(
                f"views must be at most {MAX_VIEWS}, or 0 for none, got {self.views}: 40 show a room from all sides"
            )

    @property
    def region_voxels(self) -> tuple[tuple[int, int], ...]:
        """Lowest and highest voxel index of the region along x, y and z."""
        if not self.region:
            return EVERYWHERE
        ends = [max(-KEY_LIMIT, min(KEY_LIMIT - 1, value / self.voxel_size)) for value in self.region]
        # A box that ends on a voxel's centre has it inside, whatever the division rounds to.
        return tuple(
            (math.ceil(ends[axis] - RATIO_TOLERANCE), math.floor(ends[axis + 3] + RATIO_TOLERANCE)) for axis in range(3)
        )

    @property
    def feature_block(self) -> int:
        """Voxels along one edge that share a feature."""
        return max(1, round(self.feature_voxel_size / self.voxel_size))

    @property
    def torch_feature_dtype(self) -> torch.dtype:
        """`feature_dtype` as torch names it."""
        return FEATURE_DTYPES[self.feature_dtype]
