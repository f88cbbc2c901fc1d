"""What groups of voxels have in common: mean feature, and colours."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovseg_ros.mapping.fusion import coarse_keys
from ovseg_ros.mapping.semantic_map import SemanticMap


def mean_features(semantic_map: SemanticMap, groups: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean features over the voxels of each group that are in memory.

    Args:
        semantic_map: with features of C channels.
        groups: G tensors of (n,) int64 packed voxel keys.

    Returns:
        (G, C) float32 as `SemanticMap.features`; zeros, and NaN of scores, for a group without voxels.
    """
    table = semantic_map.tables.features
    group, keys = _flattened(groups, semantic_map.device)
    rows = table.rows_of(coarse_keys(keys, semantic_map.config.feature_block))
    group, rows = group[rows >= 0], rows[rows >= 0]
    stored = semantic_map.tables.exact_features(rows)
    sums = stored.new_zeros(len(groups), stored.shape[1]).index_add_(0, group, stored)
    means = sums / torch.bincount(group, minlength=len(groups)).clamp(min=1)[:, None]
    if semantic_map.codec:
        return semantic_map.codec.decode(means)
    return semantic_map.concept_channels.decode(means) if semantic_map.concepts else means


def group_colours(semantic_map: SemanticMap, groups: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The voxels of all groups that are in memory: (n,) which group each is of, and (n, 3) uint8 its colour."""
    voxels = semantic_map.tables.voxels
    group, keys = _flattened(groups, semantic_map.device)
    rows = voxels.rows_of(keys)
    group, rows = group[rows >= 0], rows[rows >= 0]
    return group, voxels.read("colours", rows).round().to(torch.uint8)


def _flattened(groups: Sequence[torch.Tensor], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(n,) number of the group, and (n,) keys."""
    lengths = torch.tensor([len(keys) for keys in groups], dtype=torch.int64, device=device)
    keys = torch.cat([keys.to(device) for keys in groups]) if len(groups) else lengths.new_zeros(0)
    return torch.repeat_interleave(torch.arange(len(groups), device=device), lengths), keys
