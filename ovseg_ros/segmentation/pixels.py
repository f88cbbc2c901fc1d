"""Every pixel's likeliest word and how sure that is, from features that are there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from ovseg_ros.segmentation.labels import AskedWords
from ovseg_ros.types import LanguageSpace, Segmentation
from ovseg_ros.vocabulary import Vocabulary


@dataclass(frozen=True)
class PixelLabels:
    """Labels of one image.

    Attributes:
        labels: (H, W) int32; i + 1 is the i-th text, 0 where another word fits better.
        confidence: (H, W) float32 0..1: probability of the label among all concepts; 0 where there is none.
    """

    labels: torch.Tensor
    confidence: torch.Tensor


class PixelLabeller:
    """Labels images by nearest words, of which a text may have several. The words are encoded once.

    Args:
        space: of the features that are labelled.
        texts: what to look for.
        vocabulary: its words for the texts count as theirs, its other concepts compete.

    Raises:
        OvsegError: without texts.
    """

    def __init__(self, space: LanguageSpace, texts: Sequence[str], vocabulary: Vocabulary) -> None:
        self._space = space
        self._count = len(texts)
        self._words = AskedWords.encode(space, texts, vocabulary)

    def __call__(self, segmentation: Segmentation, height: int, width: int) -> PixelLabels:
        """Label the pixels of an image of this size, by the cosines of `AskedWords`."""
        cosines = self._words.cosines(segmentation, self._space)
        probability, best = torch.softmax(self._space.logit_scale * cosines.float(), dim=0).max(dim=0)
        known = best < self._count
        decided = torch.stack((torch.where(known, best + 1, 0).float(), torch.where(known, probability, 0.0)))
        labels, confidence = functional.interpolate(decided[None], (height, width), mode="nearest-exact")[0]
        return PixelLabels(labels.int(), confidence)
