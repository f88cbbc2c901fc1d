"""RGB-D frames and 2D segmentations in, a 3D semantic map out."""

from __future__ import annotations

from ovseg_ros.mapping.config import LAYERS, MappingConfig
from ovseg_ros.mapping.fusion import FusionOperator, build_fusion_operator
from ovseg_ros.mapping.merging import merge, merge_all
from ovseg_ros.mapping.semantic_map import SemanticMap
from ovseg_ros.mapping.submaps import Submaps

__all__ = [
    "LAYERS",
    "FusionOperator",
    "MappingConfig",
    "SemanticMap",
    "Submaps",
    "build_fusion_operator",
    "merge",
    "merge_all",
]
