"""The RADSeg backend: photographs of the real world, with weights that users fetch."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.device import resolve_device
from ovseg_ros.segmentation.radseg.checkpoint import Checkpoint, read_checkpoint
from ovseg_ros.segmentation.radseg.config import RadsegConfig, read_config
from ovseg_ros.segmentation.radseg.encoder import RadsegEncoder
from ovseg_ros.segmentation.radseg.labelling import class_probabilities, denoise, predict
from ovseg_ros.segmentation.radseg.locate import LICENCE, fetch_weights, find_weights, how_to_get
from ovseg_ros.segmentation.radseg.model import FEATURES, build_backbone, build_head, language_teacher, sam_teacher
from ovseg_ros.segmentation.radseg.refinement import MaskRefiner, sam_input_size
from ovseg_ros.segmentation.radseg.space import NAME, RadsegSpace, TextEncoder, make_space, space_id, text_model
from ovseg_ros.segmentation.radseg.windows import Windows
from ovseg_ros.segmentation.registry import BackendInfo
from ovseg_ros.types import Segmentation
from ovseg_ros.vocabulary import Vocabulary
from ovseg_ros.vocabulary_file import VocabularyFile


class RadsegSegmenter:
    """Colour images to RADIO's features, as RADSeg makes them dense.

    Args:
        checkpoint: RADIO's weights.
        texts: of the SigLIP2 that it learnt from.
        config: settings; its `weights` are those of ``checkpoint``.
        device: ``auto``, ``cpu`` or ``cuda``.
        refiner: redraws the labels of single images, on the same device; None leaves them as they are.
        vocabulary: what maps are asked about by default; None takes the classes of the settings.

    Raises:
        OvsegError: if the weights, the settings or the device can't be used.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        texts: TextEncoder,
        config: RadsegConfig,
        device: str = "auto",
        refiner: MaskRefiner | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self._device = torch.device(resolve_device(device))
        self._space = make_space(checkpoint, texts)
        self._vocabulary = vocabulary or Vocabulary.from_names(config.classes)
        backbone = build_backbone(checkpoint)
        windows = Windows(config.crop, config.stride, backbone.config.patch)
        self._encoder = RadsegEncoder(
            backbone.to(self._device), windows, _dtype(config, self._device), compile=config.compile
        )
        self._refiner = refiner
        self._sam_head = build_head(checkpoint, sam_teacher(checkpoint), FEATURES).to(self._device) if refiner else None

    @property
    def space(self) -> RadsegSpace:
        """Words in the space of these weights."""
        return self._space

    @property
    def vocabulary(self) -> Vocabulary:
        """The one it was given, or the classes in the settings."""
        return self._vocabulary

    @torch.inference_mode()
    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        """Segment one image.

        Args:
            rgb: (H, W, 3) uint8 on any device, at least a patch of 16 pixels on each side.

        Returns:
            (C, h, w) float32 features on the segmenter's device (C is 768 for C-RADIOv3-B), not of unit norm and not in
            the space of texts: `space.align` takes them there. The grid spans the image, one cell per patch.

        Raises:
            OvsegError: if it isn't such an image.
        """
        images = self._images(rgb)
        return Segmentation(self._encoder(images)[0].contiguous(), self._space.id)

    @torch.inference_mode()
    def classify(self, rgb: torch.Tensor, words: torch.Tensor, owners: torch.Tensor | None = None) -> torch.Tensor:
        """Label one image as RADSeg does: softmax over concepts, those seen nowhere silenced, outlines redrawn if set.

        Args:
            rgb: as of a call.
            words: (N, D) embeddings.
            owners: (N,) int64 in rising order from 0, the concept of each word; None: each is one of its own.

        Returns:
            (H, W) int32: 0 where every concept was silenced, i + 1 for the i-th concept.

        Raises:
            OvsegError: as of a call.
        """
        images = self._images(rgb)
        size = (rgb.shape[0], rgb.shape[1])
        features = self._encoder(images)[0]
        aligned = self._space.align(features.flatten(1).T).T.reshape(-1, *features.shape[1:])
        probabilities = denoise(class_probabilities(aligned, words, owners), size)
        if self._refiner is None or self._sam_head is None:
            return predict(probabilities, size).labels
        frame = functional.interpolate(images, sam_input_size(*size), mode="bilinear", align_corners=False)
        sam_features = self._sam_head(self._encoder.whole(frame)[0]).permute(2, 0, 1)
        return self._refiner(sam_features, probabilities, size).labels

    def _images(self, rgb: torch.Tensor) -> torch.Tensor:
        """(H, W, 3) uint8 -> (1, 3, H, W) float32 in 0..1 on the segmenter's device."""
        if rgb.dtype != torch.uint8 or rgb.dim() != 3 or rgb.shape[2] != 3:
            raise OvsegError(f"a colour image is (H, W, 3) uint8, got {tuple(rgb.shape)} {rgb.dtype}")
        height, width = rgb.shape[:2]
        if min(height, width) < self._encoder.patch:
            raise OvsegError(
                f"an image needs at least {self._encoder.patch} pixels on each side, got {width}x{height}: "
                "it is smaller than a patch"
            )
        return rgb.to(self._device).permute(2, 0, 1)[None].float() / 255


def describe() -> BackendInfo:
    """What `ovseg backends` shows."""
    try:
        weights = read_config().weights
        found = find_weights(weights)
        place = str(found) if found else f"missing: {how_to_get(weights)}"
    except OvsegError as error:
        found, place = None, str(error)
    return BackendInfo(
        name=NAME,
        installed=found is not None,
        weights=place,
        licence=f"weights: {LICENCE}; code: Apache-2.0, our own, NVIDIA's non-commercial code is not used",
        summary="RADSeg on C-RADIO: dense open-vocabulary features of photographs, for a GPU",
    )


def load(device: str, vocabulary: VocabularyFile | None = None) -> RadsegSegmenter:
    """The segmenter of the settings, or of another vocabulary than theirs; downloads weights that aren't here yet."""
    config = read_config()
    checkpoint = read_checkpoint(fetch_weights(config.weights))
    refiner = MaskRefiner.load(config.sam_model, device=resolve_device(device)) if config.refine else None
    words = vocabulary.vocabulary if vocabulary else None
    return RadsegSegmenter(checkpoint, _texts(checkpoint, config, device), config, device, refiner, words)


def language_space(space_id: str) -> RadsegSpace:
    """The space of the weights in the settings.

    Raises:
        OvsegError: if ``space_id`` names other weights.
    """
    return _language_space(space_id, read_config())


@lru_cache(maxsize=1)
def _language_space(wanted: str, config: RadsegConfig) -> RadsegSpace:
    path = fetch_weights(config.weights)
    if space_id(path) != wanted:
        raise OvsegError(
            f"the map's features are of {wanted!r}, the weights {config.weights} give {space_id(path)!r}: "
            "set `weights` to those of the map, or build the map again"
        )
    checkpoint = read_checkpoint(path)
    return make_space(checkpoint, _texts(checkpoint, config, resolve_device()))


def _texts(checkpoint: Checkpoint, config: RadsegConfig, device: str) -> TextEncoder:
    from ovseg_ros.segmentation.radseg.text import SiglipText

    model = text_model(language_teacher(checkpoint), config.text_model)
    return SiglipText.load(model, templates=config.templates, device=device)


def _dtype(config: RadsegConfig, device: torch.device) -> torch.dtype:
    if config.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if config.dtype == "bfloat16" else torch.float32
