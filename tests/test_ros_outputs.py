"""What mapping_node publishes beside clouds: arrows, plans, the files of viewers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from visualization_msgs.msg import Marker

from ovseg_ros.ros.answer_markers import answer_markers
from ovseg_ros.ros.camera import CAMERA_INFO_TOPIC, COLOUR_TOPIC, DEPTH_TOPIC
from ovseg_ros.ros.interfaces import Candidate, SemanticObject
from ovseg_ros.ros.markers import ARROW_LENGTH, RayMarkers
from ovseg_ros.ros.messages import header_message, occupancy_message
from ovseg_ros.ros.pose_sources import POSE_TOPIC
from ovseg_ros.ros.publishers import OUTPUTS
from ovseg_ros.ros.snapshots import RaySnapshot

INPUTS = {COLOUR_TOPIC: "Image", DEPTH_TOPIC: "Image", CAMERA_INFO_TOPIC: "CameraInfo", POSE_TOPIC: "PoseStamped"}
TYPES = {f"/mapping_node/{name}": topic.kind.__name__ for name, topic in OUTPUTS.items()}
TYPES |= {f"/{name}": kind for name, kind in INPUTS.items()}
# Drawn before another change publishes it.
SHOWN_BY = {"PointCloud2": "PointCloud2", "MarkerArray": "MarkerArray", "Map": "OccupancyGrid", "Image": "Image"}
SHOWN_BY["Pose"] = "PoseStamped"
RVIZ = {
    "Display": {*SHOWN_BY, "Grid", "TF"},
    "Tool": {"FocusCamera", "Interact", "Measure", "MoveCamera", "PublishPoint", "Select", "SetGoal"},
    "View": {"Orbit", "TopDownOrtho", "XYOrbit"},
    "Panel": {"rviz_common/Displays", "rviz_common/Selection", "rviz_common/Time", "rviz_common/Views"},
}
"""Plugins that every RViz has."""


def rays(keys: list[tuple[int, int]], labels: list[int]) -> RaySnapshot:
    count = len(keys)
    origins, directions = np.arange(3.0 * count).reshape(count, 3), np.tile([0.0, 0.6, 0.8], (count, 1))
    return RaySnapshot(keys, origins, directions, np.arange(1.0, count + 1), np.array(labels, int), 2, "map", 7)


def test_arrows_keep_their_ids_and_those_that_are_gone_are_deleted() -> None:
    arrows = RayMarkers()
    first = arrows.message(rays([(5, 1), (5, 2)], [1, 2])).markers
    second = arrows.message(rays([(5, 2), (9, 0)], [2, 0])).markers
    assert [marker.action for marker in second] == [Marker.DELETE, Marker.ADD, Marker.ADD]
    assert [marker.id for marker in second[:2]] == [first[0].id, first[1].id]
    assert second[2].id not in {marker.id for marker in first}
    assert (second[0].ns, second[0].header.frame_id, second[0].header.stamp.nanosec) == ("rays", "map", 7)
    assert second[1].color.r == first[1].color.r
    assert first[0].color.r != first[1].color.r
    assert second[1].color.a < second[2].color.a == pytest.approx(1.0)
    start, end = first[1].points
    assert (end.x, end.y - start.y, end.z - start.z) == pytest.approx((3.0, 0.6 * ARROW_LENGTH, 0.8 * ARROW_LENGTH))
    assert [marker.action for marker in arrows.message(rays([], [])).markers] == [Marker.DELETE] * 2
    assert arrows.message(rays([], [])).markers == []


def thing(number: int, label: str, x: float) -> SemanticObject:
    made = SemanticObject(id=number, label=label)
    made.pose.position.x, made.size.z = x, 0.5
    return made


def test_an_answer_shows_what_was_meant_and_what_speaks_for_it() -> None:
    mug, cup, desk = thing(3, "mug", 1.0), thing(4, "cup", 2.0), thing(9, "desk", 5.0)
    candidates = [
        Candidate(object=mug, score=0.9, relations=["on"], anchors=[desk]),
        Candidate(object=cup, score=0.4, relations=["on"], anchors=[desk]),
    ]
    markers = answer_markers(candidates, header_message("map", 7)).markers
    assert [marker.action for marker in markers] == [Marker.DELETEALL] + [Marker.ADD] * 10
    assert len({(marker.ns, marker.id) for marker in markers[1:]}) == 10
    assert {marker.header.frame_id for marker in markers} == {"map"}
    best, other = (marker for marker in markers if marker.ns == "answers")
    assert (best.pose.position.x, other.pose.position.x) == (1.0, 2.0)
    assert best.color.g > best.color.r and other.color.r > other.color.b
    assert [marker.text for marker in markers if marker.text] == ["mug 0.90", "on desk", "cup 0.40", "on desk"]
    line = next(marker for marker in markers if marker.ns == "relations")
    assert [point.x for point in line.points] == [1.0, 5.0]
    assert [marker.action for marker in answer_markers([], header_message("map", 8)).markers] == [Marker.DELETEALL]


def test_an_occupancy_grid_has_its_rows_along_y() -> None:
    cells = np.array([[-1, 0, 100], [100, -1, 0]], np.int8)
    message = occupancy_message(cells, (-0.5, 2.0), 0.25, header_message("map", 3))
    assert list(message.data) == [-1, 0, 100, 100, -1, 0]
    assert (message.info.width, message.info.height, message.info.resolution) == (3, 2, 0.25)
    assert (message.info.origin.position.x, message.info.origin.position.y) == (-0.5, 2.0)
    assert message.info.origin.orientation.w == 1.0
    assert message.header.frame_id == "map"


def test_rviz_shows_every_output_with_the_type_and_quality_that_it_has(root: Path) -> None:
    manager = yaml.safe_load((root / "rviz" / "mapping.rviz").read_text())["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "map"
    displays = [display for display in manager["Displays"] if "Topic" in display]
    shown = {display["Topic"]["Value"] for display in displays}
    assert {f"/mapping_node/{name}" for name in OUTPUTS} <= shown <= TYPES.keys()
    for display in displays:
        topic, name = display["Topic"], display["Topic"]["Value"].removeprefix("/mapping_node/")
        assert SHOWN_BY[display["Class"].removeprefix("rviz_default_plugins/")] == TYPES[topic["Value"]]
        if name in OUTPUTS:
            durability = OUTPUTS[name].quality.durability.name.replace("SYSTEM_DEFAULT", "VOLATILE")
            assert topic["Durability Policy"].upper().replace(" ", "_") == durability


def test_rviz_needs_nothing_but_its_own_plugins_and_shows_all_of_them_at_once(root: Path) -> None:
    layout = yaml.safe_load((root / "rviz" / "mapping.rviz").read_text())
    manager = layout["Visualization Manager"]
    views = [manager["Views"]["Current"]]
    for kind, items in (("Display", manager["Displays"]), ("Tool", manager["Tools"]), ("View", views)):
        assert {item["Class"].removeprefix("rviz_default_plugins/") for item in items} <= RVIZ[kind]
    assert {panel["Class"] for panel in layout["Panels"]} <= RVIZ["Panel"]
    displays = manager["Displays"]
    assert all(display["Enabled"] and display["Value"] for display in displays)
    assert {"Colour", "Objects", "Camera", "TF"} <= {display["Name"] for display in displays}
    clouds = [d for d in displays if d.get("Topic", {}).get("Value") == "/mapping_node/semantic_cloud"]
    assert {(cloud["Color Transformer"], cloud.get("Channel Name")) for cloud in clouds} == {
        ("RGB8", None),
        ("Intensity", "label"),
    }


def test_foxglove_shows_topics_that_exist(root: Path) -> None:
    layout = json.loads((root / "foxglove" / "mapping.json").read_text())
    panels: dict[str, Any] = layout["configById"]
    images = [panel["imageMode"]["imageTopic"] for name, panel in panels.items() if name.startswith("Image!")]
    scenes = [panel["topics"] for name, panel in panels.items() if name.startswith("3D!")]
    in_space = {topic: settings for scene in scenes for topic, settings in scene.items()}
    assert {*in_space, *images} <= TYPES.keys()
    assert {f"/mapping_node/{name}" for name in OUTPUTS} <= {*in_space, *images}
    assert [TYPES[topic] for topic in images] == ["Image"] * len(images)
    assert all(settings["visible"] for scene in scenes for settings in scene.values())
    fields = {scene["/mapping_node/semantic_cloud"]["colorField"] for scene in scenes}
    assert fields == {"rgb", "label"}

    def panels_of(layout: Any) -> list[str]:
        return [layout] if isinstance(layout, str) else panels_of(layout["first"]) + panels_of(layout["second"])

    assert sorted(panels_of(layout["layout"])) == sorted(panels)
