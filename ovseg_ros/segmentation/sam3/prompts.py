"""Words to what SAM 3's detector reads, each encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.model_folder import shortened
from ovseg_ros.segmentation.sam3.network import Sam3Network

TOKENIZER_FILE = "tokenizer.json"
PROMPTS_AT_ONCE = 64
REMEMBERED = 4096
"""Prompts kept encoded; 32 KB each in float32."""

SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class EncodedPrompts:
    """P prompts: ``features`` (P, T, C) and ``mask`` (P, T) bool, False for padding."""

    features: torch.Tensor
    mask: torch.Tensor


class PromptEncoder:
    """Prompts to features, through a cache."""

    def __init__(self, network: Sam3Network, tokenizer: Tokenizer) -> None:
        """Wrap the text tower of ``network`` and its ``tokenizer``."""
        self._network = network
        self._tokenizer = tokenizer
        self._known: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    @classmethod
    def load(cls, folder: Path, network: Sam3Network) -> PromptEncoder:
        """Read the tokenizer that comes with a model.

        Raises:
            OvsegError: if it can't be used.
        """
        path = folder / TOKENIZER_FILE
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises plain Exceptions
            raise OvsegError(f"{path} is damaged ({shortened(error)}): fetch it again") from error
        # Padding is done here, and nothing may be cut off unseen.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if len(tokenizer.encode("").ids) != 2:
            raise OvsegError(f"{path} doesn't put a start and an end around a text: it is not that of SAM 3, fetch it")
        return cls(network, tokenizer)

    def encode(self, prompts: Sequence[str]) -> EncodedPrompts:
        """Encode P prompts; only those that are new go through the text tower.

        Raises:
            OvsegError: for a prompt with more tokens than the tower was trained for (32 in the published model).
        """
        known = self._known
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]
        known = known | self._encode(new)
        if len(known) > REMEMBERED:
            known = {prompt: known[prompt] for prompt in prompts}
        self._known = known
        features, masks = zip(*(known[prompt] for prompt in prompts), strict=True)
        return EncodedPrompts(torch.stack(features), torch.stack(masks))

    def _encode(self, prompts: Sequence[str]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        if not prompts:
            return {}
        length = self._network.text_length
        ids = torch.zeros(len(prompts), length, dtype=torch.int64)
        mask = torch.zeros(len(prompts), length, dtype=torch.bool)
        for row, (prompt, encoding) in enumerate(
            zip(prompts, self._tokenizer.encode_batch(list(prompts)), strict=True)
        ):
            tokens = encoding.ids
            if len(tokens) > length:
                raise OvsegError(
                    f"the prompt {prompt[:SHOWN_CHARACTERS]!r} has {len(tokens)} tokens, SAM 3 takes {length} with the "
                    "start and the end: write a short noun phrase"
                )
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = True
        made = {}
        for start in range(0, len(prompts), PROMPTS_AT_ONCE):
            part = slice(start, start + PROMPTS_AT_ONCE)
            features = self._network.encode_text(ids[part], mask[part])
            for prompt, vector, used in zip(prompts[part], features, mask[part].to(features.device), strict=True):
                made[prompt] = (vector.clone(), used)
        return made
