"""What RGB-D cameras and localisation send, as ROS messages spell it -> frames and poses.

Messages are read by attribute, so nothing here needs ROS: nodes and recordings share it.
"""

from ovseg_ros.sensor_messages.compressed_images import compressed_to_depth, compressed_to_rgb
from ovseg_ros.sensor_messages.frames import CAUSES, FrameBuilder, stamp_to_ns
from ovseg_ros.sensor_messages.images import COLOUR_ENCODINGS, DEPTH_ENCODINGS, image_to_depth, image_to_rgb
from ovseg_ros.sensor_messages.poses import (
    QUATERNION_TOLERANCE,
    interpolate,
    pose_to_matrix,
    transform_to_matrix,
)
from ovseg_ros.sensor_messages.trajectory import Trajectory
from ovseg_ros.sensor_messages.transforms import TransformTree

__all__ = [
    "CAUSES",
    "COLOUR_ENCODINGS",
    "DEPTH_ENCODINGS",
    "QUATERNION_TOLERANCE",
    "FrameBuilder",
    "Trajectory",
    "TransformTree",
    "compressed_to_depth",
    "compressed_to_rgb",
    "image_to_depth",
    "image_to_rgb",
    "interpolate",
    "pose_to_matrix",
    "stamp_to_ns",
    "transform_to_matrix",
]
