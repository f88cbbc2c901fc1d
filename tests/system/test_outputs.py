"""One mapping node with all layers: what it publishes of them, for whoever listens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from rig import EVENTUALLY, MAPPING, Camera, sent_and_fused

from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.processes import NodeProcess
from ovseg_ros.ros.publishers import OUTPUTS

pytestmark = pytest.mark.system

LAYERS = ("frontiers", "rays", "occupancy")


def listen(client: MapClient, *names: str) -> dict[str, Any]:
    """The newest message of each output, as they come."""
    received: dict[str, Any] = {}
    for name in names:
        take = lambda message, name=name: received.__setitem__(name, message)  # noqa: E731
        client.node.create_subscription(OUTPUTS[name].kind, f"/mapping_node/{name}", take, OUTPUTS[name].quality)
    return received


def test_every_layer_is_published(tmp_path: Path) -> None:
    parameters = {**MAPPING, "publish_period": 0.2, "mapping.layers": "rays", "mapping.max_depth": 2.0}
    with NodeProcess("mapping_node", tmp_path / "log", parameters=parameters) as node, MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        camera = Camera(client)
        camera.wait_for_listeners()
        for index in range(4):
            sent_and_fused(client, camera, index)
        received = listen(client, *LAYERS, "overlay")
        client.wait_for(lambda: len(received) == 4, "all outputs", EVENTUALLY)
        for name in LAYERS:
            header = received[name].markers[0].header if name == "rays" else received[name].header
            assert (header.frame_id, header.stamp.sec) == ("map", 104)
        assert received["frontiers"].width > 0
        assert {-1, 0, 100} == set(received["occupancy"].data)
        arrows = received["rays"].markers
        assert arrows
        assert len({marker.id for marker in arrows}) == len(arrows)
        overlay = received["overlay"]
        assert (overlay.encoding, overlay.header.stamp.sec) == ("rgb8", 104)
        assert overlay.header.frame_id == "camera_optical_frame"
        assert len(overlay.data) == overlay.step * overlay.height

        assert client.clear().success
        client.wait_for(lambda: received["frontiers"].width == 0, "no frontiers", EVENTUALLY)
        client.wait_for(lambda: {m.action for m in received["rays"].markers} == {2}, "arrows deleted", EVENTUALLY)
        assert "stays silent" not in node.printed()
        assert "Traceback" not in node.printed()


def test_a_map_without_layers_says_once_which_it_lacks(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with NodeProcess("mapping_node", log, parameters={**MAPPING, "publish_period": 0.1}) as node, MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        camera = Camera(client)
        camera.wait_for_listeners()
        received = listen(client, *LAYERS)
        sent_and_fused(client, camera, 0)
        client.wait_for(lambda: node.printed().count("stays silent") >= 3, "three sentences", EVENTUALLY)
        sent_and_fused(client, camera, 1)
        for name in LAYERS:
            assert node.printed().count(f"~/{name} stays silent: the map has no {name}; start it with") == 1
        assert not received
