"""A map, ready to be compared with words."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.query.feature_index import FeatureIndex
from ovseg_ros.types import ConceptSpace, LanguageSpace


class MapIndex(FeatureIndex):
    """The features of a map beside the words of their language space.

    Features may be read where the map keeps them, so an index of a map that has changed must `follow` it before it is
    used (`map_index` sees to it).
    """

    def __init__(self, semantic_map: SemanticMap, space: LanguageSpace, negatives: Sequence[Sequence[str]]) -> None:
        """Prepare what all questions share.

        Args:
            semantic_map: N voxels, M of which hold features.
            space: the language space that they are of, from `space_of`.
            negatives: concepts that compete with whatever is asked, each by the best of its words.
        """
        super().__init__(semantic_map.feature_chunks(), space, negatives, semantic_map.device, semantic_map.codec)
        self._remember(semantic_map)

    def follow(self, semantic_map: SemanticMap) -> bool:
        """Take in what has changed in the map, at a cost that depends on that; False if an index must be made anew."""
        if self._revision == semantic_map.revision:
            return True
        changed = semantic_map.features_changed_since(self._snapshot)
        if changed is None or not self.reads_in_place:
            return False
        self.replace(list(semantic_map.feature_chunks()), changed)
        self._remember(semantic_map)
        return True

    def _remember(self, semantic_map: SemanticMap) -> None:
        self._revision = semantic_map.revision
        self._snapshot = semantic_map.feature_snapshot()
        self._rows = semantic_map.feature_rows if semantic_map.config.feature_block > 1 else None

    def expand(self, values: torch.Tensor) -> torch.Tensor:
        """(..., M) values of feature voxels -> (..., N) values of voxels."""
        return values if self._rows is None else values[..., self._rows]

    def probabilities(self, groups: Sequence[Sequence[str]], at_least: float = 0.0) -> torch.Tensor:
        """(Q, N) float32 in 0..1: `FeatureIndex.probabilities` of the voxels."""
        return self.expand(super().probabilities(groups, at_least))


def space_of(semantic_map: SemanticMap, space: LanguageSpace) -> LanguageSpace:
    """The words of a map: ``space`` itself or, for scores of concepts, what it makes of those the map was asked for.

    Raises:
        OvsegError: the map was built in another space, or has names for its features where the space doesn't.
    """
    if semantic_map.space not in (None, space.id):
        raise OvsegError(
            f"the map holds features of {semantic_map.space!r}, the words are of {space.id!r}: "
            "ask with the backend and weights that the map was built with"
        )
    if not semantic_map.concepts:
        return space
    if not isinstance(space, ConceptSpace):
        raise OvsegError(
            f"the map holds scores of concepts, {space.id!r} has words for other features: ask with the backend that "
            "the map was built with"
        )
    return space.for_concepts(semantic_map.concepts, semantic_map.vocabulary)
