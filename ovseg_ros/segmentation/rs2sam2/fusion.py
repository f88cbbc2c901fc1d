"""Where image and text meet inside SAM 2: bidirectional hierarchical fusion (Rong et al. 2025, "RS2-SAM2")."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import nn

from ovseg_ros.segmentation.rs2sam2.architecture import CHANNELS

BOTTLENECK = 4
"""An adapter works in a quarter of its block's channels."""

HEADS = 4
TEXT_UPDATE = 0.2
"""How much of a block's text replaces the text that came in; read off the code, the paper doesn't name it."""


class CrossAttention(nn.Module):
    """Tokens look at others; what comes of it is added or multiplied by whoever calls."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, query: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """(B, Q, C) and (B, N, C) -> (B, Q, C)."""
        seen: torch.Tensor = self.multihead_attn(query, others, others, need_weights=False)[0]
        return seen


class Adapter(nn.Module):
    """A bottleneck beside a block's feed-forward."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.D_fc1 = nn.Linear(width, width // BOTTLENECK)
        self.D_fc2 = nn.Linear(width // BOTTLENECK, width)

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """(..., C) -> (..., C)."""
        widened: torch.Tensor = self.D_fc2(functional.gelu(self.D_fc1(cells)))
        return widened


class FusionAdapter(nn.Module):
    """A bottleneck after a block's attention, in which image and text look at each other in turn."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = width // BOTTLENECK
        self.D_fc1 = nn.Linear(width, narrow)
        self.D_fc2 = nn.Linear(narrow, width)
        self.text_in_linear = nn.Linear(CHANNELS, narrow)
        self.text_out_linear = nn.Linear(narrow, CHANNELS)
        self.vlfusion_module = CrossAttention(narrow, HEADS)
        self.lvfusion_module = CrossAttention(narrow, HEADS)

    def forward(self, cells: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, h, w, C) cells and (B, W, 256) words -> both, changed by each other; words see the changed cells."""
        narrow = functional.gelu(self.D_fc1(cells)).flatten(1, 2)
        words = self.text_in_linear(text)
        narrow = narrow + self.vlfusion_module(narrow, words)
        words = words + self.lvfusion_module(words, narrow)
        text = (1 - TEXT_UPDATE) * text + TEXT_UPDATE * self.text_out_linear(words)
        return cells + self.D_fc2(narrow).view_as(cells), text
