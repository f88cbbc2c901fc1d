"""The embedded default backend: OpenSeg trained on generated rooms, or with weights that users trained."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.device import fast_bfloat16, resolve_device
from ovseg_ros.segmentation.openseg.config import read_config
from ovseg_ros.segmentation.openseg.model import SHORTEST_SIDE, depth_planes
from ovseg_ros.segmentation.openseg.space import SPACE_NAME, WEIGHTS_FILE, OpenSegSpace
from ovseg_ros.segmentation.openseg.weights_file import load_weights
from ovseg_ros.segmentation.registry import BackendInfo
from ovseg_ros.types import Segmentation
from ovseg_ros.vocabulary import Vocabulary
from ovseg_ros.vocabulary_file import VocabularyFile


class OpenSegSegmenter:
    """Colour images to language features of the embedded model.

    Args:
        weights: file written by the training.
        device: ``auto``, ``cpu`` or ``cuda``.
        vocabulary: what maps are asked about by default; None takes the classes it was trained on.

    Raises:
        OvsegError: if the weights or the device can't be used.

    Example:
        >>> segmenter = OpenSegSegmenter(device="cpu")
        >>> segmenter(torch.zeros(240, 320, 3, dtype=torch.uint8)).features.shape
        torch.Size([256, 48, 64])
    """

    def __init__(
        self, weights: Path = WEIGHTS_FILE, device: str = "auto", vocabulary: Vocabulary | None = None
    ) -> None:
        self._device = torch.device(resolve_device(device))
        self._space = OpenSegSpace.of(weights)
        model, card = load_weights(weights)
        self._model = model.fold_norms().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._vocabulary = vocabulary or card.vocabulary
        self._bfloat16 = self._device.type == "cpu" and fast_bfloat16()
        if weights == WEIGHTS_FILE:
            _say_what_it_knows(weights)

    @property
    def space(self) -> OpenSegSpace:
        """Text in the feature space of these weights."""
        return self._space

    @property
    def vocabulary(self) -> Vocabulary:
        """The one it was given, or the classes it was trained on with their synonyms."""
        return self._vocabulary

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        """Segment one image.

        Args:
            rgb: (H, W, 3) uint8 on any device, at least 16 pixels on each side.

        Returns:
            (256, h, w) float32 features of unit norm on the segmenter's device; the grid spans the
            image with a quarter of the resized image's resolution.

        Raises:
            OvsegError: if it isn't such an image.
        """
        return self.with_depth(rgb, torch.zeros(rgb.shape[:2], device=rgb.device))

    @property
    def sees_depth(self) -> bool:
        """Whether the weights were trained with depth."""
        return self._model.config.depth

    @torch.inference_mode()
    def with_depth(self, rgb: torch.Tensor, depth: torch.Tensor) -> Segmentation:
        """Segment one image, looking at its depth, too, if the weights were trained with depth.

        Args:
            rgb: as without depth.
            depth: (H, W) metres; what is not finite or not positive is no reading.

        Returns:
            As without depth.

        Raises:
            OvsegError: if they aren't such images, of one size.
        """
        if rgb.dtype != torch.uint8 or rgb.dim() != 3 or rgb.shape[2] != 3:
            raise OvsegError(f"a colour image is (H, W, 3) uint8, got {tuple(rgb.shape)} {rgb.dtype}")
        if depth.shape != rgb.shape[:2] or not depth.is_floating_point():
            raise OvsegError(
                f"depth is {tuple(rgb.shape[:2])} metres, like the colour image, got {tuple(depth.shape)} {depth.dtype}"
            )
        height, width = rgb.shape[:2]
        if min(height, width) < SHORTEST_SIDE:
            raise OvsegError(f"an image needs at least {SHORTEST_SIDE} pixels on each side, got {width}x{height}")
        images = rgb.to(self._device).permute(2, 0, 1)[None].float() / 255
        if self._model.config.depth:
            images = torch.cat((images, depth_planes(depth.to(self._device, torch.float32)[None])), dim=1)
        size = self._model.config.working_size(height, width)
        if size != (height, width):
            images = functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            features = self._model.dense_features(self._model(images))[0]
        return Segmentation(features.float().contiguous(), self._space.id)


@cache
def _say_what_it_knows(weights: Path) -> None:
    logging.getLogger(__name__).warning(
        "openseg (%s) was trained on generated rooms only: expect it to label those, not photographs of the real world",
        weights.name,
    )


def describe() -> BackendInfo:
    """What `ovseg backends` shows."""
    try:
        weights = read_config().file
        present = weights.is_file()
        place = str(weights) if present else f"missing: {weights}"
    except OvsegError as error:
        present, place = False, str(error)
    return BackendInfo(
        name="openseg",
        installed=present,
        weights=place,
        licence="Apache-2.0 (text table distilled from all-MiniLM-L6-v2, Apache-2.0)",
        summary="small OpenSeg for generated rooms, runs on a CPU; demo-grade, does not know the real world",
    )


def load(device: str, vocabulary: VocabularyFile | None = None) -> OpenSegSegmenter:
    """The segmenter with the weights of the settings, and perhaps another vocabulary."""
    return OpenSegSegmenter(read_config().file, device, vocabulary.vocabulary if vocabulary else None)


def language_space(space_id: str) -> OpenSegSpace:
    """The space of the weights in the settings.

    Raises:
        OvsegError: if ``space_id`` names other weights.
    """
    weights = read_config().file
    space = OpenSegSpace.of(weights)
    if space.id != space_id:
        raise OvsegError(
            f"the map's features are of {space_id!r}, the {SPACE_NAME} weights in {weights} give {space.id!r}: "
            "build the map again, or name the weights that made it in OVSEG_OPENSEG_CONFIG or install their version"
        )
    return space
