"""Where the robot is, as a request says it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ovseg_ros.errors import OvsegError
from ovseg_ros.referring import Viewpoint
from ovseg_ros.ros.node_parameters import Parameters
from ovseg_ros.ros.transforms import TransformBuffer, have_tf2
from ovseg_ros.sensor_messages import pose_to_matrix
from ovseg_ros.types import InvalidFrameError

NANOSECONDS = 1_000_000_000

Position = tuple[float, float, float]


class RobotPositions:
    """Brings the poses of requests into the map frame. It listens to /tf from the first that needs it.

    Safe to use from several threads.

    Args:
        node: the node to listen with.
        parameters: of the node.
    """

    def __init__(self, node: Any, parameters: Parameters) -> None:
        self._node = node
        self._parameters = parameters
        self._buffers: dict[str, TransformBuffer] = {}
        self._lock = threading.Lock()

    def position(self, message: Any) -> Position | None:
        """A geometry_msgs/PoseStamped -> x, y, z in the map frame, metres; None where its frame_id is empty.

        Raises:
            OvsegError: it isn't finite, or there is no transform to the map frame.
        """
        return robot_position(message, self._parameters["frames.map"], self._transform)

    def viewpoint(self, message: Any) -> Viewpoint | None:
        """A geometry_msgs/PoseStamped, x ahead -> where it looks from and to in the map frame; None as `position`.

        Raises:
            OvsegError: as `position`, or its orientation is none.
        """
        position = self.position(message)
        if position is None:
            return None
        try:
            pose = pose_to_matrix(message.pose)
        except InvalidFrameError as error:
            raise OvsegError(f"the viewpoint is no pose: {error}") from error
        frame, stamp = str(message.header.frame_id), message.header.stamp
        if frame != self._parameters["frames.map"]:
            pose = self._transform(frame, stamp.sec * NANOSECONDS + stamp.nanosec) @ pose
        return Viewpoint(np.array(position), float(np.arctan2(pose[1, 0], pose[0, 0])))

    def _transform(self, frame: str, stamp_ns: int) -> np.ndarray:
        map_frame = self._parameters["frames.map"]
        if not have_tf2():
            raise OvsegError(
                f"the robot is given in frame {frame!r} but the map is kept in {map_frame!r}, and tf2_ros, which could "
                f"tell one from the other, isn't installed: give its pose in {map_frame!r}, or install "
                "ros-$ROS_DISTRO-tf2-ros-py"
            )
        with self._lock:
            if map_frame not in self._buffers:
                self._buffers[map_frame] = TransformBuffer(self._node, map_frame, self._parameters["sync.tf_timeout"])
        return self._buffers[map_frame].lookup(frame, stamp_ns)


def robot_position(message: Any, map_frame: str, transform: Callable[[str, int], np.ndarray]) -> Position | None:
    """As `RobotPositions.position`; ``transform`` gives (4, 4) float64 from a frame to the map at nanoseconds."""
    frame, stamp, position = str(message.header.frame_id), message.header.stamp, message.pose.position
    if not frame:
        return None
    point = np.array([position.x, position.y, position.z, 1.0])
    if not np.isfinite(point).all():
        raise OvsegError(
            f"the robot is at {point[:3].tolist()}, which isn't finite: check the localisation, or leave frame_id empty"
        )
    if frame != map_frame:
        point = transform(frame, stamp.sec * NANOSECONDS + stamp.nanosec) @ point
    x, y, z = (float(value) for value in point[:3])
    return x, y, z
