"""Coarse regions of a prediction, each to be drawn anew by a mask decoder (RADSeg+)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as functional

from ovseg_ros.segmentation.upsampling import upsampled

LEAST_PROBABILITY = 0.10
"""A pixel below it belongs to no region."""

LEAST_AREA = 225
"""Pixels at half resolution."""


@dataclass(frozen=True)
class Regions:
    """R connected regions of one class, at half the image's resolution, on the CPU.

    Attributes:
        boxes: (R, 4) float32, outermost pixels: left, top, right, bottom.
        points: (R, 2) float32, column and row of the largest probability.
    """

    boxes: torch.Tensor
    points: torch.Tensor


def half_size(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the grid that regions are found on."""
    return size[0] // 2, size[1] // 2


def halved(probabilities: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(n, H, W) float -> (n, H // 2, W // 2)."""
    return functional.interpolate(probabilities[None], half_size(size), mode="bilinear", align_corners=False)[0]


def coarse_labels(probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Labels at half resolution, without what is improbable.

    Args:
        probabilities: (N, h, w) on the patch grid.
        labels: (H, W) int32 prediction from them.

    Returns:
        (H // 2, W // 2) int32.
    """
    size = (labels.shape[0], labels.shape[1])
    best = torch.zeros(half_size(size), device=labels.device)
    heard = probabilities.flatten(1).any(dim=1)
    for _, part in upsampled(probabilities[heard], size):
        best = torch.maximum(best, halved(part, size).amax(dim=0))
    coarse = functional.interpolate(labels[None, None].float(), half_size(size), mode="nearest")[0, 0].int()
    return torch.where(best < LEAST_PROBABILITY, 0, coarse)


def find_regions(mask: torch.Tensor, probability: torch.Tensor) -> Regions:
    """The 8-connected regions of one class.

    Args:
        mask: (rows, columns) bool at half resolution.
        probability: (rows, columns) float32 of the class.
    """
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.cpu().numpy().astype(np.uint8), connectivity=8)
    owner = torch.from_numpy(labels).flatten().long()
    values = probability.cpu().flatten()
    largest = torch.zeros(count).scatter_reduce(0, owner, values, "amax")
    at_largest = (values == largest[owner]).nonzero()[:, 0]
    first = torch.full((count,), len(values)).scatter_reduce(0, owner[at_largest], at_largest, "amin")
    left, top, width, height, area = torch.from_numpy(statistics).unbind(1)
    boxes = torch.stack((left, top, left + width - 1, top + height - 1), dim=1)
    points = torch.stack((first % mask.shape[1], first // mask.shape[1]), dim=1)
    large = area >= LEAST_AREA
    large[0] = False  # what is outside the mask
    return Regions(boxes[large].float(), points[large].float())
