"""Live input: several cameras, poses that come late, a player that starts again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from rig import EVENTUALLY, MAPPING, WORDS, Camera, room, wait_for_count

from ovseg_ros.datasets import open_sequence, write_sequence
from ovseg_ros.mapping import MappingConfig
from ovseg_ros.pipeline import build_map
from ovseg_ros.ros import messages
from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.processes import NodeProcess
from ovseg_ros.segmentation import load_segmenter

pytestmark = pytest.mark.system

FRAMES = 3


def test_two_cameras_fill_one_map(tmp_path: Path) -> None:
    """Each plays its half of a walk in a namespace of its own; one has depth in millimetres."""
    halves = {"front": range(FRAMES), "rear": range(4, 4 + FRAMES)}
    frames = []
    for name, half in halves.items():
        write_sequence((room()[i] for i in half), None, tmp_path / name, "posed_rgbd", room().class_names)
        frames += list(open_sequence(tmp_path / name))
    expected, _ = build_map(frames, load_segmenter("openseg", "cpu"), MappingConfig())

    parameters = {**MAPPING, "cameras": [*halves]}
    with NodeProcess("mapping_node", tmp_path / "mapping.log", parameters=parameters) as node, MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        players = [
            NodeProcess(
                "rgbd_player_node",
                tmp_path / f"{name}.log",
                parameters={"sequence": str(tmp_path / name), "depth_encoding": encoding},
                namespace=f"/{name}",
            )
            for name, encoding in zip(halves, ("32FC1", "16UC1"), strict=True)
        ]
        for player in players:
            with player:
                assert player.wait(EVENTUALLY) == 0, player.printed()
        report = wait_for_count(client, "frames_integrated", 2 * FRAMES)
        assert report["frames_dropped"] == "0", node.printed()
        for name in halves:
            assert report[f"{name}.integrated"] == str(FRAMES)
            assert report[f"received.{name}/rgb/image"] == str(FRAMES)
            assert report[f"received.{name}/camera_pose"] == str(FRAMES)
        # Quaternions and millimetres move some points across the border of a voxel.
        assert int(report["voxels"]) == pytest.approx(expected.voxel_count, rel=0.01)


def test_poses_200_ms_late_lose_no_frame_and_each_gets_that_of_its_time(tmp_path: Path) -> None:
    """Poses have other stamps than the images, on either side, along a way that the camera goes at even speed."""
    step, count, poses = 0.1, 12, []
    parameters = {**MAPPING, "sync.queue_size": 10}
    with NodeProcess("mapping_node", tmp_path / "log", parameters=parameters) as node, MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        camera = Camera(client)
        camera.wait_for_listeners()

        def without_pose(content: dict[str, Any]) -> None:
            content.pop("pose")

        def publish_due(now: float) -> None:
            while poses and poses[0][0] <= now:
                camera.publishers["pose"].publish(poses.pop(0)[1])

        for number in range(count):
            camera.step_ns = round(step * 1e9)
            stamp_ns = camera.stamp_ns + camera.step_ns
            camera.send(room()[0], without_pose)
            for side in (-0.5, 0.5) if number == 0 else (0.5,):
                pose = np.asarray(room()[0].pose).copy()
                pose[0, 3] += 0.02 * (number + side)
                header = messages.header_message("map", stamp_ns + round(side * step * 1e9))
                poses.append((time.monotonic() + side * step + 0.2, messages.pose_message(pose, header)))
            time.sleep(step)
            publish_due(time.monotonic())
        time.sleep(0.3)
        publish_due(time.monotonic())
        report = wait_for_count(client, "frames_integrated", count)
        assert report["frames_dropped"] == "0", node.printed()
        assert int(report["received.camera_pose"]) == count + 1


def test_a_player_that_starts_again_midway_goes_on_in_the_same_map(tmp_path: Path) -> None:
    play = {"room_seed": 11, "room_frames": 8, "room_size": "160x120", "rate": 8.0, "loop": True, "stamps": "recording"}
    with NodeProcess("mapping_node", tmp_path / "log", parameters=MAPPING) as node, MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        with NodeProcess("rgbd_player_node", tmp_path / "first.log", parameters=play) as player:
            before = wait_for_count(client, "frames_integrated", 3)
            assert player.stop() == 0
        with NodeProcess("rgbd_player_node", tmp_path / "second.log", parameters=play):
            report = wait_for_count(client, "frames_integrated", int(before["frames_integrated"]) + 12)
        assert int(report["dropped.stamp"]) >= 1
        assert "mapping goes on from there" in node.printed()
        assert int(report["voxels"]) >= int(before["voxels"])
        assert client.query(WORDS, min_score=0.02).success
        assert node.running
