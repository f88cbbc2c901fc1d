"""The masks of a concept in an image: the true ones, and those that a segmenter finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation import PixelLabeller
from ovseg_ros.types import Segmentation, Segmenter
from ovseg_ros.vocabulary import normalise

Masks = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelledView:
    """One image with its truth.

    Attributes:
        rgb: (H, W, 3) uint8.
        labels: (H, W) label ids, 0 = unlabelled.
        class_names: label id i + 1 is ``class_names[i]``.
        instances: (H, W) ids of things, where the truth tells things of one class apart.
    """

    rgb: torch.Tensor
    labels: NDArray[np.int32]
    class_names: tuple[str, ...]
    instances: NDArray[np.int32] | None = None

    def masks(self, concept: str) -> Masks:
        """(T, H, W) of the classes with this name: one for each thing, or one for all; none where it isn't there."""
        ids = [index + 1 for index, name in enumerate(self.class_names) if normalise(name) == concept]
        region = np.isin(self.labels, ids)
        if self.instances is None:
            return region[None][: int(region.any())]
        things = np.unique(self.instances[region])
        return region & (self.instances == things[:, None, None])


class ConceptFinder:
    """Looks for concepts in images.

    A concept's masks are the segmenter's instances of that name. Where it gives none, its region is its one mask: the
    pixels where its score is high enough, or, of a segmenter whose channels aren't scores of concepts, those that
    `PixelLabeller` gives its label to.

    Args:
        segmenter: any backend.
        concepts: what to look for.
        min_score: of an instance, of a concept at a pixel, or the confidence of a label there.
    """

    def __init__(self, segmenter: Segmenter, concepts: Sequence[str], min_score: float) -> None:
        self._segmenter = segmenter
        self._concepts = tuple(concepts)
        self._min_score = min_score
        self._labeller: PixelLabeller | None = None

    def __call__(self, rgb: torch.Tensor) -> Iterator[Masks]:
        """(H, W, 3) uint8 -> for each concept (P, H, W), at least one mask, which may be empty.

        Raises:
            OvsegError: the segmenter can't be asked for one of them.
        """
        size = (rgb.shape[0], rgb.shape[1])
        segmentation = self._segmenter(rgb)
        instances = self._instances(segmentation, size)
        regions = self._scored(segmentation, size) if segmentation.concepts else self._labelled(segmentation, size)
        for concept, region in zip(self._concepts, regions, strict=True):
            yield np.stack(instances[concept]) if concept in instances else region[None]

    def _instances(self, segmentation: Segmentation, size: tuple[int, int]) -> dict[str, list[Masks]]:
        found: dict[str, list[Masks]] = defaultdict(list)
        for instance in segmentation.instances:
            if instance.score >= self._min_score:
                mask = functional.interpolate(instance.mask[None, None].float(), size, mode="nearest-exact")[0, 0]
                found[normalise(instance.label)].append((mask > 0).cpu().numpy())
        return found

    def _scored(self, segmentation: Segmentation, size: tuple[int, int]) -> Iterator[Masks]:
        channels = {name: index for index, name in enumerate(segmentation.concepts)}
        for concept in self._concepts:
            if concept not in channels:
                raise OvsegError(f"the model gives no score for {concept!r}: ask for {', '.join(channels)}")
            scores = segmentation.features[channels[concept]][None, None].float()
            fine = functional.interpolate(scores, size, mode="bilinear", align_corners=False)[0, 0]
            yield (fine >= self._min_score).cpu().numpy()

    def _labelled(self, segmentation: Segmentation, size: tuple[int, int]) -> Iterator[Masks]:
        if self._labeller is None:
            segmenter = self._segmenter
            self._labeller = PixelLabeller(segmenter.space, self._concepts, segmenter.vocabulary)
        found = self._labeller(segmentation, *size)
        labels = torch.where(found.confidence >= self._min_score, found.labels, 0).cpu().numpy()
        for index in range(len(self._concepts)):
            yield labels == index + 1
