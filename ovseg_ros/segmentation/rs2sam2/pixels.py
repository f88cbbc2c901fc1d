"""Images as RS2-SAM2 reads them."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def normalised(rgb: torch.Tensor, side: int, device: torch.device) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, side, side) float32, stretched to a square and normalised as ImageNet's.

    Resized in bytes on the CPU, which is where torch rounds as Pillow does.
    """
    images = rgb.cpu().permute(2, 0, 1)[None]
    images = functional.interpolate(images, (side, side), mode="bilinear", antialias=True).to(device)
    mean, deviation = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    return (images.float() / 255.0 - mean) / deviation
