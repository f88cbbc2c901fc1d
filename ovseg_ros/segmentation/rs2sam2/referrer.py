"""RS2-SAM2 as a `Referrer`: an image and expressions in, a mask and a score for each out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.rs2sam2.checkpoint import load_network
from ovseg_ros.segmentation.rs2sam2.network import Rs2Sam2Network
from ovseg_ros.segmentation.rs2sam2.pixels import normalised
from ovseg_ros.segmentation.rs2sam2.tokenizer import Tokenizer
from ovseg_ros.types import RefPrediction

INSIDE = 0.5
"""Logits above are inside: training compares a logit x with 1 - x, as two classes."""


class Rs2Sam2Referrer:
    """A loaded model. See `load`."""

    def __init__(self, network: Rs2Sam2Network, tokenizer: Tokenizer) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._device = next(network.parameters()).device

    @classmethod
    def load(cls, folder: Path, device: str) -> Rs2Sam2Referrer:
        """Read a published folder (``rrsisd`` or ``refseg``).

        Raises:
            OvsegError: in one sentence what is missing or wrong, see `load_network` and `Tokenizer`.
        """
        network = load_network(folder, device)
        tokenizer = Tokenizer(folder, network.sizes.max_tokens)
        if tokenizer.size > network.sizes.vocabulary:
            raise OvsegError(
                f"the tokenizer in {folder} has {tokenizer.size} tokens, the model {network.sizes.vocabulary}: "
                "they are of different models, fetch both again"
            )
        return cls(network, tokenizer)

    @torch.inference_mode()
    def refer(
        self, rgb: torch.Tensor, expressions: Sequence[str], size: tuple[int, int] | None = None
    ) -> RefPrediction:
        """As of `Referrer`; expressions are looked for one after the other, each at the cost of the whole model.

        The score is the mean probability of the mask's pixels, sigmoid(2x - 1) of a logit x; 0 for an empty mask. The
        model has no confidence of its own: nothing trains SAM 2's.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != torch.uint8 or not rgb.numel():
            raise OvsegError(f"an image must be (H, W, 3) bytes, got {tuple(rgb.shape)} {rgb.dtype}: convert it to RGB")
        tokens = [self._tokenizer(expression) for expression in expressions]
        height, width = size or (rgb.shape[0], rgb.shape[1])
        masks = torch.zeros(len(tokens), height, width, dtype=torch.bool, device=self._device)
        scores = torch.zeros(len(tokens), device=self._device)
        sizes = self._network.sizes
        image, small = (normalised(rgb, side, self._device) for side in (sizes.image_size, sizes.union_image_size))
        for index, (ids, read) in enumerate(tokens):
            logits, _ = self._network(image, small, ids.to(self._device), read.to(self._device))
            logits = functional.interpolate(
                logits,
                (height, width),
                mode="bilinear",
                align_corners=False,
                antialias=min(height, width) < logits.shape[-1],
            )[0, 0]
            masks[index] = logits > INSIDE
            if masks[index].any():
                scores[index] = (2 * logits[masks[index]] - 1).sigmoid().mean()
        return RefPrediction(masks, scores)
