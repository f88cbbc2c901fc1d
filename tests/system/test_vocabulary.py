"""mapping_node with SAM 3, a tiny random one: what it looks for changes while it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from rig import EVENTUALLY, MAPPING, Camera, room, sent_and_fused, wait_for_count
from sam3_model import save_tiny_model, save_tiny_video_model

from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.processes import NodeProcess
from ovseg_ros.ros.publishers import OUTPUTS
from ovseg_ros.segmentation.sam3.config import CONFIG_VARIABLE

pytestmark = pytest.mark.system


VIDEO_FRAMES = int(os.environ.get("OVSEG_TEST_VIDEO_FRAMES", "60"))
"""500 of them are for patient people: `OVSEG_TEST_VIDEO_FRAMES=500 pytest tests/system/test_vocabulary.py -k video`."""

SETTLED = 30
"""Frames after which nothing is loaded or set aside for the first time."""

MAX_GROWTH = 25.0
"""Megabytes that a process may grow by without any one thing growing: allocators keep what they had."""


def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    """Have SAM 3 in nodes take the model in ``tmp_path`` and two concepts."""
    words, file = tmp_path / "words.yaml", tmp_path / "settings.yaml"
    words.write_text(yaml.safe_dump({"concepts": ["chair", {"name": "floor", "stuff": True}]}))
    file.write_text(yaml.safe_dump({"weights": str(tmp_path / "sam3"), "vocabulary": str(words), **settings}))
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))


@pytest.fixture
def _tiny_sam3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny_model(tmp_path / "sam3")
    configure(tmp_path, monkeypatch)


@pytest.fixture
def _tiny_sam3_for_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny_video_model(tmp_path / "sam3", seed=6)
    thresholds = dict.fromkeys(("threshold", "stuff_threshold", "new_object_threshold"), 0.1)
    configure(tmp_path, monkeypatch, mode="video", max_objects=3, **thresholds)


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


@pytest.mark.usefixtures("_tiny_sam3_for_video")
def test_video_mode_runs_in_flat_memory(tmp_path: Path) -> None:
    parameters = {**MAPPING, "backend": "sam3"}
    with NodeProcess("mapping_node", tmp_path / "log", parameters=parameters) as node, MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        camera = Camera(client)
        camera.wait_for_listeners()
        memory: dict[int, float] = {}
        for count in range(1, VIDEO_FRAMES + 1):
            camera.send(room()[count % 2])
            if count % 10 == 0:
                wait_for_count(client, "frames_integrated", count)
                memory[count] = resident_megabytes(node.pid)
        growth = memory[max(memory)] - memory[SETTLED]
        print(f"{VIDEO_FRAMES} frames: {memory[SETTLED]:.0f} MB after {SETTLED}, {growth:+.1f} MB at the end")
        assert growth < MAX_GROWTH, memory
        objects = client.objects()
        assert objects.success, objects.message
        assert "Traceback" not in node.printed()


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
