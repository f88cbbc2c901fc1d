"""What must not happen to a map when settings change, frames are refused, or the system has nothing left to give."""

from __future__ import annotations

import json
import resource
from dataclasses import replace

import pytest
import torch
from mapping_scenes import SPACE, random_map
from safetensors import safe_open
from safetensors.torch import save_file
from test_eviction import (
    LIMIT,
    UNLIMITED,
    Words,
    assert_same_content,
    frame,
    sideways,
    there_and_back,
    walked,
)

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import pack_keys
from ovseg_ros.mapping import MappingConfig, SemanticMap, Submaps, config, merge, storage
from ovseg_ros.mapping.occupancy import BLOCK_CELLS, OccupancyConfig, OccupancyGrid
from ovseg_ros.query import ask, ask_rays
from ovseg_ros.types import InvalidFrameError, Segmentation
from ovseg_ros.vocabulary import Vocabulary


def all_inf(number: int, x: float, channels: int = 256):
    view, segmentation = frame(number, x, channels)
    return replace(view, depth=torch.full((24, 32), torch.inf)), segmentation


def test_a_limit_that_is_lifted_loses_nothing(tmp_path):
    way = there_and_back()
    semantic_map = walked(replace(UNLIMITED, memory_limit=LIMIT), way[:30])
    semantic_map.limit_memory(0.0)
    for number, x in enumerate(way[30:], start=30):
        semantic_map.integrate(*frame(number, x))
    assert_same_content(semantic_map, walked(UNLIMITED, way))
    storage.save(semantic_map, tmp_path / "lifted.ovmap")
    assert_same_content(storage.load(tmp_path / "lifted.ovmap"), semantic_map)


def test_refused_frames_leave_memory_below_the_limit():
    way = there_and_back()
    semantic_map = walked(replace(UNLIMITED, memory_limit=LIMIT), way[:30])
    for number, x in enumerate(way[30:]):
        view, segmentation = frame(number, x)
        with pytest.raises(InvalidFrameError, match="no depth reading"):
            semantic_map.integrate(replace(view, depth=torch.full((24, 32), 50.0)), segmentation)
        assert semantic_map.column_bytes <= LIMIT * 1e6
    assert_same_content(semantic_map, walked(UNLIMITED, way[:30]))


def test_frames_refused_after_eviction_dont_leave_an_index_behind():
    """Trimming on refusal moves rows: answers must not be read from the old ones."""
    way = there_and_back()[:30]
    semantic_map, whole = walked(UNLIMITED, way), walked(UNLIMITED, way)
    expected = ask(whole, Words(), ["4", "22"])
    assert ask(semantic_map, Words(), ["4", "22"]) == expected
    semantic_map.limit_memory(LIMIT)
    view, segmentation = frame(0, 0.0)
    with pytest.raises(InvalidFrameError, match="no depth reading"):
        semantic_map.integrate(replace(view, depth=torch.full((24, 32), 50.0)), segmentation)
    assert semantic_map.evicted_voxel_count
    answers = ask(semantic_map, Words(), ["4", "22"])
    assert [replace(match, score=0.0) for match in answers] == [replace(match, score=0.0) for match in expected]


def wholly_on_disk(**options) -> SemanticMap:
    """With a limit below what a configuration allows, so that free space alone fills it."""
    semantic_map = SemanticMap(replace(UNLIMITED, memory_limit=0.1, layers="occupancy", **options))
    for number in range(12):
        semantic_map.integrate(*frame(number, float(2 * number % 6), 8))
    for number in range(60):
        semantic_map.integrate(*all_inf(number, 40.0 + 2 * number, 8))
    assert not semantic_map.voxel_count and semantic_map.evicted_voxel_count
    return semantic_map


def test_maps_wholly_on_disk_merge(monkeypatch):
    monkeypatch.setattr(config, "MIN_MEMORY_LIMIT", 0.01)
    semantic_map = wholly_on_disk()
    empty = SemanticMap(replace(UNLIMITED, layers="occupancy"))
    assert merge(empty, semantic_map).voxel_count == semantic_map.evicted_voxel_count
    compressed, other = wholly_on_disk(feature_components=4), SemanticMap(UNLIMITED)
    other.integrate(*frame(0, 0.0, 8))
    with pytest.raises(OvsegError, match="differently compressed"):
        merge(compressed, other)


def test_empty_maps_with_coarse_features_merge_under_a_transform():
    coarse = SemanticMap(MappingConfig(voxel_size=0.1, feature_voxel_size=0.2))
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 3] = 1.0
    assert merge(coarse, coarse, pose).voxel_count == 0
    submaps = Submaps(coarse)
    submaps.update_poses({submaps.begin(torch.eye(4).double()): pose})
    assert submaps.fused().voxel_count == 0


def test_the_place_of_a_match_doesnt_depend_on_where_voxels_lie_in_memory():
    maps = [
        SemanticMap(replace(UNLIMITED, memory_limit=limit), vocabulary=Vocabulary.from_names(["7", "255"]))
        for limit in (0.0, LIMIT)
    ]
    feature = torch.zeros(256, 3, 4)
    feature[4] = 1.0
    for number, x in enumerate((5.0, 6.0, 7.0, 8.0, *range(20, 100, 2))):
        view, _ = sideways(number, float(x))
        for semantic_map in maps:
            semantic_map.integrate(view, Segmentation(feature, SPACE))
    assert maps[1].evicted_voxel_count
    places = [[match.position for match in ask(semantic_map, Words(), "4")] for semantic_map in maps]
    assert places[0] == places[1] != []


@pytest.mark.parametrize("text", ["[]", "null", "3"])
def test_a_header_whose_settings_are_no_object_is_refused(text, tmp_path):
    path = tmp_path / "map.ovmap"
    storage.save(random_map(), path)
    with safe_open(path, "pt") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert json.loads(header["config"])
    save_file(tensors, path, metadata=header | {"config": text})
    with pytest.raises(OvsegError, match="damaged"):
        storage.load(path)


def test_frames_of_other_channels_are_refused_while_there_are_only_rays():
    semantic_map = SemanticMap(replace(UNLIMITED, layers="rays"))
    for number in range(3):
        semantic_map.integrate(*all_inf(number, 0.5))
    assert not semantic_map.voxel_count and len(semantic_map.layers.rays)
    before = {name: column.clone() for name, column in semantic_map.columns.items()}
    with pytest.raises(InvalidFrameError, match="must be"):
        semantic_map.integrate(all_inf(9, 0.5)[0], Segmentation(torch.ones(255, 2, 2), SPACE))
    assert semantic_map.revision == 3
    assert all(torch.equal(column, before[name]) for name, column in semantic_map.columns.items())


def test_a_moment_without_file_descriptors_forgets_nothing():
    semantic_map = walked(replace(UNLIMITED, memory_limit=LIMIT), there_and_back()[:30])
    on_disk = semantic_map.evicted_voxel_count
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OvsegError, match="can't be read now"):
            list(semantic_map.parts())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert semantic_map.evicted_voxel_count == on_disk > 0
    assert_same_content(semantic_map, walked(UNLIMITED, there_and_back()[:30]))


def test_memory_goes_back_when_a_large_map_is_limited(monkeypatch):
    monkeypatch.setattr("ovseg_ros.mapping.columns.BLOCK_BYTES", 1 << 20)
    semantic_map = walked(UNLIMITED, there_and_back()[:30])
    semantic_map.limit_memory(LIMIT)
    semantic_map.integrate(*frame(30, 60.5))
    blocks = semantic_map.tables.voxels._columns._blocks
    held = sum(tensor.nbytes for block in blocks for tensor in block.values())
    assert held < semantic_map.column_bytes + 2.2e6


def test_choosing_what_goes_to_disk_copies_no_log_odds(monkeypatch):
    from mapping_scenes import TensorWork

    monkeypatch.setattr("ovseg_ros.mapping.columns.BLOCK_BYTES", 1 << 20)
    grid = OccupancyGrid(OccupancyConfig(), 0.1)
    count = 10_000
    keys = pack_keys(torch.stack((torch.arange(count), torch.zeros(count).long(), torch.zeros(count).long()), -1))
    log_odds = torch.zeros(count, BLOCK_CELLS, dtype=torch.int8)
    grid.load({"block_keys": keys, "log_odds": log_odds, "stamps": torch.zeros_like(keys)})
    semantic_map = SemanticMap(replace(UNLIMITED, layers="occupancy", memory_limit=1.0))
    semantic_map.layers.occupancy = grid
    with TensorWork() as work:
        semantic_map._eviction._survey(semantic_map.tables, grid)
    assert work.largest <= 10 * count


def test_a_map_of_rays_alone_isnt_called_empty():
    services = pytest.importorskip("ovseg_ros.ros.services")
    from ovseg_ros.ros.answers import Answers

    semantic_map = SemanticMap(replace(UNLIMITED, layers="rays"), vocabulary=Vocabulary.from_names(["7", "255"]))
    for number in range(3):
        semantic_map.integrate(*all_inf(number, 0.5))
    rays = ask_rays(semantic_map, Words(), ["0"])
    assert rays
    assert "beyond depth range" in services.summary(["0"], Answers(3, 0, "map", 0, (), rays))


def test_a_recall_that_breaks_off_leaves_no_index_behind(monkeypatch):
    semantic_map = walked(replace(UNLIMITED, memory_limit=LIMIT), there_and_back()[:30])
    ask(semantic_map, Words(), "4")
    before, revision, load = semantic_map.voxel_count, semantic_map.revision, semantic_map.tables.load
    calls = iter(range(3))

    def fails(columns):
        if next(calls) == 2:
            raise RuntimeError("out of memory")
        load(columns)

    monkeypatch.setattr(semantic_map.tables, "load", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        semantic_map.integrate(*frame(50, 0.5))
    assert semantic_map.voxel_count > before and semantic_map.revision > revision
