"""Words in the feature space of the packaged OpenSeg weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.openseg.text import TABLE_FILE, WEIGHTS_FOLDER, TextTable, file_digest
from ovseg_ros.segmentation.openseg.weights_file import ModelCard, read_card

WEIGHTS_FILE = WEIGHTS_FOLDER / "openseg.safetensors"
SAME_MEANING_COSINE = 0.5
"""In this text table 28 of 42 held-out words for the classes have at least this cosine with some name of a class, 27
of them with the right one ("couch", "rubbish bin"); of 25 words for other things one has ("dog", with "teddy bear")."""

SPACE_NAME = "openseg-rooms-v1"


class OpenSegSpace:
    """The LanguageSpace of one set of OpenSeg weights."""

    def __init__(self, card: ModelCard, digest: str, table: TextTable) -> None:
        """Wrap the weights' ``card``, the ``digest`` of their file, and the text table they were trained with."""
        self._id = f"{SPACE_NAME}/{digest}"
        self._logit_scale = card.logit_scale
        self._table = table

    @classmethod
    def of(cls, weights: Path = WEIGHTS_FILE) -> OpenSegSpace:
        """The space of a weights file, read once per process.

        Raises:
            OvsegError: if a file is missing or damaged, or the weights belong to another text table.
        """
        return _space_of(weights)

    @property
    def id(self) -> str:
        """``openseg-rooms-v1/`` and a digest of the weights."""
        return self._id

    @property
    def logit_scale(self) -> float:
        """Learned; what cosines are multiplied with before a softmax."""
        return self._logit_scale

    @property
    def same_meaning(self) -> float:
        """Measured on words that training never saw, see docs/model-card.md."""
        return SAME_MEANING_COSINE

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """N texts -> (N, 256) float32 on the CPU, unit norm.

        Raises:
            OvsegError: naming the first text in which no word is known.
        """
        return self._table.encode(texts)

    @property
    def compares_directly(self) -> bool:
        """Texts lie in the space of the features, so that maps are searched as they are stored."""
        return True

    def align(self, features: torch.Tensor) -> torch.Tensor:
        """(V, 256) fused features -> (V, 256) float32 on the same device; unit norm, or zero where they are zero."""
        return functional.normalize(features.float(), dim=-1)


@cache
def _space_of(weights: Path) -> OpenSegSpace:
    card = read_card(weights)
    if card.text_table != file_digest(TABLE_FILE):
        raise OvsegError(f"{weights} was trained with another text table than {TABLE_FILE}: install the package again")
    return OpenSegSpace(card, file_digest(weights), TextTable.packaged())
