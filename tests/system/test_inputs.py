"""What mapping_node takes in: poses from each source, compressed images; each with nodes in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rig import EVENTUALLY, MAPPING, WORDS, Camera, room, wait_for_count
from sensor_msgs.msg import CompressedImage

from ovseg_ros.ros import messages
from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.processes import NodeProcess
from ovseg_ros.ros.transforms import have_tf2

pytestmark = pytest.mark.system

RELIABLE = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)
FRAMES = 4
PLAY = {"room_seed": 11, "room_frames": FRAMES, "room_size": "160x120", "rate": 10.0}

needs_tf2 = pytest.mark.skipif(not have_tf2(), reason="tf2_ros is not installed")


@pytest.fixture
def client() -> Iterator[MapClient]:
    with MapClient() as client:
        yield client


@pytest.mark.parametrize("source", ["odometry", pytest.param("tf", marks=needs_tf2)])
def test_a_played_room_gives_the_same_map_whatever_carries_the_poses(source: str, tmp_path: Path) -> None:
    voxels = []
    for name in ("pose", source):
        parameters = {**MAPPING, "pose_source": name, "sync.tf_timeout": 5.0}
        with (
            NodeProcess("mapping_node", tmp_path / f"{name}.log", parameters=parameters) as mapping,
            MapClient() as client,
        ):
            client.wait_until_active(timeout=EVENTUALLY)
            play = {**PLAY, "pose_output": name}
            with NodeProcess("rgbd_player_node", tmp_path / "player.log", parameters=play) as player:
                assert player.wait(EVENTUALLY) == 0, player.printed()
            report = wait_for_count(client, "frames_integrated", FRAMES)
            assert report["frames_dropped"] == "0", mapping.printed()
            assert f"pose_source {name}" in mapping.printed()
            voxels.append(report["voxels"])
    assert voxels[0] == voxels[1]


def test_odometry_of_the_body_is_moved_to_the_camera_and_interpolated(tmp_path: Path) -> None:
    """The camera sits 1 m above the body, and odometry has other stamps than the images."""

    class Body(Camera):
        def __init__(self, client: MapClient) -> None:
            super().__init__(client)
            self.publishers["pose"] = client.node.create_publisher(Odometry, "odom", RELIABLE)

        def send(self, frame: Any, spoil: Any = None) -> None:
            def around(content: dict[str, Any]) -> None:
                """The image's own pose isn't sent: one before and one after it are, off to either side."""
                for side in (-1, 1):
                    pose = np.asarray(frame.pose).copy()
                    pose[:3, 3] += (0.2 * side, 0.0, -1.0)
                    stamp_ns = self.stamp_ns + side * 10**8
                    message = messages.odometry_message(pose, messages.header_message("map", stamp_ns), "base_link")
                    if side < 0:
                        self.publishers["pose"].publish(message)
                    content["pose"] = message

            super().send(frame, around)

    # In the camera's axes, the way from the body to the camera is the world's up.
    up = np.asarray(room()[0].pose)[:3, :3].T @ (0.0, 0.0, 1.0)
    offset = " ".join(f"{value:.9f}" for value in (*up, 0.0, 0.0, 0.0, 1.0))
    seen = {}
    for name, extra, kind in (
        ("pose", {}, Camera),
        ("odometry", {"odometry.camera_offset": offset}, Body),
    ):
        parameters = {**MAPPING, "pose_source": name, **extra}
        with NodeProcess("mapping_node", tmp_path / f"{name}.log", parameters=parameters), MapClient() as client:
            client.wait_until_active(timeout=EVENTUALLY)
            camera = kind(client)
            camera.wait_for_listeners()
            camera.send(room()[0])
            seen[name] = int(wait_for_count(client, "frames_integrated", 1)["voxels"])
            match = client.query(WORDS, min_score=0.02, max_matches=1).matches[0]
            seen[f"{name} at"] = np.array([match.position.x, match.position.y, match.position.z])
    # Nine digits of the offset move some points across the border of a voxel.
    assert abs(seen["odometry"] - seen["pose"]) <= 0.01 * seen["pose"]
    np.testing.assert_allclose(seen["odometry at"], seen["pose at"], atol=0.06)


def test_compressed_images_are_mapped_and_bad_ones_said_once(tmp_path: Path, client: MapClient) -> None:
    class CompressedCamera(Camera):
        def __init__(self, client: MapClient) -> None:
            super().__init__(client)
            for name, topic in (("depth", "depth/image/compressedDepth"), ("colour", "rgb/image/compressed")):
                self.publishers[name] = client.node.create_publisher(CompressedImage, topic, RELIABLE)

        def send(self, frame: Any, spoil: Any = None) -> None:
            def compress(content: dict[str, Any]) -> None:
                header = content["colour"].header
                bgr = np.ascontiguousarray(np.asarray(frame.rgb)[:, :, ::-1])
                jpeg = cv2.imencode(".jpg", bgr)[1].tobytes()
                millimetres = (np.nan_to_num(np.asarray(frame.depth), posinf=0.0) * 1000).round().astype(np.uint16)
                png = bytes(12) + cv2.imencode(".png", millimetres)[1].tobytes()
                content["colour"] = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=jpeg)
                content["depth"] = CompressedImage(header=header, format="16UC1; compressedDepth png", data=png)
                if spoil is not None:
                    spoil(content)

            super().send(frame, compress)

    def cut(content: dict[str, Any]) -> None:
        content["depth"].data = bytes(content["depth"].data)[:40]

    parameters = {**MAPPING, "inputs.transport": "compressed"}
    with NodeProcess("mapping_node", tmp_path / "mapping.log", parameters=parameters) as node:
        client.wait_until_active(timeout=EVENTUALLY)
        camera = CompressedCamera(client)
        camera.wait_for_listeners()
        for _ in range(2):
            camera.send(room()[0], cut)
        camera.send(room()[0])
        report = wait_for_count(client, "frames_integrated", 1)
        assert report["dropped.encoding"] == "2"
        assert report["received.rgb/image/compressed"] == "3"
        assert int(report["voxels"]) > 0
        said = [line for line in node.printed().splitlines() if "with 40 bytes can't be decoded" in line]
        assert len(said) == 1, node.printed()
        assert node.running


@pytest.mark.skipif(have_tf2(), reason="tf2_ros is installed")
def test_tf_without_tf2_ros_is_refused_at_configure_with_what_to_install(tmp_path: Path, client: MapClient) -> None:
    with NodeProcess("mapping_node", tmp_path / "mapping.log", parameters={"pose_source": "tf"}) as node:
        client.wait_for(lambda: "configure failed" in node.printed(), "the failure", EVENTUALLY)
        assert client.state() == "unconfigured"
        assert "sudo apt install ros-$ROS_DISTRO-tf2-ros-py" in client.query(["wall"]).message
        assert node.running
    with NodeProcess("rgbd_player_node", tmp_path / "player.log", parameters={"pose_output": "tf"}) as player:
        assert player.wait(EVENTUALLY) == 1
        assert "pose_output tf needs the Python package tf2_ros" in player.printed()
        assert "Traceback" not in player.printed()


@needs_tf2
def test_a_transform_that_is_missing_or_late(tmp_path: Path, client: MapClient) -> None:
    """A frame without a transform is dropped, never put at the identity; a transform 200 ms late is waited for."""
    from tf2_ros import TransformBroadcaster

    parameters = {**MAPPING, "pose_source": "tf", "sync.tf_timeout": 2.0}
    with NodeProcess("mapping_node", tmp_path / "mapping.log", parameters=parameters) as node:
        client.wait_until_active(timeout=EVENTUALLY)
        camera = Camera(client, poses=False)
        broadcaster = TransformBroadcaster(client.node)
        camera.wait_for_listeners()
        client.wait_for(broadcaster.pub_tf.get_subscription_count, "listeners of /tf", EVENTUALLY)

        camera.send(room()[0], lambda content: content.pop("pose"))
        assert wait_for_count(client, "dropped.tf", 1)["voxels"] == "0"
        assert "no transform from 'camera_optical_frame' to 'map'" in node.printed()

        late: list[TransformStamped] = []

        def hold_back(content: dict[str, Any]) -> None:
            header = content.pop("pose").header
            late.append(messages.transform_message(np.asarray(room()[0].pose), header, "camera_optical_frame"))

        for index in range(3):
            camera.send(room()[index], hold_back)
        time.sleep(0.2)
        for transform in late:
            broadcaster.sendTransform(transform)
        report = wait_for_count(client, "frames_integrated", 3)
        assert report["dropped.tf"] == "1"
