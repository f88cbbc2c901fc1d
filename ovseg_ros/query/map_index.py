"""One revision of a map, ready to be compared with words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.types import LanguageSpace

CHUNK = 32_768
"""Feature voxels compared at a time: what is made of them stays in a processor's cache."""


MIN_NORM = 1e-12
"""Shorter features point nowhere."""


class MapIndex:
    """The features of one revision of a map beside the words of their language space.

    Where the space compares features directly, they are read where the map keeps them, as they are kept:
    half precision, compressed. So an index must not be used once its map has changed (`map_index` sees to it).
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
        if semantic_map.space not in (None, space.id):
            raise OvsegError(
                f"the map holds features of {semantic_map.space!r}, the words are of {space.id!r}: "
                "ask with the backend and weights that the map was built with"
            )
        self.revision = semantic_map.revision
        self.space = space
        self.negatives = tuple(negatives)
        self.device = semantic_map.device
        self._rows = semantic_map.feature_rows if semantic_map.config.feature_block > 1 else None
        self._codec = semantic_map.codec
        self._chunks = [part for chunk in semantic_map.feature_chunks() for part in torch.split(chunk, CHUNK)]
        if not getattr(space, "compares_directly", False):
            self._chunks = [space.align(self._codec.decode(c) if self._codec else c.float()) for c in self._chunks]
            self._codec = None

    def cosines(self, texts: torch.Tensor) -> Iterator[torch.Tensor]:
        """(T, D) texts -> (T, n) float32 products with the unit features of all M feature voxels, part by part.

        Cosines for unit texts, logits for texts of the length that the space's softmax wants.
        """
        if self._codec:
            yield from (self._codec.cosines(chunk, texts) for chunk in self._chunks)
        else:
            for chunk, scale in zip(self._chunks, self._inverse_norms, strict=True):
                yield (texts @ chunk.float().T).mul_(scale)

    def expand(self, values: torch.Tensor) -> torch.Tensor:
        """(..., M) values of feature voxels -> (..., N) values of voxels."""
        return values if self._rows is None else values[..., self._rows]

    def probabilities(self, groups: Sequence[Sequence[str]]) -> torch.Tensor:
        """How likely each voxel is named by one of the words of a group rather than by a negative outside it.

        The softmax over the group's best word and the negatives that are not in the group.

        Args:
            groups: Q groups of words.

        Returns:
            (Q, N) float32 in 0..1.
        """
        words = list(dict.fromkeys(word for group in groups for word in group))
        texts = self.space.logit_scale * self.space.encode_text(words).to(self.device)
        members = [[words.index(word) for word in group] for group in groups]
        rivals = [[words.index(word) for word in group if word in self.negatives] for group in groups]
        background = self._background
        result = torch.empty(len(groups), len(background), device=self.device)
        start = 0
        for logits in self.cosines(texts):
            part = slice(start, start + logits.shape[1])
            logits.sub_(background[part])
            for row, (own, competing) in enumerate(zip(members, rivals, strict=True)):
                odds = logits[own[0]] if len(own) == 1 else logits[own].amax(dim=0)
                if competing:
                    # These words are in the background and must not compete: it is less by their share of its mass.
                    share = logits[competing].exp_().sum(dim=0).clamp_(max=1.0 - torch.finfo(torch.float32).eps)
                    odds = odds - torch.log1p(-share)
                torch.sigmoid(odds, out=result[row, part])
            start = part.stop
        return self.expand(result)

    @cached_property
    def _inverse_norms(self) -> list[torch.Tensor]:
        """(n,) for each chunk: what makes products with unit texts cosines; 0 for features of no length."""
        norms = [torch.linalg.vector_norm(chunk, dim=1, dtype=torch.float32) for chunk in self._chunks]
        return [torch.where(norm > MIN_NORM, 1.0 / norm, 0.0) for norm in norms]

    @cached_property
    def _background(self) -> torch.Tensor:
        """(M,) log of the negatives' summed exponential logits."""
        texts = self.space.logit_scale * self.space.encode_text(self.negatives).to(self.device)
        return torch.cat([logits.logsumexp(dim=0) for logits in self.cosines(texts)])
