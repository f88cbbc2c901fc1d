"""Features, ready to be compared with words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, reduce
from typing import NamedTuple

import torch
import torch.nn.functional as functional

from ovseg_ros.mapping.compression import FeatureCodec
from ovseg_ros.meanings import best_of, encode_groups
from ovseg_ros.types import LanguageSpace

PRODUCTS = 1 << 18
"""Products of features and texts made at a time: few enough for a processor's cache, enough to keep its cores busy."""

FEW_TEXTS = 16
"""Up to so many texts are multiplied from the right: on CPUs up to twice as fast as from the left, for more slower."""

KEPT_SHARE = 0.25
"""What is kept of the comparison with the negatives takes at most this share of the features' memory, and `SPARE`."""

SPARE = 1.25
"""How much room is made when there are more features, relative to what they need."""

MIN_NORM = 1e-12
"""Shorter features point nowhere."""


class _Source(NamedTuple):
    """Where the logits of a group of words come from.

    Attributes:
        words: compared with the features.
        concepts: numbers of negatives whose best logits are kept; they cover the group's other words.
    """

    words: tuple[str, ...]
    concepts: tuple[int, ...]


class _Background:
    """What M features have to do with the negatives.

    Attributes:
        against: (M,) minus the log of the summed exponentials of the negatives' best logits.
        concepts: (K, M or more) these logits, so that questions for known words need not read the features; None if
            they would take too much memory.
    """

    def __init__(self, against: torch.Tensor, concepts: torch.Tensor | None) -> None:
        self.against = against
        self.concepts = concepts

    def of(self, concept: int) -> torch.Tensor:
        """(M,) best logits of a negative that is kept."""
        assert self.concepts is not None
        return self.concepts[concept, : len(self.against)]

    def replace(self, changed: _Background, rows: torch.Tensor, count: int) -> None:
        """Take in that there are ``count`` features, of which (n,) ``rows`` have ``changed``."""
        self.against = _replaced(self.against, rows, changed.against, count)
        if self.concepts is not None and changed.concepts is not None:
            width = self.concepts.shape[1]
            if not count <= width <= 2 * SPARE * count:
                # Room for more, as copying all of it for a few new features each time would cost more than they do.
                kept = self.concepts[:, : min(count, width)]
                self.concepts = functional.pad(kept, (0, int(SPARE * count) - kept.shape[1]))
            self.concepts.index_copy_(1, rows, changed.concepts)


class FeatureIndex:
    """M features beside the words of their language space.

    Where the space compares features directly, they are read as they are given: half precision, compressed.
    """

    def __init__(
        self,
        features: Iterable[torch.Tensor],
        space: LanguageSpace,
        negatives: Sequence[Sequence[str]],
        device: torch.device,
        codec: FeatureCodec | None = None,
    ) -> None:
        """Prepare what all questions share.

        Args:
            features: (n, C) parts, M rows in all, or (n, K) codes of ``codec``. They are not copied where the
                space compares directly, and must not change then.
            space: the language space that they are of.
            negatives: concepts that compete with whatever is asked, each by the best of its words.
            device: where the features are.
            codec: what compressed them; None if nothing did.
        """
        self.space = space
        self.negatives = tuple(map(tuple, negatives))
        self.device = device
        self._codec = codec
        self._chunks = list(features)
        self.reads_in_place = bool(getattr(space, "compares_directly", False))
        if not self.reads_in_place:
            self._chunks = [space.align(codec.decode(c) if codec else c.float()) for c in self._chunks]
            self._codec = None

    def cosines(self, texts: torch.Tensor) -> Iterator[torch.Tensor]:
        """(T, D) texts -> (T, n) float32 products with the unit features of all M, part by part.

        Cosines for unit texts, logits for texts of the length that the space's softmax wants.
        """
        yield from self._cosines(texts, self._chunks, self._inverse_norms)

    def probabilities(self, groups: Sequence[Sequence[str]]) -> torch.Tensor:
        """How likely each feature is named by one of the words of a group rather than by another concept.

        The softmax over the group's best word and the negatives that share no word with the group.

        Args:
            groups: Q groups of words.

        Returns:
            (Q, M) float32 in 0..1.
        """
        sources = [self._source(group) for group in groups]
        same = [
            [self._source(rival) for rival in self.negatives if not set(group).isdisjoint(rival)] for group in groups
        ]
        needed = [source.words for own, rivals in zip(sources, same, strict=True) for source in (own, *rivals)]
        words = list(dict.fromkeys(word for entry in needed for word in entry))
        against = self._background.against
        result = torch.empty(len(groups), len(against), device=self.device)
        start = 0
        for products, scale in self._products_with(words):
            part = slice(start, start + products.shape[1])
            logits = torch.addcmul(against[part], products, scale, out=products.new_empty(products.shape))
            read = dict(zip(words, logits, strict=True))
            for row, (own, rivals) in enumerate(zip(sources, same, strict=True)):
                odds = self._odds(own, part, read)
                if rivals:
                    # These concepts are in the background and must not compete: it is less by their share of its mass.
                    best = torch.stack([self._odds(rival, part, read) for rival in rivals])
                    share = best.exp_().sum(dim=0).clamp_(max=1.0 - torch.finfo(torch.float32).eps)
                    odds = odds - torch.log1p(-share)
                torch.sigmoid(odds, out=result[row, part])
            start = part.stop
        return result

    def replace(self, features: list[torch.Tensor], rows: torch.Tensor) -> None:
        """Take in that the features are these now, parts as before, of which (n,) ``rows``, in order, have changed."""
        self._chunks = features
        count = sum(map(len, features))
        parts = _gathered(features, rows)
        norms = self._inverse_lengths(parts)
        self._inverse_norms = _replaced(self._inverse_norms, rows, norms, count)
        if "_background" in vars(self):  # Labels need none.
            self._background.replace(self._compared(parts, norms), rows, count)

    def _cosines(
        self, texts: torch.Tensor, chunks: Sequence[torch.Tensor], norms: torch.Tensor
    ) -> Iterator[torch.Tensor]:
        for products, scale in self._products(texts, chunks, norms):
            yield products.mul_(scale)

    def _source(self, group: Sequence[str]) -> _Source:
        concepts = tuple(
            number
            for number, rival in enumerate(self.negatives)
            if self._background.concepts is not None and set(rival).issubset(group)
        )
        covered = {word for number in concepts for word in self.negatives[number]}
        return _Source(tuple(word for word in group if word not in covered), concepts)

    def _odds(self, source: _Source, part: slice, read: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(n,) logits of the source's best word minus the background's, in a part of the features."""
        kept = [self._background.of(number)[part] + self._background.against[part] for number in source.concepts]
        return reduce(torch.maximum, [*kept, *(read[word] for word in source.words)])

    def _products_with(self, words: Sequence[str]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """`_products` with the words' scaled vectors; where there are no words, the features aren't read."""
        if words:
            texts = self.space.logit_scale * self.space.encode_text(words).to(self.device)
            yield from self._products(texts, self._chunks, self._inverse_norms)
        else:
            one = torch.ones((), device=self.device)
            nothing = torch.empty(0, len(self._background.against), device=self.device)
            yield from ((part, one) for part in torch.split(nothing, PRODUCTS, dim=1))

    def _products(
        self, texts: torch.Tensor, chunks: Sequence[torch.Tensor], norms: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(T, D) texts -> part by part (T, n) products, and what they are still to be multiplied with: (n,) or one."""
        rows = max(1, PRODUCTS // len(texts))
        if self._codec:
            one = torch.ones((), device=self.device)
            for chunk in chunks:
                yield from ((self._codec.cosines(part, texts), one) for part in torch.split(chunk, rows))
        else:
            few, count = len(texts) <= FEW_TEXTS, len(texts)
            # A product with a single column is left to a routine that reads memory at half the speed of that with two.
            texts = texts.repeat(2, 1) if count == 1 else texts
            for chunk, lengths in zip(chunks, torch.split(norms, [len(chunk) for chunk in chunks]), strict=True):
                for part, scale in zip(torch.split(chunk, rows), torch.split(lengths, rows), strict=True):
                    features = part.float()
                    products = (features @ texts.T).T if few else texts @ features.T
                    yield products[:count], scale

    @cached_property
    def _inverse_norms(self) -> torch.Tensor:
        """(M,): what makes products with unit texts cosines; 0 for features of no length."""
        return self._inverse_lengths(self._chunks)

    @cached_property
    def _background(self) -> _Background:
        # What is first made inside inference_mode could not be changed in place outside of it.
        with torch.inference_mode(False):
            return self._compared(self._chunks, self._inverse_norms)

    def _inverse_lengths(self, chunks: Sequence[torch.Tensor]) -> torch.Tensor:
        norms = torch.cat([torch.linalg.vector_norm(chunk, dim=1, dtype=torch.float32) for chunk in chunks])
        return torch.where(norms > MIN_NORM, 1.0 / norms, 0.0)

    @cached_property
    def _rivals(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(W, D) vectors of the negatives' words, scaled, and (W,) which negative each is of."""
        texts, owners = encode_groups(self.space, self.negatives)
        return self.space.logit_scale * texts.to(self.device), owners

    def _compared(self, chunks: Sequence[torch.Tensor], norms: torch.Tensor) -> _Background:
        texts, owners = self._rivals
        feature_bytes = self._chunks[0].shape[1] * self._chunks[0].element_size() if self._chunks else 0
        keep = torch.float32.itemsize * len(self.negatives) <= KEPT_SHARE * feature_bytes
        against, concepts = [], []
        for logits in self._cosines(texts, chunks, norms):
            best = best_of(logits, owners)
            against.append(best.logsumexp(dim=0).neg_())
            if keep:
                concepts.append(best)
        return _Background(torch.cat(against), torch.cat(concepts, dim=1) if keep else None)


def _gathered(chunks: Sequence[torch.Tensor], rows: torch.Tensor) -> list[torch.Tensor]:
    """Copies of (n,) rows, in order, of all chunks one behind the other; a part for each chunk, maybe of no rows."""
    ends = torch.tensor([len(chunk) for chunk in chunks]).cumsum(0)
    counts = torch.searchsorted(rows.cpu(), ends).diff(prepend=torch.zeros(1, dtype=torch.int64)).tolist()
    starts = [0, *ends.tolist()]
    return [
        chunk.index_select(0, part - start)
        for chunk, part, start in zip(chunks, torch.split(rows, counts), starts, strict=False)
    ]


def _replaced(values: torch.Tensor, rows: torch.Tensor, changed: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) of which those at ``rows`` are ``changed`` and the others those of (m,) ``values``."""
    result = values.new_zeros(count)
    kept = min(count, len(values))
    result[:kept] = values[:kept]
    result[rows] = changed
    return result
