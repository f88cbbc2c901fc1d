"""The best class name for each pixel of a segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.types import LanguageSpace, Segmentation


def pixel_logits(
    segmentation: Segmentation, space: LanguageSpace, class_names: Sequence[str], height: int, width: int
) -> torch.Tensor:
    """(K, height, width) cosine between each pixel and each class name, bilinear between grid cells."""
    channels, rows, columns = segmentation.features.shape
    aligned = space.align(segmentation.features.reshape(channels, rows * columns).T)
    cosines = (aligned @ _texts(space, class_names, aligned.device).T).T.reshape(1, -1, rows, columns)
    return torch.nn.functional.interpolate(cosines, (height, width), mode="bilinear", align_corners=False)[0]


def label_pixels(logits: torch.Tensor, allowed: Sequence[int] | None = None) -> NDArray[np.int32]:
    """(K, H, W) logits -> (H, W) label ids; ``allowed`` names the label ids that may be chosen."""
    if allowed is not None:
        banned = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        banned[torch.as_tensor(allowed, device=logits.device) - 1] = False
        logits = logits.masked_fill(banned[:, None, None], -torch.inf)
    return (logits.argmax(dim=0) + 1).int().cpu().numpy()


def _texts(space: LanguageSpace, class_names: Sequence[str], device: torch.device) -> torch.Tensor:
    return space.encode_text(list(class_names)).to(device)
