"""One mapping node in a process of its own: what it does with good and bad input and requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rig import EVENTUALLY, MAPPING, QUERY, WORDS, Camera, room, sent_and_fused, wait_for_count
from sensor_msgs.msg import PointCloud2

from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.processes import NodeProcess

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProcess, MapClient, Camera]]:
    """One active mapping node, and a camera that it listens to."""
    log = tmp_path_factory.mktemp("shared") / "mapping.log"
    with NodeProcess("mapping_node", log, parameters={**MAPPING, "publish_period": 0.5}) as node, MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        camera = Camera(client)
        camera.wait_for_listeners()
        yield node, client, camera


def wrong_encoding(content: dict[str, Any]) -> None:
    content["colour"].encoding = "nv21"


def other_size(content: dict[str, Any]) -> None:
    content["depth"].width //= 2
    content["depth"].step //= 2


def no_reading(content: dict[str, Any]) -> None:
    content["depth"].data = np.full(120 * 160, np.nan, np.float32).tobytes()


def zero_focal_length(content: dict[str, Any]) -> None:
    content["camera_info"].k[0] = 0.0


def pose_not_finite(content: dict[str, Any]) -> None:
    content["pose"].pose.position.x = float("nan")


@pytest.mark.parametrize(
    ("spoil", "cause", "words"),
    [
        (wrong_encoding, "encoding", "'nv21'; supported are rgb8"),
        (other_size, "size", "160x120 but the depth image 80x120"),
        (no_reading, "no_depth", "no reading at all"),
        (zero_focal_length, "intrinsics", "focal lengths must be positive"),
        (pose_not_finite, "pose", "the camera pose is not finite"),
    ],
)
def test_bad_input_is_said_once_and_counted_and_the_node_goes_on(
    shared: tuple[NodeProcess, MapClient, Camera], spoil: Callable[[dict[str, Any]], None], cause: str, words: str
) -> None:
    node, client, camera = shared
    before = client.diagnostics()
    for _ in range(2):
        camera.send(room()[0], spoil)
    camera.send(room()[1])
    report = wait_for_count(client, "frames_integrated", int(before["frames_integrated"]) + 1)
    assert int(report[f"dropped.{cause}"]) == int(before.get(f"dropped.{cause}", 0)) + 2
    assert report["state"] == "active"
    assert node.running
    said = [line for line in node.printed().splitlines() if words in line]
    assert len(said) == 1, node.printed()
    assert "WARN" in said[0]
    assert "Traceback" not in node.printed()


def test_stamps_that_go_back_are_said_once_and_mapping_goes_on(
    shared: tuple[NodeProcess, MapClient, Camera],
) -> None:
    node, client, camera = shared
    sent_and_fused(client, camera, 0)
    before = client.diagnostics()
    for restart in range(2):
        camera.back_in_time(50)
        report = sent_and_fused(client, camera, 1)
        assert int(report["dropped.stamp"]) == int(before.get("dropped.stamp", 0)) + restart + 1
    assert node.printed().count("went back by 49.000 s") == 1
    assert node.running


def test_requests_out_of_limits_get_one_sentence(shared: tuple[NodeProcess, MapClient, Camera]) -> None:
    _, client, camera = shared
    revision = int(sent_and_fused(client, camera, 2)["map_revision"])
    for queries, options, words in (
        ([], {}, ""),
        (["wall"] * 65, {}, "64"),
        (["x" * 201], {}, "200"),
        ([""], {}, ""),
        (["wall"], {"min_score": 1.5}, "min_score must be 0"),
        (["wall"], {"min_score": float("nan")}, "min_score must be 0"),
        (["wall"], {"max_matches": 1001}, "max_matches must be 0"),
    ):
        response = client.query(queries, **options)
        assert not response.success
        assert response.message
        assert words in response.message
        assert "defect" not in response.message
        assert response.map_revision == revision
    response = client.query(["wall", "chair"], min_score=1.0)
    assert response.success
    assert response.message == "no match for 'wall', 'chair'"


def test_a_refused_file_leaves_the_map_as_it_was(shared: tuple[NodeProcess, MapClient, Camera], tmp_path: Path) -> None:
    _, client, camera = shared
    sent_and_fused(client, camera, 3)
    before = client.query(WORDS, **QUERY)
    path = tmp_path / "flat.ovmap"
    assert client.save(str(path)).success
    truncated = tmp_path / "cut.ovmap"
    truncated.write_bytes(path.read_bytes()[:-7])
    for bad in (str(truncated), str(tmp_path / "absent.ovmap"), "relative.ovmap", ""):
        response = client.load(bad)
        assert not response.success
        assert response.message
        assert "defect" not in response.message
    assert not client.save(str(tmp_path / "no" / "folder.ovmap")).success
    after = client.query(WORDS, **QUERY)
    assert (after.map_revision, after.matches) == (before.map_revision, before.matches)


def test_clouds_are_published_for_whoever_listens(shared: tuple[NodeProcess, MapClient, Camera]) -> None:
    _, client, camera = shared
    clouds: dict[str, PointCloud2] = {}
    latched = QoSProfile(
        depth=1, reliability=QoSReliabilityPolicy.RELIABLE, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL
    )
    report = sent_and_fused(client, camera, 4)
    assert float(report["map_megabytes"]) > 0.0
    assert float(report["rate_hz"]) >= 0.0
    assert client.query(["floor"], publish_heatmap=True).success
    for name in ("semantic_cloud", "query_heatmap"):
        client.node.create_subscription(
            PointCloud2, f"/mapping_node/{name}", lambda cloud, name=name: clouds.__setitem__(name, cloud), latched
        )
    client.wait_for(lambda: len(clouds) == 2, "both clouds", EVENTUALLY)
    for name, extra in (("semantic_cloud", ["label", "confidence"]), ("query_heatmap", ["score"])):
        cloud = clouds[name]
        assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb", *extra]
        assert cloud.width == int(report["voxels"])
        assert cloud.header.frame_id == "map"
        assert cloud.header.stamp.sec > 0


def test_clear_map_forgets_everything(shared: tuple[NodeProcess, MapClient, Camera]) -> None:
    _, client, camera = shared
    sent_and_fused(client, camera, 0)
    response = client.clear()
    assert response.success, response.message
    assert client.query(WORDS).message.startswith("the map is empty")
    assert client.diagnostics()["voxels"] == "0"
