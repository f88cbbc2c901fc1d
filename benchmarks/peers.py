"""What ours is compared with: the interface of a peer, the baseline, and whether two maps are the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from ovseg_ros.geometry import pack_keys, transform_points, unproject, voxel_indices
from ovseg_ros.types import RgbdFrame

CHUNK = 16_384
"""Voxels compared at a time: bounds the memory beside two large maps."""


@dataclass(frozen=True)
class Voxels:
    """A map as it is compared: ``keys`` (N,) int64 packed, ``counts`` (N,) pixels, ``features`` (N, C) means."""

    keys: torch.Tensor
    counts: torch.Tensor
    features: torch.Tensor


class Peer(Protocol):
    """A mapper to compare with."""

    def integrate(self, frame: RgbdFrame, features: torch.Tensor) -> None:
        """Fuse a frame with its (C, h, w) features."""

    def voxels(self) -> Voxels:
        """The map so far."""


class Baseline:
    """The straightforward way: upsample, find distinct voxels among map and pixels together, add up.

    It is what RayFronts' SemanticVoxelMap does (mapping/semantic_voxel_map.py, geometry3d.py), but keeps sums in
    place of means, which saves two passes over the map per frame.
    """

    def __init__(self, voxel_size: float) -> None:
        self._voxel_size = voxel_size
        self._indices = torch.zeros(0, 3, dtype=torch.int64)
        self._sums = torch.zeros(0, 0)

    def integrate(self, frame: RgbdFrame, features: torch.Tensor) -> None:
        image = torch.nn.functional.interpolate(
            features[None], size=tuple(frame.depth.shape), mode="bilinear", align_corners=False
        )[0]
        usable = torch.isfinite(frame.depth) & (frame.depth > 0)
        points = transform_points(frame.pose, unproject(frame.depth, frame.intrinsics)[usable])
        rows = torch.cat((image.permute(1, 2, 0)[usable], frame.rgb[usable].float(), torch.ones(len(points), 1)), dim=1)
        indices = torch.cat((self._indices, voxel_indices(points, self._voxel_size)))
        rows = torch.cat((self._sums, rows)) if len(self._sums) else rows
        self._indices, voxel_of_row = torch.unique(indices, dim=0, return_inverse=True)
        self._sums = torch.zeros(len(self._indices), rows.shape[1]).index_add_(0, voxel_of_row, rows)

    def voxels(self) -> Voxels:
        counts = self._sums[:, -1]
        return Voxels(pack_keys(self._indices), counts, self._sums[:, :-4] / counts[:, None])


def compare(ours: Voxels, peer: Voxels) -> tuple[bool, float]:
    """Whether two maps have the same voxels with the same counts, and how far features of shared voxels differ."""
    keys, order = peer.keys.sort()
    place = torch.searchsorted(keys, ours.keys).clamp(max=len(keys) - 1)
    here = (keys[place] == ours.keys).nonzero().squeeze(1)
    there = order[place[here]]
    same = len(here) == len(ours.keys) == len(keys) and torch.equal(ours.counts[here], peer.counts[there])
    differences = [
        (ours.features[mine].float() - peer.features[theirs].float()).abs().max()
        for mine, theirs in zip(torch.split(here, CHUNK), torch.split(there, CHUNK), strict=True)
        if len(mine)
    ]
    return same, max(map(float, differences), default=0.0)
