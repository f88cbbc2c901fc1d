"""segmentation_node in a process of its own: labels with the header of their image, for whoever listens."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from rig import EVENTUALLY, room
from sensor_msgs.msg import Image

from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.messages import header_message, rgb_message
from ovseg_ros.ros.processes import NodeProcess

pytestmark = pytest.mark.system

PARAMETERS = {"inputs.reliability": "reliable", "concepts": "floor, wall", "queue_size": 10}


def test_images_are_labelled_and_bad_ones_counted(tmp_path: Path) -> None:
    received: dict[str, Image] = {}
    status: dict[str, Any] = {}

    def on_diagnostics(message: DiagnosticArray) -> None:
        status.update({value.key: value.value for value in message.status[0].values}, name=message.status[0].name)

    with (
        NodeProcess("segmentation_node", tmp_path / "log", parameters=PARAMETERS) as process,
        MapClient("/segmentation_node") as client,
    ):
        client.wait_until_active(timeout=EVENTUALLY)
        camera = client.node.create_publisher(Image, "rgb/image", QoSProfile(depth=10))
        client.node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 1)
        client.wait_for(camera.get_subscription_count, "a subscription", EVENTUALLY)
        frame = room()[0]
        image = rgb_message(np.asarray(frame.rgb), header_message("front_optical", 7 * 10**9))

        camera.publish(image)
        client.wait_for(lambda: int(status.get("received.rgb/image", 0)) == 1, "the image", EVENTUALLY)
        assert status["frames_integrated"] == "0", "nobody listens"

        for name in ("label_mask", "confidence", "overlay"):
            take = lambda message, name=name: received.__setitem__(name, message)  # noqa: E731
            client.node.create_subscription(Image, f"/segmentation_node/{name}", take, QoSProfile(depth=10))
        counts = lambda name: client.node.count_subscribers(f"/segmentation_node/{name}")  # noqa: E731
        client.wait_for(lambda: counts("overlay") and counts("confidence"), "discovery", EVENTUALLY)

        def labelled() -> bool:
            camera.publish(image)
            time.sleep(0.2)
            return len(received) == 3

        client.wait_for(labelled, "three images", EVENTUALLY)
        for message in received.values():
            assert (message.header.frame_id, message.header.stamp.sec) == ("front_optical", 7)
        mask, confidence = received["label_mask"], received["confidence"]
        assert (mask.encoding, confidence.encoding, received["overlay"].encoding) == ("mono8", "mono8", "rgb8")
        labels = np.frombuffer(mask.data, np.uint8).reshape(120, 160)
        assert (mask.width, mask.height) == (160, 120)
        assert set(np.unique(labels)) == {0, 1, 2}
        sure = np.frombuffer(confidence.data, np.uint8).reshape(labels.shape)
        assert (sure[labels == 0] == 0).all()
        assert sure[labels > 0].mean() > 127

        image.encoding = "nv21"
        camera.publish(image)
        client.wait_for(lambda: int(status.get("dropped.encoding", 0)) == 1, "the bad image", EVENTUALLY)
        assert status["name"] == "/segmentation_node: segmenting"
        assert "segment_ms.p99" in status
        assert process.printed().count("'nv21'; supported are rgb8") == 1

        assert client.transition("deactivate")
        assert client.transition("cleanup")
        assert client.transition("configure")
        assert client.transition("activate")
        assert process.stop() == 0
        assert "Traceback" not in process.printed()
