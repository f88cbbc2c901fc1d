"""Features, ready to be compared with words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import torch

from ovseg_ros.mapping.compression import FeatureCodec
from ovseg_ros.types import LanguageSpace

PRODUCTS = 1 << 18
"""Products of features and texts made at a time: few enough for a processor's cache, enough to keep its cores busy."""

FEW_TEXTS = 16
"""Up to so many texts are multiplied from the right: on CPUs up to twice as fast as from the left, for more slower."""

MIN_NORM = 1e-12
"""Shorter features point nowhere."""


class FeatureIndex:
    """M features beside the words of their language space.

    Where the space compares features directly, they are read as they are given: half precision, compressed.
    """

    def __init__(
        self,
        features: Iterable[torch.Tensor],
        space: LanguageSpace,
        negatives: Sequence[str],
        device: torch.device,
        codec: FeatureCodec | None = None,
    ) -> None:
        """Prepare what all questions share.

        Args:
            features: (n, C) parts, M rows in all, or (n, K) codes of ``codec``. They are not copied where the
                space compares directly, and must not change then.
            space: the language space that they are of.
            negatives: words that compete with whatever is asked.
            device: where the features are.
            codec: what compressed them; None if nothing did.
        """
        self.space = space
        self.negatives = tuple(negatives)
        self.device = device
        self._codec = codec
        self._chunks = list(features)
        if not getattr(space, "compares_directly", False):
            self._chunks = [space.align(codec.decode(c) if codec else c.float()) for c in self._chunks]
            self._codec = None

    def cosines(self, texts: torch.Tensor) -> Iterator[torch.Tensor]:
        """(T, D) texts -> (T, n) float32 products with the unit features of all M, part by part.

        Cosines for unit texts, logits for texts of the length that the space's softmax wants.
        """
        for products, scale in self._products(texts):
            yield products.mul_(scale)

    def probabilities(self, groups: Sequence[Sequence[str]]) -> torch.Tensor:
        """How likely each feature is named by one of the words of a group rather than by a negative outside it.

        The softmax over the group's best word and the negatives that are not in the group.

        Args:
            groups: Q groups of words.

        Returns:
            (Q, M) float32 in 0..1.
        """
        words = list(dict.fromkeys(word for group in groups for word in group))
        texts = self.space.logit_scale * self.space.encode_text(words).to(self.device)
        members = [[words.index(word) for word in group] for group in groups]
        rivals = [[words.index(word) for word in group if word in self.negatives] for group in groups]
        against = self._against
        result = torch.empty(len(groups), len(against), device=self.device)
        start = 0
        for products, scale in self._products(texts):
            part = slice(start, start + products.shape[1])
            logits = torch.addcmul(against[part], products, scale, out=products.new_empty(products.shape))
            for row, (own, competing) in enumerate(zip(members, rivals, strict=True)):
                odds = logits[own[0]] if len(own) == 1 else logits[own].amax(dim=0)
                if competing:
                    # These words are in the background and must not compete: it is less by their share of its mass.
                    share = logits[competing].exp_().sum(dim=0).clamp_(max=1.0 - torch.finfo(torch.float32).eps)
                    odds = odds - torch.log1p(-share)
                torch.sigmoid(odds, out=result[row, part])
            start = part.stop
        return result

    def _products(self, texts: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(T, D) texts -> part by part (T, n) products, and what they are still to be multiplied with: (n,) or one."""
        rows = max(1, PRODUCTS // len(texts))
        if self._codec:
            one = torch.ones((), device=self.device)
            for chunk in self._chunks:
                yield from ((self._codec.cosines(part, texts), one) for part in torch.split(chunk, rows))
        else:
            few = len(texts) <= FEW_TEXTS
            for chunk, norms in zip(self._chunks, self._inverse_norms, strict=True):
                for part, scale in zip(torch.split(chunk, rows), torch.split(norms, rows), strict=True):
                    features = part.float()
                    yield (features @ texts.T).T if few else texts @ features.T, scale

    @cached_property
    def _inverse_norms(self) -> list[torch.Tensor]:
        """(n,) for each chunk: what makes products with unit texts cosines; 0 for features of no length."""
        norms = [torch.linalg.vector_norm(chunk, dim=1, dtype=torch.float32) for chunk in self._chunks]
        return [torch.where(norm > MIN_NORM, 1.0 / norm, 0.0) for norm in norms]

    @cached_property
    def _against(self) -> torch.Tensor:
        """(M,) minus the log of the negatives' summed exponential logits."""
        texts = self.space.logit_scale * self.space.encode_text(self.negatives).to(self.device)
        return torch.cat([logits.logsumexp(dim=0) for logits in self.cosines(texts)]).neg_()
