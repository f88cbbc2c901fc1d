"""Layers of a map: what is gone is forgotten, free space ends at frontiers, rays start there; all of it is saved."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mapping_scenes import SPACE, TensorWork, camera, random_frame, random_segmentation
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.mapping.storage import load, save
from ovseg_ros.types import InvalidFrameError, RgbdFrame, Segmentation

HEIGHT, WIDTH = 48, 64
CONFIG = MappingConfig(voxel_size=0.1, max_depth=3.0, layers="rays")

LOOKING_ALONG_X = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1], [0, 0, 0, 1]], dtype=torch.float64)
"""A camera one metre above the origin, looking along x."""


def view(depth: np.ndarray, stamp: int, sideways: float = 0.0) -> RgbdFrame:
    pose = LOOKING_ALONG_X.clone()
    pose[1, 3] = sideways
    rgb = torch.full((HEIGHT, WIDTH, 3), 99, dtype=torch.uint8)
    return RgbdFrame(rgb, torch.from_numpy(depth.astype(np.float32)), camera(HEIGHT, WIDTH), pose, stamp)


def wall_with_thing(thing: bool, rng: np.random.Generator) -> np.ndarray:
    depth = 2.0 + rng.normal(0, 0.005, (HEIGHT, WIDTH))
    if thing:
        depth[16:32, 20:44] -= 0.8
    return depth


def features(value: float = 1.0) -> Segmentation:
    return Segmentation(torch.full((4, 3, 4), value), SPACE)


def room_with_opening(stamp: int = 0) -> RgbdFrame:
    """A wall at 2 m with an opening through which nothing is in range."""
    depth = np.full((HEIGHT, WIDTH), 2.0)
    depth[8:40, 16:48] = np.inf
    return view(depth, stamp)


def test_what_is_gone_is_forgotten_and_the_rest_stays():
    rng = np.random.default_rng(0)
    semantic_map = SemanticMap(CONFIG)
    for i in range(30):
        semantic_map.integrate(view(wall_with_thing(True, rng), i, 0.02 * (i % 3)), features())
    near = semantic_map.centres[:, 0] < 1.5
    thing, wall = set(semantic_map.keys[near].tolist()), set(semantic_map.keys[~near].tolist())
    assert len(thing) > 20 and len(wall) > 100
    for i in range(30):
        semantic_map.integrate(view(wall_with_thing(False, rng), 30 + i, 0.02 * (i % 3)), features())
    left = set(semantic_map.keys.tolist())
    assert not thing & left
    assert wall <= left
    assert semantic_map.feature_voxel_count == semantic_map.voxel_count == len(left)


def test_without_the_layer_nothing_is_forgotten():
    rng = np.random.default_rng(0)
    semantic_map = SemanticMap(MappingConfig(voxel_size=0.1, max_depth=3.0))
    semantic_map.integrate(view(wall_with_thing(True, rng), 0), features())
    before = set(semantic_map.keys.tolist())
    for i in range(40):
        semantic_map.integrate(view(wall_with_thing(False, rng), i), features())
    assert before <= set(semantic_map.keys.tolist())


def test_rays_point_through_the_opening_and_carry_its_features():
    semantic_map = SemanticMap(CONFIG)
    grid = torch.zeros(4, 6, 8)
    grid[0], grid[1, 1:5, 2:6] = 1.0, 5.0
    semantic_map.integrate(room_with_opening(), Segmentation(grid, SPACE))
    rays, frontiers = semantic_map.layers.rays, semantic_map.layers.frontiers
    assert rays is not None and frontiers is not None
    assert len(frontiers) > 3 and len(rays) > 0
    assert (rays.directions[:, 0] > 0.8).all()
    assert (rays.origins[:, 0] > 2.0).double().mean() > 0.8
    assert (rays.features[:, 1] > 2.0).all()
    assert set(rays.frontier_keys.tolist()) <= set(frontiers.keys.tolist())


def test_a_frame_of_nothing_but_distance_frees_space():
    semantic_map = SemanticMap(CONFIG)
    semantic_map.integrate(view(np.full((HEIGHT, WIDTH), np.inf), 0), features())
    assert semantic_map.voxel_count == 0 and semantic_map.revision == 1
    assert semantic_map.layers.occupancy is not None and len(semantic_map.layers.occupancy.free_keys) > 500
    with pytest.raises(InvalidFrameError, match="no depth reading"):
        semantic_map.integrate(view(np.full((HEIGHT, WIDTH), np.nan), 0), features())


@pytest.mark.parametrize("layers", ["occupancy", "frontiers", "rays"])
def test_layers_are_saved_and_go_on_as_if_nothing_happened(tmp_path: Path, layers: str):
    semantic_map = SemanticMap(MappingConfig(voxel_size=0.1, max_depth=3.0, layers=layers))
    for i in range(3):
        semantic_map.integrate(room_with_opening(i), features())
    save(semantic_map, tmp_path / "a.ovmap")
    loaded = load(tmp_path / "a.ovmap")
    for _ in range(2):
        columns = semantic_map.layers.columns
        assert loaded.layers.columns.keys() == columns.keys()
        assert any(name.startswith(layers) for name in columns)
        for name, column in columns.items():
            assert torch.equal(loaded.layers.columns[name], column), name
        assert torch.equal(loaded.keys, semantic_map.keys)
        for each in (semantic_map, loaded):
            each.integrate(view(np.full((HEIGHT, WIDTH), 1.5), 9), features(2.0))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("occupancy.log_odds", lambda c: c.short()),
        ("occupancy.log_odds", lambda c: c[:-1].clone()),
        ("occupancy.block_keys", lambda c: -c),
        ("frontiers.keys", lambda c: c.flip(0).contiguous()),
        ("rays.features", lambda c: c * math.nan),
        ("rays.weights", lambda _: None),
        ("magic.keys", lambda _: torch.zeros(3)),
    ],
)
def test_damaged_layers_are_refused(tmp_path: Path, name, change):
    semantic_map = SemanticMap(CONFIG)
    semantic_map.integrate(room_with_opening(), features())
    save(semantic_map, tmp_path / "a.ovmap")
    columns = load_file(tmp_path / "a.ovmap")
    with safe_open(tmp_path / "a.ovmap", framework="pt") as file:
        header = file.metadata()
    changed = change(columns.pop(name, None))
    save_file(columns if changed is None else columns | {name: changed}, tmp_path / "b.ovmap", header)
    with pytest.raises(OvsegError, match=r"b\.ovmap is damaged"):
        load(tmp_path / "b.ovmap")


def test_clearing_empties_the_layers():
    semantic_map = SemanticMap(CONFIG)
    semantic_map.integrate(room_with_opening(), features())
    semantic_map.clear()
    assert all(len(column) == 0 for column in semantic_map.layers.columns.values())


def test_work_per_frame_does_not_grow_with_the_layers():
    """A corridor seen before, far away, changes nothing about the work for the next frame."""
    work = []
    for others in (0, 30):
        semantic_map = SemanticMap(MappingConfig(voxel_size=0.1, max_depth=3.0, layers="frontiers"))
        for i in range(others):
            semantic_map.integrate(view(np.full((HEIGHT, WIDTH), 2.5), i, 100.0 + 5 * i), features())
        semantic_map.integrate(room_with_opening(100), features())
        with TensorWork() as counted:
            semantic_map.integrate(room_with_opening(101), features())
        work.append(counted.elements)
    assert work[1] <= 1.1 * work[0]


def test_evidence_fades_where_the_settings_say_so(tmp_path):
    """Cells that are seen again after a long time begin anew; the setting travels with the file."""
    config = MappingConfig(voxel_size=0.1, max_depth=3.0, layers="occupancy", decay_seconds=1.0)
    free = []
    for settings in (config, replace(config, decay_seconds=0.0)):
        semantic_map = SemanticMap(settings)
        rng = np.random.default_rng(0)
        frame, segmentation = random_frame(rng), random_segmentation(rng)
        for seconds in (0, 1, 1000):
            semantic_map.integrate(replace(frame, stamp_ns=seconds * 10**9), segmentation)
        grid = semantic_map.layers.occupancy
        free.append(grid.log_odds(grid.free_keys).float().mean().item())
        save(semantic_map, tmp_path / "decay.ovmap")
        assert load(tmp_path / "decay.ovmap").config == settings
    assert free[1] == pytest.approx(-3.0, abs=0.1) and free[0] == pytest.approx(-1.0, abs=0.1)
    with pytest.raises(OvsegError, match="decay_seconds"):
        replace(config, decay_seconds=-1.0)
