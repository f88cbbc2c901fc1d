"""One revision of a map, ready to be compared with words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.types import LanguageSpace

CHUNK = 16_384
"""Feature voxels compared at a time: what is made of them stays in a processor's cache."""


MAX_LOGIT = 80.0
"""Above the negatives' highest: its exponential is still a float32."""

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
        """(T, D) unit texts -> their (T, n) float32 cosines with the features of all M feature voxels, part by part."""
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
        texts = self.space.encode_text(words).to(self.device)
        members = [torch.tensor([words.index(word) for word in group], device=self.device) for group in groups]
        rivals = [
            torch.tensor(
                [words.index(word) for word in group if word in self.negatives], device=self.device, dtype=torch.int64
            )
            for group in groups
        ]
        parts = [
            self._probabilities(cosines.mul_(self.space.logit_scale), members, rivals, *background)
            for cosines, background in zip(self.cosines(texts), self._background, strict=True)
        ]
        return self.expand(torch.cat(parts, dim=1))

    @staticmethod
    def _probabilities(
        logits: torch.Tensor,
        members: Sequence[torch.Tensor],
        rivals: Sequence[torch.Tensor],
        highest: torch.Tensor,
        mass: torch.Tensor,
    ) -> torch.Tensor:
        """(T, n) logits of words, which words are each group's and which of them negatives -> (Q, n)."""
        shifted = logits.sub_(highest).clamp_(max=MAX_LOGIT).exp_()
        best = torch.stack([shifted[group].amax(dim=0) if len(group) > 1 else shifted[group[0]] for group in members])
        others = mass.expand(len(members), -1).clone()
        for row, own in zip(others, rivals, strict=True):
            if len(own):
                row.sub_(shifted[own].sum(dim=0)).clamp_(min=0.0)
        # The mass is a sum in float32: what is left of it after subtracting nearly all is known to its last digit only.
        others.add_(mass, alpha=torch.finfo(torch.float32).eps)
        return best.div_(others.add_(best))

    @cached_property
    def _inverse_norms(self) -> list[torch.Tensor]:
        """(n,) for each chunk: what makes products with unit texts cosines; 0 for features of no length."""
        norms = [torch.linalg.vector_norm(chunk, dim=1, dtype=torch.float32) for chunk in self._chunks]
        return [torch.where(norm > MIN_NORM, 1.0 / norm, 0.0) for norm in norms]

    @cached_property
    def _background(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each chunk the (n,) highest logit of the negatives and their (n,) sum of exp(logit - highest)."""
        texts = self.space.encode_text(self.negatives).to(self.device)
        background = []
        for cosines in self.cosines(texts):
            logits = cosines.mul_(self.space.logit_scale)
            highest = logits.amax(dim=0)
            background.append((highest, logits.sub_(highest).exp_().sum(dim=0)))
        return background
