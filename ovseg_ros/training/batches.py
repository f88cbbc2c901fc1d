"""What a training run is decided by, and the batches that follow from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.openseg.model import COLOURS, OpenSegConfig, depth_planes
from ovseg_ros.training.augmentation import Augmentation, random_colours, random_depths, random_views
from ovseg_ros.training.losses import UNNAMED
from ovseg_ros.training.views import MAX_CLASSES, View, read_views

MIN_PIXELS = 60
"""A class is in a view if it covers at least this many pixels of it."""
WHOLE_ZOOM = 1.1
"""Largest zoom of whole images: a little of their border is cut off."""
RNG_STRIDE = 1_000_003
"""Prime: keeps the random streams of different seeds apart."""


@dataclass(frozen=True)
class LossWeights:
    """What each loss counts; 0 leaves it out.

    The paper's objective is ``LossWeights(mask=ALPHA, region=0, cell=0, spread=0, grounding=1)``.

    Attributes:
        mask: Dice of every segment with its best proposal, the paper's L_S.
        region: cross-entropy of the features of these best proposals.
        cell: cross-entropy of single cells' features.
        spread: cross-entropy of cells as the regions that cover them say.
        grounding: images and captions find each other in the batch, the paper's L_G.
    """

    mask: float = 1.0
    region: float = 1.0
    cell: float = 1.0
    spread: float = 1.0
    grounding: float = 0.1

    def __post_init__(self) -> None:
        values = asdict(self)
        if min(values.values()) < 0 or not sum(values.values()) > 0:
            raise OvsegError(f"the losses weigh {values}: none may be below 0, and one must be above")


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
        repeat_below: classes that are in a smaller share of the views are shown more often, see `repeat_factors`.
        caption_keep: probability of a word to stay in an image's caption.
        caption_temperature: of the grounding loss's softmax over the batch; None learns it with that of the classes.
        attention_temperature: of a word's softmax over the regions; None takes the one above. The paper has 1.
        losses: what each of them counts.
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
    repeat_below: float = 0.2
    caption_keep: float = 0.75
    caption_temperature: float | None = None
    attention_temperature: float | None = None
    losses: LossWeights = field(default_factory=LossWeights)
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
    """The images of a step and what is known of them.

    Attributes:
        images: (B, 3 or 5, H, W), what the model takes.
        segments: (B, P) instance ids of their cells.
        labels: (B, P) class indices, UNNAMED or IGNORED.
        captions: (B, MAX_CLASSES) bool, which classes the caption names; without one, those that the crop shows.
    """

    images: torch.Tensor
    segments: torch.Tensor
    labels: torch.Tensor
    captions: torch.Tensor


def step_generator(settings: Settings, step: int, purpose: int) -> torch.Generator:
    """The source of randomness for one purpose in one step."""
    return torch.Generator().manual_seed((settings.seed * RNG_STRIDE + step) * 2 + purpose)


def make_batch(views: list[View], repeats: torch.Tensor, settings: Settings, step: int) -> Batch:
    """Draw, decode and vary the images of a step; a view is drawn in proportion to its entry in ``repeats``."""
    seed = step_generator(settings, step, 0)
    chosen = torch.multinomial(repeats, settings.batch, replacement=True, generator=seed)
    decoded = [views[int(index)].decode() for index in chosen]
    images = torch.stack([rgb for rgb, _, _ in decoded]).float() / 255
    if settings.model.depth:
        depth = torch.stack([views[int(index)].decode_depth() for index in chosen])
        images = torch.cat((images, depth_planes(depth)), dim=1)
    segments = torch.stack([ids for _, ids, _ in decoded])
    labels = torch.stack([ids for _, _, ids in decoded]) - 1
    labels = labels.masked_fill((labels < 0) & (segments > 0), UNNAMED)
    height, width = images.shape[-2:]
    whole = settings.model.working_size(height, width)
    size, (low, high) = (settings.crop[1], settings.crop[0]), settings.augmentation.zoom
    if settings.whole_image(step):
        size, low, high = whole, 1.0, WHOLE_ZOOM
    scale = whole[0] / height
    images, segments, labels = random_views(images, segments, labels, size, (low * scale, high * scale), seed)
    colours, depths = images[:, :COLOURS], images[:, COLOURS:]
    images = random_colours(colours, settings.augmentation, seed)
    if settings.model.depth:
        images = torch.cat((images, random_depths(depths, settings.augmentation, seed)), dim=1)
    captions = torch.zeros(len(images), MAX_CLASSES + 1, dtype=torch.bool).scatter_(1, labels.clamp(min=-1) + 1, True)
    for row, index in enumerate(chosen.tolist()):
        if (named := views[index].caption) is not None:
            captions[row] = torch.zeros(MAX_CLASSES + 1, dtype=torch.bool).scatter_(0, torch.tensor(named).long(), True)
    return Batch(images.contiguous(memory_format=torch.channels_last), segments, labels, captions[:, 1:])


@dataclass(frozen=True)
class TrainingViews:
    """Views and, for each, the (C + 1,) pixel counts of its label ids: ``pixels`` is (V, C + 1) int64."""

    views: list[View]
    pixels: torch.Tensor

    @classmethod
    def load(cls, folder: Path, classes: int) -> TrainingViews:
        """Read the views in ``folder`` and count their labels.

        Raises:
            OvsegError: there is none, or one has a label beyond ``classes``.
        """
        views = read_views(folder)
        pixels = torch.stack([view.label_pixels() for view in views])
        captions = [max(view.caption) for view in views if view.caption]
        highest = max(int(pixels.sum(dim=0).nonzero().max()), *captions, 0)
        if highest > classes:
            raise OvsegError(f"{folder} has the label {highest}, but only {classes} classes: add them to classes.txt")
        return cls(views, pixels[:, : classes + 1])


def repeat_factors(pixels: torch.Tensor, repeat_below: float) -> torch.Tensor:
    """How often each view is shown relative to a view of common things only (Gupta et al. 2019, LVIS, section 5).

    A class in a share f of the views asks for max(1, sqrt(repeat_below / f)); a view gets the largest of its classes.

    Args:
        pixels: (V, C + 1) counts of each view's label ids, 0 = unlabelled.
        repeat_below: share of the views, 0 shows all views equally often.

    Returns:
        (V,) float32, at least 1.
    """
    present = pixels[:, 1:] >= MIN_PIXELS
    share = present.float().mean(dim=0).clamp(min=1 / len(pixels))
    wanted = (repeat_below / share).sqrt().clamp(min=1)
    return (present * wanted).amax(dim=1).clamp(min=1)


def class_weights(pixels: torch.Tensor) -> torch.Tensor:
    """(C,) weights with which cells are drawn: one over the square root of a class's share of all pixels."""
    counts = pixels[:, 1:].sum(dim=0).float()
    return (counts / counts.sum().clamp(min=1) + 1e-4) ** -0.5


def batches(data: TrainingViews, settings: Settings, first: int) -> Iterator[Batch]:
    """The batches of all steps from ``first`` on, each made while the one before is trained on."""
    repeats = repeat_factors(data.pixels, settings.repeat_below)
    # More threads here would fight with those of the training step.
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as worker:
        upcoming = worker.submit(make_batch, data.views, repeats, settings, first)
        for step in range(first, settings.steps):
            batch = upcoming.result()
            if step + 1 < settings.steps:
                upcoming = worker.submit(make_batch, data.views, repeats, settings, step + 1)
            yield batch
