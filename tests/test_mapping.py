"""SemanticMap: means over frames, parity with RayFronts, refusals that change nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import SPACE, camera, plain_sums, random_frame, random_map, random_segmentation

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import pack_keys, unpack_keys, voxel_indices
from ovseg_ros.mapping import FusionOperator, MappingConfig, SemanticMap, voxel_hash
from ovseg_ros.mapping.online_compression import FIT_FRAMES
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
    assert next(half.feature_chunks()).dtype == torch.float16
    assert torch.equal(exact.keys, half.keys)
    torch.testing.assert_close(half.features, exact.features, rtol=1e-5, atol=1e-5)


def test_a_thousand_updates_in_half_precision_stay_at_the_mean():
    rng = np.random.default_rng(3)
    frame = RgbdFrame(torch.zeros(2, 2, 3, dtype=torch.uint8), torch.ones(2, 2), camera(2, 2), torch.eye(4).double(), 0)
    semantic_map = SemanticMap(MappingConfig(voxel_size=10.0, feature_dtype="float16"))
    samples = np.linspace(0.5, 1.0, 1000)[:, None] + 0.1 * rng.normal(size=(1000, 8))
    for sample in torch.from_numpy(samples).float():
        semantic_map.integrate(frame, Segmentation(sample[:, None, None], SPACE))
    assert semantic_map.voxel_count == 1
    assert np.abs(semantic_map.features[0].numpy() - samples.mean(axis=0)).max() <= 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_coarse_features_are_means_over_their_voxels(dtype):
    fine = random_map(config=MappingConfig(voxel_size=0.1))
    config = MappingConfig(voxel_size=0.1, feature_voxel_size=0.4, feature_dtype=dtype)
    coarse = random_map(config=config)
    assert torch.equal(coarse.keys, fine.keys) and torch.equal(coarse.weights, fine.weights)
    assert coarse.feature_voxel_count < fine.feature_voxel_count / 2 and coarse.column_bytes < fine.column_bytes
    assert sum(map(len, coarse.feature_chunks())) == coarse.feature_voxel_count
    blocks = torch.div(unpack_keys(fine.keys), 4, rounding_mode="floor")
    _, block = torch.unique(blocks, dim=0, return_inverse=True)
    sums = torch.zeros(int(block.max()) + 1, 4).index_add_(0, block, fine.features * fine.weights[:, None])
    weights = torch.zeros(len(sums)).index_add_(0, block, fine.weights)
    expected = (sums / weights[:, None])[block]
    torch.testing.assert_close(coarse.features, expected, rtol=1e-3, atol=1e-4)
    assert coarse.feature_rows.max() == coarse.feature_voxel_count - 1


def test_removed_voxels_are_gone_and_come_back_as_new():
    semantic_map = random_map()
    rng = np.random.default_rng(0)
    first = random_frame(rng)
    keys, features = semantic_map.keys.clone(), semantic_map.features.clone()
    gone = keys[::3]
    revision = semantic_map.revision
    assert semantic_map.remove(gone) == len(gone) and semantic_map.remove(gone) == 0
    assert semantic_map.revision == revision + 1
    left = dict(zip(semantic_map.keys.tolist(), semantic_map.features, strict=True))
    assert set(left) == set(keys.tolist()) - set(gone.tolist())
    for key, feature in zip(keys.tolist(), features, strict=True):
        assert key not in left or torch.equal(left[key], feature)
    semantic_map.integrate(first, random_segmentation(rng))
    alone = random_map(frames=1)
    back = torch.isin(alone.keys, gone)
    weights = dict(zip(semantic_map.keys.tolist(), semantic_map.weights.tolist(), strict=True))
    assert back.any()
    assert [weights[key] for key in alone.keys[back].tolist()] == alone.weights[back].tolist()


def test_coarse_features_go_with_their_last_voxel():
    semantic_map = random_map(config=MappingConfig(voxel_size=0.1, feature_voxel_size=0.3))
    keys = semantic_map.keys.clone()
    semantic_map.remove(keys[1:])
    assert semantic_map.voxel_count == semantic_map.feature_voxel_count == 1
    assert torch.equal(semantic_map.feature_rows, torch.zeros(1, dtype=torch.int64))
    semantic_map.remove(keys)
    assert semantic_map.voxel_count == semantic_map.feature_voxel_count == 0


def test_compression_keeps_what_its_axes_can_hold():
    """Features that vary along two axes only survive two components; so does mapping on after the codec is there."""
    rng = np.random.default_rng(5)
    mean, axes = rng.normal(size=16) * 3, rng.normal(size=(2, 16))
    exact = SemanticMap(MappingConfig(voxel_size=0.1))
    small = SemanticMap(MappingConfig(voxel_size=0.1, feature_components=2))
    for count in range(FIT_FRAMES + 3):
        assert (small.codec is None) == (count < FIT_FRAMES)
        features = np.tensordot(rng.normal(size=(3, 5, 2)), axes, axes=1) + mean
        segmentation = Segmentation(torch.from_numpy(features.transpose(2, 0, 1).astype(np.float32)), SPACE)
        frame = random_frame(rng, distance=0.5)
        for semantic_map in (exact, small):
            semantic_map.integrate(frame, segmentation)
    assert small.channels == exact.channels == 16
    assert {chunk.shape[1] for chunk in small.feature_chunks()} == {2}
    assert small.column_bytes == exact.column_bytes - small.voxel_count * 14 * 4
    assert torch.equal(small.keys, exact.keys) and torch.equal(small.weights, exact.weights)
    torch.testing.assert_close(small.features, exact.features, rtol=1e-3, atol=1e-3)
    small.clear()
    assert small.codec is None


def test_compression_to_more_numbers_than_there_are_is_refused():
    semantic_map = SemanticMap(MappingConfig(feature_components=4))
    rng = np.random.default_rng(0)
    with pytest.raises(OvsegError, match="feature_components is 4, the features have 4"):
        semantic_map.integrate(random_frame(rng), random_segmentation(rng))
    assert semantic_map.voxel_count == semantic_map.revision == 0


def test_a_weight_limit_lets_old_views_fade():
    frame = RgbdFrame(torch.zeros(4, 4, 3, dtype=torch.uint8), torch.ones(4, 4), camera(4, 4), torch.eye(4).double(), 0)
    means = {}
    for limit in (0.0, 32.0):
        semantic_map = SemanticMap(MappingConfig(voxel_size=10.0, max_weight=limit))
        for value in [0.0] * 20 + [1.0] * 5:
            semantic_map.integrate(frame, Segmentation(torch.full((1, 1, 1), value), SPACE))
        means[limit] = float(semantic_map.features)
        assert float(semantic_map.weights) == (limit or 25 * 16)
    assert means[0.0] == pytest.approx(5 / 25)
    # Each frame of 16 pixels against at most 32 from before: a third is forgotten each time.
    assert means[32.0] == pytest.approx(1 - (2 / 3) ** 5)


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
    [(FusionOperator, "sum_features"), (FusionOperator, "sum_colours"), (VoxelHash, "lookup"), (VoxelHash, "reserve")],
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
        ({"feature_voxel_size": 0.12}, r"1 to 16 times voxel_size, 0\.05 m, got 0\.12: 0\.1 keeps one"),
        ({"feature_voxel_size": 0.85}, "1 to 16 times"),
        ({"feature_voxel_size": -0.1}, "1 to 16 times"),
        ({"feature_components": -1}, "at least 1, or 0 for no compression, got -1"),
        ({"max_weight": 0.5}, "at least 1 pixel, or 0 for no limit, got 0.5"),
        ({"max_weight": float("nan")}, "got nan"),
    ],
)
def test_config_names_value_and_limit(values, message):
    with pytest.raises(OvsegError, match=message):
        MappingConfig(**values)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 1500), min_size=1, max_size=9))
def test_hash_finds_what_was_inserted_and_nothing_else(seed, sizes):
    """Also while a full table is moved to a larger one: a few places at a time, so that it takes several batches."""
    rng = np.random.default_rng(seed)
    universe = torch.from_numpy(rng.permutation(2 * sum(sizes) + 2)) * (1 << int(rng.integers(0, 46)))
    table, expected, start = VoxelHash(), {}, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voxel_hash, "MOVED_PLACES", 16)
        patch.setattr(voxel_hash, "MOVED_PLACES_PER_KEY", 2)
        for size in sizes:
            keys = universe[start : start + size]
            slots = torch.arange(start, start + size)
            table.insert(keys, slots)
            expected |= dict(zip(keys.tolist(), slots.tolist(), strict=True))
            start += size
            present = torch.tensor(list(expected), dtype=torch.int64)
            changed = present[torch.from_numpy(rng.random(len(present)) < 0.2)]
            table.assign(changed, changed % 1000)
            expected |= {key: key % 1000 for key in changed.tolist()}
            removed = present[torch.from_numpy(rng.random(len(present)) < 0.2)]
            table.remove(removed)
            for key in removed.tolist():
                del expected[key]
            assert len(table) == len(expected)
            found = table.lookup(universe)
            assert found.tolist() == [expected.get(key, EMPTY) for key in universe.tolist()]


def test_growing_a_hash_takes_little_at_a_time():
    """No batch of 5000 keys writes more than what moves with it, whatever the size of the table."""
    table, written = VoxelHash(), []
    place = voxel_hash._Table.place

    def counted(self: voxel_hash._Table, keys: torch.Tensor, slots: torch.Tensor) -> None:
        written.append(len(keys))
        place(self, keys, slots)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voxel_hash._Table, "place", counted)
        for start in range(0, 300_000, 5000):
            table.insert(torch.arange(start, start + 5000), torch.arange(start, start + 5000))
    assert max(written) < 30_000
    assert torch.equal(table.lookup(torch.arange(300_000)), torch.arange(300_000))
