"""SigLIP2's tokenizer and text model in memory.

The tokenizer's file is read without the tokenizer classes of transformers, whose padding side and attention mask
differ between versions. SigLIP2 was trained with 64 tokens a text: its pieces, <eos>, then <pad> up to the end, all of
them attended, and the last position is the embedding. A mask or padding on the left gives other vectors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.model_folder import read_tensors, shortened

MAX_TOKENS = 64
END, PADDING = "<eos>", "<pad>"
TEXT_MODELS = {
    "siglip2": ("Siglip2TextModel", "text_model."),
    "siglip2_text_model": ("Siglip2TextModel", ""),
    "siglip": ("SiglipTextModel", "text_model."),
    "siglip_text_model": ("SiglipTextModel", ""),
}
"""By ``model_type``: class, and prefix of its weights. SigLIP2 of fixed resolution is published as a "siglip"."""

PROBE = "a photo of a cat"
SHOWN_CHARACTERS = 60


class SiglipTower:
    """The loaded text model, float32 in eval mode."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Read a folder with ``config.json``, ``tokenizer.json`` and safetensors.

        Raises:
            OvsegError: if they are damaged, of another model, or transformers is missing.
        """
        self._device = device
        self._tokenizer = _read_tokenizer(folder / "tokenizer.json")
        self._end, self._padding = (self._tokenizer.token_to_id(token) for token in (END, PADDING))
        self._model = _read_weights(folder).to(device)
        tokens = self._tokenizer.get_vocab_size(with_added_tokens=False)
        rows, positions = self._model.config.vocab_size, self._model.config.max_position_embeddings
        if tokens > rows or positions != MAX_TOKENS:
            raise OvsegError(
                f"the text model of {folder} is for {rows} tokens in texts of {positions}, its tokenizer has {tokens} "
                f"for texts of {MAX_TOKENS}: take all files from one SigLIP2"
            )

    def tokenize(self, prompts: Sequence[str]) -> torch.Tensor:
        """P canonical prompts -> (P, 64) int64: pieces, <eos>, <pad> ...

        Raises:
            OvsegError: naming the first prompt that is too long.
        """
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(list(prompts), add_special_tokens=False)]
        for prompt, row in zip(prompts, rows, strict=True):
            if len(row) >= MAX_TOKENS:
                raise OvsegError(
                    f"the text {prompt[:SHOWN_CHARACTERS]!r}... has {len(row) + 1} tokens, the limit is {MAX_TOKENS}: "
                    "shorten it"
                )
        return torch.tensor([[*row, self._end, *[self._padding] * (MAX_TOKENS - 1 - len(row))] for row in rows])

    @torch.inference_mode()
    def encode(self, ids: torch.Tensor) -> torch.Tensor:
        """(P, 64) tokens -> (P, D) float32 on the tower's device, as the head gives them."""
        output: torch.Tensor = self._model(input_ids=ids.to(self._device)).pooler_output
        return output


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    # The library raises nothing more specific.
    except Exception as error:
        raise OvsegError(f"{path} is not a tokenizer ({shortened(error)}): fetch the model again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    missing = [token for token in (END, PADDING) if tokenizer.token_to_id(token) is None]
    if missing:
        raise OvsegError(f"{path} has no token {' and no '.join(missing)}: take the tokenizer.json of a SigLIP2")
    pieces = tokenizer.encode(PROBE, add_special_tokens=False)
    if tokenizer.decode(pieces.ids) != PROBE:
        raise OvsegError(
            f"{path} turns {PROBE!r} into {pieces.tokens}, which doesn't read the same: "
            "install tokenizers 0.20 or newer, or take the tokenizer.json of a SigLIP2"
        )
    return tokenizer


def text_width(folder: Path) -> int:
    """Length of an embedding, without reading weights.

    Raises:
        OvsegError: as for `SiglipTower`.
    """
    return int(_text_model(folder)[0].config_class.from_pretrained(folder).projection_size)


def _text_model(folder: Path) -> tuple[Any, str]:
    """The class of transformers that reads the folder's text tower, and the prefix of its weights."""
    try:
        import transformers
    except ImportError as error:
        raise OvsegError("SigLIP2 needs transformers: install it with pip install 'transformers>=5.10,<6'") from error
    path = folder / "config.json"
    try:
        name, prefix = TEXT_MODELS[json.loads(path.read_text(encoding="utf-8"))["model_type"]]
    except (ValueError, KeyError, TypeError) as error:
        raise OvsegError(f"{path} is not of a SigLIP2 ({error!r}): give the folder or id of one") from error
    return getattr(transformers, name), prefix


def _read_weights(folder: Path) -> Any:
    model_class, prefix = _text_model(folder)
    tensors = read_tensors(folder, {prefix: ""})
    try:
        model, report = model_class.from_pretrained(
            None,
            config=model_class.config_class.from_pretrained(folder),
            state_dict=tensors,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise OvsegError(f"{folder} holds no SigLIP2 text model ({shortened(error)}): fetch it again") from error
    wrong = sorted(set().union(*(report[kind] for kind in ("missing_keys", "unexpected_keys"))))
    if wrong:
        raise OvsegError(
            f"{folder} and its config.json disagree about {wrong[0]} and {len(wrong) - 1} more weights: fetch it again"
        )
    return model.eval()
