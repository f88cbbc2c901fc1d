"""RGB-D frames and 2D segmentations in, a 3D semantic map out."""

from __future__ import annotations

from ovseg_ros.mapping.config import LAYERS, MappingConfig
from ovseg_ros.mapping.fusion import FusionOperator, build_fusion_operator
from ovseg_ros.mapping.group_means import group_colours, mean_features
from ovseg_ros.mapping.map_object import MapObject
from ovseg_ros.mapping.merging import merge, merge_all
from ovseg_ros.mapping.semantic_map import SemanticMap
from ovseg_ros.mapping.submaps import Submaps
from ovseg_ros.mapping.votes import VoxelVotes

__all__ = [
    "LAYERS",
    "FusionOperator",
    "MapObject",
    "MappingConfig",
    "SemanticMap",
    "Submaps",
    "VoxelVotes",
    "build_fusion_operator",
    "group_colours",
    "mean_features",
    "merge",
    "merge_all",
]
