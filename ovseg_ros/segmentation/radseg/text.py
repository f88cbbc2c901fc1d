"""Words in the space of RADIO's language head: the text tower of SigLIP2, as RADIO calls it."""

from __future__ import annotations

import hashlib
import json
import logging
import string
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.model_folder import files_digest, model_folder
from ovseg_ros.segmentation.radseg.siglip_tower import MAX_TOKENS, SiglipTower, text_width
from ovseg_ros.segmentation.radseg.templates import IMAGENET_TEMPLATES
from ovseg_ros.segmentation.radseg.text_cache import TextCache, default_cache_folder

DEFAULT_MODEL = "google/siglip2-so400m-patch16-naflex"
"""The tower behind the `siglip2` head of C-RADIOv3."""

NEEDED_FILES = ("config.json", "tokenizer.json")
PROMPTS_AT_ONCE = 240
REMEMBERED = 4096
"""Embeddings kept in memory; 4.6 KB each."""

SHOWN_CHARACTERS = 60
PUNCTUATION = str.maketrans("_", " ", string.punctuation.replace("_", ""))

logger = logging.getLogger(__name__)


class SiglipText:
    """Texts to unit vectors. The tower (2.8 GB) is loaded at the first text that the cache doesn't have.

    Example:
        >>> text = SiglipText.load("google/siglip2-so400m-patch16-naflex", templates=True)  # doctest: +SKIP
        >>> text.encode(["sofa", "floor lamp"]).shape  # doctest: +SKIP
        torch.Size([2, 1152])
    """

    def __init__(self, folder: Path, *, templates: bool, cache: Path, device: str) -> None:
        """Wrap a model's ``folder``; see `load`."""
        self._folder = folder
        self._templates = IMAGENET_TEMPLATES if templates else ("{}",)
        self._device = torch.device(device)
        settings = json.dumps([self._templates, MAX_TOKENS, "canonical, eos, padded right, no mask"])
        files = [folder / name for name in NEEDED_FILES] + list(folder.glob("*.safetensors"))
        self._digest = hashlib.sha256((settings + files_digest(files)).encode()).hexdigest()[:12]
        self._cache = TextCache(cache, self._digest)
        self._memory: dict[str, torch.Tensor] = {}

    @classmethod
    def load(
        cls, model: str = DEFAULT_MODEL, *, templates: bool = True, cache: Path | None = None, device: str = "cpu"
    ) -> SiglipText:
        """Find a model's files.

        Args:
            model: local folder or Hugging Face id of a SigLIP2, of which only the text tower is used.
            templates: encode a text as the mean over 80 sentences about it (for class names), not as it stands.
            cache: folder of embeddings already made; None for ``~/.cache/ovseg_ros/text``.
            device: where the tower runs.

        Raises:
            OvsegError: if files are missing, with the command that fetches them.
        """
        folder = model_folder(model, NEEDED_FILES)
        return cls(folder, templates=templates, cache=cache or default_cache_folder(), device=device)

    @property
    def digest(self) -> str:
        """12 hexadecimal digits; change with weights, tokenizer or templates, as the embeddings do."""
        return self._digest

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """N texts -> (N, D) float32 on the CPU, unit norm.

        With templates, the normalised mean of the normalised embeddings (Radford et al. 2021, section 3.1.4).

        Raises:
            OvsegError: for a text without a letter or digit or with more than 64 tokens, or a tower that can't be used.
        """
        if not texts:
            return torch.zeros(0, text_width(self._folder))
        keys = [canonical(text) for text in texts]
        if "" in keys:
            text = texts[keys.index("")]
            raise OvsegError(f"the text {text[:SHOWN_CHARACTERS]!r} has no letter or digit: write it in words")
        found = {key: vector for key in dict.fromkeys(keys) if (vector := self._known(key)) is not None}
        found |= self._encode([key for key in dict.fromkeys(keys) if key not in found])
        if len(self._memory) > REMEMBERED:
            self._memory.clear()
        self._memory.update(found)
        return torch.stack([found[key] for key in keys])

    def encode_sentences(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences -> (N, D) float32 on the CPU, unit norm: each as it stands, without templates.

        Raises:
            OvsegError: as `encode`.
        """
        if not sentences:
            return torch.zeros(0, text_width(self._folder))
        ids = self._tower.tokenize([canonical(sentence) for sentence in sentences])
        vectors = torch.cat([self._tower.encode(part) for part in torch.split(ids, PROMPTS_AT_ONCE)])
        return functional.normalize(vectors, dim=-1).cpu()

    def _known(self, key: str) -> torch.Tensor | None:
        vector = self._memory.get(key)
        return self._cache.read(key) if vector is None else vector

    def _encode(self, keys: Sequence[str]) -> dict[str, torch.Tensor]:
        if not keys:
            return {}
        logger.info("encoding %d new texts, %d sentences each", len(keys), len(self._templates))
        prompts = {key: [canonical(template.format(key)) for template in self._templates] for key in keys}
        ids = {key: self._tower.tokenize(sentences) for key, sentences in prompts.items()}
        made = {}
        step = max(1, PROMPTS_AT_ONCE // len(self._templates))
        for start in range(0, len(keys), step):
            part = keys[start : start + step]
            vectors = self._tower.encode(torch.cat([ids[key] for key in part]))
            vectors = functional.normalize(vectors, dim=-1).view(len(part), len(self._templates), -1)
            for key, vector in zip(part, functional.normalize(vectors.mean(dim=1), dim=-1).cpu(), strict=True):
                made[key] = vector.clone()
                self._cache.write(key, made[key])
        return made

    @cached_property
    def _tower(self) -> SiglipTower:
        return SiglipTower(self._folder, self._device)


def canonical(text: str) -> str:
    """As SigLIP's texts were trained: without punctuation ("_" is a space), lower case, single spaces."""
    return " ".join(text.translate(PUNCTUATION).lower().split())
