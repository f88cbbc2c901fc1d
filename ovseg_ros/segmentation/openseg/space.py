"""Words in the feature space of a set of OpenSeg weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.openseg.text import TABLE_FILE, WEIGHTS_FOLDER, TextTable, file_digest
from ovseg_ros.segmentation.openseg.weights_file import ModelCard, read_card
from ovseg_ros.vocabulary import Vocabulary, normalise

WEIGHTS_FILE = WEIGHTS_FOLDER / "openseg.safetensors"
SAME_MEANING_COSINE = 0.5
"""In this text table 28 of 42 held-out words for the classes have at least this cosine with some name of a class, 27
of them with the right one ("couch", "rubbish bin"); of 25 words for other things one has ("dog", with "teddy bear")."""

TIE = 1e-6
"""Cosines that differ less are the same word."""

NEIGHBOURS = 20
"""So many words of the table may be nearer to a text than a name that is taken to mean the same. Chosen on the words of
training, each in turn taken for unknown: of 82, 71 find their class with 15 to 20, 73 with 30, where more words for
other things are taken for one, too. docs/model-card.md has the curve for held-out words."""

LEAN = 0.5
"""Of a class's words, in the vector of a word that training never used and that is taken to mean the class."""

REMEMBERED = 4096
"""Texts whose meanings are kept."""

SPACE_NAME = "openseg-rooms-v1"


class _Meaning(NamedTuple):
    """What is kept of a text.

    Attributes:
        reach: cosine from which a name is taken to mean the same: that of the first word of the table that is none of
            the text's nearest `NEIGHBOURS`.
        leaning: (D,) its vector, leaning on the class that it is taken to mean, where there is one.
    """

    reach: float
    leaning: torch.Tensor


class OpenSegSpace:
    """The LanguageSpace of one set of OpenSeg weights."""

    def __init__(self, card: ModelCard, digest: str, table: TextTable) -> None:
        """Wrap the weights' ``card``, the ``digest`` of their file, and the text table they were trained with."""
        self._id = f"{SPACE_NAME}/{digest}"
        self._logit_scale = card.logit_scale
        self._table = table
        self._names, self._owners = _encoded(table, card.vocabulary)
        sums = torch.zeros(len(card.vocabulary), table.width).index_add_(0, self._owners, self._names)
        self._classes = functional.normalize(sums, dim=1)
        self._trained = frozenset(word for group in card.vocabulary.synonyms for word in group)
        self._known: dict[str, _Meaning] = {}

    @classmethod
    def of(cls, weights: Path = WEIGHTS_FILE) -> OpenSegSpace:
        """The space of a weights file, read once per process while it stays as it is.

        Raises:
            OvsegError: if a file is missing or damaged, or the weights belong to another text table.
        """
        return _space_of(weights, weights.stat().st_mtime_ns if weights.is_file() else 0)

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

    def means_the_same(self, text: str, name: str) -> bool:
        """Whether ``name`` is among the nearest words of the text, of all that the table knows, or its last part.

        An armchair is a chair: the last part of an English compound says what it is, and the first is a word, too.

        Raises:
            OvsegError: no word of one of them is known.
        """
        vectors = self._table.encode([text, name])
        near = self._meanings([text], vectors[:1])[0].reach <= float(vectors[0] @ vectors[1]) + TIE
        return near or (text.endswith(name) and self._table.knows(text.removesuffix(name).strip()))

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """N texts -> (N, 256) float32 on the CPU, unit norm.

        Words that training never used lean on the class that they are taken to mean, where there is one.

        Raises:
            OvsegError: naming the first text in which no word is known.
        """
        vectors = self._table.encode(texts)
        strange = [index for index, text in enumerate(texts) if normalise(text) not in self._trained]
        if strange:
            found = self._meanings([texts[index] for index in strange], vectors[strange])
            vectors[strange] = torch.stack([meaning.leaning for meaning in found])
        return vectors

    def _meanings(self, texts: Sequence[str], vectors: torch.Tensor) -> list[_Meaning]:
        known = self._known
        new = [index for index, text in enumerate(texts) if text not in known]
        if new:
            bare = vectors[new]
            reach = (self._table.words @ bare.T).topk(NEIGHBOURS + 1, dim=0).values[-1]
            cosines, nearest = (bare @ self._names.T).max(dim=1)
            leant = functional.normalize(bare + LEAN * self._classes[self._owners[nearest]], dim=1)
            chosen = torch.where((reach <= cosines + TIE)[:, None], leant, bare)
            made = dict(zip((texts[index] for index in new), map(_Meaning, reach.tolist(), chosen), strict=True))
            self._known = made if len(known) + len(made) > REMEMBERED else known | made
            known = known | made
        return [known[text] for text in texts]

    @property
    def compares_directly(self) -> bool:
        """Texts lie in the space of the features, so that maps are searched as they are stored."""
        return True

    def align(self, features: torch.Tensor) -> torch.Tensor:
        """(V, 256) fused features -> (V, 256) float32 on the same device; unit norm, or zero where they are zero."""
        return functional.normalize(features.float(), dim=-1)


def _encoded(table: TextTable, vocabulary: Vocabulary) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors of all words, and the number of the class that each is of."""
    words = [(word, number) for number, group in enumerate(vocabulary.synonyms) for word in group]
    return table.encode([word for word, _ in words]), torch.tensor([number for _, number in words], dtype=torch.int64)


@cache
def _space_of(weights: Path, changed: int) -> OpenSegSpace:
    card = read_card(weights)
    if card.text_table != file_digest(TABLE_FILE):
        raise OvsegError(
            f"{weights} was trained with another text table than {TABLE_FILE}: install the package again, "
            "or train your own weights with this version"
        )
    return OpenSegSpace(card, file_digest(weights), TextTable.packaged())
