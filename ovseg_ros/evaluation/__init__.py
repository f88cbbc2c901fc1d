"""SemanticMap + ground truth -> numbers."""

from ovseg_ros.evaluation.confusion import Confusion
from ovseg_ros.evaluation.transfer import Transfer, transfer_labels
from ovseg_ros.evaluation.voxel_truth import VoxelTruth, voxel_truth

__all__ = ["Confusion", "Transfer", "VoxelTruth", "transfer_labels", "voxel_truth"]
