"""Words to vectors without a language model: a static word-piece table.

The table holds one 256-d row per word-piece, distilled once from a sentence encoder (see
`ovseg_ros.training.text_table`). A phrase is the normalised sum of its pieces' rows; how much a
piece counts (a rare noun fully, "the" hardly) is already multiplied into its row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path

import torch
import torch.nn.functional as functional
from safetensors import safe_open
from tokenizers import BertWordPieceTokenizer

from ovseg_ros.errors import OvsegError

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
TABLE_FILE = WEIGHTS_FOLDER / "text_table.safetensors"
VOCABULARY_FILE = WEIGHTS_FOLDER / "word_pieces.txt"
SHOWN_CHARACTERS = 60
SHORTEST_WORD = 3
"""Letters; shorter entries of the table are mostly not words."""


class TextTable:
    """Encodes phrases by looking their word-pieces up.

    Example:
        >>> table = TextTable.packaged()
        >>> sofa, couch, toilet = table.encode(["sofa", "couch", "toilet"])
        >>> bool(sofa @ couch > sofa @ toilet)
        True
    """

    def __init__(self, rows: torch.Tensor, scales: torch.Tensor, tokenizer: BertWordPieceTokenizer) -> None:
        """Wrap ``rows`` (V, D) int8, their ``scales`` (V,) and the tokenizer whose ids index them."""
        if len(rows) != len(scales) or len(rows) != tokenizer.get_vocab_size():
            raise OvsegError(
                f"the text table has {len(rows)} rows and {len(scales)} scales for {tokenizer.get_vocab_size()} "
                "word-pieces: its two files are not of one version, install the package again"
            )
        self._rows = rows
        self._scales = scales.float()
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, table: Path, vocabulary: Path) -> TextTable:
        """Read a table written by `ovseg_ros.training.text_table`.

        Raises:
            OvsegError: if a file is missing or the two do not belong together.
        """
        for path in (table, vocabulary):
            if not path.is_file():
                raise OvsegError(f"{path} is missing: install the package again")
        with safe_open(table, framework="pt") as file:
            rows, scales = file.get_tensor("rows"), file.get_tensor("scales")
        return cls(rows, scales, BertWordPieceTokenizer(str(vocabulary), lowercase=True))

    @classmethod
    def packaged(cls) -> TextTable:
        """The table that comes with this package, read once per process."""
        return _packaged()

    @property
    def width(self) -> int:
        """Length of a text vector."""
        return self._rows.shape[1]

    @cached_property
    def words(self) -> torch.Tensor:
        """(W, D) float32 unit vectors of the table's whole words: 22 MB, made when they are first asked for."""
        pieces = sorted(self._tokenizer.get_vocab().items(), key=lambda entry: entry[1])
        ids = torch.tensor([id for piece, id in pieces if len(piece) >= SHORTEST_WORD and piece.isalpha()])
        rows = self._rows[ids].float()
        return functional.normalize(rows[rows.any(dim=1)], dim=1)

    def knows(self, word: str) -> bool:
        """Whether the table has a vector of its own for a whole word."""
        return len(word) >= SHORTEST_WORD and word.isalpha() and self._tokenizer.token_to_id(word) is not None

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """N phrases -> (N, D) float32 of unit norm.

        Raises:
            OvsegError: naming the first text in which no word is known.
        """
        if not texts:
            return torch.zeros(0, self.width)
        pieces = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        ids = torch.tensor([piece for phrase in pieces for piece in phrase], dtype=torch.long)
        owner = torch.repeat_interleave(torch.arange(len(pieces)), torch.tensor([len(phrase) for phrase in pieces]))
        vectors = self._rows[ids].float() * self._scales[ids, None]
        sums = torch.zeros(len(pieces), self.width).index_add_(0, owner, vectors)
        norms = sums.norm(dim=1)
        if (norms == 0).any():
            text = texts[int((norms == 0).nonzero()[0])]
            raise OvsegError(f"no word of {text[:SHOWN_CHARACTERS]!r} is known: write it in English words")
        return functional.normalize(sums, dim=1)


@cache
def _packaged() -> TextTable:
    return TextTable.load(TABLE_FILE, VOCABULARY_FILE)


def file_digest(path: Path) -> str:
    """First 12 hexadecimal digits of the file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
