"""Occupancy: what one frame frees, how evidence adds up and fades, and that surfaces last while objects go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import TensorWork, camera, depth_frame, random_depth, random_pose

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import KEY_LIMIT, pack_keys, unpack_keys
from ovseg_ros.mapping import MappingConfig, build_fusion_operator
from ovseg_ros.mapping.layer_config import OccupancyConfig
from ovseg_ros.mapping.occupancy import UNOBSERVED, Observation, OccupancyGrid
from ovseg_ros.types import Intrinsics

VOXEL = 0.125
NEAR, FAR = 0.3, 3.0
MAPPING = MappingConfig(voxel_size=VOXEL, min_depth=NEAR, max_depth=FAR)
NO_HITS = torch.empty(0, dtype=torch.int64)


def watch(
    grid: OccupancyGrid,
    depth: torch.Tensor,
    pose: torch.Tensor,
    hits: torch.Tensor = NO_HITS,
    stamp_ns: int = 0,
    intrinsics: Intrinsics | None = None,
) -> Observation:
    frame = depth_frame(depth, intrinsics or camera(*depth.shape), pose, stamp_ns)
    return grid.observe(frame, hits, MAPPING)


def see(grid: OccupancyGrid, *args: object, **options: object) -> Observation:
    observation = watch(grid, *args, **options)
    grid.apply(observation)
    return observation


def hits_of(depth: torch.Tensor, intrinsics: Intrinsics, pose: torch.Tensor) -> torch.Tensor:
    return build_fusion_operator(depth, intrinsics, pose, (2, 2), MAPPING).keys


def cells(keys: torch.Tensor) -> set[tuple[int, ...]]:
    return {tuple(index) for index in unpack_keys(keys).tolist()}


def contents(grid: OccupancyGrid) -> dict[int, int]:
    keys = torch.cat((grid.occupied_keys, grid.free_keys))
    return dict(zip(keys.tolist(), grid.log_odds(keys).tolist(), strict=True))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), distance=st.sampled_from([0.5, 1000.0]), surfaces=st.booleans())
def test_free_is_what_readings_show_to_be_free(seed, distance, surfaces):
    rng = np.random.default_rng(seed)
    height, width = 24, 32
    intrinsics, pose = replace(camera(height, width), fx=25.0, fy=28.0), random_pose(rng, distance)
    depth = random_depth(rng, height, width) if surfaces else torch.from_numpy(rng.uniform(1, 4, (24, 32))).float()
    grid = OccupancyGrid(OccupancyConfig(), VOXEL)
    see(grid, depth, pose, intrinsics=intrinsics)
    free = cells(grid.free_keys)

    # Every pixel by its ray, every cell of a wider box by its centre, relative to the camera.
    z = depth.double().numpy()
    with np.errstate(invalid="ignore"):
        reach = np.where((z >= NEAR) & (z > 0), np.minimum(z, FAR), 0.0)
    for row, column in zip(*np.nonzero(np.isnan(z) | (z == 0)), strict=True):
        around = [
            min(z[v, u], FAR)
            for v in range(max(row - 1, 0), min(row + 2, height))
            for u in range(max(column - 1, 0), min(column + 2, width))
            if z[v, u] >= NEAR
        ]
        reach[row, column] = min(around) if len(around) >= 5 else 0.0
    v, u = np.mgrid[:height, :width]
    rays = np.stack(((u - intrinsics.cx) / intrinsics.fx, (v - intrinsics.cy) / intrinsics.fy, np.ones_like(z)), -1)
    lengths = np.linalg.norm(rays, axis=-1)
    origin = np.rint(pose[:3, 3].numpy() / VOXEL).astype(int)
    steps = int(FAR * 1.8 / VOXEL)
    offsets = np.stack(np.meshgrid(*[np.arange(-steps, steps + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    centres = ((offsets + origin) * VOXEL - pose[:3, 3].numpy()) @ pose[:3, :3].numpy()
    ahead = (centres[:, 2] > NEAR) & (centres[:, 2] < FAR)
    offsets, centres = offsets[ahead], centres[ahead]
    columns = centres[:, 0] / centres[:, 2] * intrinsics.fx + intrinsics.cx
    rows = centres[:, 1] / centres[:, 2] * intrinsics.fy + intrinsics.cy
    in_image = (columns > -0.5) & (columns < width - 0.5) & (rows > -0.5) & (rows < height - 0.5)

    others = 0
    in_view = {tuple(index) for index in (offsets[in_image] + origin).tolist()}
    for i in rng.choice(in_image.nonzero()[0], 300, replace=False):
        cell, centre, column, row = tuple((offsets[i] + origin).tolist()), centres[i], columns[i], rows[i]
        end = centre[2]
        from_ray = np.linalg.norm(np.cross(rays, centre), axis=-1) / lengths
        if cell in free:
            half_a_pixel = 0.5 * lengths.max() * centre[2] / min(intrinsics.fx, intrinsics.fy)
            assert (reach[from_ray < VOXEL / 2 - half_a_pixel] >= end - 1e-4).all()
            assert reach[round(row), round(column)] >= end - 1e-4
        else:
            # Squares grow by half their size, the ball looks larger off the axis, and pixels are whole: at most this.
            margin = 1.6 * 1.25 * max(intrinsics.fx, intrinsics.fy) * VOXEL / 2 / centre[2] + 2
            inside = margin < row < height - 1 - margin and margin < column < width - 1 - margin
            around = reach[(abs(v - row) <= margin) & (abs(u - column) <= margin)]
            assert not (inside and (around > end + 1e-4).all())
            others += 1
    assert free <= in_view
    assert others and free


def test_single_dropped_pixels_leave_no_holes_in_free_space_but_larger_gaps_do():
    """Near cells cover many pixels: one that the sensor dropped must not make them unknown, nor may it free more."""
    pose, depth = torch.eye(4, dtype=torch.float64), torch.full((48, 64), 2.5)
    whole, dropped, line, gap, near = (OccupancyGrid(OccupancyConfig(), VOXEL) for _ in range(5))
    see(whole, depth, pose)
    speckled = depth.clone()
    speckled[1:-1:4, 1:-1:4] = torch.nan
    speckled[3:-1:4, 3:-1:4] = 0.0
    see(dropped, speckled, pose)
    assert torch.equal(dropped.free_keys.sort().values, whole.free_keys.sort().values)
    lined = depth.clone()
    lined[1:-1, 30] = torch.nan
    see(line, lined, pose)
    assert torch.equal(line.free_keys.sort().values, whole.free_keys.sort().values)
    torn = depth.clone()
    torn[20:28, 28:36] = torch.nan
    see(gap, torn, pose)
    assert len(gap.free_keys) < len(whole.free_keys)
    close = depth.clone()
    close[::8, ::8] = -torch.inf
    see(near, close, pose)
    assert len(near.free_keys) < 0.5 * len(whole.free_keys)


@pytest.mark.parametrize("focal", [49.0, 61.0, 73.0, 97.0])
def test_discs_that_are_whole_pixels_wide_at_the_nearest_cell(focal):
    for min_depth in np.arange(0.2, 1.0, 0.05).tolist():
        voxel = 12 * min_depth / focal
        grid = OccupancyGrid(OccupancyConfig(), voxel)
        intrinsics = Intrinsics(focal, focal, 0.0, 0.0, 1, 1)
        depth, pose = torch.full((1, 1), 1.0), torch.eye(4, dtype=torch.float64)
        pose[2, 3] = -min_depth
        grid.observe(depth_frame(depth, intrinsics, pose), NO_HITS, MappingConfig(min_depth=min_depth, max_depth=1.0))


def test_evidence_adds_up_to_the_clamps_and_hits_win():
    config = OccupancyConfig(hit=4, miss=2, max_log_odds=9, min_log_odds=-7)
    grid = OccupancyGrid(config, VOXEL)
    depth, pose = torch.full((24, 32), 2.0), torch.eye(4, dtype=torch.float64)
    in_the_open = torch.tensor([[0, 0, 8]])
    behind = torch.tensor([[0, 0, 20]])
    hits = pack_keys(torch.cat((in_the_open, behind)))
    free = pack_keys(torch.tensor([[1, 1, 10]]))
    for frame in range(1, 5):
        see(grid, depth, pose, hits)
        assert grid.log_odds(hits).tolist() == [min(9, 4 * frame)] * 2
        assert grid.log_odds(free).item() == max(-7, -2 * frame)
    assert cells(grid.occupied_keys) == cells(hits)
    for frame in range(1, 6):
        freed = see(grid, depth, pose).freed
        assert grid.log_odds(hits[:1]).item() == 9 - 2 * frame
        assert (hits[0] in freed) == (frame == 5) and hits[1] not in freed
    assert grid.log_odds(hits[1:]).item() == 9


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), frames=st.integers(1, 4), decay=st.sampled_from([0.0, 1.0]))
def test_observing_changes_nothing_and_foretells_the_change(seed, frames, decay):
    rng = np.random.default_rng(seed)
    grid = OccupancyGrid(OccupancyConfig(hit=1, decay_seconds=decay), VOXEL)
    pose = random_pose(rng, 1.0)
    for frame in range(frames):
        depth = random_depth(rng, 24, 32)
        pose[:3, 3] += torch.from_numpy(rng.normal(0, 0.1, 3))
        hits = hits_of(depth, camera(24, 32), pose)
        before = {name: column.clone() for name, column in grid.columns.items()}
        was, was_free = contents(grid), set(grid.free_keys.tolist())
        observation = watch(grid, depth, pose, hits, stamp_ns=frame * 700_000_000)
        assert all(torch.equal(column, before[name]) for name, column in grid.columns.items())

        grid.apply(observation)
        now = contents(grid)
        renewed = set(observation.freed.tolist())
        assert len(renewed) == len(observation.freed)
        free = set(grid.free_keys.tolist())
        doubtful = set(hits.tolist()) & free
        assert renewed >= (free - was_free) | doubtful
        assert renewed <= free
        assert decay or renewed == (free - was_free) | doubtful
        changed = [key for key in was.keys() | now.keys() if was.get(key) != now.get(key)]
        index = unpack_keys(torch.tensor(changed, dtype=torch.int64))
        assert ((index >= observation.box[0]) & (index <= observation.box[1])).all()


@pytest.mark.parametrize("value", [float("nan"), 0.0, -1.0, float("-inf"), NEAR / 2])
def test_no_reading_says_nothing_and_blocks_what_is_around_it(value):
    pose = torch.eye(4, dtype=torch.float64)
    grid = OccupancyGrid(OccupancyConfig(), VOXEL)
    observation = see(grid, torch.full((24, 32), value), pose)
    assert not len(observation.freed) and not grid.block_count
    assert (observation.box[1] < observation.box[0]).all()

    depth = torch.full((24, 32), 2.5)
    depth[11:14, 15:18] = value
    see(grid, depth, pose)
    assert grid.log_odds(pack_keys(torch.tensor([[0, 0, 12], [0, 0, 8], [5, 0, 12]]))).tolist() == [
        UNOBSERVED,
        UNOBSERVED,
        -1,
    ]


def test_beyond_range_frees_space_up_to_the_range():
    pose = torch.eye(4, dtype=torch.float64)
    maps = []
    for value in (float("inf"), FAR + 1.0, FAR):
        grid = OccupancyGrid(OccupancyConfig(), VOXEL)
        see(grid, torch.full((24, 32), value), pose)
        maps.append(contents(grid))
        depths = unpack_keys(grid.free_keys)[:, 2] * VOXEL
        assert depths.min() >= NEAR and FAR - 2 * VOXEL < depths.max() < FAR
    assert maps[0] == maps[1] == maps[2]


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    shift=st.tuples(*[st.sampled_from([-8000, -1, 0, 3, 8000, KEY_LIMIT - 2, -KEY_LIMIT])] * 3),
)
def test_the_same_everywhere_that_cells_have_keys(seed, shift):
    rng = np.random.default_rng(seed)
    depth, pose = random_depth(rng, 24, 32), random_pose(rng, 0.5)
    hits = hits_of(depth, camera(24, 32), pose)
    here = OccupancyGrid(OccupancyConfig(), VOXEL)
    see(here, depth, pose, hits)
    expected = {tuple(np.add(index, shift)) for index in cells(here.free_keys)}
    expected = {index for index in expected if all(-KEY_LIMIT <= i < KEY_LIMIT for i in index)}

    moved = pose.clone()
    moved[:3, 3] += torch.tensor(shift) * VOXEL
    there = OccupancyGrid(OccupancyConfig(), VOXEL)
    see(there, depth, moved, hits_of(depth, camera(24, 32), moved))
    # A sum as large as the shift is rounded, so a cell that is barely free here may not be there.
    assert len(cells(there.free_keys) ^ expected) <= 0.002 * len(expected)


def room_corner(
    box_height: float, pose: np.ndarray, intrinsics: Intrinsics, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A floor at z = 0, a wall and a box: depth with 1 cm of noise, its points, and which of them are on the box."""
    v, u = np.mgrid[: intrinsics.height, : intrinsics.width]
    rays = np.stack(((u - intrinsics.cx) / intrinsics.fx, (v - intrinsics.cy) / intrinsics.fy, np.ones_like(u)), -1)
    rays, origin = rays @ pose[:3, :3].T, pose[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(rays[..., 2] < 0, -origin[2] / rays[..., 2], np.inf)
        wall = (2.7 - origin[0]) / rays[..., 0]
        low, high = np.array([1.5, -0.3, 0.0]), np.array([1.9, 0.3, box_height])
        first, second = (low - origin) / rays, (high - origin) / rays
    enter, leave = np.minimum(first, second).max(-1), np.maximum(first, second).min(-1)
    box = np.where((enter < leave) & (enter > 0), enter, np.inf)
    depth = np.minimum(np.minimum(floor, wall), box)
    depth = (depth + rng.normal(0, 0.01, depth.shape)).astype(np.float32)
    return depth, origin + rays * depth[..., None], (box < floor) & (box < wall)


@pytest.mark.parametrize(("height", "pitch"), [(0.3, 0.0), (0.8, 0.3)])
def test_surfaces_last_at_grazing_angles_while_an_object_goes(height, pitch):
    voxel, rng = 0.05, np.random.default_rng(0)
    intrinsics = Intrinsics(90.0, 90.0, 47.5, 35.5, 96, 72)
    grid = OccupancyGrid(OccupancyConfig(), voxel)
    semantic, static, of_object = set(), set(), set()
    s, c = np.sin(pitch), np.cos(pitch)
    for number in range(60):
        pose = np.array([[0, -s, c, 0], [-1, 0, 0, 0], [0, -c, -s, 0], [0, 0, 0, 1]])
        pose[:3, 3] = 0.004 * number, 0.03 * np.sin(number), height + 0.01 * np.sin(0.7 * number)
        depth, points, on_box = room_corner(0.35 if number < 30 else 0.0, pose, intrinsics, rng)
        keys = pack_keys(torch.from_numpy(np.rint(points / voxel).astype(np.int64)))
        keys_of_box = set(keys[torch.from_numpy(on_box)].tolist())
        static |= set(keys[torch.from_numpy(~on_box)].tolist())
        of_object |= keys_of_box if number < 30 else set()
        hits = keys.unique()
        frame = depth_frame(torch.from_numpy(depth), intrinsics, torch.from_numpy(pose))
        observation = grid.observe(frame, hits, MappingConfig(max_depth=3.5))
        grid.apply(observation)
        semantic = (semantic | set(hits.tolist())) - set(observation.freed.tolist())
    static_cells = unpack_keys(torch.tensor(sorted(static)))
    floor = set(pack_keys(static_cells[static_cells[:, 2] == 0]).tolist())
    # Noise moves readings of the wall across its cells, so only those that hold its face are sure to be hit.
    wall = set(pack_keys(static_cells[(static_cells[:, 0] == 54) & (static_cells[:, 2] > 1)]).tolist())
    assert len(floor) > 500 and len(wall) > 300 and len(of_object - static) > 50
    assert not floor - semantic
    assert not wall - semantic
    assert not (of_object - static) & semantic


def test_evidence_fades_when_its_block_is_seen_again():
    config = OccupancyConfig(decay_seconds=2.0)
    grid = OccupancyGrid(config, VOXEL)
    depth, pose = torch.full((24, 32), 1.2), torch.eye(4, dtype=torch.float64)
    seen, other = pack_keys(torch.tensor([[0, 0, 8]])), pack_keys(torch.tensor([[0, 0, 13]]))
    for _ in range(2):
        see(grid, depth, pose, torch.cat((seen, other)), stamp_ns=1_000_000_000)
    assert grid.log_odds(other).item() == 6
    # 5 s are two whole steps; the rest is kept for later.
    see(grid, depth, pose, seen, stamp_ns=6_000_000_000)
    assert grid.log_odds(torch.cat((seen, other))).tolist() == [6 - 2 + 3, 6 - 2]
    see(grid, depth, pose, seen, stamp_ns=7_000_000_000)
    assert grid.log_odds(torch.cat((seen, other))).tolist() == [7 - 1 + 3, 3]
    # An older frame is no reason to fade, and a long time leaves nothing.
    see(grid, depth, pose, seen, stamp_ns=0)
    assert grid.log_odds(other).item() == 3
    see(grid, depth, pose, seen, stamp_ns=10**18)
    assert grid.log_odds(torch.cat((seen, other))).tolist() == [3, UNOBSERVED]
    assert not len(set(grid.occupied_keys.tolist()) - set(seen.tolist()))


def test_added_grids_are_faded_to_the_newest_stamp():
    config = OccupancyConfig(decay_seconds=2.0)
    old, new, both = (OccupancyGrid(config, VOXEL) for _ in range(3))
    depth, pose = torch.full((24, 32), 1.2), torch.eye(4, dtype=torch.float64)
    keys = pack_keys(torch.tensor([[0, 0, 8], [0, 0, 13], [0, 0, 14]]))
    see(old, depth, pose, keys, stamp_ns=1_000_000_000)
    see(new, depth, pose, keys[:2], stamp_ns=6_000_000_000)
    see(new, depth, pose, keys[1:2], stamp_ns=6_000_000_000)
    # Five seconds are two whole steps.
    expected = [3 + 3 - 2 - 1, 6 + 3 - 2, 3 - 2]
    turn = torch.eye(4, dtype=torch.float64)
    for transform in (None, turn):
        for parts in ((old, new), (new, old)):
            both.clear()
            for part in parts:
                both.add(part, transform)
            assert both.log_odds(keys).tolist() == expected
            assert set(both.columns["stamps"].tolist()) == {6_000_000_000}


def test_a_moved_block_is_faded_to_the_newest_stamp_that_it_is_made_of():
    columns = {
        "block_keys": pack_keys(torch.tensor([[0, 0, 0], [0, 0, 1]])),
        "log_odds": torch.tensor([[5], [-7]], dtype=torch.int8).repeat(1, 512),
        "stamps": torch.tensor([1_000_000_000, 6_000_000_000]),
    }
    grid = OccupancyGrid.from_columns(columns, OccupancyConfig(decay_seconds=2.0), VOXEL)
    half_a_block = torch.eye(4, dtype=torch.float64)
    half_a_block[2, 3] = 4 * VOXEL
    moved = OccupancyGrid(grid.config, VOXEL)
    moved.add(grid, half_a_block)
    column = pack_keys(torch.stack((torch.full((24,), 3), torch.full((24,), 3), torch.arange(24)), dim=-1))
    expected = [UNOBSERVED] * 4 + [5] * 4 + [5 - 2] * 4 + [-7] * 8 + [UNOBSERVED] * 4
    assert moved.log_odds(column).tolist() == expected
    assert moved.columns["stamps"].tolist() == [1_000_000_000, 6_000_000_000, 6_000_000_000]


def test_adding_takes_memory_for_some_blocks_at_a_time():
    rng = np.random.default_rng(0)
    keys = pack_keys(torch.cartesian_prod(*[torch.arange(-8, 8)] * 3))
    columns = {
        "block_keys": keys,
        "log_odds": torch.full((len(keys), 512), -3, dtype=torch.int8),
        "stamps": torch.zeros_like(keys),
    }
    grid = OccupancyGrid.from_columns(columns, OccupancyConfig(), VOXEL)
    for transform in (None, random_pose(rng, 10.0)):
        total = OccupancyGrid(OccupancyConfig(), VOXEL)
        total.add(OccupancyGrid.from_columns({n: c[:1] for n, c in columns.items()}, OccupancyConfig(), VOXEL))
        with TensorWork() as work:
            total.add(grid, transform)
        assert work.largest < 512 * len(keys) / 2
        assert 0.97 < len(total.free_keys) / (512 * len(keys)) < 1.03


def built_grid(seed: int = 0, decay: float = 0.0) -> OccupancyGrid:
    rng = np.random.default_rng(seed)
    grid = OccupancyGrid(OccupancyConfig(decay_seconds=decay), VOXEL)
    for frame in range(3):
        depth, pose = random_depth(rng, 24, 32), random_pose(rng, 1.0)
        see(grid, depth, pose, hits_of(depth, camera(24, 32), pose), stamp_ns=frame)
    return grid


def test_columns_make_the_same_grid():
    grid = built_grid()
    columns = grid.columns
    again = OccupancyGrid.from_columns(columns, grid.config, VOXEL)
    columns = {name: column.clone() for name, column in columns.items()}
    for each in (grid, again):
        rng = np.random.default_rng(5)
        see(each, random_depth(rng, 24, 32), random_pose(rng, 0.5), stamp_ns=9)
    assert again.columns.keys() == grid.columns.keys() and again.block_count > 0
    assert all(torch.equal(column, grid.columns[name]) for name, column in again.columns.items())
    assert grid.column_bytes == grid.block_count * (512 + 8 + 8)
    assert not torch.equal(grid.columns["stamps"], columns["stamps"])


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("log_odds", lambda column: column[:-1], "log_odds"),
        ("stamps", lambda column: column.double(), "stamps"),
        ("block_keys", lambda column: column.roll(1).where(torch.arange(len(column)) == 0, column), "twice"),
        ("block_keys", lambda column: pack_keys(unpack_keys(column) + KEY_LIMIT // 8), "out of range"),
        ("log_odds", lambda column: torch.full_like(column, 100), "log-odds"),
    ],
)
def test_damaged_columns_are_refused(name, damage, said):
    columns = built_grid().columns
    with pytest.raises(OvsegError, match=said):
        OccupancyGrid.from_columns(columns | {name: damage(columns[name])}, OccupancyConfig(), VOXEL)
    with pytest.raises(OvsegError, match=name):
        OccupancyGrid.from_columns({n: c for n, c in columns.items() if n != name}, OccupancyConfig(), VOXEL)


def test_windows_and_keys_tell_the_same():
    grid = built_grid()
    low, shape = torch.tensor([-13, -9, -20]), torch.tensor([30, 17, 25])
    window = grid.window(low, shape)
    index = torch.stack(torch.meshgrid(*(torch.arange(n) for n in shape.tolist()), indexing="ij"), -1) + low
    assert torch.equal(window.flatten(), grid.log_odds(pack_keys(index.view(-1, 3))))
    assert (window > 0).any() and ((window < 0) & (window != UNOBSERVED)).any()
    beyond = grid.window(torch.tensor([KEY_LIMIT - 4, 0, 0]), torch.tensor([9, 2, 2]))
    assert tuple(beyond.shape) == (9, 2, 2) and (beyond == UNOBSERVED).all()


def test_an_observation_is_applied_once_and_to_the_grid_it_was_made_for():
    grid = built_grid()
    observation = watch(grid, torch.full((24, 32), 2.0), torch.eye(4, dtype=torch.float64))
    grid.apply(observation)
    with pytest.raises(ValueError, match="observe and apply"):
        grid.apply(observation)
    grid.clear()
    assert not grid.block_count and not len(grid.free_keys) and not len(grid.occupied_keys)


def test_a_frame_that_reaches_too_far_is_refused():
    grid = OccupancyGrid(OccupancyConfig(), 0.01)
    frame = depth_frame(torch.full((24, 32), torch.inf), camera(24, 32), torch.eye(4, dtype=torch.float64))
    with pytest.raises(OvsegError, match="lower max_depth"):
        grid.observe(frame, NO_HITS, MappingConfig(max_depth=100.0))


@pytest.mark.parametrize(
    "values",
    [
        {"hit": 0},
        {"miss": 64},
        {"max_log_odds": 2},
        {"max_log_odds": 64},
        {"min_log_odds": 0},
        {"min_log_odds": -64},
        {"decay_seconds": -1.0},
        {"decay_seconds": float("nan")},
    ],
)
def test_configs_that_make_no_sense_are_refused(values):
    with pytest.raises(OvsegError, match=next(iter(values))):
        replace(OccupancyConfig(), **values)
