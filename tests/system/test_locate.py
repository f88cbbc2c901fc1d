"""One mapping node asked where to stand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from rig import EVENTUALLY, MAPPING, Camera, room, sent_and_fused

from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.processes import NodeProcess

pytestmark = pytest.mark.system


def test_a_goal_is_in_the_map_frame_and_its_refusal_has_a_reason(tmp_path: Path) -> None:
    parameters = {
        **MAPPING, "mapping.layers": "occupancy", "mapping.voxel_size": 0.1, "query.min_score": 0.02,
        "locate.clearance": 0.05, "locate.robot_height": 1.2,
    }  # fmt: skip
    with NodeProcess("mapping_node", tmp_path / "log", parameters=parameters) as node, MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        camera = Camera(client)
        camera.wait_for_listeners()
        empty = client.locate("bed")
        assert not empty.success
        assert "nothing in the map fits 'bed'" in empty.message
        for index in range(len(room())):
            sent_and_fused(client, camera, index)
        answer = client.locate("bed")
        assert answer.success, answer.message
        assert answer.map_revision == len(room())
        assert answer.match.query == "bed"
        assert answer.match.voxel_count > 0
        assert (answer.goal.header.frame_id, answer.goal.header.stamp.sec) == ("map", 0)
        goal = answer.goal.pose
        assert math.hypot(goal.orientation.z, goal.orientation.w) == pytest.approx(1.0)
        assert f"stand at ({goal.position.x:.2f}, {goal.position.y:.2f})" in answer.message

        far = client.locate("bed", (100.0, 0.0, 0.0))
        assert not far.success
        assert "around the robot at (100.00, 0.00)" in far.message
        assert far.match.query == "bed"
        assert not far.goal.header.frame_id
        other = client.locate("bed", (0.0, 0.0, 0.0), frame_id="odom")
        assert not other.success
        assert "'odom'" in other.message
        assert "Traceback" not in node.printed()
