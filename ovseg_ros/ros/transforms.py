"""The pose of the camera from TF, through tf2_ros where a ROS distribution has it."""

from __future__ import annotations

import importlib.util
import threading
import time
from typing import Any

import numpy as np

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.synchronizer import Matched
from ovseg_ros.sensor_messages import transform_to_matrix
from ovseg_ros.types import InvalidFrameError

POLL_SECONDS = 0.005


def have_tf2() -> bool:
    """Whether tf2_ros is installed."""
    return importlib.util.find_spec("tf2_ros") is not None


def require_tf2(what: str) -> None:
    """Raise an OvsegError that names the package, unless tf2_ros is installed."""
    if not have_tf2():
        raise OvsegError(
            f"{what} needs the Python package tf2_ros, which comes with a ROS distribution and isn't installed: "
            "sudo apt install ros-$ROS_DISTRO-tf2-ros-py, or take the poses from a topic (pose or odometry)"
        )


class TransformBuffer:
    """Listens to /tf and /tf_static on creation, until closed.

    Args:
        node: the node to subscribe with; its executor needs a thread to spare.
        map_frame: the frame that poses are given in.
        timeout: longest wait for the transform at the stamp of an image, seconds from when the image was complete.
    """

    def __init__(self, node: Any, map_frame: str, timeout: float) -> None:
        from tf2_ros import Buffer, TransformListener

        self._map_frame = map_frame
        self._timeout = timeout
        self._closed = threading.Event()
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)

    def __call__(self, matched: Matched) -> np.ndarray:
        """(4, 4) float64 camera to map at the stamp of the colour image; waits, so call it on a thread of its own.

        Raises:
            InvalidFrameError: "tf" where there is none in time, "pose" for one that is no pose.
        """
        # From then, and not from now: a camera without transforms would take the time of all others.
        deadline = matched.since + self._timeout
        return self._wait(str(matched.colour.header.frame_id), matched.stamp_ns, deadline)

    def lookup(self, frame: str, stamp_ns: int) -> np.ndarray:
        """(4, 4) float64 ``frame`` to map at a time, 0: the newest; waits from now on and raises as a call does."""
        return self._wait(frame, stamp_ns, time.monotonic() + self._timeout)

    def _wait(self, frame: str, stamp_ns: int, deadline: float) -> np.ndarray:
        from rclpy.time import Time
        from tf2_ros import TransformException

        stamp = Time(nanoseconds=stamp_ns)
        while True:
            try:
                found = self._buffer.lookup_transform(self._map_frame, frame, stamp)
                return transform_to_matrix(found.transform)
            except TransformException as error:
                if time.monotonic() >= deadline or self._closed.wait(POLL_SECONDS):
                    raise InvalidFrameError(
                        "tf",
                        f"no transform from {frame!r} to {self._map_frame!r} at the stamp asked for within "
                        f"{self._timeout:g} s ({error}): check that its whole chain is on /tf, or raise "
                        "sync.tf_timeout",
                    ) from error

    def stop(self) -> None:
        """Wait for transforms no more; returns at once."""
        self._closed.set()

    def close(self) -> None:
        """Unsubscribe."""
        self.stop()
        self._listener.unregister()
