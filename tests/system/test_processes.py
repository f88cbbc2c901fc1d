"""Nodes that are started, configured, stopped and killed, in processes of their own over real DDS."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from geometry_msgs.msg import PoseStamped
from radseg_models import write_settings
from rig import EVENTUALLY, MAPPING, QUERY, WORDS, Camera, room, sent_and_fused, wait_for_count, wait_for_services
from sensor_msgs.msg import CameraInfo, Image

from ovseg_ros.datasets import open_sequence, write_sequence
from ovseg_ros.mapping import storage
from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.processes import NodeProcess
from ovseg_ros.sensor_messages import FrameBuilder, pose_to_matrix

pytestmark = pytest.mark.system

STOP_LIMIT = 2.0
LOADED_MACHINE = 3.0
"""Extra seconds for a test machine that does other things meanwhile."""


@pytest.fixture
def client() -> Iterator[MapClient]:
    with MapClient() as client:
        yield client


def test_play_map_query_save_kill_load_gives_the_same_answer(tmp_path: Path, client: MapClient) -> None:
    path = tmp_path / "flat.ovmap"
    with NodeProcess("mapping_node", tmp_path / "first.log", parameters=MAPPING) as mapping:
        client.wait_until_active(timeout=EVENTUALLY)
        play = {"room_seed": 11, "room_frames": 8, "room_size": "160x120", "rate": 20.0}
        with NodeProcess("rgbd_player_node", tmp_path / "player.log", parameters=play) as player:
            assert player.wait(EVENTUALLY) == 0, player.printed()
        report = wait_for_count(client, "frames_integrated", 8)
        assert report["frames_dropped"] == "0"
        answered = client.query(WORDS, **QUERY)
        assert answered.success, answered.message
        assert answered.matches
        assert answered.map_revision == 8
        assert {match.header.frame_id for match in answered.matches} == {"map"}
        saved = client.save(str(path))
        assert saved.success, saved.message
        assert saved.voxel_count == int(report["voxels"])
        mapping.kill()

    # A client of its own: the first one remembers the killed node for a while.
    with NodeProcess("mapping_node", tmp_path / "second.log", parameters=MAPPING), MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        assert client.query(WORDS).message.startswith("the map is empty")
        loaded = client.load(str(path))
        assert loaded.success, loaded.message
        assert (loaded.map_revision, loaded.voxel_count) == (8, saved.voxel_count)
        again = client.query(WORDS, **QUERY)
        assert again.matches == answered.matches
        assert again.map_revision == answered.map_revision


def test_a_map_with_rays_answers_with_directions(tmp_path: Path, client: MapClient) -> None:
    parameters = {**MAPPING, "mapping.layers": "rays", "mapping.max_depth": 1.5}
    with NodeProcess("mapping_node", tmp_path / "mapping.log", parameters=parameters) as mapping:
        client.wait_until_active(timeout=EVENTUALLY)
        camera = Camera(client)
        camera.wait_for_listeners()
        for index in range(len(room())):
            camera.send(room()[index])
        wait_for_count(client, "frames_integrated", len(room()))
        response = client.query(WORDS, **QUERY)
        assert response.success, response.message
        assert response.rays, mapping.printed()
        for ray in response.rays:
            assert ray.query in WORDS
            assert ray.header.frame_id == "map"
            assert np.linalg.norm([ray.direction.x, ray.direction.y, ray.direction.z]) == pytest.approx(1.0)
            assert 0.0 < ray.spread < np.pi


def test_sigkill_during_save_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "flat.ovmap"
    # Fine voxels make a map that takes a while to write.
    parameters = {**MAPPING, "mapping.voxel_size": 0.01, "mapping.feature_dtype": "float32"}
    for attempt in range(10):
        log = tmp_path / f"{attempt}.log"
        with NodeProcess("mapping_node", log, parameters=parameters) as mapping, MapClient() as client:
            client.wait_until_active(timeout=EVENTUALLY)
            camera = Camera(client)
            camera.wait_for_listeners()
            for index in range(4):
                camera.send(room()[index])
            wait_for_count(client, "frames_integrated", 4)
            assert client.save(str(path)).success
            old, inode = path.read_bytes(), path.stat().st_ino
            sent_and_fused(client, camera, 5)
            client.save_in_background(str(path))
            deadline = time.monotonic() + EVENTUALLY
            while not list(tmp_path.glob(".flat.ovmap.*")) and path.stat().st_ino == inode:
                assert time.monotonic() < deadline, "the node doesn't save"
                time.sleep(0.001)
            mapping.kill()
        if list(tmp_path.glob(".flat.ovmap.*")):
            break
    assert list(tmp_path.glob(".flat.ovmap.*")), "the node was never caught in the middle of a save"
    assert path.read_bytes() == old
    assert storage.load(path).revision == 4


def test_lifecycle_walk_and_services_in_every_state(tmp_path: Path, client: MapClient) -> None:
    parameters = {**MAPPING, "autostart": False}
    with NodeProcess("mapping_node", tmp_path / "mapping.log", parameters=parameters) as node:
        wait_for_services(client)
        for answer in (
            client.query(["wall"]),
            client.save(str(tmp_path / "a.ovmap")),
            client.load(str(tmp_path / "a.ovmap")),
            client.clear(),
        ):
            assert not answer.success
            assert "isn't configured" in answer.message
        assert client.state() == "unconfigured"
        camera = Camera(client)
        for _ in range(2):
            assert client.transition("configure")
            assert client.query(["wall"]).success
            assert client.transition("activate")
            camera.wait_for_listeners()
            sent_and_fused(client, camera, 0)
            assert client.transition("deactivate")
            assert client.query(["wall"]).map_revision == 1
            assert client.transition("cleanup")
            assert not client.query(["wall"]).success
        assert node.stop(signal.SIGTERM) == 0, node.printed()


def test_a_parameter_out_of_its_limits_ends_the_node_with_one_line(tmp_path: Path) -> None:
    parameters = {"mapping.voxel_size": -1.0}
    with NodeProcess("mapping_node", tmp_path / "mapping.log", parameters=parameters) as node:
        assert node.wait(EVENTUALLY) == 1
        assert node.printed().strip() == "mapping.voxel_size must be 0.005 to 1, got -1.0"


def test_a_failed_configure_says_why_and_the_node_stays(tmp_path: Path, client: MapClient) -> None:
    parameters = {"backend": "nonsense", "mapping.voxel_sise": 0.1}
    with NodeProcess("mapping_node", tmp_path / "mapping.log", parameters=parameters) as node:
        client.wait_for(lambda: "configure failed" in node.printed(), "the failure", EVENTUALLY)
        assert client.state() == "unconfigured"
        assert "nonsense" in client.query(["wall"]).message
        assert "mapping.voxel_sise is unknown" in node.printed()
        assert "did you mean mapping.voxel_size?" in node.printed()


def test_signals_end_busy_nodes_in_time_with_status_0(tmp_path: Path, client: MapClient) -> None:
    play = {"room_size": "160x120", "loop": True, "rate": 100.0, "room_frames": 4}
    with (
        NodeProcess("mapping_node", tmp_path / "mapping.log", parameters={"pose_source": "pose"}) as mapping,
        NodeProcess("rgbd_player_node", tmp_path / "player.log", parameters=play) as player,
    ):
        wait_for_count(client, "frames_integrated", 1)
        first = client.query(WORDS, **QUERY)
        assert first.success, first.message
        client.wait_for(
            lambda: client.query(WORDS, **QUERY).map_revision > first.map_revision, "a newer map", EVENTUALLY
        )
        for node, number in ((mapping, signal.SIGINT), (player, signal.SIGTERM)):
            start = time.monotonic()
            assert node.stop(number) == 0, node.printed()
            assert time.monotonic() - start < STOP_LIMIT + LOADED_MACHINE
            assert "Traceback" not in node.printed()


def test_the_player_publishes_a_recording_as_it_is(tmp_path: Path, client: MapClient) -> None:
    recording = tmp_path / "recording"
    write_sequence((room()[i] for i in range(3)), None, recording, "posed_rgbd", room().class_names)
    received: dict[str, list[Any]] = {"colour": [], "depth": [], "camera_info": [], "pose": []}
    for name, kind, topic in (
        ("colour", Image, "rgb/image"),
        ("depth", Image, "depth/image"),
        ("camera_info", CameraInfo, "rgb/camera_info"),
        ("pose", PoseStamped, "camera_pose"),
    ):
        client.node.create_subscription(kind, topic, received[name].append, 10)
    play = {"sequence": str(recording), "rate": 20.0, "depth_encoding": "16UC1"}
    with NodeProcess("rgbd_player_node", tmp_path / "player.log", parameters=play) as player:
        client.wait_for(lambda: all(len(got) == 3 for got in received.values()), "three frames", EVENTUALLY)
        assert player.wait(EVENTUALLY) == 0, player.printed()
    builder = FrameBuilder()
    messages = zip(*(received[name] for name in ("colour", "depth", "camera_info", "pose")), strict=True)
    for (colour, depth, camera_info, pose), truth in zip(messages, open_sequence(recording), strict=True):
        frame = builder.build(colour, depth, camera_info, pose_to_matrix(pose.pose))
        np.testing.assert_array_equal(frame.rgb, truth.rgb)
        np.testing.assert_allclose(frame.depth, truth.depth, atol=1e-6)
        np.testing.assert_allclose(frame.pose, truth.pose, atol=1e-9)
        assert frame.intrinsics == truth.intrinsics


def test_the_player_says_what_it_cannot_play(tmp_path: Path) -> None:
    parameters = {"sequence": str(tmp_path / "nothing")}
    with NodeProcess("rgbd_player_node", tmp_path / "player.log", parameters=parameters) as player:
        assert player.wait(EVENTUALLY) == 1
        assert "nothing" in player.printed()
        assert "Traceback" not in player.printed()


def test_a_player_that_breaks_ends_with_status_1_and_one_line() -> None:
    program = """
import sys
from ovseg_ros.ros import player, rgbd_player_node

def break_(sequence, index):
    raise ZeroDivisionError("a broken disk")

player.RoomSequence.__getitem__ = break_
sys.exit(rgbd_player_node.main(["--ros-args", "-p", "room_frames:=2", "-p", "wait_for_subscribers:=0.0"]))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=EVENTUALLY)
    assert ended.returncode == 1, ended.stderr
    assert "playing failed with ZeroDivisionError('a broken disk')" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_radseg_maps_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small random checkpoint in NVIDIA's container and a small random SigLIP2, named in the settings file."""
    monkeypatch.setenv("OVSEG_RADSEG_CONFIG", str(write_settings(tmp_path)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    parameters = {**MAPPING, "backend": "radseg", "device": "cpu"}
    with NodeProcess("mapping_node", tmp_path / "mapping.log", parameters=parameters) as node, MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        camera = Camera(client)
        camera.wait_for_listeners()
        for index in range(3):
            sent_and_fused(client, camera, index)
        answer = client.query(["chair"], min_score=0.01, max_matches=1)
        assert answer.success and answer.map_revision == 3
        assert node.running
