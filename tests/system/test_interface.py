"""The topics and services that running nodes really have, beside what the tables of the README say."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from rclpy.qos import QoSProfile
from rig import EVENTUALLY

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.interface_tables import NODES, type_name
from ovseg_ros.ros.processes import NodeProcess

pytestmark = pytest.mark.system

EVERY_NODES = ("rcl_interfaces", "lifecycle_msgs", "type_description_interfaces")
"""Packages of the topics and services that any node of ROS 2 has."""

TF, POSE, ODOMETRY = {"/tf", "/tf_static"}, {"camera_pose"}, {"odom"}
DECLARED = {node.name: node for node in NODES}


def resolved(name: str, node: str) -> str:
    return name.replace("~", f"/{node}") if name.startswith("~") else "/" + name.strip("/")


def own(names_and_types: list[tuple[str, list[str]]]) -> dict[str, str]:
    """Name -> package/Type, without what any node has."""
    found = {name: types[0].replace("/msg/", "/").replace("/srv/", "/") for name, types in names_and_types}
    return {name: kind for name, kind in found.items() if not kind.startswith(EVERY_NODES)}


@pytest.mark.parametrize(
    ("name", "parameters", "absent"),
    [
        ("mapping_node", {"pose_source": "pose"}, TF | ODOMETRY),
        ("mapping_node", {"pose_source": "odometry"}, TF | POSE),
        pytest.param(
            *("mapping_node", {"pose_source": "tf"}, POSE | ODOMETRY),
            marks=pytest.mark.skipif(importlib.util.find_spec("tf2_ros") is None, reason="tf2_ros is not installed"),
        ),
        ("segmentation_node", {}, set()),
        ("rgbd_player_node", {"publish_clock": True, "wait_for_subscribers": 60.0}, TF | ODOMETRY),
    ],
)
def test_a_node_has_the_declared_topics_and_services(
    name: str, parameters: dict[str, Any], absent: set[str], tmp_path: Path
) -> None:
    if importlib.util.find_spec("vision_msgs") is None:
        absent = absent | {"~/label_info"}
    wanted = {
        kind: {resolved(key, name): item for key, item in declared.items() if key not in absent}
        for kind, declared in (
            ("subscribed", DECLARED[name].subscribed),
            ("published", DECLARED[name].published),
            ("services", DECLARED[name].services),
        )
    }
    with NodeProcess(name, tmp_path / "log", parameters=parameters), MapClient(f"/{name}") as client:
        if name != "rgbd_player_node":
            client.wait_until_active(timeout=EVENTUALLY)
        graph = client.node
        queries = {
            "subscribed": graph.get_subscriber_names_and_types_by_node,
            "published": graph.get_publisher_names_and_types_by_node,
            "services": graph.get_service_names_and_types_by_node,
        }

        def there() -> dict[str, dict[str, str]]:
            if (name, "/") not in graph.get_node_names_and_namespaces():
                return {}
            return {kind: own(query(name, "/")) for kind, query in queries.items()}

        expected = {kind: {key: type_name(item.kind) for key, item in items.items()} for kind, items in wanted.items()}
        with contextlib.suppress(OvsegError):
            client.wait_for(lambda: there() == expected, "discovery", EVENTUALLY)
        assert there() == expected

        for topic, item in wanted["published"].items():
            if isinstance(item.quality, QoSProfile):
                (info,) = (i for i in graph.get_publishers_info_by_topic(topic) if i.node_name == name)
                assert info.qos_profile.reliability == item.quality.reliability, topic
                assert info.qos_profile.durability.name == item.quality.durability.name.replace(
                    "SYSTEM_DEFAULT", "VOLATILE"
                ), topic
