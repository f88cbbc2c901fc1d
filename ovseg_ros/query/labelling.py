"""Every voxel's likeliest name, and that of other features."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovseg_ros.mapping import SemanticMap
from ovseg_ros.meanings import best_of, encode_groups
from ovseg_ros.query.map_index import space_of
from ovseg_ros.query.similarity import map_index
from ovseg_ros.types import LanguageSpace
from ovseg_ros.vocabulary import Vocabulary


def label_voxels(
    semantic_map: SemanticMap, space: LanguageSpace, names: Sequence[str] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Name each voxel, by the best of the words that the map's vocabulary has for a concept.

    Args:
        semantic_map: N voxels.
        space: the language space that the map's features are of.
        names: to choose from, each a word of its own; None takes the concepts of the map's vocabulary.

    Returns:
        (N,) int64 label ids: i + 1 is the i-th name, 0 where a voxel's feature says nothing; and (N,) float32
        probability of that name among all of them.
    """
    groups = semantic_map.vocabulary.asked if names is None else [(name,) for name in names]
    if not groups or not semantic_map.voxel_count:
        labels = torch.zeros(semantic_map.voxel_count, dtype=torch.int64, device=semantic_map.device)
        return labels, torch.zeros(semantic_map.voxel_count, device=semantic_map.device)
    space = space_of(semantic_map, space)
    index = map_index(semantic_map, space)
    named = []
    for logits in index.best_logits(groups):
        probability, best = torch.softmax(logits, dim=0).max(dim=0)
        known = (logits != 0).any(dim=0)
        named.append((torch.where(known, best + 1, 0), torch.where(known, probability, 0.0)))
    labels, confidence = (torch.cat(parts) for parts in zip(*named, strict=True))
    return index.expand(labels), index.expand(confidence)


def label_features(features: torch.Tensor, space: LanguageSpace, vocabulary: Vocabulary) -> torch.Tensor:
    """Name each of a few feature vectors, as `label_voxels` does.

    Args:
        features: (n, C) of the space.
        space: the language space.
        vocabulary: concepts to choose from.

    Returns:
        (n,) int64: i + 1 is the i-th concept, 0 where a feature says nothing or there are no concepts.
    """
    if not vocabulary or not len(features):
        return torch.zeros(len(features), dtype=torch.int64, device=features.device)
    aligned = space.align(features)
    texts, owners = encode_groups(space, vocabulary.asked)
    cosines = best_of(texts.to(aligned) @ aligned.T, owners)
    return torch.where((cosines != 0).any(dim=0), cosines.argmax(dim=0) + 1, 0)
