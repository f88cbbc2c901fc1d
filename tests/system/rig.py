"""What the system tests drive nodes with: a camera, and waits on what a node reports about itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros import messages
from ovseg_ros.ros.client import MapClient
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import RgbdFrame

EVENTUALLY = 60.0
"""Seconds until a wait counts as failed; generous, because tests share their machine."""

SECOND = 10**9

MAPPING = {
    "pose_source": "pose",
    "inputs.reliability": "reliable",
    "mapping.queue_size": 1000,
    "sync.queue_size": 100,
}
"""Parameters under which no frame may be lost."""

WORDS = ["wall", "floor"]
QUERY = {"min_score": 0.02, "max_matches": 3}
"""Finds something in every map, however good the model is."""


@cache
def room() -> RoomSequence:
    """A small recording of a generated room."""
    return RoomSequence(seed=11, frames=8, width=160, height=120, noise=False)


class Camera:
    """Publishes frames on the topics of mapping_node from the test's own process; ``poses``: on camera_pose, too."""

    def __init__(self, client: MapClient, *, poses: bool = True) -> None:
        self._client = client
        self.stamp_ns = 100 * SECOND
        self.step_ns = SECOND
        quality = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)
        node = client.node
        self.publishers = {
            "camera_info": node.create_publisher(CameraInfo, "rgb/camera_info", quality),
            "pose": node.create_publisher(PoseStamped, "camera_pose", quality),
            "depth": node.create_publisher(Image, "depth/image", quality),
            "colour": node.create_publisher(Image, "rgb/image", quality),
        }
        if not poses:
            node.destroy_publisher(self.publishers.pop("pose"))

    def wait_for_listeners(self) -> None:
        """Until every topic has a subscriber."""
        self._client.wait_for(
            lambda: all(publisher.get_subscription_count() for publisher in self.publishers.values()),
            "subscriptions of the node",
            EVENTUALLY,
        )

    def back_in_time(self, seconds: int) -> None:
        """Set the clock of the camera back."""
        self.stamp_ns -= seconds * SECOND

    def send(self, frame: RgbdFrame, spoil: Callable[[dict[str, object]], None] | None = None) -> None:
        """Publish one frame, ``step_ns`` after the last one; ``spoil`` may change its messages first."""
        self.stamp_ns += self.step_ns
        camera = messages.header_message("camera_optical_frame", self.stamp_ns)
        world = messages.header_message("map", self.stamp_ns)
        content: dict[str, object] = {
            "camera_info": messages.camera_info_message(frame.intrinsics, camera),
            "pose": messages.pose_message(np.asarray(frame.pose), world),
            "depth": messages.depth_message(np.asarray(frame.depth), camera, "32FC1"),
            "colour": messages.rgb_message(np.asarray(frame.rgb), camera),
        }
        if spoil is not None:
            spoil(content)
        for name, message in content.items():
            self.publishers[name].publish(message)


def wait_for_services(client: MapClient) -> None:
    """Wait until the node answers, in whatever state it is."""

    def answers() -> bool:
        with contextlib.suppress(OvsegError):
            return bool(client.state())
        return False

    client.wait_for(answers, f"{client.node_name} to answer", EVENTUALLY)


def wait_for_count(client: MapClient, key: str, count: int) -> dict[str, str]:
    """Wait until the node reports at least ``count`` under ``key`` on /diagnostics; return that report."""
    report: dict[str, str] = {}

    def reached() -> bool:
        report.clear()
        report.update(client.diagnostics(timeout=EVENTUALLY))
        return int(report.get(key, 0)) >= count

    client.wait_for(reached, f"{key} >= {count}", EVENTUALLY)
    return dict(report)


def sent_and_fused(client: MapClient, camera: Camera, index: int) -> dict[str, str]:
    """Send frame ``index`` of the room and wait until it is in the map."""
    before = int(client.diagnostics()["frames_integrated"])
    camera.send(room()[index])
    return wait_for_count(client, "frames_integrated", before + 1)
