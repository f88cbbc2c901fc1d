"""Frontiers: the definition cell by cell, updates equal to a fresh start, and rooms with and without a door."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import camera, depth_frame, random_depth, random_pose

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import KEY_LIMIT, pack_keys, unpack_keys
from ovseg_ros.mapping import MappingConfig, build_fusion_operator
from ovseg_ros.mapping.frontiers import Frontiers
from ovseg_ros.mapping.layer_config import FrontierConfig, OccupancyConfig
from ovseg_ros.mapping.occupancy import UNOBSERVED, OccupancyGrid
from ovseg_ros.types import Intrinsics

VOXEL = 0.125


def see(
    grid: OccupancyGrid, depth: torch.Tensor, intrinsics: Intrinsics, pose: torch.Tensor, stamp_ns: int = 0
) -> torch.Tensor:
    """Observe and apply a frame; the box that changed."""
    config = MappingConfig(voxel_size=grid.voxel_size, min_depth=0.2, max_depth=4.0)
    hits = build_fusion_operator(depth, intrinsics, pose, (2, 2), config).keys
    observation = grid.observe(depth_frame(depth, intrinsics, pose, stamp_ns), hits, config)
    grid.apply(observation)
    return observation.box


def from_scratch(grid: OccupancyGrid, config: FrontierConfig) -> Frontiers:
    frontiers = Frontiers(config, grid.voxel_size)
    blocks = unpack_keys(grid.columns["block_keys"])
    frontiers.update(grid, torch.stack((blocks.amin(dim=0) * 8, blocks.amax(dim=0) * 8 + 7)))
    return frontiers


def plain_frontiers(grid: OccupancyGrid, config: FrontierConfig) -> dict[tuple[int, ...], int]:
    """Coarse cell -> frontier cells, over the whole grid at once."""
    blocks = unpack_keys(grid.columns["block_keys"]).numpy()
    low = blocks.min(axis=0) * 8 - config.radius
    size = blocks.max(axis=0) * 8 + 8 + config.radius - low
    known = np.full(size, UNOBSERVED)
    for (x, y, z), cells in zip(blocks * 8 - low, grid.columns["log_odds"].numpy(), strict=True):
        known[x : x + 8, y : y + 8, z : z + 8] = cells.reshape(8, 8, 8)
    unobserved, free = known == UNOBSERVED, (known < 0) & (known != UNOBSERVED)
    span = range(-config.radius, config.radius + 1)
    shifts = [(i, j, k) for i in span for j in span for k in span]
    around_unobserved = sum(np.roll(unobserved, shift, (0, 1, 2)).astype(int) for shift in shifts)
    around_free = sum(np.roll(free, shift, (0, 1, 2)).astype(int) for shift in shifts)
    is_member = free & (around_unobserved >= config.min_unobserved) & (around_free >= config.min_free)
    members = {}
    for index in (np.argwhere(is_member) + low).tolist():
        coarse = tuple((i + config.group // 2) // config.group for i in index)
        members[coarse] = members.get(coarse, 0) + 1
    return {coarse: count for coarse, count in members.items() if count >= config.min_members}


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    frames=st.integers(1, 4),
    decay=st.sampled_from([0.0, 0.5]),
    config=st.sampled_from([FrontierConfig(), FrontierConfig(radius=2, group=4, min_members=1, min_unobserved=40)]),
)
def test_updates_come_to_the_same_as_a_fresh_start(seed, frames, decay, config):
    rng = np.random.default_rng(seed)
    grid = OccupancyGrid(OccupancyConfig(hit=1, max_log_odds=2, decay_seconds=decay), 0.2)
    frontiers = Frontiers(config, 0.2)
    for frame in range(frames):
        pose = random_pose(rng, 1.0)
        depth = random_depth(rng, 24, 32)
        depth[torch.from_numpy(rng.random((24, 32)) < 0.01)] = torch.nan
        frontiers.update(grid, see(grid, depth, camera(24, 32), pose, stamp_ns=frame * 300_000_000))
    assert torch.equal(frontiers.keys, from_scratch(grid, config).keys)
    assert {tuple(index) for index in unpack_keys(frontiers.keys).tolist()} == plain_frontiers(grid, config).keys()


def test_a_whole_grid_is_looked_at_in_windows_that_are_not_empty():
    # Blocks around the corner of windows, and others so far away that no window holds both.
    corner = torch.cartesian_prod(*[torch.arange(-2, 3)] * 3)
    blocks = torch.cat((corner, corner + torch.tensor([100_000, -100_000, 15])))
    rng = np.random.default_rng(0)
    columns = {
        "block_keys": pack_keys(blocks)[torch.from_numpy(rng.permutation(len(blocks)))],
        "log_odds": torch.from_numpy(rng.choice([UNOBSERVED, -3], (len(blocks), 512)).astype(np.int8)),
        "stamps": torch.zeros(len(blocks), dtype=torch.int64),
    }
    config = FrontierConfig(min_members=50)
    grid = OccupancyGrid.from_columns(columns, OccupancyConfig(), VOXEL)
    frontiers = Frontiers.from_columns({"keys": torch.tensor([7])}, config, VOXEL)
    frontiers.rebuild(grid)
    expected = set()
    for part in (blocks[: len(corner)], blocks[len(corner) :]):
        of_part = torch.isin(grid.columns["block_keys"], pack_keys(part))
        alone = {name: column[of_part] for name, column in columns.items()}
        expected |= plain_frontiers(OccupancyGrid.from_columns(alone, OccupancyConfig(), VOXEL), config).keys()
    assert {tuple(index) for index in unpack_keys(frontiers.keys).tolist()} == expected
    assert len(expected) > 200 and (frontiers.keys.diff() > 0).all()
    frontiers.rebuild(OccupancyGrid(OccupancyConfig(), VOXEL))
    assert not len(frontiers)


@pytest.mark.parametrize("group", [4, 5])
def test_the_nearest_frontier_that_reaches_into_a_box(group):
    keys = pack_keys(torch.tensor([[-3, -2, 5], [0, 0, 0], [1, 0, 0], [4, 0, 0]]))
    frontiers = Frontiers.from_columns({"keys": keys}, FrontierConfig(group=group), VOXEL)

    def found(shift: tuple[float, float, float], reach: float = 1.0) -> list[int]:
        centres = frontiers.positions + torch.tensor(shift).double() * frontiers.cell_size
        half = torch.full((3,), reach * frontiers.cell_size / 2, dtype=torch.float64)
        return frontiers.nearest(centres, half).tolist()

    assert found((0, 0, 0)) == found((0.1, -0.3, 0.4)) == [0, 1, 2, 3]
    # One cell on there is a frontier for one of them only; larger boxes reach back.
    assert found((-1, 0, 0)) == [-1, -1, 1, -1]
    assert found((-1, 0, 0), reach=1.2) == [0, 1, 1, 3]
    assert found((0.6, 0, 0)) == [0, 2, 2, 3]
    assert found((0, 1.1, 0)) == [-1] * 4


def test_the_definition_finds_something():
    grid = OccupancyGrid(OccupancyConfig(), VOXEL)
    see(grid, torch.full((48, 64), 3.0), camera(48, 64), torch.eye(4, dtype=torch.float64))
    config = FrontierConfig()
    assert len(from_scratch(grid, config)) == len(plain_frontiers(grid, config)) > 0
    # Fewer than 13 members is none: with one member enough there are more.
    assert len(from_scratch(grid, replace(config, min_members=1))) > len(from_scratch(grid, config))


def look_around(door: bool) -> tuple[OccupancyGrid, Frontiers]:
    """A camera looks across the middle of a room of 3 x 3 x 2.5 m from all sides, with or without an opening to +x."""
    intrinsics = Intrinsics(60.0, 60.0, 39.5, 29.5, 80, 60)
    v, u = np.mgrid[:60, :80]
    rays = np.stack(((u - intrinsics.cx) / intrinsics.fx, (v - intrinsics.cy) / intrinsics.fy, np.ones_like(u)), -1)
    low, high = np.array([-1.5, -1.5, 0.0]), np.array([1.5, 1.5, 2.5])
    grid = OccupancyGrid(OccupancyConfig(), VOXEL)
    frontiers = Frontiers(FrontierConfig(), VOXEL)
    for pitch in (-1.1, -0.5, 0.1, 0.7, 1.2):
        for yaw in np.arange(0, 2 * np.pi, 0.6) + pitch:
            forward = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
            right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
            pose = np.eye(4)
            pose[:3, :3] = np.stack((right, np.cross(forward, right), forward), -1)
            pose[:3, 3] = [-0.8 * np.cos(yaw), -0.8 * np.sin(yaw), 1.2 - 0.5 * pitch]
            world = rays @ pose[:3, :3].T
            with np.errstate(divide="ignore"):
                depth = np.maximum((low - pose[:3, 3]) / world, (high - pose[:3, 3]) / world).min(-1)
            end = pose[:3, 3] + world * depth[..., None]
            if door:
                depth[(end[..., 0] > 1.499) & (abs(end[..., 1]) < 0.5) & (end[..., 2] < 2.0)] = np.inf
            see_from = torch.from_numpy(pose)
            frontiers.update(grid, see(grid, torch.from_numpy(depth.astype(np.float32)), intrinsics, see_from))
    return grid, frontiers


@pytest.fixture(scope="module")
def room_with_door() -> tuple[OccupancyGrid, Frontiers]:
    return look_around(door=True)


def test_a_closed_room_has_none_and_a_door_has_some(room_with_door):
    _, closed = look_around(door=False)
    assert len(closed) == 0
    grid, frontiers = room_with_door
    assert len(frontiers) > 5
    positions = frontiers.positions
    assert (positions[:, 0] > 1.5).all()
    assert torch.equal(positions, unpack_keys(frontiers.keys).double() * frontiers.cell_size)
    assert torch.equal(frontiers.keys, from_scratch(grid, FrontierConfig()).keys)


def test_positions_are_the_centres_of_the_cells_grouped():
    for group in (1, 4, 5):
        frontiers = Frontiers.from_columns(
            {"keys": pack_keys(torch.tensor([[-8000, 0, 3]]))}, FrontierConfig(group=group, min_members=1), VOXEL
        )
        members = [i for i in range(-8010 * group, 30) if (i + group // 2) // group in (-8000, 0, 3)]
        first, middle, last = (np.mean([i for i in members if (i + group // 2) // group == c]) for c in (-8000, 0, 3))
        assert frontiers.positions.tolist() == [[first * VOXEL, middle * VOXEL, last * VOXEL]]
        assert frontiers.cell_size == group * VOXEL


def test_the_edge_of_the_world_is_unobserved():
    grid = OccupancyGrid(OccupancyConfig(), VOXEL)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 3] = (KEY_LIMIT - 10) * VOXEL
    box = see(grid, torch.full((24, 32), 3.0), camera(24, 32), pose)
    frontiers = Frontiers(FrontierConfig(min_members=4), VOXEL)
    frontiers.update(grid, box)
    found = {tuple(index) for index in unpack_keys(frontiers.keys).tolist()}
    assert found and found == plain_frontiers(grid, frontiers.config).keys()


def test_nothing_seen_changes_nothing_and_columns_make_the_same(room_with_door):
    grid, frontiers = room_with_door
    keys = frontiers.keys.clone()
    frontiers.update(grid, see(grid, torch.full((24, 32), torch.nan), camera(24, 32), torch.eye(4).double()))
    assert torch.equal(frontiers.keys, keys)

    again = Frontiers.from_columns(frontiers.columns, frontiers.config, VOXEL)
    assert torch.equal(again.keys, keys) and again.columns.keys() == {"keys"}
    assert again.keys.data_ptr() != frontiers.keys.data_ptr()
    again.clear()
    assert len(again) == 0 and len(frontiers) == len(keys) and tuple(again.positions.shape) == (0, 3)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"keys": torch.zeros(2)},
        {"keys": torch.tensor([[1]])},
        {"keys": torch.tensor([-1, 4])},
        {"keys": torch.tensor([4, 4])},
        {"keys": torch.tensor([1]), "more": torch.tensor([1])},
    ],
)
def test_damaged_columns_are_refused(columns):
    with pytest.raises(OvsegError, match="save the map again"):
        Frontiers.from_columns(columns, FrontierConfig(), VOXEL)


@pytest.mark.parametrize(
    "values",
    [{"radius": 0}, {"radius": 3}, {"min_unobserved": 28}, {"min_free": 0}, {"group": 65}, {"min_members": 126}],
)
def test_configs_that_make_no_sense_are_refused(values):
    with pytest.raises(OvsegError, match=next(iter(values))):
        replace(FrontierConfig(), **values)
