"""Map files: exact round trips, refusals, and a whole file whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mapping_scenes import SPACE, random_frame, random_map, random_segmentation
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.mapping.online_compression import FIT_FRAMES
from ovseg_ros.mapping.storage import load, save
from ovseg_ros.vocabulary import Vocabulary


def assert_same_map(ours: SemanticMap, theirs: SemanticMap) -> None:
    for name, column in theirs.columns.items():
        assert torch.equal(ours.columns[name], column), name
        assert ours.columns[name].dtype == column.dtype, name
    assert torch.equal(ours.features, theirs.features)
    for name in ("config", "space", "vocabulary", "revision", "frame_id", "voxel_count"):
        assert getattr(ours, name) == getattr(theirs, name), name


def parts(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return load_file(path), dict(file.metadata())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(random_map(), tmp_path / "room.ovmap")
    return tmp_path / "room.ovmap"


@pytest.mark.parametrize(
    "options",
    [
        {"feature_dtype": "float32"},
        {"feature_dtype": "float16"},
        {"feature_voxel_size": 0.21, "feature_dtype": "float16"},
        {"feature_components": 2, "max_weight": 50.0},
        {"feature_components": 3, "feature_voxel_size": 0.14, "feature_dtype": "float16"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_round_trip_is_exact_and_mapping_goes_on_as_if_nothing_happened(tmp_path, options):
    rng = np.random.default_rng(4)
    original = SemanticMap(
        MappingConfig(voxel_size=0.07, min_depth=0.2, max_depth=4.5, **options),
        vocabulary=Vocabulary.from_names(["sofa", "café table"], synonyms={"sofa": ["couch"]}),
        frame_id="odom",
    )
    for _ in range(FIT_FRAMES):
        original.integrate(random_frame(rng), random_segmentation(rng))
    assert (original.codec is None) == ("feature_components" not in options)
    save(original, tmp_path / "a.ovmap")
    loaded = load(tmp_path / "a.ovmap")
    assert_same_map(loaded, original)

    frame, segmentation = random_frame(rng, distance=0.1), random_segmentation(rng)
    for semantic_map in (original, loaded):
        semantic_map.integrate(frame, segmentation)
    assert_same_map(loaded, original)


def test_empty_map_round_trips(tmp_path):
    save(SemanticMap(), tmp_path / "empty.ovmap")
    assert_same_map(load(tmp_path / "empty.ovmap"), SemanticMap())


def test_header_says_what_the_numbers_mean(saved):
    _, header = parts(saved)
    voxels = load(saved).voxel_count
    assert {name: header[name] for name in ("format_version", "voxel_size", "frame", "space", "revision")} == {
        "format_version": "1",
        "voxel_size": "0.05",
        "frame": "map",
        "space": SPACE,
        "revision": "3",
    }
    assert json.loads(header["counts"]) == {"voxels": voxels, "feature_voxels": voxels, "channels": 4}


def test_saving_again_replaces_the_file_and_leaves_nothing_else(saved):
    newer = random_map(seed=1, frames=1)
    save(newer, saved)
    assert_same_map(load(saved), newer)
    assert os.listdir(saved.parent) == [saved.name]


def test_a_map_file_is_as_readable_as_any_new_file(saved):
    other = saved.with_name("other")
    other.touch()
    assert saved.stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("room.npz", "ends in .ovmap, got 'room.npz'"),
        ("nowhere/room.ovmap", "doesn't exist"),
        ("folder.ovmap", "folder"),
    ],
)
def test_save_refuses_bad_paths(tmp_path, name, message):
    (tmp_path / "folder.ovmap").mkdir()
    with pytest.raises(OvsegError, match=message):
        save(random_map(frames=1), tmp_path / name)
    assert os.listdir(tmp_path) == ["folder.ovmap"]


@pytest.mark.parametrize("step", ["Path.touch", "save_file", "os.replace", "os.fsync"])
def test_failed_save_keeps_the_old_file_and_removes_its_own(saved, monkeypatch, step):
    old = saved.read_bytes()

    def disk_full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"ovseg_ros.mapping.storage.{step}", disk_full)
    with pytest.raises(OvsegError, match="No space left on device"):
        save(random_map(seed=1), saved)
    assert saved.read_bytes() == old
    assert os.listdir(saved.parent) == [saved.name]


def test_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(OvsegError, match=r"there is no map file .*none\.ovmap"):
        load(tmp_path / "none.ovmap")


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 0.5, -1])
def test_truncated_file_is_refused(saved, kept):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(OvsegError, match="not a whole map file"):
        load(saved)


def test_foreign_files_are_refused(tmp_path):
    foreign = tmp_path / "foreign.ovmap"
    foreign.write_bytes(b"ply\nformat ascii 1.0\n" * 50)
    with pytest.raises(OvsegError, match="not a whole map file"):
        load(foreign)
    save_file({"weight": torch.ones(3)}, foreign)
    with pytest.raises(OvsegError, match="not a map"):
        load(foreign)


def test_newer_format_is_refused_with_both_versions(saved):
    columns, header = parts(saved)
    save_file(columns, saved, header | {"format_version": "7"})
    with pytest.raises(OvsegError, match=r"version 7, newer than 1.*update ovseg_ros"):
        load(saved)


HEADER_FIELDS = ["voxel_size", "frame", "space", "vocabulary", "revision", "counts", "config"]


@pytest.mark.parametrize("field", [*HEADER_FIELDS, "format", "format_version"])
def test_missing_header_field_is_refused(saved, field):
    columns, header = parts(saved)
    del header[field]
    save_file(columns, saved, header)
    with pytest.raises(OvsegError, match=r"damaged|not a map"):
        load(saved)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("voxel_size", "0.1"),
        ("revision", "-1"),
        ("revision", "many"),
        ("format_version", "one"),
        ("counts", '{"voxels": 1, "feature_voxels": 1, "channels": 4}'),
        ("counts", '{"voxels": Infinity, "feature_voxels": 1, "channels": 4}'),
        ("counts", "[1, 4]"),
        ("config", '{"voxel_size": "small"}'),
        ("config", '{"voxel_size": -1}'),
        ("config", '{"colour": 1}'),
        ("vocabulary", '["chair"]'),
        ("vocabulary", "[[]]"),
        ("vocabulary", "[["),
    ],
)
def test_nonsense_in_the_header_is_refused(saved, field, value):
    columns, header = parts(saved)
    save_file(columns, saved, header | {field: value})
    with pytest.raises(OvsegError, match=r"damaged|not a map"):
        load(saved)


def with_value(column: torch.Tensor, value: float) -> torch.Tensor:
    column = column.clone()
    column.view(-1)[5] = value
    return column


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("features", lambda c: with_value(c, float("nan")), "features that are not finite"),
        ("features", lambda c: with_value(c, float("-inf")), "features that are not finite"),
        ("weights", lambda c: with_value(c, float("nan")), "weights"),
        ("weights", lambda c: with_value(c, 0.0), "weights"),
        ("colours", lambda c: with_value(c, 256.0), "colours"),
        ("colours", lambda c: with_value(c, float("nan")), "colours"),
        ("keys", lambda c: with_value(c, -3), "out of range"),
        ("keys", lambda c: with_value(c, c[6]), "the same voxel twice"),
        ("features", lambda c: c[:-1].clone(), "size or type of features"),
        ("features", lambda c: c[:, :-1].clone(), "size or type of features"),
        ("features", lambda c: c.half(), "size or type of features"),
        ("last_seen", lambda c: c.int(), "size or type of last_seen"),
        ("weights", lambda c: c[:, None].clone(), "size or type of weights"),
        ("colours", lambda _: None, "size or type of colours"),
    ],
)
def test_bad_columns_are_refused(saved, name, change, message):
    columns, header = parts(saved)
    changed = change(columns.pop(name))
    save_file(columns if changed is None else columns | {name: changed}, saved, header)
    with pytest.raises(OvsegError, match=message):
        load(saved)


def test_bad_parts_of_other_layers_are_refused(tmp_path):
    config = MappingConfig(voxel_size=0.1, feature_voxel_size=0.2, feature_components=2)
    save(random_map(frames=FIT_FRAMES, config=config), tmp_path / "a.ovmap")
    columns, header = parts(tmp_path / "a.ovmap")
    keys = columns["feature_keys"]
    cases = [
        ({"feature_keys": with_value(keys, keys[6])}, "the same voxel twice.*voxels without a feature"),
        ({"feature_weights": with_value(columns["feature_weights"], -1.0)}, "weights"),
        ({"codec_mean": with_value(columns["codec_mean"][[0] * 8], 1.0)}, "codec"),
        ({"codec_mean": columns["codec_mean"] * float("nan")}, "codec.*finite"),
        ({"codec_basis": columns["codec_basis"][:, :1].clone()}, "size of the codec"),
    ]
    for change, message in cases:
        save_file(columns | change, tmp_path / "bad.ovmap", header)
        with pytest.raises(OvsegError, match=message):
            load(tmp_path / "bad.ovmap")
    save_file({name: columns[name] for name in columns if name != "codec_basis"}, tmp_path / "bad.ovmap", header)
    with pytest.raises(OvsegError, match="codec"):
        load(tmp_path / "bad.ovmap")


SAVER = """
import os, sys, torch
torch.set_num_threads(1)
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.mapping.storage import save
from ovseg_ros.vocabulary import Vocabulary

def filled(revision, voxels=20_000, channels=64):
    columns = {
        "keys": torch.arange(voxels),
        "weights": torch.ones(voxels),
        "colours": torch.full((voxels, 3), float(revision)),
        "features": torch.full((voxels, channels), float(revision)),
        "last_seen": torch.full((voxels,), revision),
    }
    return SemanticMap.from_columns(
        columns, config=MappingConfig(), space="test", vocabulary=Vocabulary(()), revision=revision
    )

maps = [filled(1), filled(2)]
save(maps[0], sys.argv[1])
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        while True:
            for semantic_map in maps:
                save(semantic_map, sys.argv[1])
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


def test_killed_in_the_middle_of_saving_the_file_is_whole(tmp_path):
    path = tmp_path / "room.ovmap"
    saver = subprocess.Popen(
        [sys.executable, "-c", SAVER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert saver.stdin is not None
    assert saver.stdout is not None
    interrupted = 0
    try:
        for trial in range(12):
            saver.stdin.write("go\n")
            saver.stdin.flush()
            child = int(saver.stdout.readline())
            time.sleep(0.002 + 0.003 * trial)
            os.kill(child, signal.SIGKILL)
            assert saver.stdout.readline() == "gone\n"

            survivor = load(path)
            assert survivor.revision in (1, 2)
            assert survivor.voxel_count == 20_000
            assert (survivor.features == survivor.revision).all()
            debris = [name for name in os.listdir(tmp_path) if name != path.name]
            interrupted += bool(debris)
            for name in debris:
                (tmp_path / name).unlink()
    finally:
        saver.stdin.close()
        saver.wait(timeout=60)
    assert interrupted > 0, "no kill hit a save: the test has shown nothing"
