"""A memory limit changes where a map lies, not what it holds; and a region changes what it holds."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mapping_scenes import SPACE, camera, random_depth

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import unpack_keys
from ovseg_ros.mapping import MappingConfig, SemanticMap, eviction, merge, storage
from ovseg_ros.mapping.eviction import SHARE_KEPT
from ovseg_ros.query import ask
from ovseg_ros.types import InvalidFrameError, RgbdFrame, Segmentation
from ovseg_ros.vocabulary import Vocabulary

LIMIT = 4.0
"""Megabytes: what a frame sees takes 3 at most, the whole way 12."""
CHANNELS = 256
ALONG_X = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""Pose of a camera at the origin that looks along +x."""

UNLIMITED = MappingConfig(voxel_size=0.1, max_depth=3.0)


class Words:
    """The n-th word is the n-th axis of the feature space."""

    id = SPACE
    logit_scale = 20.0
    same_meaning = 0.9
    compares_directly = True

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        numbers = [int(text) if text.isdecimal() else CHANNELS - 1 for text in texts]
        return torch.eye(CHANNELS)[numbers]

    def align(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(features, dim=1)


def frame(number: int, x: float, channels: int = CHANNELS) -> tuple[RgbdFrame, Segmentation]:
    """At ``x`` metres along a straight way, looking ahead; its features mostly say the metre that it was taken at."""
    rng = np.random.default_rng(number)
    pose = torch.from_numpy(ALONG_X.copy())
    pose[0, 3] = x
    rgb = torch.from_numpy(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    features = torch.from_numpy(rng.normal(0, 0.01, (channels, 3, 4)).astype(np.float32))
    features[int(x) % (channels - 1)] += 1.0
    depth = random_depth(rng, 24, 32)
    return RgbdFrame(rgb, depth, camera(24, 32), pose, number + 1), Segmentation(features, SPACE)


def sideways(number: int, x: float) -> tuple[RgbdFrame, Segmentation]:
    """The same looking along +y, at a wall 2.9 m away."""
    view, segmentation = frame(number, x)
    pose = torch.tensor([[1.0, 0, 0, x], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
    return replace(view, pose=pose, depth=torch.full((24, 32), 2.9)), segmentation


def there_and_back(length: int = 60) -> list[float]:
    """Past the borders of tiles, which lie at multiples of 6.4 m, less half a voxel."""
    return [x + 0.5 for x in (*range(0, length, 2), *range(length, -1, -2))]


def walked(config: MappingConfig, way: list[float], channels: int = CHANNELS) -> SemanticMap:
    semantic_map = SemanticMap(config, vocabulary=Vocabulary.from_names(["7", "255"]))
    for number, x in enumerate(way):
        semantic_map.integrate(*frame(number, x, channels))
    return semantic_map


def assert_same_content(one: SemanticMap, other: SemanticMap) -> None:
    """Bit for bit, whatever the order of the rows."""
    ours, theirs = one.columns, other.columns
    assert ours.keys() == theirs.keys()
    for prefix, key in (("", "keys"), ("feature_", "feature_keys"), ("occupancy.", "occupancy.block_keys")):
        if key not in ours:
            continue
        orders = ours[key].argsort(), theirs[key].argsort()
        for name in ours:
            of_table = len(ours[name]) == len(ours[key]) and (name.startswith(prefix) if prefix else "." not in name)
            if of_table:
                assert torch.equal(ours[name][orders[0]], theirs[name][orders[1]]), name
    for name in ours:
        if name.startswith(("frontiers.", "rays.")):
            assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({}, LIMIT),
        ({"layers": "rays"}, LIMIT),
        ({"feature_dtype": "float16"}, LIMIT),
        ({"feature_voxel_size": 0.3, "layers": "occupancy"}, 1.5),
        ({"max_weight": 20.0}, LIMIT),
    ],
    ids=str,
)
def test_a_limited_map_holds_what_an_unlimited_one_does(options, limit, tmp_path):
    config = replace(UNLIMITED, **options)
    whole, limited = walked(config, there_and_back()), walked(replace(config, memory_limit=limit), there_and_back())
    assert not whole.evicted_voxel_count
    assert 0.3 * whole.voxel_count < limited.evicted_voxel_count < whole.voxel_count
    assert limited.voxel_count + limited.evicted_voxel_count == whole.voxel_count
    assert_same_content(limited, whole)

    path = tmp_path / "limited.ovmap"
    storage.save(limited, path)
    assert_same_content(storage.load(path), whole)
    assert_same_content(merge(limited, SemanticMap(config)), merge(whole, SemanticMap(config)))


@pytest.mark.parametrize("border", [6.5, 6.6])
def test_frontiers_beside_a_tile_on_disk_are_right(border):
    """What the camera sees ends just behind the border of a tile that was mapped before and lies on disk now."""
    maps = [SemanticMap(replace(UNLIMITED, layers="frontiers", memory_limit=limit)) for limit in (0.0, LIMIT)]
    half_width = 2.9 * 0.47 / 0.9
    way = [sideways(0, border - 1.0), *(frame(number, 2.0 * number + 10) for number in range(1, 25))]
    way.append(sideways(30, border + half_width))
    for semantic_map in maps:
        for view in way[:-1]:
            semantic_map.integrate(*view)
    assert not (unpack_keys(maps[1].keys)[:, 0] < 64).any()
    for semantic_map in maps:
        semantic_map.integrate(*way[-1])
    assert torch.equal(maps[0].layers.frontiers.keys, maps[1].layers.frontiers.keys)


def test_memory_stays_below_the_limit_and_what_is_seen_stays_in_it():
    semantic_map = SemanticMap(replace(UNLIMITED, memory_limit=LIMIT))
    highest, evictions = 0.0, 0
    for number, x in enumerate(there_and_back()):
        before = semantic_map.evicted_voxel_count
        view = frame(number, x)
        semantic_map.integrate(*view)
        evictions += semantic_map.evicted_voxel_count > before
        highest = max(highest, semantic_map.column_bytes / 1e6)
        newest = SemanticMap(UNLIMITED)
        newest.integrate(*view)
        assert torch.isin(newest.keys, semantic_map.keys).all()
    assert SHARE_KEPT * LIMIT < highest <= LIMIT
    assert 3 <= evictions < 30


def test_what_is_on_disk_answers():
    way = there_and_back()[:30]
    whole, limited = walked(UNLIMITED, way), walked(replace(UNLIMITED, memory_limit=LIMIT), way)
    assert limited.evicted_voxel_count > limited.voxel_count
    questions = ["4", "22", "56", "100"]
    expected = ask(whole, Words(), questions)
    assert {match.query for match in expected} == {"4", "22", "56"}
    answers = ask(limited, Words(), questions)
    assert len(answers) == len(expected)
    for ours, theirs in zip(answers, expected, strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-6)
        assert replace(ours, score=0.0) == replace(theirs, score=0.0)


def test_features_are_compressed_before_the_first_tile_is_written():
    config = replace(UNLIMITED, memory_limit=LIMIT, feature_components=200)
    limited = walked(config, there_and_back())
    whole = walked(replace(config, memory_limit=0.0), there_and_back())
    assert limited.codec is not None and limited.evicted_voxel_count
    assert_same_content(limited, whole)


def test_removed_voxels_are_removed_from_disk_too():
    limited = walked(replace(UNLIMITED, memory_limit=LIMIT), there_and_back()[:30])
    whole = walked(UNLIMITED, there_and_back()[:30])
    first = whole.keys[unpack_keys(whole.keys)[:, 0] < 20]
    assert not torch.isin(first, limited.keys).any()
    assert limited.remove(first) == whole.remove(first) == len(first) > 0
    assert_same_content(limited, whole)


def test_a_limit_given_later_holds_from_the_next_frame_on():
    semantic_map = walked(UNLIMITED, there_and_back()[:30])
    semantic_map.limit_memory(LIMIT)
    semantic_map.integrate(*frame(30, 60.5))
    assert semantic_map.evicted_voxel_count and semantic_map.column_bytes <= LIMIT * 1e6
    assert_same_content(semantic_map, walked(UNLIMITED, there_and_back()[:31]))


def test_refused_frames_change_nothing():
    semantic_map = walked(replace(UNLIMITED, memory_limit=LIMIT), there_and_back()[:30])
    view, _ = frame(0, 0.0)
    with pytest.raises(InvalidFrameError, match="features"):
        semantic_map.integrate(view, Segmentation(torch.ones(CHANNELS - 1, 2, 2), SPACE))
    assert_same_content(semantic_map, walked(UNLIMITED, there_and_back()[:30]))


def test_the_folder_goes_with_the_map(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    semantic_map = walked(replace(UNLIMITED, memory_limit=LIMIT), there_and_back()[:20])
    assert list(tmp_path.glob("ovseg_tiles_*/*.safetensors"))
    semantic_map.clear()
    assert not list(tmp_path.iterdir()) and not semantic_map.evicted_voxel_count
    other = SemanticMap(replace(UNLIMITED, memory_limit=LIMIT))
    other.integrate(*frame(0, 0.0))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_keeps_everything_in_memory_and_says_so_once(monkeypatch, caplog):
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(eviction, "save_file", full)
    with caplog.at_level(logging.WARNING):
        semantic_map = walked(replace(UNLIMITED, memory_limit=LIMIT), there_and_back()[:30])
    assert [record.message for record in caplog.records if "free some space" in record.message] != []
    assert len(caplog.records) == 1
    assert not semantic_map.evicted_voxel_count
    assert_same_content(semantic_map, walked(UNLIMITED, there_and_back()[:30]))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"no tensors")], ids=["gone", "damaged"])
def test_a_lost_tile_is_said_and_the_map_goes_on(damage, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    semantic_map = walked(replace(UNLIMITED, memory_limit=LIMIT), there_and_back()[:30])
    before = semantic_map.voxel_count
    for path in tmp_path.glob("ovseg_tiles_*/*.safetensors"):
        damage(path)
    with caplog.at_level(logging.WARNING):
        assert ask(semantic_map, Words(), "56")
        semantic_map.integrate(*frame(30, 0.5))
    assert len(caplog.records) == 1 and "map them again" in caplog.records[0].message
    assert semantic_map.voxel_count + semantic_map.evicted_voxel_count >= before
    storage.save(semantic_map, tmp_path / "rest.ovmap")


def test_a_limit_below_what_one_frame_sees_is_said_once(caplog):
    config = replace(UNLIMITED, voxel_size=0.02, memory_limit=1.0)
    with caplog.at_level(logging.WARNING):
        semantic_map = walked(config, [0.0, 0.1, 0.2, 0.3, 0.4])
    assert semantic_map.column_bytes > 1e6
    assert [record.message for record in caplog.records] and len(caplog.records) == 1
    assert "raise memory_limit" in caplog.records[0].message


@pytest.mark.parametrize("limit", [0.5, -1.0, float("nan"), float("inf")])
def test_limits_that_make_no_sense_are_refused(limit):
    with pytest.raises(OvsegError, match="memory_limit must be at least 1 MB"):
        MappingConfig(memory_limit=limit)


def test_only_the_region_is_mapped(tmp_path):
    region = (3.0, -0.5, -0.75, 9.96, 0.5, 0.8)
    config = replace(UNLIMITED, region=region, layers="frontiers")
    semantic_map, whole = SemanticMap(config), SemanticMap(replace(config, region=()))
    for number in range(1, 9):
        view = frame(number, float(number))
        whole.integrate(*view)
        semantic_map.integrate(*view)
    with pytest.raises(InvalidFrameError, match=r"reading .* m within mapping.region"):
        semantic_map.integrate(*frame(20, 20.0))
    low, high = torch.tensor(region).view(2, 3)
    inside = ((whole.centres >= low - 1e-9) & (whole.centres <= high + 1e-9)).all(dim=1)
    assert 0 < inside.sum() < len(inside)
    assert set(semantic_map.keys.tolist()) == set(whole.keys[inside].tolist())
    free = unpack_keys(semantic_map.layers.occupancy.free_keys) * config.voxel_size
    assert len(free) and (free > low - 0.8).all() and (free < high + 0.8).all()
    positions = semantic_map.layers.frontiers.positions
    assert len(positions) and (positions > low - 0.3).all() and (positions < high + 0.3).all()
    assert len(positions) < len(whole.layers.frontiers)
    storage.save(semantic_map, tmp_path / "region.ovmap")
    assert storage.load(tmp_path / "region.ovmap").config == config


def test_a_region_that_ends_on_centres_of_voxels_has_them_inside():
    assert MappingConfig(voxel_size=0.1, region=(-0.3, -0.4, -0.7, 0.3, 0.4, 0.7)).region_voxels == (
        (-3, 3),
        (-4, 4),
        (-7, 7),
    )


@pytest.mark.parametrize("region", [(0.0, 0.0, 0.0), (0, 0, 0, 1, 1, 0), (0, 0, 0, 1, 1, float("nan")), (0,) * 7])
def test_regions_that_are_no_box_are_refused(region):
    with pytest.raises(OvsegError, match="region must be the lowest x y z"):
        MappingConfig(region=region)
