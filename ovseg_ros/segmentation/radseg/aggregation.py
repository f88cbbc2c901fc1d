"""Self-correlating global aggregation (RADSeg, SCGA): cells of the fused map share what similar cells say."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from ovseg_ros.segmentation.radseg.correlation import aggregate_similar

SCGA_SHARPNESS = 10.0
"""RADSeg's `scga_scaling`."""

ROUNDING = 1e-6
"""How far the cosine of a vector with itself may be from 1."""


def aggregate_globally(features: torch.Tensor) -> torch.Tensor:
    """Every cell becomes a mean of the cells more similar to it than two cells of its image are on average.

    The mean cosine of all pairs is the squared norm of the mean direction, so no (N, N) matrix is summed for it. Each
    image has its own: the reference takes one mean over the batch.

    Args:
        features: (B, C, h, w) float32.

    Returns:
        (B, C, h, w) float32.
    """
    cells = features.flatten(2).transpose(1, 2).contiguous()
    directions = functional.normalize(cells, dim=-1)
    # Where all cells are alike, rounding must not leave a cell without even itself.
    mean_cosine = directions.mean(dim=1).square().sum(dim=-1).clamp(max=1 - ROUNDING)
    return aggregate_similar(directions, cells, SCGA_SHARPNESS, mean_cosine).transpose(1, 2).reshape(features.shape)
