"""How good a segmenter is in single images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.confusion import Confusion
from ovseg_ros.evaluation.labelling import label_pixels, pixel_logits
from ovseg_ros.types import RgbdFrame, Segmenter


@dataclass(frozen=True)
class ImageScores:
    """Pixels over many images.

    Attributes:
        open_choice: each pixel chooses among all class names.
        grounding: each pixel chooses among the names that its image really holds, as a caption would
            tell them (OpenSeg's Grounding mIoU).
        images: how many were counted.
    """

    open_choice: Confusion
    grounding: Confusion
    images: int


@torch.inference_mode()
def score_images(frames: Iterable[RgbdFrame], segmenter: Segmenter, class_names: tuple[str, ...]) -> ImageScores:
    """Segment each frame and compare with its ground-truth label image; frames are read once.

    Raises:
        OvsegError: a frame has no ground truth.
    """
    open_choice, grounding, images = Confusion.empty(class_names), Confusion.empty(class_names), 0
    for frame in frames:
        if frame.semantics is None:
            raise OvsegError("the frame has no ground-truth labels: choose a recording that has them")
        truth = frame.semantics.cpu().numpy()
        logits = pixel_logits(segmenter(frame.rgb), segmenter.space, class_names, *truth.shape)
        present = [int(label) for label in np.unique(truth) if label > 0]
        open_choice += Confusion.of(truth, label_pixels(logits), class_names)
        if present:
            grounding += Confusion.of(truth, label_pixels(logits, present), class_names)
        images += 1
    return ImageScores(open_choice, grounding, images)
