"""Words in the space of RADIO's features."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.radseg.checkpoint import Checkpoint
from ovseg_ros.segmentation.radseg.language_head import TeacherHead
from ovseg_ros.segmentation.radseg.model import SUMMARY, Teacher, build_head, language_teacher

NAME = "radseg"
LOGIT_SCALE = 100.0
"""RADSeg's softmax over classes."""

SAME_MEANING_COSINE = 0.9
"""A guess: no real weights were at hand to measure it with."""

TEXT_MODELS = {
    "siglip2-so400m": "google/siglip2-so400m-patch16-naflex",
    "siglip2-g-384": "google/siglip2-giant-opt-patch16-384",
}
"""A teacher's model, in the words of RADIO's checkpoints -> on the hub."""


class TextEncoder(Protocol):
    """Texts in the space of a SigLIP2."""

    @property
    def digest(self) -> str:
        """Changes with what it says of a text."""

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """N texts -> (N, D) float32 on the CPU, unit norm."""

    def encode_sentences(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences, each as it stands -> (N, D) float32 on the CPU, unit norm."""


class RadsegSpace:
    """The LanguageSpace of one RADIO checkpoint.

    Features are the backbone's. The language head, which is not linear, is applied when they are asked, to the mean
    over a voxel's views, as the reference does: 768 numbers are stored rather than 1,152, and a text encoder with
    other prompts needs no new map.
    """

    def __init__(self, id: str, head: TeacherHead, texts: TextEncoder) -> None:
        self._id = id
        self._texts = texts
        self._heads = {torch.device("cpu"): head}

    @property
    def id(self) -> str:
        """``radseg/``, the checkpoint's name and a digest of its file."""
        return self._id

    @property
    def logit_scale(self) -> float:
        """RADSeg's, not learned."""
        return LOGIT_SCALE

    @property
    def same_meaning(self) -> float:
        """Not measured yet."""
        return SAME_MEANING_COSINE

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """N texts -> (N, D) float32 on the CPU, unit norm.

        Raises:
            OvsegError: if the text model can't be loaded, belongs to another checkpoint, or can't take a text.
        """
        vectors = self._texts.encode(texts)
        width = self._heads[torch.device("cpu")].outputs
        if vectors.shape[1] != width:
            raise OvsegError(
                f"the text model gives {vectors.shape[1]} numbers and {self._id} has {width}: set text_model to the "
                "SigLIP2 that this RADIO learnt from, or leave it empty"
            )
        return vectors

    def encode_sentences(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences, each as it stands -> (N, D) float32 on the CPU, unit norm: for evaluation protocols."""
        return self._texts.encode_sentences(sentences)

    def align(self, features: torch.Tensor) -> torch.Tensor:
        """(V, C) fused features -> (V, D) float32 on the same device; unit norm, or zero where they are zero."""
        if features.device not in self._heads:
            self._heads[features.device] = copy.deepcopy(self._heads[torch.device("cpu")]).to(features.device)
        return self._heads[features.device].align(features)


def space_id(path: Path) -> str:
    """Of a checkpoint file; reads all of it once per process."""
    stat = path.stat()
    name = path.name.split(".pth")[0].removesuffix(".safetensors").removesuffix("_half")
    return f"{NAME}/{name}-{_digest(path, stat.st_mtime_ns, stat.st_size)}"


def make_space(checkpoint: Checkpoint, texts: TextEncoder) -> RadsegSpace:
    """The space of a checkpoint.

    Raises:
        OvsegError: if it has no language head.
    """
    head = build_head(checkpoint, language_teacher(checkpoint), SUMMARY)
    return RadsegSpace(space_id(checkpoint.path), head, texts)


def text_model(teacher: Teacher, chosen: str) -> str:
    """Where the text model is: the ``chosen`` one, or that of the teacher.

    Raises:
        OvsegError: if the teacher's isn't known here.
    """
    if not chosen and teacher.model not in TEXT_MODELS:
        raise OvsegError(
            f"the checkpoint learnt words from {teacher.model or teacher.name!r}, whose text model isn't known here: "
            "name it as text_model in the settings"
        )
    return chosen or TEXT_MODELS[teacher.model]


@lru_cache(maxsize=8)
def _digest(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
