"""Scores at the size of an image, without holding all classes at that size."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as functional

UPSAMPLED_BYTES = 64 * 2**20
"""Of the classes that are interpolated to the size of the image at a time."""


def upsampled(probabilities: torch.Tensor, size: tuple[int, int]) -> Iterator[tuple[int, torch.Tensor]]:
    """(N, h, w) at the size of the image, some classes at a time: index of the first, (n, H, W)."""
    step = max(1, UPSAMPLED_BYTES // (4 * size[0] * size[1]))
    for start in range(0, len(probabilities), step):
        part = probabilities[start : start + step][None]
        yield start, functional.interpolate(part, size, mode="bilinear", align_corners=False)[0]
