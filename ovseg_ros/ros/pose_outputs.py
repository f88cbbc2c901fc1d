"""The player's parameter pose_output: how it publishes where the camera is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry

from ovseg_ros.ros.messages import header_message, odometry_message, pose_message, transform_message
from ovseg_ros.ros.node_parameters import Parameters
from ovseg_ros.ros.pose_sources import ODOMETRY_TOPIC, POSE_TOPIC
from ovseg_ros.ros.transforms import require_tf2

PublishPose = Callable[[np.ndarray, int], None]
"""Takes the (4, 4) pose, camera to map, and its stamp in nanoseconds."""


def open_pose_output(node: Any, parameters: Parameters, quality: Any) -> tuple[PublishPose, tuple[Any, ...]]:
    """What publishes a pose, and its publishers.

    Raises:
        OvsegError: tf without tf2_ros.
    """
    map_frame, camera_frame = parameters["map_frame"], parameters["camera_frame"]
    output = parameters["pose_output"]
    if output == "tf":
        require_tf2("pose_output tf")
        from tf2_ros import TransformBroadcaster

        broadcaster = TransformBroadcaster(node)
        return (
            lambda pose, stamp_ns: broadcaster.sendTransform(
                transform_message(pose, header_message(map_frame, stamp_ns), camera_frame)
            ),
            (broadcaster.pub_tf,),
        )
    if output == "odometry":
        odometry = node.create_publisher(Odometry, ODOMETRY_TOPIC, quality)
        return (
            lambda pose, stamp_ns: odometry.publish(
                odometry_message(pose, header_message(map_frame, stamp_ns), camera_frame)
            ),
            (odometry,),
        )
    poses = node.create_publisher(PoseStamped, POSE_TOPIC, quality)
    return (
        lambda pose, stamp_ns: poses.publish(pose_message(pose, header_message(map_frame, stamp_ns))),
        (poses,),
    )
