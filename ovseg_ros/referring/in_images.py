"""A sentence and one image: what a model finds, as numbers that people read."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ovseg_ros.types import Referrer


@dataclass(frozen=True)
class ImageAnswer:
    """What an expression means in an image.

    Attributes:
        mask: (H, W) bool.
        score: 0..1, the model's.
        box: first column, first row, columns and rows of the mask in pixels; None for an empty mask.
        area: pixels of the mask.
    """

    mask: torch.Tensor
    score: float
    box: tuple[int, int, int, int] | None
    area: int


def find_in_image(rgb: torch.Tensor, referrer: Referrer, expression: str) -> ImageAnswer:
    """Ask a model about a (H, W, 3) uint8 image; errors as of `Referrer`."""
    found = referrer.refer(rgb, [expression])
    mask = found.masks[0].cpu()
    rows, columns = (mask.any(dim=axis).nonzero().squeeze(1) for axis in (1, 0))
    box = None
    if len(rows):
        left, top = int(columns[0]), int(rows[0])
        box = (left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1)
    return ImageAnswer(mask, float(found.scores[0]), box, int(mask.sum()))
