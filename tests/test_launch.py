"""Launch files, overlays, RViz and Foxglove files: what they name exists."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import LAYERS
from ovseg_ros.ros import launching
from ovseg_ros.ros.launching import (
    BAG_DEFAULTS,
    MAPPING_ARGUMENTS,
    SEGMENTATION_ARGUMENTS,
    SENSORS,
    pose_source,
    remappings,
)
from ovseg_ros.ros.parameters import MAPPING_PARAMETERS

CONTRACT = {
    "params_file", "backend", "rgb_topic", "depth_topic", "camera_info_topic",
    "use_sim_time", "namespace", "rviz", "bag", "demo", "log_level",
}  # fmt: skip
FILES = ("mapping", "segmentation", "bag")


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in tree.items():
        values.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return values


@pytest.mark.parametrize("name", FILES)
def test_a_launch_file_is_python_with_the_function_that_launch_calls(name: str, root: Path) -> None:
    tree = ast.parse((root / "launch" / f"{name}.launch.py").read_text())
    assert "generate_launch_description" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_arguments_are_those_of_the_contract() -> None:
    mapping = {argument.name: argument for argument in MAPPING_ARGUMENTS}
    assert len(mapping) == len(MAPPING_ARGUMENTS)
    assert mapping.keys() >= CONTRACT
    assert mapping.keys() >= {argument.name for argument in SEGMENTATION_ARGUMENTS} | BAG_DEFAULTS.keys()
    for argument in MAPPING_ARGUMENTS:
        assert not argument.choices or argument.default in argument.choices
        assert argument.sentence.endswith(".")


def test_the_layers_are_those_of_maps() -> None:
    assert launching.LAYERS == LAYERS


@pytest.mark.parametrize("sensor", SENSORS)
def test_an_overlay_changes_parameters_that_exist_within_their_limits(sensor: str, root: Path) -> None:
    overlay = flat(yaml.safe_load((root / "config" / f"{sensor}.yaml").read_text())["/**"]["ros__parameters"])
    specs = {spec.name: spec for spec in MAPPING_PARAMETERS}
    assert overlay
    for name, value in overlay.items():
        assert specs[name].problem(value) is None
        assert value != specs[name].default


def test_a_topic_given_wins_over_the_sensors() -> None:
    assert remappings("") == remappings("simulation") == []
    given = dict(remappings("realsense", rgb="/front/rgb", pose="/slam/pose"))
    assert given == {
        "rgb/image": "/front/rgb",
        "depth/image": SENSORS["realsense"].depth,
        "rgb/camera_info": SENSORS["realsense"].camera_info,
        "camera_pose": "/slam/pose",
    }
    with pytest.raises(OvsegError, match="take one of realsense"):
        remappings("sonar")
    assert remappings("", odometry="/vins/odometry") == [("odom", "/vins/odometry")]


def test_poses_on_a_topic_are_used_where_tf_is_installed_too() -> None:
    assert pose_source("", "", demo=False) == {}
    chosen = {spec.name: spec for spec in MAPPING_PARAMETERS}["pose_source"].choices
    for given in (pose_source("/slam/pose", "", demo=False), pose_source("", "", demo=True)):
        assert given == {"pose_source": "pose"}
        assert given["pose_source"] in chosen
    assert pose_source("", "/odom", demo=False) == {"pose_source": "odometry"}
    for demo, pose_topic in ((True, ""), (False, "/slam/pose")):
        with pytest.raises(OvsegError, match="name one of them"):
            pose_source(pose_topic, "/odom", demo=demo)


def load(root: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"{name}_launch", root / "launch" / f"{name}.launch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def started(root: Path, name: str, **given: str) -> dict[str, Any]:
    """The nodes that a launch file starts by name, as launch itself reads them; processes by their command."""
    launch = pytest.importorskip("launch", reason="ROS 2's launch isn't in the wheels")
    pytest.importorskip("launch_ros", reason="ROS 2's launch_ros isn't in the wheels")
    from launch_ros.actions import Node

    context = launch.LaunchContext()
    context.launch_configurations.update(given)
    nodes: dict[str, Any] = {}
    queue = [load(root, name).generate_launch_description()]
    while queue:
        entity = queue.pop(0)
        if isinstance(entity, Node):
            entity._perform_substitutions(context)
            nodes[entity.node_name] = entity
        elif isinstance(entity, launch.actions.RegisterEventHandler):
            nodes["on event"] = entity
        else:
            queue[:0] = entity.visit(context) or []
    return nodes


def test_each_launch_file_declares_its_arguments(root: Path) -> None:
    launch = pytest.importorskip("launch", reason="ROS 2's launch isn't in the wheels")
    pytest.importorskip("launch_ros", reason="ROS 2's launch_ros isn't in the wheels")
    context = launch.LaunchContext()
    declared = {}
    for name in FILES:
        entities = load(root, name).generate_launch_description().entities
        declared[name] = {e.name: e for e in entities if isinstance(e, launch.actions.DeclareLaunchArgument)}
    assert declared["mapping"].keys() >= CONTRACT
    assert declared["bag"].keys() == declared["mapping"].keys() - {"demo"}
    assert declared["bag"]["bag"].default_value is None
    assert context.perform_substitution(declared["bag"]["use_sim_time"].default_value[0]) == "true"
    assert declared["segmentation"].keys() == {argument.name for argument in SEGMENTATION_ARGUMENTS}


def test_the_demo_starts_a_player_and_rviz_in_the_namespace(root: Path) -> None:
    assert started(root, "mapping").keys() == {"/mapping_node"}
    nodes = started(root, "mapping", demo="true", rviz="true", namespace="robot", rgb_topic="/front/rgb")
    assert nodes.keys() == {"/robot/mapping_node", "/robot/rgbd_player_node", "/robot/rviz2"}
    for name in ("mapping_node", "rgbd_player_node"):
        assert ("rgb/image", "/front/rgb") in nodes[f"/robot/{name}"].expanded_remapping_rules
    shown = dict(nodes["/robot/rviz2"].expanded_remapping_rules)
    assert shown["/rgb/image"] == "/front/rgb"
    assert shown["/mapping_node/overlay"] == "mapping_node/overlay"
    displays = yaml.safe_load((root / "rviz" / "mapping.rviz").read_text())["Visualization Manager"]["Displays"]
    assert shown.keys() == {display["Topic"]["Value"] for display in displays if "Topic" in display}


def test_a_recording_is_played_when_the_node_is_active(root: Path) -> None:
    nodes = started(root, "bag", bag="/data/flat")
    assert nodes.keys() == {"on event", "/mapping_node", "/rviz2"}
    assert started(root, "segmentation", sensor="oak")["/segmentation_node"].expanded_remapping_rules == [
        ("rgb/image", "/oak/rgb/image_raw")
    ]
