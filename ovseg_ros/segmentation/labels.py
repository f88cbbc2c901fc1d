"""One image, some words: which pixel is which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.meanings import best_of, encode_groups, words_of
from ovseg_ros.types import LanguageSpace, PixelClassifier, PromptedSegmenter, Segmentation, Segmenter
from ovseg_ros.vocabulary import GENERIC_NEGATIVES, Vocabulary, normalise

SMOOTHING = 4
"""Labels are decided on a grid so much finer than the features', by interpolated cosines."""


@dataclass(frozen=True)
class AskedWords:
    """The words for N texts, then those of the M concepts that compete and mean something else.

    Attributes:
        vectors: (W, D) of unit norm.
        owners: (W,) int64 in rising order: 0 to N - 1 for the texts, N to N + M - 1 for the others.
    """

    vectors: torch.Tensor
    owners: torch.Tensor

    @classmethod
    def encode(cls, space: LanguageSpace, texts: Sequence[str], vocabulary: Vocabulary) -> AskedWords:
        """The words of `words_of` for each text; the vocabulary's other concepts and words that fit everything compete.

        Raises:
            OvsegError: there are no texts, or the space can't take a word.
        """
        if not texts:
            raise OvsegError("there is nothing to look for: give at least one word")
        wanted = words_of([normalise(text) for text in texts], vocabulary, space)
        taken = {word for group in wanted for word in group}
        others = (*vocabulary.asked, *((word,) for word in GENERIC_NEGATIVES))
        return cls(*encode_groups(space, [*wanted, *(group for group in others if taken.isdisjoint(group))]))

    def cosines(self, segmentation: Segmentation, space: LanguageSpace) -> torch.Tensor:
        """(N + M, H, W): of the best word of each with the features, on a grid SMOOTHING times finer than these."""
        channels, rows, columns = segmentation.features.shape
        aligned = space.align(segmentation.features.reshape(channels, -1).T)
        cosines = best_of(self.vectors.to(aligned) @ aligned.T, self.owners)
        grid = cosines.view(1, -1, rows, columns)
        return functional.interpolate(grid, scale_factor=SMOOTHING, mode="bilinear", align_corners=False)[0]


def label_image(
    segmenter: Segmenter, rgb: NDArray[np.uint8], texts: Sequence[str]
) -> tuple[NDArray[np.int32], dict[str, float]]:
    """Label every pixel with the text of which a word fits best, or 0 where another word of the backend fits better.

    Args:
        segmenter: a backend; one that finds only what it is told looks for texts that are new to it from now on, too.
        rgb: (H, W, 3) uint8.
        texts: what to look for; the words that the backend's vocabulary has for them count as well.

    Returns:
        (H, W) int32, 0 or index of a text plus one; and the share of the image that each text got.

    Raises:
        OvsegError: without texts, or for an image or a text that the backend can't take.
    """
    image = torch.from_numpy(np.ascontiguousarray(rgb))
    look_also_for(segmenter, texts)
    words = AskedWords.encode(segmenter.space, texts, segmenter.vocabulary)
    best = (
        segmenter.classify(image, words.vectors, words.owners)
        if isinstance(segmenter, PixelClassifier)
        else _nearest(segmenter, image, words)
    )
    labels = torch.where(best <= len(texts), best, 0).cpu()
    counts = torch.bincount(labels.flatten().long(), minlength=len(texts) + 1)
    shares = {text: float(counts[i + 1]) / labels.numel() for i, text in enumerate(texts)}
    return labels.numpy(), shares


def look_also_for(segmenter: Segmenter, texts: Sequence[str]) -> None:
    """Have a segmenter that finds only what it is told look for these texts too; others know all words.

    Raises:
        OvsegError: naming the text that it can't be asked for.
    """
    if isinstance(segmenter, PromptedSegmenter):
        vocabulary = segmenter.vocabulary
        known = {word for group in vocabulary.synonyms for word in group}
        new = [text for text in dict.fromkeys(map(normalise, texts)) if text not in known]
        if new:
            more = tuple((text,) for text in new)
            segmenter.look_for(Vocabulary((*vocabulary.synonyms, *more), vocabulary.unsaid))


def _nearest(segmenter: Segmenter, rgb: torch.Tensor, words: AskedWords) -> torch.Tensor:
    """(H, W) int32, one plus the index of the concept with the largest cosine."""
    best = words.cosines(segmenter(rgb), segmenter.space).argmax(dim=0).float() + 1
    return functional.interpolate(best[None, None], rgb.shape[:2], mode="nearest-exact")[0, 0].int()
