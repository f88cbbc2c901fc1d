"""Scores of referring segmentation: shares of expressions found well enough, and intersections over unions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.refseg.samples import RefDataset
from ovseg_ros.types import Referrer

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
PUBLISHED_SIZE = 1024
"""Side of the square to which RS2-SAM2's authors squash masks before they compare them."""


@dataclass(frozen=True)
class RefScores:
    """Pixels of N expressions, from which every score follows.

    Attributes:
        intersections: (N,) int64 pixels in mask and truth.
        unions: (N,) int64 pixels in either.
    """

    intersections: NDArray[np.int64]
    unions: NDArray[np.int64]

    @property
    def ious(self) -> NDArray[np.float64]:
        """(N,) 0..1; 0 where truth and mask are empty both, as published."""
        return self.intersections / np.maximum(self.unions, 1)

    def table(self) -> dict[str, float]:
        """Pr@X: share of expressions with an IoU of at least X; mIoU: their mean; oIoU: of the sums of pixels."""
        ious = self.ious
        return {
            **{f"Pr@{threshold}": float((ious >= threshold).mean()) for threshold in THRESHOLDS},
            "oIoU": float(self.intersections.sum() / max(int(self.unions.sum()), 1)),
            "mIoU": float(ious.mean()),
        }


def evaluate(
    dataset: RefDataset,
    referrer: Referrer,
    *,
    limit: int | None = None,
    size: int = PUBLISHED_SIZE,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> RefScores:
    """Ask a model every expression of a split.

    Args:
        dataset: the split.
        referrer: the model.
        limit: use only so many samples, from the beginning.
        size: side of the square in which masks are compared, pixels.
        progress: wraps the numbers of the samples, as tqdm does.

    Raises:
        OvsegError: for a split without samples, or a file that can't be read.
    """
    samples = dataset.samples[:limit]
    if not samples:
        raise OvsegError("there are no expressions to ask about: check the split and --limit")
    counts = []
    for number in progress(range(len(samples))):
        sample = samples[number]
        image = cv2.imread(str(sample.image), cv2.IMREAD_COLOR)
        if image is None:
            raise OvsegError(f"the image {sample.image} can't be read: fetch it again")
        rgb = torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        mask = referrer.refer(rgb, [sample.expression], (size, size)).masks[0].cpu().numpy()
        truth = squashed(dataset.mask(sample), size)
        counts.append(((mask & truth).sum(), (mask | truth).sum()))
    intersections, unions = np.array(counts, dtype=np.int64).T
    return RefScores(intersections, unions)


def squashed(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """(H, W) -> (size, size): each pixel takes the one under its centre, as Pillow does."""
    rows, columns = (((2 * np.arange(size) + 1) * side) // (2 * size) for side in mask.shape)
    return mask[np.ix_(rows, columns)]
