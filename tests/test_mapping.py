"""SemanticMap: means over frames, parity with RayFronts, refusals that change nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import SPACE, plain_sums, random_frame, random_map, random_segmentation

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import pack_keys, unpack_keys, voxel_indices
from ovseg_ros.mapping import FusionOperator, MappingConfig, SemanticMap
from ovseg_ros.mapping.voxel_hash import EMPTY, VoxelHash
from ovseg_ros.types import Intrinsics, InvalidFrameError, RgbdFrame, Segmentation
from ovseg_ros.vocabulary import Vocabulary

PARITY = Path(__file__).parent / "data" / "rayfronts_voxel_map.npz"


def snapshot(semantic_map: SemanticMap) -> dict[str, object]:
    columns = {name: column.clone() for name, column in semantic_map.columns.items()}
    return columns | {"revision": semantic_map.revision, "space": semantic_map.space}


def assert_unchanged(semantic_map: SemanticMap, before: dict[str, object]) -> None:
    after = snapshot(semantic_map)
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(after[name], value) if isinstance(value, torch.Tensor) else after[name] == value, name


@pytest.mark.parametrize("sequence", ["a", "b"])
def test_same_map_as_rayfronts(sequence):
    with np.load(PARITY) as file:
        data = {name[2:]: torch.from_numpy(file[name]) for name in file if name.startswith(f"{sequence}/")}
    frames, height, width = data["depth"].shape
    k = data["intrinsics"]
    camera = Intrinsics(float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]), width, height)
    voxel_size = round(float(data["voxel_size"]), 6)
    semantic_map = SemanticMap(MappingConfig(voxel_size=voxel_size, min_depth=0.0, max_depth=100.0))
    for i in range(frames):
        rgb = (data["rgb"][i].permute(1, 2, 0) * 255).round().to(torch.uint8)
        frame = RgbdFrame(rgb, data["depth"][i], camera, data["pose"][i].double(), i)
        semantic_map.integrate(frame, Segmentation(data["features"][i], SPACE))

    expected_keys, order = pack_keys(voxel_indices(data["map_xyz"].double(), voxel_size)).sort()
    keys, slots = semantic_map.keys.sort()
    assert torch.equal(keys, expected_keys)
    assert torch.equal(semantic_map.weights[slots], data["map_count"][order])
    torch.testing.assert_close(semantic_map.features[slots], data["map_features"][order], rtol=1e-5, atol=1e-5)
    # Our frames hold colours as bytes: half a step of rounding in, half a step out.
    colour_error = semantic_map.colours[slots].float() - 255 * data["map_rgb"][order]
    assert colour_error.abs().max() <= 1.0 + 1e-3


def test_means_over_frames_equal_the_mean_over_all_pixels():
    rng = np.random.default_rng(0)
    config = MappingConfig(voxel_size=0.2)
    semantic_map = SemanticMap(config)
    counts, features, colours = {}, {}, {}
    for _ in range(5):
        frame, segmentation = random_frame(rng, distance=0.5), random_segmentation(rng)
        semantic_map.integrate(frame, segmentation)
        for voxel, (count, feature, colour) in plain_sums(frame, segmentation.features, config).items():
            counts[voxel] = counts.get(voxel, 0) + count
            features[voxel] = features.get(voxel, 0) + feature
            colours[voxel] = colours.get(voxel, 0) + colour

    voxels = [tuple(index) for index in unpack_keys(semantic_map.keys).tolist()]
    assert sorted(voxels) == sorted(counts)
    assert semantic_map.weights.tolist() == [counts[voxel] for voxel in voxels]
    means = np.stack([features[voxel] / counts[voxel] for voxel in voxels])
    np.testing.assert_allclose(semantic_map.features.numpy(), means, rtol=1e-5, atol=1e-5)
    mean_colours = np.stack([colours[voxel] / counts[voxel] for voxel in voxels])
    assert np.abs(semantic_map.colours.numpy() - mean_colours).max() <= 0.5 + 1e-3


def test_half_precision_features_stay_near_the_float32_ones():
    exact = random_map(config=MappingConfig(voxel_size=0.2))
    half = random_map(config=MappingConfig(voxel_size=0.2, feature_dtype="float16"))
    assert half.features.dtype == torch.float16
    assert torch.equal(exact.keys, half.keys)
    torch.testing.assert_close(half.features.float(), exact.features, rtol=2e-3, atol=2e-3)


def test_properties():
    semantic_map = random_map()
    n = semantic_map.voxel_count
    assert n > 100
    shapes = {
        "keys": ((n,), torch.int64),
        "centres": ((n, 3), torch.float64),
        "weights": ((n,), torch.float32),
        "colours": ((n, 3), torch.uint8),
        "features": ((n, 4), torch.float32),
        "last_seen": ((n,), torch.int64),
    }
    for name, (shape, dtype) in shapes.items():
        column = getattr(semantic_map, name)
        assert (tuple(column.shape), column.dtype) == (shape, dtype), name
    assert len(semantic_map.keys.unique()) == n
    assert torch.equal(pack_keys(voxel_indices(semantic_map.centres, 0.05)), semantic_map.keys)
    views = [semantic_map.features, semantic_map.features]
    assert views[0].data_ptr() == views[1].data_ptr()
    assert (semantic_map.revision, semantic_map.space, semantic_map.frame_id) == (3, SPACE, "map")


def test_empty_map_has_empty_columns():
    semantic_map = SemanticMap(vocabulary=Vocabulary.from_names(["chair"]))
    assert semantic_map.voxel_count == semantic_map.revision == 0
    assert semantic_map.space is None
    assert semantic_map.centres.shape == semantic_map.colours.shape == (0, 3)
    assert semantic_map.vocabulary.names == ("chair",)


def test_last_seen_is_the_newest_stamp_even_when_frames_come_late():
    rng = np.random.default_rng(1)
    frame, segmentation = random_frame(rng), random_segmentation(rng)
    semantic_map = SemanticMap()
    for stamp in (20, 30, 10):
        semantic_map.integrate(RgbdFrame(frame.rgb, frame.depth, frame.intrinsics, frame.pose, stamp), segmentation)
    assert semantic_map.last_seen.unique().tolist() == [30]


def test_clear_forgets_voxels_but_not_the_count_of_revisions():
    semantic_map = random_map()
    semantic_map.clear()
    assert semantic_map.voxel_count == 0
    assert semantic_map.revision == 4
    rng = np.random.default_rng(0)
    semantic_map.integrate(random_frame(rng), random_segmentation(rng))
    again = random_map(frames=1)
    assert torch.equal(semantic_map.features, again.features)
    assert torch.equal(semantic_map.weights, again.weights)


def nan_features() -> Segmentation:
    features = torch.zeros(4, 3, 5)
    features[1, 2, 3] = float("nan")
    return Segmentation(features, SPACE)


@pytest.mark.parametrize(
    ("segmentation", "cause"),
    [
        (nan_features(), "features"),
        (Segmentation(torch.full((4, 3, 5), float("inf")), SPACE), "features"),
        (Segmentation(torch.full((4, 3, 5), 1e5), SPACE), "features"),
        (Segmentation(torch.zeros(5, 3, 5), SPACE), "features"),
        (Segmentation(torch.zeros(3, 5), SPACE), "features"),
        (Segmentation(torch.zeros(4, 0, 5), SPACE), "features"),
    ],
    ids=["nan", "inf", "beyond float16", "channels", "dimensions", "no cells"],
)
def test_bad_features_are_refused_and_change_nothing(segmentation, cause):
    semantic_map = random_map(config=MappingConfig(feature_dtype="float16"))
    before = snapshot(semantic_map)
    with pytest.raises(InvalidFrameError) as refusal:
        semantic_map.integrate(random_frame(np.random.default_rng(9)), segmentation)
    assert refusal.value.cause == cause
    assert_unchanged(semantic_map, before)


def test_frame_without_depth_is_refused_and_changes_nothing():
    semantic_map = random_map()
    before = snapshot(semantic_map)
    rng = np.random.default_rng(9)
    frame = random_frame(rng)
    far = RgbdFrame(frame.rgb, torch.full_like(frame.depth, 50.0), frame.intrinsics, frame.pose, 0)
    with pytest.raises(InvalidFrameError, match=r"between 0\.1 and 5\.0 m") as refusal:
        semantic_map.integrate(far, random_segmentation(rng))
    assert refusal.value.cause == "no_depth"
    assert_unchanged(semantic_map, before)


def test_features_of_another_space_are_refused_and_change_nothing():
    semantic_map = random_map()
    before = snapshot(semantic_map)
    rng = np.random.default_rng(9)
    other = Segmentation(random_segmentation(rng).features, "other-space/2")
    with pytest.raises(OvsegError, match=r"other-space/2.*test-space/1"):
        semantic_map.integrate(random_frame(rng), other)
    assert_unchanged(semantic_map, before)


def test_refused_first_frame_fixes_nothing():
    semantic_map = SemanticMap()
    with pytest.raises(InvalidFrameError):
        semantic_map.integrate(random_frame(np.random.default_rng(0)), nan_features())
    rng = np.random.default_rng(0)
    semantic_map.integrate(random_frame(rng), Segmentation(torch.zeros(7, 2, 2), "any"))
    assert semantic_map.features.shape[1] == 7


@pytest.mark.parametrize(
    ("owner", "step"),
    [(FusionOperator, "sum_features"), (FusionOperator, "sum_colours"), (VoxelHash, "lookup"), (VoxelHash, "insert")],
)
def test_a_failure_inside_leaves_the_map_as_it_was(monkeypatch, owner, step):
    semantic_map = random_map()
    before = snapshot(semantic_map)
    rng = np.random.default_rng(0)
    seen_before, segmentation = random_frame(rng), random_segmentation(rng)
    pose = seen_before.pose.clone()
    pose[0, 3] += 0.3
    frame = RgbdFrame(seen_before.rgb, seen_before.depth, seen_before.intrinsics, pose, 0)

    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, fail)
        with pytest.raises(MemoryError):
            semantic_map.integrate(frame, segmentation)
    assert_unchanged(semantic_map, before)

    semantic_map.integrate(frame, segmentation)
    undisturbed = random_map()
    undisturbed.integrate(frame, segmentation)
    assert_unchanged(semantic_map, snapshot(undisturbed))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"voxel_size": 0.0}, r"voxel_size must be 0\.001 to 10\.0 m, got 0\.0"),
        ({"voxel_size": float("nan")}, "got nan"),
        ({"min_depth": -1.0}, "min_depth=-1"),
        ({"min_depth": 2.0, "max_depth": 2.0}, "min_depth < max_depth"),
        ({"max_depth": float("inf")}, "finite"),
        ({"feature_dtype": "bfloat16"}, "float32, float16, got 'bfloat16'"),
    ],
)
def test_config_names_value_and_limit(values, message):
    with pytest.raises(OvsegError, match=message):
        MappingConfig(**values)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 2000), min_size=1, max_size=5))
def test_hash_finds_what_was_inserted_and_nothing_else(seed, sizes):
    rng = np.random.default_rng(seed)
    universe = torch.from_numpy(rng.permutation(2 * sum(sizes) + 2)) * (1 << int(rng.integers(0, 46)))
    table, expected, start = VoxelHash(), {}, 0
    for size in sizes:
        keys = universe[start : start + size]
        slots = torch.arange(start, start + size)
        table.insert(keys, slots)
        expected |= dict(zip(keys.tolist(), slots.tolist(), strict=True))
        start += size
        assert len(table) == len(expected)
        found = table.lookup(universe)
        assert found.tolist() == [expected.get(key, EMPTY) for key in universe.tolist()]
