"""Texts of CLIP ViT-L/14@336, which OpenSeg's release learnt with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.model_folder import files_digest, model_folder, shortened

NEEDED_FILES = ("config.json", "tokenizer.json")
WEIGHTS = ("*.safetensors", "pytorch_model.bin")
SENTENCE = "a {} in a scene"
"""OpenScene's template."""

REMEMBERED = 4096
SHOWN_CHARACTERS = 60


class ClipText:
    """Texts to unit vectors. The tower is loaded at the first text.

    Args:
        folder: of a CLIP model in transformers' layout.
        device: where it runs.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self._folder = folder
        self._device = device
        self._memory: dict[str, torch.Tensor] = {}

    @classmethod
    def load(cls, model: str, device: str) -> ClipText:
        """Find the files of a local folder or a Hugging Face id; an OvsegError says what is missing."""
        return cls(model_folder(model, NEEDED_FILES, WEIGHTS), device)

    @property
    def digest(self) -> str:
        """Changes with weights and words."""
        files = [self._folder / name for name in NEEDED_FILES]
        return files_digest(files + [path for pattern in WEIGHTS for path in self._folder.glob(pattern)])[:12]

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """N names of things, each put into `SENTENCE` -> (N, D) float32 on the CPU, unit norm."""
        return self.encode_sentences([SENTENCE.format(text) for text in texts])

    def encode_sentences(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences, each as it stands -> (N, D) float32 on the CPU, unit norm.

        Raises:
            OvsegError: a sentence has more words than the tower takes, or the tower can't be loaded.
        """
        new = [text for text in dict.fromkeys(sentences) if text not in self._memory]
        if new:
            if len(self._memory) > REMEMBERED:
                self._memory.clear()
                new = list(dict.fromkeys(sentences))
            self._memory.update(zip(new, self._encode(new), strict=True))
        width = self._tower[0].config.projection_dim
        return torch.stack([self._memory[text] for text in sentences]) if sentences else torch.zeros(0, width)

    @torch.inference_mode()
    def _encode(self, sentences: list[str]) -> torch.Tensor:
        tower, tokenizer = self._tower
        limit = tower.config.max_position_embeddings
        ids = tokenizer(sentences, padding=True, return_tensors="pt")
        for text, length in zip(sentences, ids["attention_mask"].sum(dim=1).tolist(), strict=True):
            if length > limit:
                raise OvsegError(
                    f"{text[:SHOWN_CHARACTERS]!r} has {length} word-pieces, the limit is {limit}: say it in fewer words"
                )
        vectors = tower(**ids.to(self._device)).text_embeds
        return functional.normalize(vectors.float(), dim=-1).cpu()

    @cached_property
    def _tower(self) -> tuple[Any, Any]:
        from transformers import CLIPTextModelWithProjection, CLIPTokenizer

        try:
            tokenizer = CLIPTokenizer.from_pretrained(self._folder, local_files_only=True)
            tower = CLIPTextModelWithProjection.from_pretrained(self._folder, local_files_only=True)
        except Exception as error:
            reason = shortened(error)
            raise OvsegError(f"{self._folder} can't be loaded ({reason}): fetch the text model again") from error
        return tower.eval().to(self._device), tokenizer
