"""The benchmarks of nodes: what they promise holds, on runs that are too short for their figures to mean anything."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import ros_load
import ros_throughput

pytestmark = pytest.mark.system


def test_under_load_the_newest_are_mapped_and_the_rest_is_counted(tmp_path: Path) -> None:
    """30 frames of 640x480 a second, for eight seconds; by hand for a minute."""
    result = ros_load.measure(8.0, 30.0, (640, 480), tmp_path / "log")
    assert result["sent_hz"] > 15.0
    assert result["unaccounted"] == 0
    assert result["integrated"] >= 5
    assert result["dropped"].keys() <= {"queue_full", "unmatched"}
    # Five frames wait at most: a sixth of a second, and longer only where the machine is too busy to send them.
    assert 0.0 < result["queue_ms"]["p99"] < 1000.0
    assert result["memory_mb"]["growth"] - result["memory_mb"]["of_the_map"] < 80.0


def test_nothing_is_dropped_on_the_way_through_player_and_node(capsys: pytest.CaptureFixture[str]) -> None:
    ros_throughput.main(["--frames", "20", "--size", "64x48", "--rounds", "1", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["frames"] == 20
    assert result["ratio"] == result["ros_hz"] / result["in_process_hz"]
    assert min(result["ros_hz"], result["in_process_hz"], result["memory_hz"]) > 0
