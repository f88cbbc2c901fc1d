"""`ovseg demo`: the main job over real nodes, as `make demo` runs it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from ovseg_ros.cli import main
from ovseg_ros.mapping import storage

pytestmark = pytest.mark.system


def test_a_generated_room_is_mapped_and_questioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seed", "41", "--frames", "24", "--out", str(tmp_path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"rooms", "present_answered", "absent_reported"} <= set(printed)
    (room,) = printed["rooms"]
    assert room["seed"] == 41
    assert room["frames"] == 24, "no frame may be lost in the demo"
    assert len(room["questions"]) >= 8
    assert {"query", "present", "found", "distance"} <= set(room["questions"][0])
    assert sum(not question["present"] for question in room["questions"]) == 2
    assert storage.load(tmp_path / "room-41.ovmap").voxel_count == room["voxels"] > 1000
    for view in ("top", "perspective"):
        assert cv2.imread(str(tmp_path / f"room-41.{view}.png")).shape[1] == 1600


def test_a_damaged_recording_is_played_and_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = tmp_path / "recording"
    assert main(["rooms", str(recording), "--frames", "6", "--size", "160x120", "--layout", "scannet"]) == 0
    capsys.readouterr()
    (recording / "pose" / "3.txt").write_text("damaged")
    assert main(["demo", str(recording), "--ask", "floor", "red box", "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "5 frames" in text, "a damaged frame is left out and doesn't keep the demo waiting"
    assert "floor" in text
    assert "red box" in text
    assert (tmp_path / "out" / "recording.top.png").is_file()


@pytest.mark.parametrize(
    ("option", "value", "words"), [("--backend", "magic", "magic"), ("--voxel-size", "2", "0.005")]
)
def test_a_node_that_cannot_start_is_reported_with_its_reason(
    option: str, value: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", option, value, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "did not start" in error
    assert words in error
