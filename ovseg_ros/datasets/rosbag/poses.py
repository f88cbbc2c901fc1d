"""Where the camera of a bag was: from TF, a PoseStamped or an Odometry topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ovseg_ros.datasets.rosbag.file import ODOMETRY, POSE_STAMPED, TF, BagFile
from ovseg_ros.datasets.rosbag.topics import ambiguous
from ovseg_ros.sensor_messages import Trajectory, TransformTree, stamp_to_ns

MAP_FRAME = "map"


class PoseSource(Protocol):
    """Gives the pose of the camera."""

    def pose(self, camera_frame: str, stamp_ns: int) -> np.ndarray:
        """(4, 4) float64 camera, in optical axes, -> map.

        Raises:
            InvalidFrameError: "pose": not known at this moment.
        """


@dataclass(frozen=True)
class _FromTf:
    tree: TransformTree
    map_frame: str

    def pose(self, camera_frame: str, stamp_ns: int) -> np.ndarray:
        return self.tree.pose(camera_frame, self.map_frame, stamp_ns)


@dataclass(frozen=True)
class _FromPoses:
    camera: Trajectory

    def pose(self, camera_frame: str, stamp_ns: int) -> np.ndarray:
        return self.camera.at(stamp_ns)


@dataclass(frozen=True)
class _FromOdometry:
    body: Trajectory
    body_frame: str
    tree: TransformTree

    def pose(self, camera_frame: str, stamp_ns: int) -> np.ndarray:
        return self.body.at(stamp_ns) @ self.tree.pose(camera_frame, self.body_frame, stamp_ns)


class PoseCollector:
    """Takes the messages of a bag that may say where the camera was, and then decides.

    Args:
        bag: the bag.
        named: the topic to take poses from, if the user named one.
    """

    def __init__(self, bag: BagFile, named: str | None) -> None:
        self._bag = bag
        self._named = named
        self._tree = TransformTree()
        stamped = bag.of_type(POSE_STAMPED, ODOMETRY)
        self._stamped = {topic: Trajectory(topic) for topic in stamped if named in (None, topic)}
        self._bodies: dict[str, str] = {}

    @property
    def topics(self) -> list[str]:
        """The topics to be added."""
        return [*self._stamped, *self._bag.of_type(TF)]

    def add(self, topic: str, message: Any) -> None:
        """Take a message of one of `topics`."""
        if topic not in self._stamped:
            self._tree.add(message, static=topic.endswith("_static"))
            return
        pose = message.pose
        if self._bag.types[topic] == ODOMETRY:
            self._bodies[topic] = message.child_frame_id
            pose = pose.pose
        self._stamped[topic].add(stamp_to_ns(message.header.stamp), pose.position, pose.orientation)

    def source(self, camera_frame: str) -> PoseSource:
        """TF where it reaches a map or a moving root from the camera, else the one topic with poses.

        A PoseStamped is of the camera itself; an Odometry is of its child frame, which TF must connect to the camera.

        Raises:
            OvsegError: there is no such source, or several.
        """
        if self._named not in self._stamped:
            chain = self._tree.ancestors(camera_frame)
            # A tree that ends at the body of an odometry says how the camera moves on the robot, not where it is.
            if MAP_FRAME in chain or (self._tree.moves(camera_frame) and chain[-1] not in self._bodies.values()):
                return _FromTf(self._tree, MAP_FRAME if MAP_FRAME in chain else chain[-1])
            if self._named is not None or len(self._stamped) != 1:
                raise ambiguous(self._bag, "pose", list(self._stamped))
        topic = self._named if self._named in self._stamped else next(iter(self._stamped))
        if topic in self._bodies:
            return _FromOdometry(self._stamped[topic], self._bodies[topic], self._tree)
        return _FromPoses(self._stamped[topic])
