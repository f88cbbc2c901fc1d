"""Random crops and colours for a batch of images, on tensors, all images at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from ovseg_ros.segmentation.openseg.model import STRIDE
from ovseg_ros.training.losses import IGNORED


@dataclass(frozen=True)
class Augmentation:
    """How much images vary.

    Attributes:
        zoom: smallest and largest factor on the resolution that the model works at.
        brightness, contrast, saturation, gain, gamma: standard deviations of factors around 1,
            in natural logarithms; ``gain`` differs between the colour channels (white balance).
        hue: standard deviation of the rotation of colours around the grey axis, radians.
        noise: largest standard deviation of added noise, in 0..1.
        blur: largest share of the image replaced by its 3x3 mean.
        blind: share of the images that lose their depth.
        distance: standard deviation of the logarithm of a factor on an image's depth.
    """

    zoom: tuple[float, float] = (0.83, 1.13)
    brightness: float = 0.15
    contrast: float = 0.1
    saturation: float = 0.12
    gain: float = 0.05
    gamma: float = 0.1
    hue: float = 0.06
    noise: float = 0.03
    blur: float = 0.5
    blind: float = 0.25
    distance: float = 0.05


def random_views(
    images: torch.Tensor,
    segments: torch.Tensor,
    labels: torch.Tensor,
    size: tuple[int, int],
    zoom: tuple[float, float],
    seed: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A random crop of every image, half of them mirrored.

    Args:
        images: (B, C, H, W) float.
        segments: (B, H, W) int64 ids.
        labels: (B, H, W) int64 class indices.
        size: rows and columns of the result, multiples of STRIDE.
        zoom: smallest and largest factor on the resolution. Where the crop is larger than the
            image, the image's border is repeated and cells are IGNORED.
        seed: source of randomness.

    Returns:
        Images (B, C, *size), and segments and labels (B, P) at the centres of the model's cells.
    """
    batch, _, height, width = images.shape
    rows, columns = size
    low, high = (math.log(value) for value in zoom)
    scale = (low + (high - low) * torch.rand(batch, generator=seed)).exp()
    # Half sizes of the crop in units where the image spans -1..1; the centre moves in what is left over.
    half = torch.stack((columns / (scale * width), rows / (scale * height)), dim=1)
    centre = (2 * torch.rand(batch, 2, generator=seed) - 1) * (1 - half).clamp(min=0)
    mirror = 1 - 2 * (torch.rand(batch, generator=seed) < 0.5).float()
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = half[:, 0] * mirror, half[:, 1]
    theta[:, :, 2] = centre
    fine = functional.affine_grid(theta, [batch, 1, rows, columns], align_corners=False)
    coarse = functional.affine_grid(theta, [batch, 1, rows // STRIDE, columns // STRIDE], align_corners=False)
    pictures = functional.grid_sample(images, fine, padding_mode="border", align_corners=False)
    inside = (coarse.abs() <= 1).all(dim=-1)
    column = ((coarse[..., 0] + 1) * width / 2).long().clamp(0, width - 1)
    row = ((coarse[..., 1] + 1) * height / 2).long().clamp(0, height - 1)
    cell = (row * width + column).flatten(1)
    cell_labels = labels.flatten(1).gather(1, cell).masked_fill(~inside.flatten(1), IGNORED)
    return pictures, segments.flatten(1).gather(1, cell), cell_labels


def random_colours(images: torch.Tensor, amount: Augmentation, seed: torch.Generator) -> torch.Tensor:
    """Another camera and another light: (B, 3, H, W) float in 0..1 -> the same, changed image by image."""
    batch = len(images)

    def factor(spread: float, channels: int = 1) -> torch.Tensor:
        return (spread * torch.randn(batch, channels, generator=seed)).exp()

    images = images ** factor(amount.gamma)[:, :, None, None]
    softness = amount.blur * torch.rand(batch, 1, 1, 1, generator=seed) ** 2
    images = images + softness * (functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False) - images)
    matrix = colour_rotation(amount.hue * torch.randn(batch, generator=seed), factor(amount.saturation)[:, 0])
    contrast = factor(amount.contrast)
    matrix = matrix * (factor(amount.gain, 3) * factor(amount.brightness) * contrast)[:, :, None]
    mean = images.mean(dim=(2, 3))
    offset = (matrix @ mean[:, :, None])[:, :, 0] * (1 - contrast) / contrast
    images = torch.einsum("bij,bjhw->bihw", matrix, images) + offset[:, :, None, None]
    noise = amount.noise * torch.rand(batch, 1, 1, 1, generator=seed) ** 2
    return (images + noise * torch.randn(images.shape, generator=seed)).clamp(0, 1)


def random_depths(planes: torch.Tensor, amount: Augmentation, seed: torch.Generator) -> torch.Tensor:
    """Another focal length, or no depth camera: (B, 2, H, W) of `depth_planes` -> the same, changed image by image."""
    batch = len(planes)
    read = planes[:, 1:] * (torch.rand(batch, 1, 1, 1, generator=seed) >= amount.blind)
    shift = amount.distance * torch.randn(batch, 1, 1, 1, generator=seed)
    return torch.cat(((planes[:, :1] + shift * read) * (read > 0), read), dim=1)


def colour_rotation(angle: torch.Tensor, saturation: torch.Tensor) -> torch.Tensor:
    """Matrices (B, 3, 3) that turn RGB by ``angle`` (B,) around the grey axis and scale the distance from it."""
    grey = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    turn = angle.cos()[:, None, None] * (torch.eye(3) - grey) + angle.sin()[:, None, None] * cross
    return grey + saturation[:, None, None] * turn
