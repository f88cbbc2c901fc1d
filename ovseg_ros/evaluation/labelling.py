"""The best class for each pixel of an image, where each class has one or more words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.segmentation.upsampling import upsampled
from ovseg_ros.types import LanguageSpace, PixelClassifier, PromptedSegmenter, Segmenter
from ovseg_ros.vocabulary import Vocabulary


class Ensemble(Enum):
    """What several words for one class become."""

    MAX = "max"
    """The best of them counts, as in OpenSeg and SAM 3."""
    MEAN = "mean"
    """The mean of their vectors is asked for, as CLIP does with templates."""


@dataclass(frozen=True)
class ClassWords:
    """Vectors of words and whose they are.

    Attributes:
        vectors: (W, D) unit norm.
        owners: (W,) int64 label ids.
    """

    vectors: torch.Tensor
    owners: torch.Tensor

    @classmethod
    def encode(cls, space: LanguageSpace, classes: Vocabulary, labels: Sequence[int], ensemble: Ensemble) -> ClassWords:
        """The words of these label ids; id i + 1 is the i-th of the classes."""
        groups = [classes.asked[label - 1] for label in labels]
        counts = torch.tensor([len(group) for group in groups])
        rows = torch.repeat_interleave(torch.arange(len(groups)), counts)
        vectors = space.encode_text([word for group in groups for word in group])
        if ensemble is Ensemble.MEAN:
            sums = vectors.new_zeros(len(groups), vectors.shape[1]).index_add_(0, rows.to(vectors.device), vectors)
            vectors, rows = torch.nn.functional.normalize(sums, dim=1), torch.arange(len(groups))
        return cls(vectors, torch.tensor(labels)[rows])

    def among(self, labels: Sequence[int]) -> ClassWords:
        """Only the words of these label ids."""
        kept = torch.isin(self.owners, torch.tensor(labels))
        return ClassWords(self.vectors[kept.to(self.vectors.device)], self.owners[kept])


class ImageLabeller:
    """Gives each pixel the class that one of whose words fits best.

    A backend that has a rule of its own from words to labels decides by it, and may leave pixels without one; of others
    the largest cosine decides, bilinear between grid cells.

    Args:
        segmenter: any backend.
        classes: label id i + 1 is the i-th of them.
        ensemble: of the words of a class.
    """

    def __init__(self, segmenter: Segmenter, classes: Vocabulary, ensemble: Ensemble = Ensemble.MAX) -> None:
        self.classes = classes
        self._segmenter = segmenter
        self._ensemble = ensemble

    @torch.inference_mode()
    def __call__(self, rgb: torch.Tensor, choices: Sequence[Sequence[int]]) -> list[NDArray[np.int32]]:
        """Label an image as often as there are choices.

        Args:
            rgb: (H, W, 3) uint8.
            choices: label ids that may be given; the other classes are as if they had no words.

        Returns:
            (H, W) label ids for each choice.

        Raises:
            OvsegError: the backend can't take a word or the image.
        """
        segmenter = self._segmenter
        if isinstance(segmenter, PixelClassifier):
            return [self._classified(segmenter, rgb, choice) for choice in choices]
        everything = self._words(range(1, len(self.classes) + 1))
        segmentation = self._segmenter(rgb)
        channels, rows, columns = segmentation.features.shape
        aligned = segmenter.space.align(segmentation.features.reshape(channels, -1).T)
        cosines = (everything.vectors.to(aligned) @ aligned.T).view(-1, rows, columns)
        return [_nearest(cosines, everything.owners, choice, rgb.shape[:2]) for choice in choices]

    def _classified(self, segmenter: PixelClassifier, rgb: torch.Tensor, choice: Sequence[int]) -> NDArray[np.int32]:
        words = self._words(choice)
        labels, owners = torch.unique(words.owners, return_inverse=True)
        numbers = segmenter.classify(rgb, words.vectors, owners).cpu().long()
        return torch.cat((torch.zeros(1, dtype=torch.int64), labels))[numbers].int().numpy()

    def _words(self, choice: Sequence[int]) -> ClassWords:
        segmenter = self._segmenter
        if not isinstance(segmenter, PromptedSegmenter):
            return self._all_words.among(choice)
        segmenter.look_for(Vocabulary(tuple(self.classes.synonyms[label - 1] for label in choice), self.classes.unsaid))
        return ClassWords.encode(segmenter.space, self.classes, choice, self._ensemble)

    @cached_property
    def _all_words(self) -> ClassWords:
        labels = range(1, len(self.classes) + 1)
        return ClassWords.encode(self._segmenter.space, self.classes, labels, self._ensemble)


def _nearest(
    cosines: torch.Tensor, owners: torch.Tensor, choice: Sequence[int], size: tuple[int, ...]
) -> NDArray[np.int32]:
    """(W, h, w) -> (H, W) owner of the largest, a part of the words at a time: all at once would fill the memory."""
    height, width = size
    allowed = torch.isin(owners, torch.tensor(choice))
    best = cosines.new_full((height, width), -torch.inf)
    labels = torch.zeros(height, width, dtype=torch.int64, device=cosines.device)
    owners = owners[allowed].to(cosines.device)
    for start, part in upsampled(cosines[allowed.to(cosines.device)], (height, width)):
        value, index = part.max(dim=0)
        labels = torch.where(value > best, owners[start + index], labels)
        best = torch.maximum(best, value)
    return labels.int().cpu().numpy()
