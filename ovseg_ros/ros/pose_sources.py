"""The parameter pose_source: where the poses of the cameras come from, and what reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.camera import camera_names, topic_of
from ovseg_ros.ros.node_parameters import Parameters, numbers
from ovseg_ros.ros.poses import OdometryPoses, StampedPoses, offset_matrix
from ovseg_ros.ros.synchronizer import Matched
from ovseg_ros.ros.transforms import TransformBuffer, have_tf2, require_tf2

POSE_TOPIC = "camera_pose"
ODOMETRY_TOPIC = "odom"


@dataclass(frozen=True)
class PoseSource:
    """One source, listening.

    Attributes:
        read: camera -> what gives (4, 4) float64 camera to map for its matched messages, or an InvalidFrameError.
        topics: (message type, name, cameras) of the streams to match with these cameras' images, where there are any.
        stop: let a waiting ``read`` go.
        close: unsubscribe from what the source itself subscribed to.
    """

    read: Mapping[str, Callable[[Matched], np.ndarray]]
    topics: tuple[tuple[Any, str, tuple[str, ...]], ...]
    stop: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class PoseSettings:
    """What the parameters say, checked.

    Attributes:
        source: "pose", "odometry" or "tf".
        map_frame: frame in which poses must be given.
        camera_offsets: camera -> its (4, 4) pose in the odometry's child_frame_id; None: they are the same frame.
        tf_timeout: longest wait for a transform, seconds.
    """

    source: str
    map_frame: str
    camera_offsets: Mapping[str, np.ndarray | None]
    tf_timeout: float

    @classmethod
    def read(cls, parameters: Parameters) -> PoseSettings:
        """From the parameters of a node.

        Raises:
            OvsegError: tf without tf2_ros, an offset that is no pose, or not one for each camera.
        """
        source = parameters["pose_source"]
        if source == "auto":
            source = "tf" if have_tf2() else "pose"
        if source == "tf":
            require_tf2("pose_source tf")
        return cls(
            source=source,
            map_frame=parameters["frames.map"],
            camera_offsets=camera_offsets(parameters["odometry.camera_offset"], camera_names(parameters["cameras"])),
            tf_timeout=parameters["sync.tf_timeout"],
        )

    def open(self, node: Any) -> PoseSource:
        """Begin to listen with ``node``, if the source does that itself."""
        cameras = tuple(self.camera_offsets)
        if self.source == "odometry":
            moved = {camera: OdometryPoses(self.map_frame, offset) for camera, offset in self.camera_offsets.items()}
            return PoseSource(moved, ((Odometry, ODOMETRY_TOPIC, cameras),))
        if self.source == "pose":
            topics = tuple((PoseStamped, topic_of(camera, POSE_TOPIC), (camera,)) for camera in cameras)
            return PoseSource(dict.fromkeys(cameras, StampedPoses(self.map_frame)), topics)
        tree = TransformBuffer(node, self.map_frame, self.tf_timeout)
        return PoseSource(dict.fromkeys(cameras, tree), (), tree.stop, tree.close)


def camera_offsets(text: str, cameras: Sequence[str]) -> dict[str, np.ndarray | None]:
    """One pose 'x y z qx qy qz qw' for each camera, apart by semicolons -> camera -> (4, 4); empty: None for all.

    Raises:
        OvsegError: poses that are none, or not as many as cameras.
    """
    name = "odometry.camera_offset"
    if not text.strip():
        return dict.fromkeys(cameras)
    poses = [numbers(part, name, example="0.1 0 0.3 -0.5 0.5 -0.5 0.5") for part in text.split(";")]
    if len(poses) != len(cameras):
        raise OvsegError(
            f"{name} has {len(poses)} poses but there are {len(cameras)} cameras: write one for each, apart by "
            "semicolons, in the order of the parameter cameras"
        )
    return dict(zip(cameras, map(offset_matrix, poses), strict=True))
