"""One revision of a map, ready to be compared with words."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.query.feature_index import FeatureIndex
from ovseg_ros.types import LanguageSpace


class MapIndex(FeatureIndex):
    """The features of one revision of a map beside the words of their language space.

    Features may be read where the map keeps them, so an index must not be used once its map has changed
    (`map_index` sees to it).
    """

    def __init__(self, semantic_map: SemanticMap, space: LanguageSpace, negatives: Sequence[str]) -> None:
        """Prepare what all questions share.

        Args:
            semantic_map: N voxels, M of which hold features.
            space: the language space that they are of.
            negatives: words that compete with whatever is asked.

        Raises:
            OvsegError: the map was built in another space.
        """
        check_space(semantic_map, space)
        super().__init__(semantic_map.feature_chunks(), space, negatives, semantic_map.device, semantic_map.codec)
        self.revision = semantic_map.revision
        self._rows = semantic_map.feature_rows if semantic_map.config.feature_block > 1 else None

    def expand(self, values: torch.Tensor) -> torch.Tensor:
        """(..., M) values of feature voxels -> (..., N) values of voxels."""
        return values if self._rows is None else values[..., self._rows]

    def probabilities(self, groups: Sequence[Sequence[str]]) -> torch.Tensor:
        """(Q, N) float32 in 0..1: `FeatureIndex.probabilities` of the voxels."""
        return self.expand(super().probabilities(groups))


def check_space(semantic_map: SemanticMap, space: LanguageSpace) -> None:
    """Raise an OvsegError unless ``space`` is that of the map's features, or the map has none yet."""
    if semantic_map.space not in (None, space.id):
        raise OvsegError(
            f"the map holds features of {semantic_map.space!r}, the words are of {space.id!r}: "
            "ask with the backend and weights that the map was built with"
        )
