"""mapping_node with SAM 3, a tiny random one: what it looks for changes while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from rig import EVENTUALLY, MAPPING, Camera, sent_and_fused
from sam3_model import save_tiny_model

from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.processes import NodeProcess
from ovseg_ros.ros.publishers import OUTPUTS
from ovseg_ros.segmentation.sam3.config import CONFIG_VARIABLE

pytestmark = pytest.mark.system


@pytest.fixture
def _tiny_sam3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny_model(tmp_path / "sam3")
    words, settings = tmp_path / "words.yaml", tmp_path / "settings.yaml"
    words.write_text(yaml.safe_dump({"concepts": ["chair", {"name": "floor", "stuff": True}]}))
    settings.write_text(yaml.safe_dump({"weights": str(tmp_path / "sam3"), "vocabulary": str(words)}))
    monkeypatch.setenv(CONFIG_VARIABLE, str(settings))


@pytest.mark.usefixtures("_tiny_sam3")
def test_the_vocabulary_changes_what_is_published_and_answered_without_a_restart(tmp_path: Path) -> None:
    parameters = {**MAPPING, "backend": "sam3", "publish_period": 0.2}
    clouds: list[Any] = []
    with NodeProcess("mapping_node", tmp_path / "log", parameters=parameters) as node, MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        camera = Camera(client)
        camera.wait_for_listeners()
        sent_and_fused(client, camera, 0)
        topic = OUTPUTS["semantic_cloud"]
        client.node.create_subscription(topic.kind, "/mapping_node/semantic_cloud", clouds.append, topic.quality)
        client.wait_for(lambda: clouds, "a cloud", EVENTUALLY)

        assert client.query(["chair"]).success
        refused = client.query(["cup"])
        assert not refused.success
        assert "was not asked for 'cup'" in refused.message

        before = len(clouds)
        changed = client.set_vocabulary(["cup, mug", "floor"])
        assert changed.success, changed.message
        assert changed.map_revision > refused.map_revision
        client.wait_for(lambda: len(clouds) > before, "a cloud with the new labels", EVENTUALLY)
        answer = client.query(["mug"])
        assert answer.success, answer.message
        assert "'mug' was asked for in 0 % of the map only: look again" in answer.message

        sent_and_fused(client, camera, 4)
        answer = client.query(["mug", "chair"])
        assert answer.success, answer.message
        shares = [int(part.split(" % of the map")[0].split()[-1]) for part in answer.message.split(";") if "%" in part]
        assert len(shares) == 2
        assert all(0 < share < 100 for share in shares)

        for words in ([], [""], ["cup", "cup"], ["x" * 500], ["very " * 35 + "long"], ["\x00"]):
            wrong = client.set_vocabulary(words)
            assert not wrong.success
            assert wrong.message
            assert wrong.map_revision == answer.map_revision
        assert client.set_vocabulary(["椅子", "Stühle, chaises"]).success
        assert node.running
        assert "Traceback" not in node.printed()
