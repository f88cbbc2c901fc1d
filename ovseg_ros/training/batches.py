"""What a training run is decided by, and the batches that follow from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from ovseg_ros.segmentation.openseg.model import OpenSegConfig
from ovseg_ros.training.augmentation import Augmentation, random_colours, random_views
from ovseg_ros.training.room_images import RoomImages, View

STATISTICS_VIEWS = 400
RESCAN_STEPS = 200
RNG_STRIDE = 1_000_003
"""Prime: keeps the random streams of different seeds apart."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the outcome of a run besides the data.

    Attributes:
        steps: optimiser steps.
        seed: of weights, samples, augmentation and words.
        batch: images per step.
        crop: columns and rows of the crops that most steps train on, multiples of 4.
        full_share: last share of the steps, trained on whole images at the model's working size.
        learning_rate, weight_decay, warmup: of AdamW; the rate rises over ``warmup`` steps, then falls as a cosine.
        cells: cells per image that the cell losses look at.
        average: decay of the running average of the weights, which is what is saved.
        caption_keep: probability of a word to stay in an image's caption.
        grounding_weight: of the caption loss; mask, region and cell losses weigh 1.
        model: sizes.
        augmentation: variation of the images.
    """

    steps: int
    seed: int = 0
    batch: int = 12
    crop: tuple[int, int] = (160, 120)
    full_share: float = 0.2
    learning_rate: float = 8e-4
    weight_decay: float = 0.03
    warmup: int = 200
    cells: int = 512
    average: float = 0.998
    caption_keep: float = 0.75
    grounding_weight: float = 0.1
    model: OpenSegConfig = field(default_factory=OpenSegConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def whole_image(self, step: int) -> bool:
        """Whether this step trains on whole images."""
        return step >= self.steps * (1 - self.full_share)

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        progress = step / max(self.steps, 1)
        warm = min(1.0, (step + 1) / self.warmup)
        return self.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


@dataclass(frozen=True)
class Batch:
    """Images (B, 3, H, W) in 0..1, and instance ids and class indices (B, P) of their cells."""

    images: torch.Tensor
    segments: torch.Tensor
    labels: torch.Tensor


def step_generator(settings: Settings, step: int, purpose: int) -> torch.Generator:
    """The source of randomness for one purpose in one step."""
    return torch.Generator().manual_seed((settings.seed * RNG_STRIDE + step) * 2 + purpose)


def make_batch(views: list[View], settings: Settings, step: int) -> Batch:
    """Draw, decode and vary the images of a step."""
    seed = step_generator(settings, step, 0)
    chosen = torch.randint(len(views), (settings.batch,), generator=seed)
    decoded = [views[int(index)].decode() for index in chosen]
    images = torch.stack([rgb for rgb, _, _ in decoded]).float() / 255
    segments = torch.stack([ids for _, ids, _ in decoded])
    labels = torch.stack([ids for _, _, ids in decoded]) - 1
    zoom, size = settings.augmentation.zoom, (settings.crop[1], settings.crop[0])
    if settings.whole_image(step):
        height, width = images.shape[-2:]
        size = settings.model.working_size(height, width)
        zoom = (size[0] / height, 1.1 * size[0] / height)
    images, segments, labels = random_views(images, segments, labels, size, zoom, seed)
    images = random_colours(images, settings.augmentation, seed)
    return Batch(images.contiguous(memory_format=torch.channels_last), segments, labels)


def batches(data: RoomImages, settings: Settings, first: int) -> Iterator[Batch]:
    """The batches of all steps from ``first`` on, each made while the one before is trained on."""
    with ThreadPoolExecutor(1) as worker:
        views = data.views()
        upcoming = worker.submit(make_batch, views, settings, first)
        for step in range(first, settings.steps):
            batch = upcoming.result()
            if (step + 1) % RESCAN_STEPS == 0:
                data.rescan()
                views = data.views()
            if step + 1 < settings.steps:
                upcoming = worker.submit(make_batch, views, settings, step + 1)
            yield batch


def class_weights(views: list[View], classes: int) -> torch.Tensor:
    """(C,) weights with which cells are drawn: one over the square root of a class's share of the pixels."""
    counts = torch.zeros(classes + 1)
    for view in views[:: max(1, len(views) // STATISTICS_VIEWS)]:
        counts += torch.bincount(view.decode()[2].flatten(), minlength=classes + 1)
    share = counts[1:] / counts[1:].sum().clamp(min=1)
    return (share + 1e-4) ** -0.5
