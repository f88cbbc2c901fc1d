"""Percentiles of what a stage takes: of the newest frames, in bounded memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ovseg_ros.ros.health import LATENCY_FRAMES, PERCENTILES, Health


def test_percentiles_are_those_of_the_newest_frames() -> None:
    health = Health(lambda _: None)
    for _ in range(LATENCY_FRAMES):
        health.stage("segment", 10.0)
    for milliseconds in range(LATENCY_FRAMES):
        health.stage("segment", milliseconds / 1000.0)
    health.stage("integrate", 0.005)
    report = health.report()
    expected = tuple(p / 100 * (LATENCY_FRAMES - 1) for p in PERCENTILES)
    assert report.percentiles["segment"] == pytest.approx(expected)
    assert report.percentiles["integrate"] == pytest.approx((5.0,) * len(PERCENTILES))


def test_diagnostics_hold_the_percentiles_of_each_stage() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")
    from builtin_interfaces.msg import Time

    from ovseg_ros.ros.health import diagnostics_message

    health = Health(lambda _: None)
    health.stage("segment", 0.25)
    status = diagnostics_message("/robot/node", "segmenting", Time(), health.report(), {}).status[0]
    values = SimpleNamespace(**{value.key.replace(".", "_"): value.value for value in status.values})
    assert (status.name, status.message) == ("/robot/node: segmenting", "segmenting")
    assert values.segment_ms == values.segment_ms_p50 == values.segment_ms_p95 == values.segment_ms_p99 == "250.0"
