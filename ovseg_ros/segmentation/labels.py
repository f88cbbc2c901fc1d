"""One image, some words: which pixel is which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.types import LanguageSpace, PixelClassifier, Segmentation, Segmenter
from ovseg_ros.vocabulary import GENERIC_NEGATIVES, Vocabulary

SMOOTHING = 4
"""Labels are decided on a grid so much finer than the features', by interpolated cosines."""


def label_image(
    segmenter: Segmenter, rgb: NDArray[np.uint8], texts: Sequence[str]
) -> tuple[NDArray[np.int32], dict[str, float]]:
    """Label every pixel with the text that fits best, or 0 where another word of the backend fits better.

    Args:
        segmenter: a backend.
        rgb: (H, W, 3) uint8.
        texts: what to look for.

    Returns:
        (H, W) int32, 0 or index of a text plus one; and the share of the image that each text got.

    Raises:
        OvsegError: without texts, or for an image or a text that the backend can't take.
    """
    if not texts:
        raise OvsegError("there is nothing to look for: give at least one word")
    image = torch.from_numpy(np.ascontiguousarray(rgb))
    words = competing_words(segmenter.space, texts, segmenter.vocabulary)
    best = (
        segmenter.classify(image, words)
        if isinstance(segmenter, PixelClassifier)
        else _nearest(segmenter, image, words)
    )
    labels = torch.where(best <= len(texts), best, 0).cpu()
    counts = torch.bincount(labels.flatten().long(), minlength=len(texts) + 1)
    shares = {text: float(counts[i + 1]) / labels.numel() for i, text in enumerate(texts)}
    return labels.numpy(), shares


def competing_words(space: LanguageSpace, texts: Sequence[str], vocabulary: Vocabulary) -> torch.Tensor:
    """(N + M, D): the vectors of N texts, then those of the M words that compete and mean something else."""
    wanted = space.encode_text(list(texts))
    others = space.encode_text([*vocabulary.names, *GENERIC_NEGATIVES])
    nearest, which = (others @ wanted.T).max(dim=0)
    competes = torch.ones(len(others), dtype=torch.bool)
    competes[which[nearest >= space.same_meaning]] = False
    return torch.cat((wanted, others[competes]))


def word_cosines(segmentation: Segmentation, space: LanguageSpace, words: torch.Tensor) -> torch.Tensor:
    """(W, D) words -> (W, h, w) their cosines with the features, on a grid SMOOTHING times finer than these."""
    channels, rows, columns = segmentation.features.shape
    aligned = space.align(segmentation.features.reshape(channels, -1).T)
    cosines = (words.to(aligned) @ aligned.T).view(1, -1, rows, columns)
    return functional.interpolate(cosines, scale_factor=SMOOTHING, mode="bilinear", align_corners=False)[0]


def _nearest(segmenter: Segmenter, rgb: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """(H, W) int32, one plus the index of the word with the largest cosine."""
    best = word_cosines(segmenter(rgb), segmenter.space, words).argmax(dim=0).float() + 1
    return functional.interpolate(best[None, None], rgb.shape[:2], mode="nearest-exact")[0, 0].int()
