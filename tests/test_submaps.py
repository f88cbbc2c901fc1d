"""Submaps: a corrected trajectory gives the map that the right poses would have given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mapping_scenes import random_frame, random_pose, random_segmentation

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig, SemanticMap, Submaps
from ovseg_ros.types import InvalidFrameError, RgbdFrame, Segmentation

CONFIG = MappingConfig(voxel_size=0.125)
"""A power of two: whole voxels are exact numbers of metres."""

Scene = list[tuple[RgbdFrame, Segmentation]]


def scene(frames: int) -> Scene:
    rng = np.random.default_rng(0)
    return [(random_frame(rng, distance=0.5), random_segmentation(rng)) for _ in range(frames)]


def shift(x: float, y: float = 0.0, z: float = 0.0) -> torch.Tensor:
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 3] = torch.tensor([x, y, z])
    return pose


def moved(frame: RgbdFrame, by: torch.Tensor) -> RgbdFrame:
    return replace(frame, pose=by @ frame.pose)


def assert_same(ours: SemanticMap, theirs: SemanticMap) -> None:
    a, b = ours.keys.argsort(), theirs.keys.argsort()
    assert torch.equal(ours.keys[a], theirs.keys[b])
    assert torch.equal(ours.weights[a], theirs.weights[b])
    torch.testing.assert_close(ours.features[a], theirs.features[b], rtol=1e-5, atol=1e-5)


def direct(frames: Scene) -> SemanticMap:
    semantic_map = SemanticMap(CONFIG)
    for frame, segmentation in frames:
        semantic_map.integrate(frame, segmentation)
    return semantic_map


def test_unmoved_submaps_are_one_map():
    frames = scene(6)
    submaps = Submaps(SemanticMap(CONFIG))
    for i, (frame, segmentation) in enumerate(frames):
        if i % 2 == 0:
            assert submaps.begin(frame.pose) == i // 2 == len(submaps) - 1
        submaps.integrate(frame, segmentation)
    assert_same(submaps.fused(), direct(frames))
    assert submaps.fused() is submaps.fused()


def test_a_closed_loop_gives_the_map_of_the_right_poses():
    """The second half drifted by whole voxels; its keyframe is put right, and mapping goes on in the right world."""
    frames, drift = scene(8), shift(1.0, -0.25, 0.5)
    submaps = Submaps(SemanticMap(CONFIG))
    for frame, segmentation in frames[:3]:
        submaps.integrate(frame, segmentation)
    drifted = moved(frames[3][0], drift)
    second = submaps.begin(drifted.pose)
    for frame, segmentation in frames[3:6]:
        submaps.integrate(moved(frame, drift), segmentation)
    before = submaps.fused().voxel_count
    submaps.update_poses({second: frames[3][0].pose})
    assert_same(submaps.fused(), direct(frames[:6]))
    assert submaps.fused().voxel_count != before
    for frame, segmentation in frames[6:]:
        submaps.integrate(frame, segmentation)
    assert_same(submaps.fused(), direct(frames))
    submaps.update_poses({second: drifted.pose})
    submaps.update_poses({second: frames[3][0].pose})
    assert_same(submaps.fused(), direct(frames))


def test_a_turned_submap_keeps_its_weight_and_lies_where_it_should():
    frames = scene(2)
    submaps = Submaps(SemanticMap(CONFIG))
    for frame, segmentation in frames:
        submaps.integrate(frame, segmentation)
    there = random_pose(np.random.default_rng(3), 3.0)
    turned = there @ torch.linalg.inv(submaps.poses[0])
    expected = submaps.fused().centres @ turned[:3, :3].T + turned[:3, 3]
    weight = submaps.fused().weights.sum()
    submaps.update_poses({0: there})
    fused = submaps.fused()
    assert torch.equal(submaps.poses[0], there)
    assert fused.weights.sum() == weight
    distances = torch.cdist(expected, fused.centres).amin(dim=1)
    assert distances.max() <= CONFIG.voxel_size * 3**0.5 / 2 + 1e-9


def test_bad_poses_and_numbers_move_nothing():
    submaps = Submaps(SemanticMap(CONFIG))
    for frame, segmentation in scene(2):
        submaps.integrate(frame, segmentation)
    fused = submaps.fused()
    with pytest.raises(OvsegError, match="no submap 7: they are numbered 0 to 0"):
        submaps.update_poses({0: shift(1.0), 7: shift(1.0)})
    with pytest.raises(InvalidFrameError, match="not a rotation"):
        submaps.update_poses({0: 2 * shift(1.0)})
    with pytest.raises(InvalidFrameError):
        submaps.begin(torch.full((4, 4), float("nan")))
    assert submaps.fused() is fused and len(submaps) == 1


def test_compressed_submaps_are_refused():
    with pytest.raises(OvsegError, match="feature_components 2"):
        Submaps(SemanticMap(MappingConfig(feature_components=2)))
