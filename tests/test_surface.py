"""The map lies on the measured surfaces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ovseg_ros.datasets import write_sequence
from ovseg_ros.evaluation.surface import main, surface_distances
from ovseg_ros.mapping import MappingConfig, SemanticMap, storage
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import Segmentation


def mapped(sequence: RoomSequence) -> SemanticMap:
    semantic_map = SemanticMap(MappingConfig(voxel_size=0.1))
    for index in range(len(sequence)):
        semantic_map.integrate(sequence[index], Segmentation(torch.ones(1, 1, 1), "none"))
    return semantic_map


def test_every_depth_point_has_its_voxel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sequence = RoomSequence(seed=3, frames=4, width=80, height=60)
    semantic_map = mapped(sequence)
    write_sequence((sequence[index] for index in range(4)), None, tmp_path / "room", "posed_rgbd")
    storage.save(semantic_map, tmp_path / "room.ovmap")
    assert main([str(tmp_path / "room"), str(tmp_path / "room.ovmap"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["points"] > 500
    assert 0.2 < result["median_voxels"] <= 0.6


def test_a_map_that_lies_elsewhere_is_far(tmp_path: Path) -> None:
    sequence = RoomSequence(seed=3, frames=2, width=80, height=60)
    semantic_map = mapped(sequence)
    frame = sequence[0]
    moved = frame.pose.clone()
    moved[2, 3] += 0.5
    shifted = type(frame)(frame.rgb, frame.depth, frame.intrinsics, moved, 1)
    near, far = surface_distances(semantic_map, [frame]), surface_distances(semantic_map, [shifted])
    assert near.max() <= 0.1 * 3**0.5 / 2 + 1e-6
    assert sorted(far)[len(far) // 2] > 0.1
