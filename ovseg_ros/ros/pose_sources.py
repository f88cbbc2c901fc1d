"""The parameter pose_source: where the poses of the camera come from, and what reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry

from ovseg_ros.ros.parameters import Parameters, numbers
from ovseg_ros.ros.poses import OdometryPoses, StampedPoses, offset_matrix
from ovseg_ros.ros.synchronizer import Matched
from ovseg_ros.ros.transforms import TransformBuffer, have_tf2, require_tf2

POSE_TOPIC = "camera_pose"
ODOMETRY_TOPIC = "odom"


@dataclass(frozen=True)
class PoseSource:
    """One source, listening.

    Attributes:
        read: (4, 4) float64 camera to map for matched messages; InvalidFrameError when there is none.
        topics: (message type, name) of the stream to match with the images, where there is one.
        stop: let a waiting ``read`` go.
        close: unsubscribe from what the source itself subscribed to.
    """

    read: Callable[[Matched], np.ndarray]
    topics: tuple[tuple[Any, str], ...]
    stop: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class PoseSettings:
    """What the parameters say, checked.

    Attributes:
        source: "pose", "odometry" or "tf".
        map_frame: frame in which poses must be given.
        camera_offset: (4, 4) pose of the camera in the odometry's child_frame_id; None: they are the same frame.
        tf_timeout: longest wait for a transform, seconds.
    """

    source: str
    map_frame: str
    camera_offset: np.ndarray | None
    tf_timeout: float

    @classmethod
    def read(cls, parameters: Parameters) -> PoseSettings:
        """From the parameters of a node.

        Raises:
            OvsegError: tf without tf2_ros, or an offset that is no pose.
        """
        source = parameters["pose_source"]
        if source == "auto":
            source = "tf" if have_tf2() else "pose"
        if source == "tf":
            require_tf2("pose_source tf")
        name = "odometry.camera_offset"
        return cls(
            source=source,
            map_frame=parameters["frames.map"],
            camera_offset=offset_matrix(numbers(parameters[name], name, example="0.1 0 0.3 -0.5 0.5 -0.5 0.5")),
            tf_timeout=parameters["sync.tf_timeout"],
        )

    def open(self, node: Any) -> PoseSource:
        """Begin to listen with ``node``, if the source does that itself."""
        if self.source == "odometry":
            return PoseSource(OdometryPoses(self.map_frame, self.camera_offset), ((Odometry, ODOMETRY_TOPIC),))
        if self.source == "pose":
            return PoseSource(StampedPoses(self.map_frame), ((PoseStamped, POSE_TOPIC),))
        tree = TransformBuffer(node, self.map_frame, self.tf_timeout)
        return PoseSource(tree, (), tree.stop, tree.close)
