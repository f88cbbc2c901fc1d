"""The attention of the backbone's blocks, and RADSeg's in place of the last one's."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import nn

from ovseg_ros.segmentation.radseg.correlation import aggregate_similar
from ovseg_ros.segmentation.radseg.linear import FusedLinear

SCRA_SHARPNESS = 10.0
"""RADSeg's `scra_scaling`."""


class Attention(nn.Module):
    """Multi-head self-attention, added to the tokens it started from.

    Block i of a checkpoint scales what it adds by channel (LayerScale); `proj` has that scale in its weights.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = FusedLinear(width, 3 * width)
        self.proj = FusedLinear(width, width)

    def forward(self, tokens: torch.Tensor, normed: torch.Tensor) -> torch.Tensor:
        """``tokens`` and what the ``normed`` ones attend to, all (B, N, C)."""
        return self.proj.add_to(tokens, _join(functional.scaled_dot_product_attention(*self._split(self.qkv(normed)))))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """(B, N, k * C) -> (k, B, heads, N, C / heads)."""
        batch, count, _ = x.shape
        return x.view(batch, count, -1, self.heads, self.proj.in_features // self.heads).permute(2, 0, 3, 1, 4)


class SelfCorrelatingAttention(Attention):
    """Self-correlating recursive attention (RADSeg, SCRA): attended once as usual, then by similarity of the result.

    The second step gathers the same values, from tokens whose projected results point the same way in the same head,
    and projects again. It runs in float32 whatever the matrices are: scores up to 10 are too much for bfloat16.
    Here `proj` is used twice and has no scale in it: that is `scale` (C,), for the second result only.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, tokens: torch.Tensor, normed: torch.Tensor) -> torch.Tensor:
        """``tokens`` and what the ``normed`` ones gather, all (B, N, C)."""
        queries, keys, values = self._split(self.qkv(normed))
        attended = self.proj(_join(functional.scaled_dot_product_attention(queries, keys, values)))
        directions = functional.normalize(self._split(attended)[0].float(), dim=-1)
        gathered = aggregate_similar(directions.flatten(0, 1), values.float().flatten(0, 1), SCRA_SHARPNESS)
        projected = self.proj(_join(gathered.view_as(values).to(values.dtype)))
        return torch.addcmul(tokens, self.scale, projected.to(tokens.dtype))


def _join(x: torch.Tensor) -> torch.Tensor:
    """(B, heads, N, C / heads) -> (B, N, C)."""
    return x.transpose(1, 2).flatten(2)
