"""Merged layers: as if one had seen everything, as far as a function of both maps can tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import SPACE, camera, random_depth, random_pose

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import KEY_LIMIT, pack_keys, transform_points, unpack_keys, voxel_centres, voxel_indices
from ovseg_ros.mapping import MappingConfig, SemanticMap, Submaps, merge, merge_all
from ovseg_ros.mapping.ray_casting import DirectionBins
from ovseg_ros.mapping.storage import load, save
from ovseg_ros.types import InvalidFrameError, RgbdFrame, Segmentation

VOXEL = 0.1
COARSE = 5 * VOXEL
CONFIG = MappingConfig(voxel_size=VOXEL, max_depth=3.0, layers="rays")
HEIGHT, WIDTH = 48, 64
ALONG_X = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1], [0, 0, 0, 1]], dtype=torch.float64)
"""A camera one metre above the origin, looking along x."""

View = tuple[RgbdFrame, Segmentation]


def transform(yaw: float = 0.0, *, tilt: float = 0.0, shift: Sequence[float] = (0, 0, 0)) -> torch.Tensor:
    """A turn of ``tilt`` about x, then of ``yaw`` about z, in radians, then a shift in metres."""
    pose = torch.eye(4, dtype=torch.float64)
    about_z = [[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]]
    pose[:3, :3] = torch.tensor(about_z, dtype=torch.float64) @ torch.tensor(about_x, dtype=torch.float64)
    pose[:3, 3] = torch.tensor(shift, dtype=torch.float64)
    return pose


def view(number: int, pose: torch.Tensor = ALONG_X, channels: int = 4) -> View:
    """A rough wall at 2 m with an opening through which nothing is in range; features differ from frame to frame."""
    rng = np.random.default_rng(number)
    depth = rng.normal(2.0, 0.05, (HEIGHT, WIDTH)).astype(np.float32)
    depth[8:40, 16:48] = np.inf
    rgb = torch.full((HEIGHT, WIDTH, 3), 99, dtype=torch.uint8)
    grid = torch.from_numpy(rng.normal(size=(channels, 3, 4)).astype(np.float32))
    frame = RgbdFrame(rgb, torch.from_numpy(depth), camera(HEIGHT, WIDTH), pose, number)
    return frame, Segmentation(grid, SPACE)


def views(count: int = 4) -> list[View]:
    """The camera steps sideways and turns."""
    return [view(i, transform(0.3 * i, shift=(0, 0.05 * i, 0)) @ ALONG_X) for i in range(count)]


def map_of(frames: Sequence[View], config: MappingConfig = CONFIG) -> SemanticMap:
    semantic_map = SemanticMap(config)
    for frame, segmentation in frames:
        semantic_map.integrate(frame, segmentation)
    return semantic_map


@pytest.fixture(scope="module")
def full() -> SemanticMap:
    return map_of(views())


def assert_same_columns(ours: SemanticMap, theirs: SemanticMap) -> None:
    columns = theirs.layers.columns
    assert ours.layers.columns.keys() == columns.keys()
    for name, column in ours.layers.columns.items():
        assert torch.equal(column, columns[name]), name


def cells(semantic_map: SemanticMap) -> dict[int, int]:
    """Key -> log-odds of what is known to be free or occupied."""
    occupancy = semantic_map.layers.occupancy
    keys = torch.cat((occupancy.occupied_keys, occupancy.free_keys)).sort().values
    return dict(zip(keys.tolist(), occupancy.log_odds(keys).tolist(), strict=True))


def rays(semantic_map: SemanticMap) -> dict[tuple[int, int], tuple[float, ...]]:
    """Frontier and bin -> weight, mean direction and mean feature."""
    columns = semantic_map.layers.rays.columns
    names = zip(columns["frontier_keys"].tolist(), columns["bins"].tolist(), strict=True)
    values = torch.cat((columns["weights"][:, None], columns["mean_directions"], columns["features"].double()), dim=1)
    return dict(zip(names, map(tuple, values.tolist()), strict=True))


def assert_same_layers(ours: SemanticMap, theirs: SemanticMap) -> None:
    """To the last bit, though maybe in another order."""
    assert cells(ours) == cells(theirs)
    assert torch.equal(ours.layers.frontiers.keys, theirs.layers.frontiers.keys)
    assert rays(ours) == rays(theirs)


@pytest.mark.parametrize("layers", ["occupancy", "frontiers", "rays"])
def test_merging_with_an_empty_map_is_exact_through_files_too(tmp_path: Path, layers: str):
    config = replace(CONFIG, layers=layers)
    full, empty = map_of(views(), config), SemanticMap(config)
    save(full, tmp_path / "full.ovmap")
    assert all(len(column) for column in full.layers.columns.values())
    assert_same_columns(merge(full, empty), full)
    merged = merge(empty, load(tmp_path / "full.ovmap"))
    assert_same_columns(merged, full)
    save(merged, tmp_path / "merged.ovmap")
    assert_same_columns(load(tmp_path / "merged.ovmap"), full)


def test_two_halves_are_the_whole():
    frames = views(6)
    whole, halves = map_of(frames), [map_of(frames[0::2]), map_of(frames[1::2])]
    before = [dict(half.layers.columns) for half in halves]
    merged = merge(*halves)
    assert cells(merged) == cells(whole)
    assert torch.equal(merged.layers.frontiers.keys, whole.layers.frontiers.keys)
    assert_same_layers(merge(*reversed(halves)), merged)
    for half, columns in zip(halves, before, strict=True):
        assert all(torch.equal(column, columns[name]) for name, column in half.layers.columns.items())
    # A frame later they are still the same: nothing that isn't stored was lost.
    for semantic_map in (merged, whole):
        semantic_map.integrate(*view(9))
    assert cells(merged) == cells(whole)


def test_evidence_that_adds_up_is_clamped_as_that_of_frames():
    often = map_of([view(1)] * 12, replace(CONFIG, layers="occupancy"))
    assert cells(merge(often, often)) == {
        key: max(2 * value, -20) if value < 0 else 20 for key, value in cells(often).items()
    }


def test_rays_of_one_frontier_and_bin_are_joined_by_weight():
    first, second = map_of(views()[:2]), map_of(views()[1:3])
    merged, ours, theirs = rays(merge(first, second)), rays(first), rays(second)
    joined = [name for name in merged if name in ours and name in theirs]
    assert len(joined) > 5 and merged.keys() <= ours.keys() | theirs.keys()
    for name, values in merged.items():
        parts = np.array([side[name] for side in (ours, theirs) if name in side])
        weights = parts[:, :1]
        expected = np.append(weights.sum(), (weights * parts[:, 1:]).sum(axis=0) / weights.sum())
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_rays_end_where_the_other_map_has_seen_on():
    seen_on = map_of([view(i, transform(shift=(1.5, 0, 0)) @ ALONG_X) for i in range(3)])
    first = map_of(views(1))
    merged = merge(first, seen_on)
    frontiers = set(merged.layers.frontiers.keys.tolist())
    expected = {name for name in rays(first).keys() | rays(seen_on).keys() if name[0] in frontiers}
    assert rays(merged).keys() == expected
    assert 0 < len(expected & rays(first).keys()) < len(rays(first))


def test_the_lightest_rays_go_first(full: SemanticMap):
    layers = SemanticMap(CONFIG).layers
    layers.rays.__dict__["config"] = replace(layers.rays.config, max_rays=20)
    layers.add([(full.layers, None)])
    assert torch.equal(layers.rays.weights.sort().values, full.layers.rays.weights.sort().values[-20:])


def test_the_first_map_says_which_layers_there_are(full: SemanticMap):
    frames = views()
    bare = map_of(frames, replace(CONFIG, layers="voxels"))
    assert not merge(bare, full).layers.columns
    assert_same_columns(merge(full, bare), full)
    merged = merge(map_of(frames[:2], replace(CONFIG, layers="occupancy")), map_of(frames[2:]))
    assert cells(merged) == cells(full)
    assert merged.layers.frontiers is None and merged.layers.rays is None


def test_the_identity_is_no_transform():
    first, second = map_of(views()[:2]), map_of(views()[2:])
    assert_same_layers(merge(first, second, transform()), merge(first, second))


@pytest.mark.parametrize("yaw", [0.0, math.pi / 2, math.pi])
def test_quarter_turns_and_whole_voxels_are_exact(full: SemanticMap, yaw: float):
    # Whole coarse cells, so that frontiers keep their shape.
    pose = transform(yaw, shift=(4 * COARSE, -2 * COARSE, COARSE))
    merged = merge(SemanticMap(CONFIG), full, pose)
    known = torch.tensor(list(cells(full)))
    moved = pack_keys(voxel_indices(transform_points(pose, voxel_centres(unpack_keys(known), VOXEL)), VOXEL))
    assert cells(merged) == dict(zip(moved.tolist(), cells(full).values(), strict=True))
    frontiers = full.layers.frontiers
    moved = pack_keys(voxel_indices(transform_points(pose, frontiers.positions), frontiers.cell_size))
    assert torch.equal(merged.layers.frontiers.keys, moved.sort().values)
    before, after = full.layers.rays, merged.layers.rays
    place = torch.searchsorted(merged.layers.frontiers.keys, after.frontier_keys)
    assert torch.equal(after.origins, merged.layers.frontiers.positions[place])
    moved = pack_keys(voxel_indices(transform_points(pose, before.origins), frontiers.cell_size))
    bins = DirectionBins(30.0).of(before.directions @ pose[:3, :3].T)
    assert rays(merged).keys() == set(zip(moved.tolist(), bins.tolist(), strict=True))
    for origin in moved.unique():
        ours, theirs = moved == origin, after.frontier_keys == origin
        sums = [
            (each.columns["mean_directions"] * each.weights[:, None])[rows].sum(dim=0)
            for each, rows in ((before, ours), (after, theirs))
        ]
        torch.testing.assert_close(sums[1], pose[:3, :3] @ sums[0])
        torch.testing.assert_close(after.weights[theirs].sum(), before.weights[ours].sum())


def test_a_turn_leaves_no_holes_and_invents_nothing(full: SemanticMap, tmp_path: Path):
    pose = transform(0.5, tilt=0.4, shift=(0.33, -7.1, 0.02))
    merged = merge(SemanticMap(CONFIG), full, pose)
    occupancy, moved = full.layers.occupancy, merged.layers.occupancy
    back = voxel_indices(
        transform_points(torch.linalg.inv(pose), voxel_centres(unpack_keys(moved.free_keys), VOXEL)), VOXEL
    )
    assert torch.equal(occupancy.log_odds(pack_keys(back)), moved.log_odds(moved.free_keys))

    free = unpack_keys(occupancy.free_keys)
    steps = torch.arange(-1, 2)
    around = pack_keys(free[:, None] + torch.cartesian_prod(steps, steps, steps))
    inner = free[torch.isin(around, occupancy.free_keys).all(dim=1)]
    assert len(inner) > 2000
    there = voxel_indices(transform_points(pose, voxel_centres(inner, VOXEL)), VOXEL)
    assert torch.isin(pack_keys(there), moved.free_keys).all()
    assert 0.98 < len(moved.free_keys) / len(free) < 1.02

    frontiers, before, after = merged.layers.frontiers, full.layers.rays, merged.layers.rays
    assert torch.isin(after.frontier_keys, frontiers.keys).all()
    assert 0.7 < after.weights.sum() / before.weights.sum() <= 1.0 + 1e-9
    middle = [torch.nn.functional.normalize(each.directions.mean(dim=0), dim=0) for each in (before, after)]
    assert middle[1] @ (pose[:3, :3] @ middle[0]) > 0.95
    save(merged, tmp_path / "a.ovmap")
    assert_same_columns(load(tmp_path / "a.ovmap"), merged)


def test_poses_that_are_rotations_to_some_digits_make_maps_that_load(tmp_path: Path):
    sloppy = transform(0.3)
    sloppy[:3, :3] *= 1.0002
    full = map_of([view(0, sloppy @ ALONG_X)])
    for semantic_map in (full, merge(SemanticMap(CONFIG), full, sloppy)):
        save(semantic_map, tmp_path / "a.ovmap")
        assert len(load(tmp_path / "a.ovmap").layers.rays) > 0


def empty_space(channels: int = 4) -> View:
    frame, segmentation = view(0, channels=channels)
    return replace(frame, depth=torch.full_like(frame.depth, torch.inf)), segmentation


def test_what_cannot_be_merged_is_refused():
    full, free = map_of(views(1)), map_of([empty_space()])
    for far in (KEY_LIMIT * VOXEL, 1e300):
        with pytest.raises(OvsegError, match="free space out of the range of a map: check its translation"):
            merge(full, free, transform(shift=(0, -far, 0)))
    wide = map_of([empty_space(channels=5)])
    assert not wide.voxel_count and len(wide.layers.rays)
    for first, second in ((full, wide), (wide, full), (wide, free)):
        with pytest.raises(OvsegError, match="different feature length can't be merged, 4 and 5"):
            merge_all([(SemanticMap(CONFIG), None), (first, None), (second, None)])


def test_submaps_have_the_layers_of_the_frames():
    frames = views()
    submaps = Submaps(SemanticMap(CONFIG))
    for i, (frame, segmentation) in enumerate(frames):
        if i % 2 == 0:
            submaps.begin(frame.pose)
        submaps.integrate(frame, segmentation)
    assert cells(submaps.fused()) == cells(map_of(frames))
    assert len(submaps.fused().layers.rays)
    correction = transform(math.pi / 2, shift=(1.0, 0, 0))
    submaps.update_poses({1: correction @ submaps.poses[1]})
    correction = submaps.poses[1] @ torch.linalg.inv(frames[2][0].pose)
    moved = [(replace(frame, pose=correction @ frame.pose), segmentation) for frame, segmentation in frames[2:]]
    expected = merge(map_of(frames[:2]), map_of(frames[2:]), correction)
    assert_same_layers(submaps.fused(), expected)
    # The frames themselves, put where they belong, see the same space but for roundings at its borders.
    direct, fused = cells(map_of([*frames[:2], *moved])), cells(expected)
    assert len(direct.keys() & fused.keys()) > 0.97 * len(direct.keys() | fused.keys())


IMAGES = [(1, 1), (24, 32), (9, 40)]
GRIDS = [(1, 1), (3, 5), (7, 2)]


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    counts=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    centre=st.sampled_from([(0.0, 0.0, 0.0), (-1000.0, 3.0, -0.1), (1000.0, -1000.0, 50.0)]),
    images=st.lists(st.sampled_from(IMAGES), min_size=6, max_size=6),
    grid=st.sampled_from(GRIDS),
    empty=st.sampled_from([-1, 0, 2]),
)
def test_any_frames_in_two_maps_are_the_frames_of_one(tmp_path_factory, seed, counts, centre, images, grid, empty):
    rng = np.random.default_rng(seed)
    config = MappingConfig(voxel_size=0.2, max_depth=3.0, layers="rays")
    parts, whole = [SemanticMap(config), SemanticMap(config)], SemanticMap(config)
    for number, (part, image) in enumerate(zip([0] * counts[0] + [1] * counts[1], images, strict=False)):
        depth = random_depth(rng, *image) if number != empty else torch.full(image, math.nan)
        pose = random_pose(rng, 1.0)
        pose[:3, 3] += torch.tensor(centre, dtype=torch.float64)
        rgb = torch.from_numpy(rng.integers(0, 256, (*image, 3), dtype=np.uint8))
        frame = RgbdFrame(rgb, depth, camera(*image), pose, int(rng.integers(2**62)))
        segmentation = Segmentation(torch.from_numpy(rng.normal(size=(3, *grid)).astype(np.float32)), SPACE)
        for semantic_map in (parts[part], whole):
            try:
                semantic_map.integrate(frame, segmentation)
            except InvalidFrameError as error:
                if error.cause != "no_depth":
                    raise
    merged = merge(*parts)
    weights: dict[int, float] = {}
    for part in parts:
        for key, weight in zip(part.keys.tolist(), part.weights.tolist(), strict=True):
            weights[key] = weights.get(key, 0.0) + weight
    assert dict(zip(merged.keys.tolist(), merged.weights.tolist(), strict=True)) == weights
    assert cells(merged) == cells(whole)
    assert torch.equal(merged.layers.frontiers.keys, whole.layers.frontiers.keys)
    assert torch.isin(merged.layers.rays.frontier_keys, merged.layers.frontiers.keys).all()
    assert_same_layers(merge(*reversed(parts)), merged)
    path = tmp_path_factory.mktemp("maps") / "merged.ovmap"
    save(merged, path)
    loaded = load(path)
    assert_same_columns(loaded, merged)
    assert_same_columns(merge(SemanticMap(config), loaded), merged)
    turned = merge(SemanticMap(config), merged, random_pose(rng, 1000.0))
    torch.testing.assert_close(turned.weights.sum(), merged.weights.sum())
    save(turned, path)
    assert_same_columns(load(path), turned)
