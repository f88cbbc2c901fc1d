"""A folder like the published ones: a small random RS2-SAM2 with a sentencepiece tokenizer of its own. No download."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import sentencepiece

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from rs2sam2_weights import SMALL, write_folder

CORPUS = (
    "the bridge on the left",
    "the largest ship near the harbour",
    "a red car between two trucks on the road",
    "the tennis court beside the green field",
    "small vehicle in the upper right of the image",
    "an overpass over the railway station",
)
PIECES = 90


def write_tokenizer(path: Path) -> None:
    """Trained on CORPUS; letters that aren't in it are unknown."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=model, vocab_size=PIECES, hard_vocab_limit=False, minloglevel=2
    )
    path.write_bytes(model.getvalue())


def save_small_model(folder: Path) -> Path:
    """Write weights, configuration and tokenizer; returns the folder."""
    write_folder(folder, SMALL)
    write_tokenizer(folder / "sentencepiece.bpe.model")
    return folder
