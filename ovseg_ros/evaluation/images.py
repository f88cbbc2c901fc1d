"""How good a segmenter is in single images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.evaluation.confusion import Confusion
from ovseg_ros.evaluation.labelling import ImageLabeller


@dataclass(frozen=True)
class LabelledImage:
    """One image with its truth.

    Attributes:
        rgb: (H, W, 3) uint8.
        labels: (H, W) label ids; 0 = unlabelled.
    """

    rgb: torch.Tensor
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class ImageScores:
    """Pixels over many images.

    Attributes:
        open_choice: each pixel chooses among all classes.
        grounding: each pixel chooses among the classes that its image really holds, as a caption would
            tell them (OpenSeg's Grounding mIoU).
        images: how many were counted.
    """

    open_choice: Confusion
    grounding: Confusion
    images: int


def score_images(images: Iterable[LabelledImage], labeller: ImageLabeller) -> ImageScores:
    """Label each image and compare with its truth; images are read once.

    Raises:
        OvsegError: the backend can't take an image or a word.
    """
    names = labeller.classes.names
    everything = range(1, len(names) + 1)
    open_choice, grounding, count = Confusion.empty(names), Confusion.empty(names), 0
    for image in images:
        present = [int(label) for label in np.unique(image.labels) if label > 0]
        if present:
            chosen, grounded = labeller(image.rgb, (everything, present))
            open_choice += Confusion.of(image.labels, chosen, names)
            grounding += Confusion.of(image.labels, grounded, names)
        count += 1
    return ImageScores(open_choice, grounding, count)
