"""How the services of mapping_node share their time."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

import rclpy

from ovseg_ros.demo.run import LAST_DOMAIN
from ovseg_ros.ros.mapper import MappingNode
from ovseg_ros.ros.services import SERVICES


def test_a_model_that_looks_at_pictures_keeps_no_other_question_waiting() -> None:
    rclpy.init(domain_id=1 + os.getpid() % LAST_DOMAIN, args=["--ros-args", "-p", "autostart:=false"])
    node = MappingNode()
    groups = {service.service_name.rpartition("/")[2]: service.callback_group for service in node.services}
    node.destroy_node()
    rclpy.shutdown()
    slow = {name for name, service in SERVICES.items() if service.slow}
    assert slow == {"find_in_views", "refer"}
    shared = {groups[name] for name in SERVICES.keys() - slow}
    assert len(shared) == 1
    assert len({groups[name] for name in slow} | shared) == len(slow) + 1
