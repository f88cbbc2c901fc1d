"""The words OpenSeg is trained with: names, synonyms, and words for what is not there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional

from ovseg_ros.segmentation.openseg.text import TextTable
from ovseg_ros.simulation import CLASSES
from ovseg_ros.training.text_table import HOUSEHOLD_WORDS
from ovseg_ros.vocabulary import GENERIC_NEGATIVES, Vocabulary

DISTRACTOR_LIMIT = 0.3
"""Largest cosine of a distractor with any name of a class: nearer words may well mean the class."""


class TrainingWords:
    """Draws text vectors for a training step.

    Args:
        vocabulary: the classes with their training synonyms.
        table: encodes them.
        distractors: words for other things drawn in every step, so that absent things score low.
        noise: length of the random vector added to each unit vector, so that near words work too.
    """

    def __init__(self, vocabulary: Vocabulary, table: TextTable, distractors: int = 24, noise: float = 0.3) -> None:
        self.vocabulary = vocabulary
        self._noise = noise
        groups = [table.encode(group) for group in vocabulary.synonyms]
        self._names = torch.cat(groups)
        sizes = torch.tensor([len(group) for group in groups])
        self._sizes, self._starts = sizes, sizes.cumsum(0) - sizes
        self._generic = table.encode(GENERIC_NEGATIVES)
        # Words that are kept to measure how far the text space carries must not be taught as wrong answers.
        held_out = {word for entry in CLASSES for word in entry.held_out}
        others = set(HOUSEHOLD_WORDS.read_text(encoding="utf-8").split()) - held_out
        self._distractors = distractor_vectors(sorted(others), self._names, table)
        self._count = min(distractors, len(self._distractors))

    @property
    def classes(self) -> int:
        """Number of classes; the first so many vectors of a draw are theirs."""
        return len(self._sizes)

    def names(self) -> torch.Tensor:
        """(C, D) vectors of the classes' shown names."""
        return self._names[self._starts]

    def draw(self, seed: torch.Generator) -> torch.Tensor:
        """(C + negatives, D) unit vectors: one random name per class, then generic words and distractors."""
        choice = (torch.rand(self.classes, generator=seed) * self._sizes).long()
        others = torch.randperm(len(self._distractors), generator=seed)[: self._count]
        vectors = torch.cat((self._names[self._starts + choice], self._generic, self._distractors[others]))
        noise = torch.randn(vectors.shape, generator=seed) * (self._noise / vectors.shape[1] ** 0.5)
        return functional.normalize(vectors + noise, dim=1)


def distractor_vectors(words: Sequence[str], names: torch.Tensor, table: TextTable) -> torch.Tensor:
    """Vectors of those ``words`` that are far from all ``names`` (N, D)."""
    vectors = table.encode(sorted(set(words)))
    return vectors[(vectors @ names.T).amax(dim=1) < DISTRACTOR_LIMIT]
