"""From language features on the patch grid to a label for each pixel, as RADSeg predicts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from ovseg_ros.meanings import best_of
from ovseg_ros.segmentation.upsampling import upsampled

LOGIT_SCALE = 100.0
DENOISING_THRESHOLD = 0.5


MARGIN = 1e-6
"""Interpolation exceeds what it interpolates by rounding only, which is less."""


@dataclass(frozen=True)
class Prediction:
    """What each pixel of one image shows.

    Attributes:
        labels: (H, W) int32; 0 where every class was denoised, i + 1 for the i-th class.
        confidence: (H, W) float32 in 0..1, the largest class probability.
    """

    labels: torch.Tensor
    confidence: torch.Tensor

    def confident(self, threshold: float) -> torch.Tensor:
        """(H, W) int32 labels, 0 where the confidence is below the threshold."""
        return torch.where(self.confidence < threshold, 0, self.labels)


def class_probabilities(
    features: torch.Tensor, texts: torch.Tensor, owners: torch.Tensor | None = None
) -> torch.Tensor:
    """Softmax over classes of 100 times the largest cosine with a text of the class.

    Args:
        features: (D, h, w) language-aligned features.
        texts: (N, D) embeddings.
        owners: (N,) int64 in rising order from 0, the class of each text; None: each is one of its own.

    Returns:
        (K, h, w) float32, of K classes.
    """
    cells = functional.normalize(features.float().flatten(1), dim=0)
    logits = LOGIT_SCALE * functional.normalize(texts.to(cells), dim=-1) @ cells
    if owners is not None:
        logits = best_of(logits, owners)
    return logits.softmax(dim=0).view(len(logits), *features.shape[1:])


def denoise(probabilities: torch.Tensor, size: tuple[int, int], threshold: float = DENOISING_THRESHOLD) -> torch.Tensor:
    """Silence classes that no pixel of the image shows with at least the threshold's probability.

    Args:
        probabilities: (N, h, w) on the patch grid.
        size: rows and columns of the image.
        threshold: of a class's maximum over the pixels.

    Returns:
        (N, h, w) with zeros for those classes.
    """
    loud = probabilities.flatten(1).amax(dim=1) >= threshold - MARGIN
    candidates = loud.nonzero()[:, 0]
    for start, part in upsampled(probabilities[candidates], size):
        loud[candidates[start : start + len(part)]] = part.flatten(1).amax(dim=1) >= threshold
    return probabilities * loud[:, None, None]


def predict(probabilities: torch.Tensor, size: tuple[int, int]) -> Prediction:
    """The likeliest class of each pixel, by bilinear interpolation of the probabilities.

    Args:
        probabilities: (N, h, w) on the patch grid; 0 classes leave every pixel unlabelled.
        size: (H, W) of the image.
    """
    confidence = probabilities.new_zeros(size)
    labels = torch.zeros(size, dtype=torch.int32, device=probabilities.device)
    candidates = _possible_winners(probabilities)
    for start, part in upsampled(probabilities[candidates], size):
        value, index = part.max(dim=0)
        better = value > confidence
        confidence = torch.where(better, value, confidence)
        labels = torch.where(better, candidates[start + index].int() + 1, labels)
    return Prediction(labels, confidence)


def _possible_winners(probabilities: torch.Tensor) -> torch.Tensor:
    """Indices of the classes that may be the likeliest somewhere between four neighbouring cells.

    There a class has at most the largest of its four values, and the winner at least the smallest of its own.
    """
    if not len(probabilities):
        return torch.zeros(0, dtype=torch.int64, device=probabilities.device)
    # Beyond the outermost cells, interpolation repeats them.
    cells = functional.pad(probabilities[None], (1, 1, 1, 1), mode="replicate")
    most, least = functional.max_pool2d(cells, 2, 1)[0], -functional.max_pool2d(-cells, 2, 1)[0]
    may_win = (most > 0) & (most >= least.amax(dim=0) - MARGIN)
    return may_win.flatten(1).any(dim=1).nonzero()[:, 0]
