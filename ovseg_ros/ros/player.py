"""PlayerNode: a recording or a generated room, published as an RGB-D camera with known poses would."""

from __future__ import annotations

import re
import threading
import time
from typing import Protocol

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from ovseg_ros.datasets import open_sequence
from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.camera import CAMERA_INFO_TOPIC, COLOUR_TOPIC, DEPTH_TOPIC
from ovseg_ros.ros.messages import (
    camera_info_message,
    depth_message,
    header_message,
    rgb_message,
    time_message,
)
from ovseg_ros.ros.node_parameters import Parameters
from ovseg_ros.ros.parameters import PLAYER_PARAMETERS
from ovseg_ros.ros.pose_outputs import open_pose_output
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import InvalidFrameError, RgbdFrame

THREADS = 2

ACKNOWLEDGE_SECONDS = 10.0
"""How long a listener may take to receive the last frames before the player ends."""

POLL_SECONDS = 0.05

QUALITY = QoSProfile(history=QoSHistoryPolicy.KEEP_LAST, depth=10, reliability=QoSReliabilityPolicy.RELIABLE)


class Recording(Protocol):
    """What is played: frames by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> RgbdFrame: ...


class PlayerNode(Node):
    """Node ``rgbd_player_node``: plays its sequence on a thread of its own, then sets ``finished``.

    Args:
        finished: set at the end; when someone else sets it, playing stops.

    Raises:
        OvsegError: the recording can't be opened.
    """

    def __init__(self, finished: threading.Event) -> None:
        super().__init__("rgbd_player_node")
        self._finished = finished
        self.failure = ""
        self._settings = Parameters(self, PLAYER_PARAMETERS)
        self._colour_out = self.create_publisher(Image, COLOUR_TOPIC, QUALITY)
        self._depth_out = self.create_publisher(Image, DEPTH_TOPIC, QUALITY)
        self._camera_info_out = self.create_publisher(CameraInfo, CAMERA_INFO_TOPIC, QUALITY)
        self._publish_pose, pose_publishers = open_pose_output(self, self._settings, QUALITY)
        self._sensors = (self._camera_info_out, *pose_publishers, self._depth_out, self._colour_out)
        self._clock_out = self.create_publisher(Clock, "/clock", QUALITY) if self._settings["publish_clock"] else None
        self._sequence = self._open()
        self._thread = threading.Thread(target=self._run, name="player")
        self._thread.start()

    def close(self) -> None:
        """Stop playing; returns when the present frame is out."""
        self._finished.set()
        self._thread.join()

    def _open(self) -> Recording:
        path = self._settings["sequence"]
        if path:
            return open_sequence(path, self._settings["layout"])
        width, height = image_size(self._settings["room_size"])
        return RoomSequence(self._settings["room_seed"], self._settings["room_frames"], width, height)

    def _run(self) -> None:
        try:
            if self._wait_for_subscribers():
                self._play()
                self._wait_for_acknowledgements()
        except OvsegError as error:
            self.failure = str(error)
        except Exception as error:  # on a thread it would go unheard, and the process would end as if all were well
            self.failure = f"playing failed with {error!r}, a defect of ovseg_ros: please report it"
        finally:
            self._finished.set()

    def _wait_for_subscribers(self) -> bool:
        """Whether to play; after the longest wait it plays to whoever listens, as a camera does."""
        patience = self._settings["wait_for_subscribers"]
        deadline = time.monotonic() + patience
        while (unheard := self._unheard()) and time.monotonic() < deadline:
            if self._finished.wait(POLL_SECONDS):
                return False
        if patience and unheard:
            self.get_logger().warning(
                f"nobody subscribed to {', '.join(unheard)} within {patience:g} s: playing all the same"
            )
        return True

    def _unheard(self) -> list[str]:
        """Topics that nobody listens to."""
        return [publisher.topic_name for publisher in self._sensors if not publisher.get_subscription_count()]

    def _play(self) -> None:
        count, period = len(self._sequence), 1.0 / self._settings["rate"]
        self.get_logger().info(f"playing {count} frames at {1 / period:g} Hz on {self._colour_out.topic_name}")
        due = time.monotonic()
        while not self._finished.is_set():
            for index in range(count):
                if self._finished.wait(max(0.0, due - time.monotonic())):
                    return
                try:
                    self._publish(self._sequence[index])
                except InvalidFrameError as error:
                    self.get_logger().warning(f"frame {index} of {count} is skipped: {error}")
                # A late frame delays those after it: frames in a burst would not be a camera's.
                due = max(due + period, time.monotonic())
            if not self._settings["loop"]:
                return

    def _publish(self, frame: RgbdFrame) -> None:
        recorded = self._settings["stamps"] == "recording"
        stamp_ns = frame.stamp_ns if recorded else self.get_clock().now().nanoseconds
        header = header_message(self._settings["camera_frame"], stamp_ns)
        if self._clock_out is not None:
            self._clock_out.publish(Clock(clock=time_message(stamp_ns)))
        self._camera_info_out.publish(camera_info_message(frame.intrinsics, header))
        self._publish_pose(np.asarray(frame.pose), stamp_ns)
        self._depth_out.publish(depth_message(np.asarray(frame.depth), header, self._settings["depth_encoding"]))
        self._colour_out.publish(rgb_message(np.asarray(frame.rgb), header))

    def _wait_for_acknowledgements(self) -> None:
        for publisher in self._sensors:
            if not self._finished.is_set():
                publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGE_SECONDS))


def image_size(text: str) -> tuple[int, int]:
    """WIDTHxHEIGHT -> (width, height).

    Raises:
        OvsegError: for anything else.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise OvsegError(f"room_size must be WIDTHxHEIGHT in pixels, for example 320x240, got {text!r}")
    return int(match[1]), int(match[2])
