"""What a map is built with: voxel size, depth range and the precision of its features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ovseg_ros.errors import OvsegError

FEATURE_DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}
MIN_VOXEL_SIZE = 0.001
MAX_VOXEL_SIZE = 10.0


@dataclass(frozen=True)
class MappingConfig:
    """Parameters of a SemanticMap.

    Attributes:
        voxel_size: edge length of a voxel in metres.
        min_depth: nearer readings are left out, metres along the optical axis.
        max_depth: farther readings are left out, metres along the optical axis.
        feature_dtype: "float32" or "float16": how mean features are stored; sums are always float32.

    Raises:
        OvsegError: naming the value, the limit and the fix.
    """

    voxel_size: float = 0.05
    min_depth: float = 0.1
    max_depth: float = 5.0
    feature_dtype: str = "float32"

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

    @property
    def torch_feature_dtype(self) -> torch.dtype:
        """`feature_dtype` as torch names it."""
        return FEATURE_DTYPES[self.feature_dtype]
