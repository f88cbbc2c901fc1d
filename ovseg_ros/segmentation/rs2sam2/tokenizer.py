"""BEiT-3's tokens: sentencepiece, with the numbering of XLM-RoBERTa."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.model_folder import shortened

FILES = ("sentencepiece.bpe.model", "beit3.spm")
"""What the model is called where transformers saved it, and where BEiT-3 publishes it."""

BEGIN, END, UNKNOWN = 0, 2, 3
SHIFT = 1
"""From sentencepiece's number of a piece, of which 0 is the unknown one, to the model's."""


class Tokenizer:
    """Expressions to tokens, as upstream's `XLMRobertaTokenizer` with its unknown token for padding.

    Spellings of special tokens (``<s>``, ``[SEG]``) are text here.

    Args:
        folder: with one of FILES.
        limit: tokens that the model can read, the first and the last included.

    Raises:
        OvsegError: if sentencepiece isn't installed, or there is no such file or a damaged one.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise OvsegError("RS2-SAM2 needs sentencepiece: pip install 'sentencepiece>=0.2'") from error
        found = [folder / name for name in FILES if (folder / name).is_file()]
        if not found:
            raise OvsegError(
                f"{folder} has no {' or '.join(FILES)}: copy beit3.spm there, from https://github.com/microsoft/unilm"
                "/tree/master/beit3"
            )
        try:
            self._pieces = SentencePieceProcessor(model_file=str(found[0]))
        except (OSError, RuntimeError) as error:
            raise OvsegError(f"{found[0]} is no sentencepiece model ({shortened(error)}): fetch it again") from error
        self._limit = limit

    @property
    def size(self) -> int:
        """Tokens that may come out: one more than the largest."""
        return int(self._pieces.get_piece_size()) + SHIFT

    def __call__(self, expression: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens of one expression.

        Returns:
            (1, W) int64 tokens and (1, W) bool whether the union encoder attends to them: not to unknown ones, which
            upstream takes for padding.

        Raises:
            OvsegError: for an expression without words, too long, or not text. Upstream doesn't shorten expressions
                when it infers, and neither does this.
        """
        if any(unicodedata.category(letter) == "Cs" for letter in expression):
            raise OvsegError(f"the expression {expression[:40]!a} is not valid Unicode: write it anew")
        pieces = self._pieces.encode(expression)
        if not pieces:
            raise OvsegError(f"the expression {expression[:40]!r} has no words: say what to look for")
        if len(pieces) + 2 > self._limit:
            raise OvsegError(
                f"the expression has {len(pieces) + 2} tokens, the limit of the model is {self._limit}: shorten it"
            )
        ids = torch.tensor([[BEGIN, *(piece + SHIFT if piece else UNKNOWN for piece in pieces), END]])
        return ids, ids != UNKNOWN
