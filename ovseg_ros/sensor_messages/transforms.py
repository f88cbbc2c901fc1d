"""A tree of frames from /tf and /tf_static: which pose a frame has in another at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ovseg_ros.sensor_messages.frames import stamp_to_ns
from ovseg_ros.sensor_messages.poses import transform_to_matrix
from ovseg_ros.sensor_messages.trajectory import Trajectory
from ovseg_ros.types import InvalidFrameError


@dataclass(frozen=True)
class _Edge:
    """A frame in its parent, for all time or by time."""

    parent: str
    pose: np.ndarray | Trajectory

    def at(self, stamp_ns: int) -> np.ndarray:
        return self.pose.at(stamp_ns) if isinstance(self.pose, Trajectory) else self.pose


class TransformTree:
    """Transforms, as tf2_msgs/TFMessage brings them; add all before asking.

    A frame has one parent; where messages disagree, the last parent counts.
    """

    def __init__(self) -> None:
        self._edges: dict[str, _Edge] = {}

    def add(self, message: Any, *, static: bool) -> None:
        """Take a TFMessage of /tf, or with ``static`` of /tf_static.

        Raises:
            InvalidFrameError: "pose": a static transform is none.
        """
        for transform in message.transforms:
            parent, child = transform.header.frame_id.lstrip("/"), transform.child_frame_id.lstrip("/")
            if static:
                self._edges[child] = _Edge(parent, transform_to_matrix(transform.transform))
                continue
            edge = self._edges.get(child)
            if edge is None or edge.parent != parent:
                name = f"the transform from {parent!r} to {child!r} in /tf"
                edge = self._edges[child] = _Edge(parent, Trajectory(name))
            if isinstance(edge.pose, Trajectory):
                moved = transform.transform
                edge.pose.add(stamp_to_ns(transform.header.stamp), moved.translation, moved.rotation)

    def ancestors(self, frame: str) -> list[str]:
        """``frame``, its parent, and so on up to the root.

        Raises:
            InvalidFrameError: "pose" when the frames form a loop.
        """
        chain = [frame.lstrip("/")]
        while (edge := self._edges.get(chain[-1])) is not None:
            if edge.parent in chain:
                raise InvalidFrameError(
                    "pose", f"the frames {chain} in /tf form a loop: one publisher has them reversed"
                )
            chain.append(edge.parent)
        return chain

    def moves(self, frame: str) -> bool:
        """Whether any transform from the root down to ``frame`` changes with time."""
        return any(isinstance(self._edges[name].pose, Trajectory) for name in self.ancestors(frame)[:-1])

    def pose(self, frame: str, parent: str, stamp_ns: int) -> np.ndarray:
        """(4, 4) float64 pose of ``frame`` in ``parent`` at ``stamp_ns``.

        Raises:
            InvalidFrameError: "pose" when the frames aren't connected, or not at this moment.
        """
        up, down = self.ancestors(frame), self.ancestors(parent)
        common = next((name for name in up if name in down), None)
        if common is None:
            raise InvalidFrameError(
                "pose", f"/tf does not connect {frame!r} with {parent!r}: record /tf_static too, or name a pose topic"
            )
        return np.linalg.inv(self._in_ancestor(down, common, stamp_ns)) @ self._in_ancestor(up, common, stamp_ns)

    def _in_ancestor(self, chain: list[str], ancestor: str, stamp_ns: int) -> np.ndarray:
        pose = np.eye(4)
        for name in chain[: chain.index(ancestor)]:
            pose = self._edges[name].at(stamp_ns) @ pose
        return pose
