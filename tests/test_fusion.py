"""The fusion operator against upsample, gather, add, in float64."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import TensorWork, camera, plain_sums, random_frame, random_pose

from ovseg_ros.geometry import unpack_keys
from ovseg_ros.mapping import FusionOperator, MappingConfig, SemanticMap, build_fusion_operator
from ovseg_ros.mapping.sparse_rows import ProductRows, SparseMatrix
from ovseg_ros.types import RgbdFrame, Segmentation


def operator_of(frame: RgbdFrame, grid: tuple[int, int], config: MappingConfig) -> FusionOperator:
    return build_fusion_operator(frame.depth, frame.intrinsics, frame.pose, grid, config)


def assert_equals_plain_sums(frame: RgbdFrame, features: torch.Tensor, config: MappingConfig) -> None:
    operator = operator_of(frame, (features.shape[1], features.shape[2]), config)
    expected = plain_sums(frame, features, config)
    indices = [tuple(index) for index in unpack_keys(operator.keys).tolist()]
    assert indices == sorted(expected)
    if not expected:
        return
    counts, feature_sums, colour_sums = zip(*(expected[index] for index in indices), strict=True)
    assert operator.counts.tolist() == list(counts)
    np.testing.assert_array_equal(operator.sum_colours(frame.rgb).numpy(), np.stack(colour_sums))
    error = np.abs(operator.sum_features(features)[:].double().numpy() - np.stack(feature_sums))
    magnitude = np.array(counts)[:, None] * features.abs().max().item()
    assert (error <= 1e-5 * magnitude).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    image=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    grid=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    voxel_size=st.sampled_from([0.02, 0.05, 0.3]),
    min_depth=st.sampled_from([0.0, 1.5]),
    distance=st.sampled_from([0.0, 3.0, 1000.0]),
)
def test_equals_plain_sums(seed, image, grid, voxel_size, min_depth, distance):
    rng = np.random.default_rng(seed)
    frame = random_frame(rng, *image, distance=distance)
    features = torch.from_numpy(rng.normal(size=(3, *grid)).astype(np.float32))
    assert_equals_plain_sums(frame, features, MappingConfig(voxel_size=voxel_size, min_depth=min_depth, max_depth=3.0))


def test_grid_as_large_as_the_image_takes_each_pixel_as_it_is():
    frame = random_frame(np.random.default_rng(1), 12, 16)
    operator = operator_of(frame, (12, 16), MappingConfig())
    assert operator.matrix.values.sum() == operator.counts.sum() == len(operator.matrix.values)
    assert_equals_plain_sums(frame, torch.arange(192.0).reshape(1, 12, 16), MappingConfig())


def test_one_cell_gives_every_voxel_its_count():
    operator = operator_of(random_frame(np.random.default_rng(2)), (1, 1), MappingConfig())
    torch.testing.assert_close(operator.sum_features(torch.full((1, 1, 1), 2.0))[:][:, 0], 2 * operator.counts)


def test_frame_without_depth_has_no_voxels():
    depth = torch.tensor([[float("nan"), float("inf")], [0.0, -float("inf")]])
    operator = build_fusion_operator(depth, camera(2, 2), torch.eye(4).double(), (3, 2), MappingConfig())
    assert len(operator.keys) == len(operator.runs.rows) == 0
    assert operator.sum_features(torch.ones(7, 3, 2))[:].shape == (0, 7)
    assert operator.sum_colours(torch.zeros(2, 2, 3, dtype=torch.uint8)).shape == (0, 3)


def test_depth_limits_are_inclusive():
    config = MappingConfig(voxel_size=0.1, min_depth=0.5, max_depth=2.0)
    depth = torch.tensor([[0.49, 0.5, 2.0, 2.01]])
    operator = build_fusion_operator(depth, camera(1, 4), torch.eye(4).double(), (1, 1), config)
    covered = [
        (int(v), u)
        for v, a, b in zip(operator.runs.v, operator.runs.first, operator.runs.end, strict=True)
        for u in range(a, b)
    ]
    assert covered == [(0, 1), (0, 2)]


def test_points_beyond_the_key_range_are_left_out():
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 3] = 1e7
    operator = build_fusion_operator(torch.ones(4, 4), camera(4, 4), pose, (2, 2), MappingConfig())
    assert len(operator.keys) == 0


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), block=st.integers(2, 5), distance=st.sampled_from([0.0, 1000.0]))
def test_coarse_features_are_the_sums_over_blocks_of_voxels(seed, block, distance):
    rng = np.random.default_rng(seed)
    frame = random_frame(rng, distance=distance)
    features = torch.from_numpy(rng.normal(size=(3, 4, 5)).astype(np.float32))
    fine = operator_of(frame, (4, 5), MappingConfig(voxel_size=0.1))
    coarse = operator_of(frame, (4, 5), MappingConfig(voxel_size=0.1, feature_voxel_size=0.1 * block))
    assert torch.equal(coarse.keys, fine.keys) and torch.equal(coarse.counts, fine.counts)
    sums: dict[tuple[int, ...], list[np.ndarray]] = {}
    voxels = zip(unpack_keys(fine.keys).tolist(), fine.counts, fine.sum_features(features)[:], strict=True)
    for index, count, feature in voxels:
        sums.setdefault(tuple(i // block for i in index), []).append(np.append(feature, count))
    blocks = [tuple(index) for index in unpack_keys(coarse.feature_keys).tolist()]
    assert blocks == sorted(sums)
    expected = np.stack([np.sum(sums[index], axis=0) for index in blocks])
    np.testing.assert_array_equal(coarse.feature_counts, expected[:, 3])
    np.testing.assert_allclose(coarse.sum_features(features)[:], expected[:, :3], rtol=1e-4, atol=1e-4)


def test_operator_depends_on_geometry_only():
    rng = np.random.default_rng(3)
    frame = random_frame(rng)
    operator = operator_of(frame, (3, 4), MappingConfig())
    first, second = torch.from_numpy(rng.normal(size=(2, 5, 3, 4)))
    total = operator.sum_features(first)[:] + operator.sum_features(second)[:]
    torch.testing.assert_close(operator.sum_features(first + second)[:], total, rtol=1e-4, atol=1e-4)


def test_no_upsampled_feature_image_is_made():
    rng = np.random.default_rng(4)
    frame = random_frame(rng, 120, 160)
    segmentation = Segmentation(torch.from_numpy(rng.normal(size=(256, 6, 8)).astype(np.float32)), "test")
    semantic_map = SemanticMap(MappingConfig(voxel_size=0.3))
    semantic_map.integrate(frame, segmentation)
    with TensorWork() as work:
        semantic_map.integrate(frame, segmentation)
    assert 0 < work.largest < 120 * 160 * 256 / 20


def test_work_per_frame_does_not_grow_with_the_map():
    config = MappingConfig(voxel_size=0.05)
    work = []
    for others in (0, 1_000_000):
        rng = np.random.default_rng(5)
        frame, features = random_frame(rng, 48, 64), torch.ones(8, 4, 4)
        semantic_map = SemanticMap.from_columns(
            {
                "keys": torch.arange(others),
                "weights": torch.ones(others),
                "colours": torch.ones(others, 3),
                "features": torch.ones(others, 8),
                "last_seen": torch.ones(others, dtype=torch.int64),
            },
            config=config,
            space="test",
            vocabulary=SemanticMap().vocabulary,
            revision=0,
        )
        semantic_map.integrate(frame, Segmentation(features, "test"))
        nearby = RgbdFrame(frame.rgb, frame.depth, frame.intrinsics, random_pose(rng, 0.5), 0)
        before = semantic_map.voxel_count
        with TensorWork() as counted:
            semantic_map.integrate(nearby, Segmentation(features, "test"))
        assert semantic_map.voxel_count > before
        work.append(counted.elements)
    assert work[1] <= 1.2 * work[0]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 9))
def test_rows_of_a_product_are_those_of_the_whole(seed, rows):
    rng = np.random.default_rng(seed)
    dense = torch.from_numpy(rng.normal(size=(6, 3)).astype(np.float32))
    table = rng.normal(size=(rows, 6)).astype(np.float32) * (rng.random((rows, 6)) < 0.3)
    row, columns = np.nonzero(table)
    starts = torch.from_numpy(np.searchsorted(row, np.arange(rows + 1)))
    sparse = SparseMatrix(starts, torch.from_numpy(columns), torch.from_numpy(table[row, columns]))
    product, expected = ProductRows(sparse, dense), torch.from_numpy(table) @ dense
    torch.testing.assert_close(product[:], expected)
    chosen = torch.from_numpy(rng.permutation(rows)[: rows // 2])
    torch.testing.assert_close(product[chosen], expected[chosen])
    torch.testing.assert_close(product[1:rows], expected[1:rows])
