"""The `ovseg` command, as a person or a script would use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ovseg_ros.cli import arguments, main
from ovseg_ros.datasets import open_sequence
from ovseg_ros.mapping import LAYERS, MappingConfig, storage
from ovseg_ros.pipeline import build_map
from ovseg_ros.query import label_voxels
from ovseg_ros.segmentation import language_space, load_segmenter
from ovseg_ros.simulation import RoomSequence


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated recording, made by the command itself."""
    out = tmp_path_factory.mktemp("recordings") / "room"
    arguments = ["rooms", str(out), "--seed", "5", "--frames", "6", "--size", "160x120", "--layout", "posed_rgbd"]
    assert main(arguments) == 0
    return out


@pytest.fixture(scope="module")
def saved_map(recording: Path) -> Path:
    """Its map."""
    out = recording.parent / "room.ovmap"
    assert main(["map", str(recording), "-o", str(out), "--voxel-size", "0.1"]) == 0
    return out


def numbers(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What a verb prints with --json."""
    assert main([*arguments, "--json"]) == 0
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed


@pytest.mark.parametrize("layout", ["replica", "scannet", "posed_rgbd"])
def test_rooms_writes_every_layout(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "room"
    printed = numbers(capsys, "rooms", str(out), "--frames", "2", "--size", "64x48", "--layout", layout)
    sequence = open_sequence(out)
    assert printed["frames"] == len(sequence) == 2
    assert sequence.layout == layout
    mesh = sequence.mesh()
    assert mesh is not None
    assert "wall" in mesh.class_names


def test_map_prints_the_contracted_numbers(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "every.ovmap"
    printed = numbers(capsys, "map", str(recording), "-o", str(out), "--every", "2", "--voxel-size", "0.1")
    assert set(printed) == {"frames", "voxels", "seconds", "skipped", "passed_over", "map"}
    assert printed["frames"] == 3
    assert storage.load(out).voxel_count == printed["voxels"] > 100


def test_keyframes_are_chosen_and_the_rest_counted(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "keyframes.ovmap"
    # Six frames, one in 33 ms: the first, the fourth.
    arguments = ["map", str(recording), "-o", str(out), "--voxel-size", "0.1", "--keyframe-period", "0.09"]
    printed = numbers(capsys, *arguments)
    assert (printed["frames"], printed["passed_over"], printed["skipped"]) == (2, 4, {})
    assert storage.load(out).revision == 2
    assert main(arguments) == 0
    assert "passed over 4" in capsys.readouterr().out
    for criterion in ("distance", "angle"):
        far = numbers(capsys, "map", str(recording), "-o", str(out), f"--keyframe-{criterion}", "170")
        assert (far["frames"], far["passed_over"]) == (1, 5)
    assert main(["map", str(recording), "-o", str(out), "--keyframe-angle", "-1"]) == 1
    assert "angle must be 0 to less than 180 degrees, got -1.0" in capsys.readouterr().err


def test_a_room_can_be_mapped_from_its_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "room.ovmap"
    printed = numbers(capsys, "map", "5", "--dataset", "rooms", "--every", "40", "-o", str(out))
    assert printed["frames"] == 2


def test_damaged_frames_are_skipped_and_counted(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "damaged"
    copy.mkdir()
    for file in recording.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    depth = sorted(copy.glob("*.depth.png"))[1]
    shape = cv2.imread(str(depth), cv2.IMREAD_UNCHANGED).shape
    cv2.imwrite(str(depth), np.zeros(shape, np.uint16))
    sorted(copy.glob("*.pose.txt"))[2].write_text("not a pose")
    printed = numbers(capsys, "map", str(copy), "-o", str(tmp_path / "map.ovmap"), "--voxel-size", "0.1")
    assert printed["frames"] == 4
    assert printed["skipped"] == {"no_depth": 1, "pose": 1}


def test_a_sentence_is_answered_from_a_saved_map(saved_map: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = numbers(capsys, "refer", str(saved_map), "how many things are there", "--from", "0", "0", "90")
    assert printed["status"] == "found"
    assert printed["count"] == len(printed["candidates"])
    assert printed["request"] == {"wanted": "count", "target": {"noun": "thing"}}
    assert main(["refer", str(saved_map), "?!"]) == 1
    assert "say what you look for" in capsys.readouterr().err


def test_query_prints_the_contracted_json(saved_map: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = numbers(capsys, "query", str(saved_map), "wall", "floor", "--min-score", "0.02", "--max-matches", "2")
    assert set(printed) == {"map_revision", "space", "matches", "rays", "partly_asked"}
    assert printed["rays"] == []
    assert printed["map_revision"] == 6
    assert printed["space"].startswith("openseg")
    for match in printed["matches"]:
        assert {"query", "score", "position", "size", "voxel_count", "object_id"} <= set(match)
        assert len(match["position"]) == len(match["size"]) == 3
    assert any(match["query"] == "floor" for match in printed["matches"])


def test_query_says_what_was_not_found_and_draws(
    saved_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "answers.png"
    assert main(["query", str(saved_map), "floor", "submarine", "--min-score", "0.3", "--picture", str(picture)]) == 0
    assert "submarine" in capsys.readouterr().out
    image = cv2.imread(str(picture))
    assert image.shape[1] == 1600
    assert image.std() > 10


def test_info_describes_the_map(saved_map: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = numbers(capsys, "info", str(saved_map))
    assert printed["voxel_size"] == 0.1
    assert printed["frame"] == "map"
    assert "chair" in printed["vocabulary"]
    assert all(low < high for low, high in zip(printed["lower"], printed["upper"], strict=True))


def test_maps_can_be_merged(saved_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice, moved = tmp_path / "twice.ovmap", tmp_path / "moved.ovmap"
    voxels = storage.load(saved_map).voxel_count
    assert numbers(capsys, "merge", str(saved_map), str(saved_map), "-o", str(twice))["voxels"] == voxels
    merged = storage.load(twice)
    assert float(merged.weights.sum()) == 2 * float(storage.load(saved_map).weights.sum())
    turn = ["--transform", "1000", "0", "0", "0", "0", "1", "0"]
    assert main(["merge", str(saved_map), str(twice), "-o", str(moved), *turn]) == 0
    assert storage.load(moved).voxel_count == 2 * voxels
    assert main(["merge", *3 * [str(saved_map)], "-o", str(moved), *turn]) == 1
    assert "two maps, got 3" in capsys.readouterr().err
    assert main(["merge", str(saved_map), str(twice), "-o", str(moved), *turn[:-2], "3", "4"]) == 1
    assert "not a rotation" in capsys.readouterr().err


def test_a_map_can_have_layers(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert arguments.MAP_LAYERS == LAYERS
    out = tmp_path / "layers.ovmap"
    numbers(capsys, "map", str(recording), "-o", str(out), "--voxel-size", "0.1", "--layers", "rays")
    layers = storage.load(out).layers
    assert layers.occupancy is not None and layers.frontiers is not None and layers.rays is not None
    assert len(layers.occupancy.free_keys) > 1000


def test_what_is_out_of_range_is_somewhere_towards(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "near.ovmap"
    numbers(capsys, "map", str(recording), "-o", str(out), "--layers", "rays", "--max-depth", "1.5")
    question = ["query", str(out), "wall", "submarine", "--min-score", "0.1", "--max-matches", "2"]
    rays = numbers(capsys, *question)["rays"]
    assert 1 <= len(rays) <= 2
    for ray in rays:
        assert set(ray) == {"query", "score", "origin", "direction", "spread", "weight", "ray_count"}
        assert ray["query"] == "wall"
    assert main(question) == 0
    assert capsys.readouterr().out.count("somewhere towards (") == len(rays)


def test_locate_says_where_to_stand_and_draws(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "free.ovmap", tmp_path / "place.png"
    numbers(capsys, "map", str(recording), "-o", str(out), "--voxel-size", "0.1", "--layers", "occupancy")
    question = ["locate", str(out), "wall", "--clearance", "0.05"]
    printed = numbers(capsys, *question, "--picture", str(picture))
    assert set(printed) == {
        "map_revision", "match", "ray", "position", "yaw", "clearance", "distance", "path", "visible"
    }  # fmt: skip
    assert printed["match"]["query"] == "wall"
    assert (printed["ray"], printed["path"]) == (None, None)
    assert printed["clearance"] >= 0.05
    assert cv2.imread(str(picture)).std() > 10
    x, y, _ = printed["position"]
    assert numbers(capsys, *question, "--robot", str(x), str(y))["path"] < 1.0
    assert main(question) == 0
    assert f"stand at ({x:.2f}, {y:.2f})" in capsys.readouterr().out


def test_locate_refuses_with_the_reason(saved_map: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["locate", str(saved_map), "wall"]) == 1
    assert "map with mapping.layers:=occupancy" in capsys.readouterr().err
    assert main(["locate", str(saved_map), "wall", "--clearance", "-1"]) == 1
    assert "clearance must be 0 to 5 m, got -1" in capsys.readouterr().err


def test_a_map_can_be_made_smaller(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.ovmap"
    options = ["--feature-dtype", "float16", "--feature-voxel-size", "0.2"]
    numbers(capsys, "map", str(recording), "-o", str(out), "--voxel-size", "0.1", *options)
    assert numbers(capsys, "info", str(out))["bytes_per_voxel"] < 500
    assert any(match["query"] == "floor" for match in numbers(capsys, "query", str(out), "floor")["matches"])


@pytest.mark.parametrize("colour", ["rgb", "label", "query:floor"])
def test_export_writes_a_point_per_voxel(
    colour: str, saved_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "map.ply"
    printed = numbers(capsys, "export", str(saved_map), str(out), "--colour", colour)
    header = out.read_bytes().split(b"end_header")[0].decode()
    assert f"element vertex {printed['points']}" in header
    assert ("label" in header) == (colour == "label")
    assert ("score" in header) == (colour == "query:floor")


def test_export_for_openlex3d(saved_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scene"
    printed = numbers(capsys, "export", str(saved_map), str(out), "--format", "openlex3d")
    index, embeddings = np.load(out / "index.npy"), np.load(out / "embeddings.npy")
    assert len(index) == printed["points"] and index.max() < len(embeddings)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)
    assert f"POINTS {printed['points']}\n".encode() in (out / "point_cloud.pcd").read_bytes()[:400]
    assert main(["export", str(saved_map), str(saved_map / "x"), "--format", "openlex3d"]) == 1
    assert "cannot write into" in capsys.readouterr().err


def test_export_for_openlex3d_of_a_compressed_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, out = tmp_path / "small.ovmap", tmp_path / "scene"
    room = RoomSequence(9001, frames=12, width=64, height=48)
    config = MappingConfig(voxel_size=0.1, feature_voxel_size=0.2, feature_components=16)
    storage.save(build_map([room[i] for i in range(len(room))], load_segmenter("openseg", "cpu"), config)[0], small)
    numbers(capsys, "export", str(small), str(out), "--format", "openlex3d")
    index, embeddings = np.load(out / "index.npy"), torch.from_numpy(np.load(out / "embeddings.npy"))
    assert len(embeddings) < len(index)
    semantic_map = storage.load(small)
    assert semantic_map.codec is not None
    space, names = language_space(str(semantic_map.space)), ("wall", "floor", "ceiling", "chair")
    labels = (embeddings @ space.encode_text(names).T).argmax(dim=1)[torch.from_numpy(index)] + 1
    assert (labels == label_voxels(semantic_map, space, names)[0]).float().mean() > 0.999


def test_segment_labels_an_image(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = next(recording.glob("*.color.*"))
    out = tmp_path / "labels.png"
    printed = numbers(capsys, "segment", str(image), "wall", "floor", "ceiling", "-o", str(out))
    assert set(printed["shares"]) == {"wall", "floor", "ceiling"}
    assert sum(printed["shares"].values()) > 0.1
    assert cv2.imread(str(out)).shape[1] >= 160


def test_an_unknown_backend_is_named(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = next(recording.glob("*.color.*"))
    assert main(["segment", str(image), "wall", "-o", str(tmp_path / "x.png"), "--backend", "magic"]) == 1
    assert "magic" in capsys.readouterr().err


def test_backends_names_weights_and_licence(capsys: pytest.CaptureFixture[str]) -> None:
    entries = numbers(capsys, "backends")["backends"]
    assert [entry["name"] for entry in entries] == ["openseg", "openseg_tf", "radseg", "sam3", "rs2sam2"]
    entry = entries[0]
    assert entry["installed"] is True
    assert "Apache-2.0" in entry["licence"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["map", "nowhere", "-o", "x.ovmap"], "nowhere is not a folder"),
        (["map", "nowhere", "-o", "x.map"], "ends in .ovmap"),
        (["map", "room", "--dataset", "rooms", "-o", "x.ovmap"], "seed of a room"),
        (["query", "nowhere.ovmap", "chair"], "nowhere.ovmap"),
        (["info", "nowhere.ovmap"], "nowhere.ovmap"),
        (["segment", "nowhere.png", "chair", "-o", "x.png"], "nowhere.png"),
        (["demo", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_failures_are_one_line_and_status_1(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["rooms", "out", "--size", "big"],
        ["map", "x", "-o", "x.ovmap", "--every", "0"],
        ["export", "a", "b", "--colour", "pink"],
        ["demo", "--ask", "chair"],
        ["demo", "recording", "--rooms", "2"],
        ["export", "a", "b", "--colour", "query:"],
    ],
)
def test_bad_arguments_are_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


def test_asking_a_map_of_other_weights_is_refused(
    saved_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    semantic_map = storage.load(saved_map)
    semantic_map._space = "openseg-rooms-v1/0000"
    foreign = tmp_path / "foreign.ovmap"
    storage.save(semantic_map, foreign)
    assert main(["query", str(foreign), "chair"]) == 1
    assert "0000" in capsys.readouterr().err


def test_help_answers_without_loading_models() -> None:
    code = (
        "import sys; from ovseg_ros.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("False")
    assert "demo" in done.stdout
