"""Messages with stamped poses -> the pose of the camera at the stamp of an image. No ROS in here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import rigid_transform
from ovseg_ros.ros.synchronizer import Matched, PoseBracket
from ovseg_ros.sensor_messages import QUATERNION_TOLERANCE, interpolate, pose_to_matrix
from ovseg_ros.types import InvalidFrameError


class StampedPoses:
    """geometry_msgs/PoseStamped: poses of the camera's optical frame in the map frame.

    Args:
        map_frame: the frame that poses must be given in; a message that names none is taken to be in it.
    """

    def __init__(self, map_frame: str) -> None:
        self._map_frame = map_frame

    def __call__(self, matched: Matched) -> np.ndarray:
        """(4, 4) float64 camera to map at the stamp of the colour image.

        Raises:
            InvalidFrameError: "pose" with one sentence.
        """
        return _between(matched.pose, self._read)

    def _read(self, message: Any) -> np.ndarray:
        _check_frame(str(message.header.frame_id), self._map_frame, "the camera pose")
        return pose_to_matrix(message.pose)


class OdometryPoses:
    """nav_msgs/Odometry: poses of child_frame_id in the map frame, and where on it the camera sits.

    Args:
        map_frame: the frame that the odometry must be given in.
        camera_offset: (4, 4) pose of the camera's optical frame in child_frame_id; None: they must be the same frame.
    """

    def __init__(self, map_frame: str, camera_offset: np.ndarray | None) -> None:
        self._map_frame = map_frame
        self._camera_offset = camera_offset

    def __call__(self, matched: Matched) -> np.ndarray:
        """(4, 4) float64 camera to map at the stamp of the colour image.

        Raises:
            InvalidFrameError: "pose" with one sentence.
        """
        camera_frame = str(matched.colour.header.frame_id)
        moved = _between(matched.pose, lambda message: self._read(message, camera_frame))
        return moved if self._camera_offset is None else moved @ self._camera_offset

    def _read(self, message: Any, camera_frame: str) -> np.ndarray:
        _check_frame(str(message.header.frame_id), self._map_frame, "the odometry")
        child = str(message.child_frame_id)
        if self._camera_offset is None and (not child or child != camera_frame):
            raise InvalidFrameError(
                "pose",
                f"the odometry is of frame {child!r} but the images are of {camera_frame!r}: set "
                "odometry.camera_offset to the pose of the camera's optical frame in the former, or pose_source to tf",
            )
        return pose_to_matrix(message.pose.pose)


def offset_matrix(values: Sequence[float]) -> np.ndarray | None:
    """Metres x y z and a unit quaternion qx qy qz qw -> (4, 4) float64; None for no values.

    Raises:
        OvsegError: another number of values, or no unit quaternion.
    """
    if not values:
        return None
    norm = float(np.linalg.norm(values[3:]))
    if len(values) != 7 or not np.isfinite(values).all() or abs(norm - 1.0) > QUATERNION_TOLERANCE:
        raise OvsegError(
            f"odometry.camera_offset must be x y z and a unit quaternion qx qy qz qw, got {list(values)}: "
            "write for example '0.1 0 0.3 -0.5 0.5 -0.5 0.5', a camera that looks ahead"
        )
    return rigid_transform(values[:3], [value / norm for value in values[3:]]).numpy()


def _between(bracket: PoseBracket, read: Any) -> np.ndarray:
    before = read(bracket.before)
    return before if bracket.after is bracket.before else interpolate(before, read(bracket.after), bracket.fraction)


def _check_frame(frame: str, map_frame: str, what: str) -> None:
    if frame and frame != map_frame:
        raise InvalidFrameError(
            "pose",
            f"{what} is given in frame {frame!r} but the map is kept in {map_frame!r}: "
            "publish it there or set frames.map",
        )
