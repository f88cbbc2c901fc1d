"""Merged maps: as if one had seen everything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mapping_scenes import random_frame, random_map, random_pose, random_segmentation

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import pack_keys, transform_points, unpack_keys, voxel_centres, voxel_indices
from ovseg_ros.mapping import MappingConfig, SemanticMap, merge
from ovseg_ros.mapping.online_compression import FIT_FRAMES
from ovseg_ros.types import InvalidFrameError
from ovseg_ros.vocabulary import Vocabulary

CONFIGS = {
    "float32": MappingConfig(voxel_size=0.1),
    "float16": MappingConfig(voxel_size=0.1, feature_dtype="float16"),
    "coarse": MappingConfig(voxel_size=0.1, feature_voxel_size=0.3),
}


def by_voxel(semantic_map: SemanticMap) -> dict[str, torch.Tensor]:
    order = semantic_map.keys.argsort()
    columns = {name: getattr(semantic_map, name)[order] for name in ("keys", "weights", "features", "last_seen")}
    return columns | {"colours": semantic_map.columns["colours"][order]}


def assert_same_content(ours: SemanticMap, theirs: SemanticMap) -> None:
    expected = by_voxel(theirs)
    for name, column in by_voxel(ours).items():
        torch.testing.assert_close(column, expected[name], rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_merging_equals_having_seen_all_frames(config):
    rng = np.random.default_rng(0)
    frames = [(random_frame(rng, distance=0.5), random_segmentation(rng)) for _ in range(6)]
    parts = [SemanticMap(config), SemanticMap(config)]
    whole = SemanticMap(config)
    for i, (frame, segmentation) in enumerate(frames):
        parts[i % 2].integrate(frame, segmentation)
        whole.integrate(frame, segmentation)
    before = [by_voxel(part) for part in parts]
    merged = merge(*parts)
    assert_same_content(merged, whole)
    assert torch.equal(merged.weights.sort().values, whole.weights.sort().values)
    assert (merged.revision, merged.space) == (6, whole.space)
    assert_same_content(merge(parts[1], parts[0]), merged)
    for part, columns in zip(parts, before, strict=True):
        assert all(torch.equal(column, columns[name]) for name, column in by_voxel(part).items())
    frame, segmentation = random_frame(rng, distance=0.5), random_segmentation(rng)
    for semantic_map in (merged, whole):
        semantic_map.integrate(frame, segmentation)
    assert_same_content(merged, whole)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_transform_takes_each_voxel_to_where_its_centre_lies(config):
    rng = np.random.default_rng(2)
    first, second = random_map(1, config=config), random_map(2, config=config)
    pose = random_pose(rng, 2.0)
    merged = merge(first, second, pose)
    sums: dict[tuple[int, ...], np.ndarray] = {}
    blocks: dict[tuple[int, ...], np.ndarray] = {}
    for source, centres in ((first, first.centres), (second, transform_points(pose, second.centres))):
        indices = voxel_indices(centres, 0.1).tolist()
        for index, weight, feature in zip(indices, source.weights.numpy(), source.features.numpy(), strict=True):
            block = tuple(i // config.feature_block for i in index)
            sums[tuple(index)] = sums.get(tuple(index), 0) + weight
            blocks[block] = blocks.get(block, 0) + np.append(weight * feature, weight)
    voxels = [tuple(index) for index in unpack_keys(merged.keys).tolist()]
    assert sorted(voxels) == sorted(sums)
    np.testing.assert_allclose(merged.weights, [sums[voxel] for voxel in voxels], rtol=1e-6)
    expected = np.stack([blocks[tuple(i // config.feature_block for i in voxel)] for voxel in voxels])
    np.testing.assert_allclose(merged.features, expected[:, :-1] / expected[:, -1:], rtol=2e-3, atol=2e-3)


def test_a_turn_by_whole_voxels_loses_nothing():
    semantic_map = random_map(config=CONFIGS["float32"])
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3] = torch.tensor([[0.0, -1, 0, 3.0], [1, 0, 0, -0.7], [0, 0, 1, 0]])
    moved = merge(SemanticMap(CONFIGS["float32"]), semantic_map, pose)
    expected = pack_keys(voxel_indices(transform_points(pose, voxel_centres(unpack_keys(semantic_map.keys), 0.1)), 0.1))
    assert torch.equal(moved.keys, expected.sort().values)
    torch.testing.assert_close(moved.features, semantic_map.features[expected.argsort()])


def test_the_words_of_both_are_kept():
    first = SemanticMap(vocabulary=Vocabulary.from_names(["sofa", "chair"], synonyms={"sofa": ["couch"]}))
    second = SemanticMap(vocabulary=Vocabulary.from_names(["lamp", "sofa"]))
    assert merge(first, second).vocabulary.synonyms == (("sofa", "couch"), ("chair",), ("lamp",))


def test_empty_maps_merge():
    full = random_map(config=CONFIGS["float32"])
    empty = SemanticMap(CONFIGS["float32"])
    for merged in (merge(full, empty), merge(empty, full)):
        assert_same_content(merged, full)
        assert merged.space == full.space
    assert merge(empty, empty).voxel_count == 0


def compressed_map(seed: int) -> SemanticMap:
    return random_map(seed, frames=FIT_FRAMES, config=MappingConfig(voxel_size=0.1, feature_components=2))


def test_maps_that_mean_different_things_are_refused():
    config = CONFIGS["float32"]
    full = random_map(config=config)
    rng = np.random.default_rng(0)
    wide = SemanticMap(config)
    wide.integrate(random_frame(rng), random_segmentation(rng, channels=5))
    spaced = SemanticMap(config, space="other/1")
    elsewhere = SemanticMap(config, frame_id="odom")
    bent = torch.eye(4).double()
    bent[0, 0] = 1.1
    far = torch.eye(4).double()
    far[0, 3] = 1e9
    cases = [
        (SemanticMap(replace(config, voxel_size=0.2)), None, "different voxel_size can't be merged, 0.1 and 0.2"),
        (SemanticMap(replace(config, feature_voxel_size=0.2)), None, "feature_voxel_size"),
        (wide, None, "feature length"),
        (spaced, None, "feature space can't be merged, 'test-space/1' and 'other/1'"),
        (elsewhere, None, "frames 'map' and 'odom': give the transform"),
        (full, far, "out of the range of a map"),
        (compressed_map(0), None, "differently compressed"),
    ]
    for other, transform, message in cases:
        with pytest.raises(OvsegError, match=message):
            merge(full, other, transform)
    with pytest.raises(OvsegError, match="differently compressed"):
        merge(compressed_map(0), compressed_map(1))
    with pytest.raises(InvalidFrameError, match="not a rotation"):
        merge(full, full, bent)


def test_maps_of_one_codec_merge():
    semantic_map = compressed_map(0)
    merged = merge(semantic_map, semantic_map)
    assert torch.equal(merged.weights, 2 * semantic_map.weights)
    torch.testing.assert_close(merged.features, semantic_map.features)
