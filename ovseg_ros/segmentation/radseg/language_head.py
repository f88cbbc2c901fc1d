"""The MLPs by which RADIO's features reach a teacher's space (AM-RADIO's adaptors, version 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import nn


class TeacherHead(nn.Module):
    """Linear, residual blocks of norm, GELU and linear, then norm, GELU and linear.

    A teacher has one for summaries, which RADSeg applies to every cell to reach the space of texts, and one for patch
    features.

    Args:
        inputs: channels of the backbone.
        hidden: channels inside.
        outputs: channels of the teacher.
        blocks: residual ones.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, blocks: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.fc1 = nn.Linear(inputs, hidden)
        self.blocks = nn.ModuleList(_norm_gelu_linear(hidden, hidden) for _ in range(blocks))
        self.final = _norm_gelu_linear(hidden, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(..., inputs) -> (..., outputs), not normalised."""
        x: torch.Tensor = self.fc1(features)
        for block in self.blocks:
            x = x + block(x)
        out: torch.Tensor = self.final(x)
        return out

    @torch.no_grad()
    def align(self, features: torch.Tensor) -> torch.Tensor:
        """(N, inputs) -> (N, outputs) float32 of unit norm, or zero where the features are zero."""
        aligned = functional.normalize(self(features.float()), dim=-1)
        return aligned * (features != 0).any(dim=-1, keepdim=True)


def _norm_gelu_linear(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(inputs), nn.GELU(), nn.Linear(inputs, outputs))
