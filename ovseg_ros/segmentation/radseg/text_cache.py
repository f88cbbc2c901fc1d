"""Text embeddings on disk, so that a word is encoded once for all processes and days."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

TENSOR = "embedding"
NORM_TOLERANCE = 1e-3

logger = logging.getLogger(__name__)


def default_cache_folder() -> Path:
    """``$XDG_CACHE_HOME/ovseg_ros/text``, or ``~/.cache/ovseg_ros/text``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is invalid and is ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "ovseg_ros" / "text"


class TextCache:
    """One small safetensors file a text, in a folder for each encoder.

    Processes may share it: files appear whole, and writing the same text twice writes the same bytes. What can't be
    read counts as absent; what can't be written is not kept.
    """

    def __init__(self, folder: Path, encoder: str) -> None:
        """``encoder`` names model and settings; embeddings of different encoders never meet."""
        self._folder = folder / encoder

    def read(self, text: str) -> torch.Tensor | None:
        """(D,) float32 of unit norm, or None where there is none or its file is damaged."""
        try:
            vector = load(self._path(text).read_bytes())[TENSOR]
        except (OSError, SafetensorError, KeyError):
            return None
        whole = vector.dtype == torch.float32 and vector.dim() == 1 and abs(float(vector.norm()) - 1) < NORM_TOLERANCE
        return vector if whole else None

    def write(self, text: str, vector: torch.Tensor) -> None:
        """Keep (D,) float32 of unit norm."""
        path = self._path(text)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(save({TENSOR: vector.contiguous()}, metadata={"text": text}))
            os.replace(temporary, path)
        except OSError as error:
            logger.warning("can't keep text embeddings in %s: %s", self._folder, error)
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _path(self, text: str) -> Path:
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
