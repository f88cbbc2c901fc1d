"""One mapping node: its things as boxes, as a list, and by what a sentence says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from rig import EVENTUALLY, MAPPING, Camera, room, sent_and_fused
from visualization_msgs.msg import Marker

from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.processes import NodeProcess
from ovseg_ros.ros.publishers import OUTPUTS

pytestmark = pytest.mark.system


def test_things_are_listed_shown_and_referred_to(tmp_path: Path) -> None:
    shown: list[Any] = []
    (tmp_path / "places.yaml").write_text(
        "here:\n  rectangles: [[-99, -99, 99, 99]]\naway: {rectangles: [[200, 0, 201, 1]]}\n"
    )
    places = {"refer.regions": str(tmp_path / "places.yaml")}
    parameters = {**MAPPING, **places, "publish_period": 0.2, "mapping.views": 4, "refer.verify": True}
    with NodeProcess("mapping_node", tmp_path / "log", parameters=parameters) as node, MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        empty = client.objects()
        assert (empty.success, list(empty.objects)) == (True, [])
        camera = Camera(client)
        camera.wait_for_listeners()
        for index in range(6):
            sent_and_fused(client, camera, index)

        answer = client.objects()
        assert answer.success, answer.message
        assert answer.objects
        assert len({thing.id for thing in answer.objects}) == len(answer.objects)
        for thing in answer.objects:
            assert thing.header.frame_id == "map"
            assert thing.label == thing.labels[0]
            assert len(thing.labels) == len(set(thing.labels)) == len(thing.label_scores)
            assert thing.support_id == -1 or thing.support_id != thing.id
            assert thing.label not in ("wall", "floor", "ceiling")
            assert min(thing.size.x, thing.size.y, thing.size.z) > 0.0
            assert thing.pose.orientation.z**2 + thing.pose.orientation.w**2 == pytest.approx(1.0)
        label = answer.objects[0].label
        some = client.objects([label.upper()])
        assert {thing.label for thing in some.objects} == {label}
        wrong = client.objects(["unheard-of thing"])
        assert not wrong.success
        assert label in wrong.message

        counted = client.refer(f"how many {label}s are there")
        assert counted.success, counted.message
        assert (counted.status, counted.count) == ("found", len(counted.candidates))
        for place, count in (("here", counted.count), ("away", 0)):
            assert client.refer(f"how many {label}s are in the {place}").count == count
        largest = client.refer("the largest thing")
        assert (largest.status, largest.frame) == ("found", "none")
        assert largest.candidates[0].object.id in {thing.id for thing in answer.objects}
        one = client.refer(f"the {label}")
        assert one.success, one.message
        assert "pictures" in one.message
        left = client.refer(f"the thing left of the {label}")
        assert left.success
        assert left.status in ("found", "ambiguous", "not_found")
        if left.candidates:
            assert set(left.candidates[0].relations) == {"left of"}
            assert left.candidates[0].anchors[0].label
        rgb = room()[5].rgb.numpy()
        pictured = client.query_image(rgb, (20, 20, 140, 100), min_score=0.02, max_matches=2)
        assert pictured.success, pictured.message
        assert pictured.map_revision == 6
        assert {match.query for match in pictured.matches} == {"picture"}
        assert 1 <= len(pictured.matches) <= 2
        assert client.query_image(rgb).success
        refused = client.query_image(rgb, (100, 20, 200, 100))
        assert not refused.success
        assert "isn't one in a picture of 160x120" in refused.message

        drawn: list[Any] = []
        answers = OUTPUTS["answer"]
        client.node.create_subscription(answers.kind, "/mapping_node/answer", drawn.append, answers.quality)
        told = client.refer(f"how many {label}s are there")
        boxes_of = lambda: [marker for marker in drawn[-1].markers if marker.ns == "answers"]  # noqa: E731
        client.wait_for(lambda: drawn and len(boxes_of()) == told.count > 0, "the answer as boxes", EVENTUALLY)
        placed = client.find_in_views(label)
        assert placed.success, placed.message
        assert (placed.map_revision, placed.view_count) == (6, 4)
        assert placed.mask_count >= int(placed.found)
        if placed.found:
            assert (placed.object.label, placed.object.id, placed.object.header.frame_id) == (label, -1, "map")
            assert min(placed.object.size.x, placed.object.size.y, placed.object.size.z) > 0.0
        for expression in (" ", "x" * 2000):
            refused = client.find_in_views(expression)
            assert not refused.success
            assert "needs 1 to 200 characters" in refused.message

        for nonsense in ("", "?!", "x" * 10_000, "not the the"):
            refused = client.refer(nonsense)
            assert refused.message
            assert (refused.success, refused.status) == (False, "not_understood")

        topic = OUTPUTS["objects"]
        client.node.create_subscription(topic.kind, "/mapping_node/objects", shown.append, topic.quality)
        client.wait_for(lambda: shown, "boxes", EVENTUALLY)
        boxes = [marker for marker in shown[-1].markers if marker.ns == "objects"]
        assert {marker.id for marker in boxes} == {thing.id for thing in answer.objects}
        assert len(shown[-1].markers) == 2 * len(boxes)
        assert client.clear().success
        gone = lambda: {marker.action for marker in shown[-1].markers} == {Marker.DELETE}  # noqa: E731
        client.wait_for(gone, "boxes deleted", EVENTUALLY)
        assert "Traceback" not in node.printed()
