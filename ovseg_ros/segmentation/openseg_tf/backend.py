"""The released OpenSeg as a backend: photographs of the real world, with weights that users fetch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.device import resolve_device
from ovseg_ros.segmentation.model_folder import files_digest
from ovseg_ros.segmentation.openseg_tf.config import OpenSegTfConfig, read_config
from ovseg_ros.segmentation.openseg_tf.saved_model import INSTALL, WIDTH, Graph, SavedModel, how_to_get
from ovseg_ros.segmentation.openseg_tf.text import ClipText
from ovseg_ros.segmentation.registry import BackendInfo
from ovseg_ros.types import Segmentation
from ovseg_ros.vocabulary import Vocabulary
from ovseg_ros.vocabulary_file import VocabularyFile

NAME = "openseg_tf"
LOGIT_SCALE = 100.0
"""CLIP's; OpenSeg's own temperature was not published."""

SAME_MEANING_COSINE = 0.9
"""A guess: no real weights were at hand to measure it with."""

STRIDE = 4
"""Of the features before the graph scales them up to pixels (OpenSeg, section 3.1)."""

NO_FEATURE = 1e-6
"""Where no region covers a pixel, the length of its feature is 0."""


class Texts(Protocol):
    """Texts in the space of the features."""

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """N texts -> (N, 768) float32 on the CPU, unit norm."""

    def encode_sentences(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences, each as it stands -> the same."""


class OpenSegTfSpace:
    """The LanguageSpace of one SavedModel: CLIP's texts."""

    def __init__(self, id: str, texts: Texts) -> None:
        self._id = id
        self._texts = texts

    @property
    def id(self) -> str:
        """``openseg_tf/``, the output's name and a digest of the model's files."""
        return self._id

    @property
    def logit_scale(self) -> float:
        """Not learned here."""
        return LOGIT_SCALE

    @property
    def same_meaning(self) -> float:
        """Not measured yet."""
        return SAME_MEANING_COSINE

    @property
    def compares_directly(self) -> bool:
        """Texts lie in the space of the features, so that maps are searched as they are stored."""
        return True

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """N texts -> (N, 768) float32 on the CPU, unit norm."""
        vectors = self._texts.encode(texts)
        if vectors.shape[1] != WIDTH:
            raise OvsegError(
                f"the text model gives {vectors.shape[1]} numbers and OpenSeg has {WIDTH}: "
                "set text_model to CLIP ViT-L/14@336"
            )
        return vectors

    def encode_sentences(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences, each as it stands -> (N, 768) float32 on the CPU, unit norm: for evaluation protocols."""
        return self._texts.encode_sentences(sentences)

    def align(self, features: torch.Tensor) -> torch.Tensor:
        """(V, 768) fused features -> the same, float32 and of unit norm, or zero where they are zero."""
        return functional.normalize(features.float(), dim=-1)


class OpenSegTfSegmenter:
    """Colour images to the features of the released OpenSeg.

    Args:
        graph: runs the model.
        space: of its features.
        vocabulary: what maps are asked about by default.
        device: where the features go.
    """

    def __init__(self, graph: Graph, space: OpenSegTfSpace, vocabulary: Vocabulary, device: str) -> None:
        self._graph = graph
        self._space = space
        self._vocabulary = vocabulary
        self._device = torch.device(device)

    @property
    def space(self) -> OpenSegTfSpace:
        """Words in the space of these weights."""
        return self._space

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes in the settings."""
        return self._vocabulary

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        """Segment one image.

        Args:
            rgb: (H, W, 3) uint8 on any device.

        Returns:
            (768, h, w) float16 features of unit norm on the segmenter's device, every fourth of the graph's output;
            zero where no region was, so that nothing is averaged in there.

        Raises:
            OvsegError: if it isn't such an image, or the graph fails.
        """
        if rgb.dtype != torch.uint8 or rgb.dim() != 3 or rgb.shape[2] != 3 or not rgb.numel():
            raise OvsegError(f"a colour image is (H, W, 3) uint8, got {tuple(rgb.shape)} {rgb.dtype}")
        # PNG keeps every pixel; OpenCV writes blue first.
        picture = cv2.imencode(".png", np.ascontiguousarray(rgb.cpu().numpy()[:, :, ::-1]))[1].tobytes()
        features, info = self._graph(picture)
        height, width = (int(size * scale) for size, scale in zip(info[0], info[2], strict=True))
        if not (0 < height <= features.shape[0] and 0 < width <= features.shape[1] and features.shape[2] == WIDTH):
            raise OvsegError(
                f"OpenSeg's image of {height}x{width} doesn't lie in its features {features.shape}: "
                "check the SavedModel"
            )
        rows, columns = (_every_fourth(size) for size in (height, width))
        chosen = torch.from_numpy(features[rows[:, None], columns]).to(self._device)
        norms = chosen.norm(dim=-1, keepdim=True)
        unit = torch.where(norms > NO_FEATURE, chosen / norms.clamp(min=NO_FEATURE), 0.0)
        return Segmentation(unit.permute(2, 0, 1).half().contiguous(), self._space.id)


def describe() -> BackendInfo:
    """What `ovseg backends` shows."""
    try:
        folder = _folder(read_config())
        found = (folder / "saved_model.pb").is_file()
        place = str(folder) if found else f"missing: {how_to_get()}"
    except OvsegError as error:
        found, place = False, str(error)
    library = find_spec("tensorflow") is not None
    return BackendInfo(
        name=NAME,
        installed=found and library,
        weights=place if library else f"{place}; TensorFlow is missing: {INSTALL}",
        licence="weights: Apache-2.0 (OpenSeg), MIT (CLIP); code: Apache-2.0, our own",
        summary="OpenSeg as it was released, through TensorFlow: dense open-vocabulary features of photographs",
    )


def load(device: str, vocabulary: VocabularyFile | None = None) -> OpenSegTfSegmenter:
    """The segmenter of the settings, and perhaps another vocabulary."""
    config = read_config()
    graph = SavedModel(_folder(config), config.feature, gpu=config.gpu)
    space = OpenSegTfSpace(_space_id(config), ClipText.load(config.text_model, device))
    words = vocabulary.vocabulary if vocabulary else Vocabulary.from_names(config.classes)
    return OpenSegTfSegmenter(graph, space, words, device)


def language_space(space_id: str) -> OpenSegTfSpace:
    """The space of the weights in the settings.

    Raises:
        OvsegError: if ``space_id`` names other weights.
    """
    return _language_space(space_id, read_config())


@lru_cache(maxsize=1)
def _language_space(wanted: str, config: OpenSegTfConfig) -> OpenSegTfSpace:
    ours = _space_id(config)
    if wanted != ours:
        raise OvsegError(
            f"the map's features are of {wanted!r}, the settings give {ours!r}: "
            "set saved_model and feature to those of the map, or build the map again"
        )
    return OpenSegTfSpace(ours, ClipText.load(config.text_model, resolve_device()))


def _folder(config: OpenSegTfConfig) -> Path:
    return Path(config.saved_model).expanduser()


def _space_id(config: OpenSegTfConfig) -> str:
    folder = _folder(config)
    files = [path for path in folder.rglob("*") if path.is_file()]
    if not files:
        raise OvsegError(f"there is no SavedModel in {folder}: {how_to_get()}")
    return f"{NAME}/{config.feature}-{files_digest(files)[:12]}"


def _every_fourth(size: int) -> torch.Tensor:
    """Indices of the middles of the cells that so many pixels are divided into."""
    cells = max(1, round(size / STRIDE))
    return ((torch.arange(cells) + 0.5) * size / cells).long()
