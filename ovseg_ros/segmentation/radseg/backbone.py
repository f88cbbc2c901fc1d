"""The RADIO vision transformer: patches, positions and prefix tokens through pre-norm blocks (AM-RADIO, 2312.06709)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import nn

from ovseg_ros.segmentation.radseg.attention import Attention, SelfCorrelatingAttention
from ovseg_ros.segmentation.radseg.linear import FusedLinear, packing_helps

NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class BackboneConfig:
    """Sizes, all but the heads as the tensors of a checkpoint have them.

    Attributes:
        width: channels of a token.
        depth: blocks.
        heads: of each attention.
        hidden: channels inside each MLP.
        patch: pixels on a side of a patch.
        prefix: class and register tokens before the patches.
        positions: rows and columns of the position table.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    patch: int
    prefix: int
    positions: int


class Block(nn.Module):
    """Attention and an MLP on normalised tokens, each added to them. LayerScale is in the weights of `fc2`."""

    def __init__(self, config: BackboneConfig, attention: type[Attention]) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.attn = attention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.fc1 = FusedLinear(config.width, config.hidden)
        self.fc2 = FusedLinear(config.hidden, config.width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, N, C) float32 -> (B, N, C) float32; matrices multiply in the type of their weights."""
        matrix_type = self.fc1.weight.dtype
        tokens = self.attn(tokens, self.norm1(tokens).to(matrix_type))
        return self.fc2.add_to(tokens, self.fc1.gelu(self.norm2(tokens).to(matrix_type)))


class Backbone(nn.Module):
    """Images to patch features. The last block attends as RADSeg does.

    Inference only: positions are kept for the sizes that were seen.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.embedder = nn.Linear(3 * config.patch**2, config.width)
        self.position_table = nn.Parameter(torch.zeros(config.positions, config.positions, config.width))
        self.prefix = nn.Parameter(torch.zeros(config.prefix, config.width))
        attentions = [Attention] * (config.depth - 1) + [SelfCorrelatingAttention]
        self.blocks = nn.Sequential(*(Block(config, attention) for attention in attentions))
        self.normaliser: nn.Module = nn.Identity()
        self._positions: dict[tuple[int, int, torch.device], torch.Tensor] = {}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) float32 in 0..1, H and W whole patches -> (B, H / patch, W / patch, C) float32."""
        patch = self.config.patch
        batch, _, height, width = images.shape
        rows, columns = height // patch, width // patch
        patches = images.view(batch, 3, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
        tokens = images.new_empty(batch, self.config.prefix + rows * columns, self.config.width)
        tokens[:, : self.config.prefix] = self.prefix
        tokens[:, self.config.prefix :] = self.embedder(patches.reshape(batch, rows * columns, -1))
        tokens[:, self.config.prefix :] += self.positions(rows, columns)
        features: torch.Tensor = self.normaliser(self.blocks(tokens)[:, self.config.prefix :])
        return features.reshape(batch, rows, columns, -1)

    def positions(self, rows: int, columns: int) -> torch.Tensor:
        """(rows * columns, C): the table brought to a square of the longer side, and its top left part."""
        key = (rows, columns, self.position_table.device)
        if key not in self._positions:
            side = max(rows, columns)
            table = self.position_table.permute(2, 0, 1)[None]
            table = functional.interpolate(table, (side, side), mode="bilinear", align_corners=False)
            self._positions[key] = table[0, :, :rows, :columns].flatten(1).T.contiguous()
        return self._positions[key]

    def normalise_features(self, mean: torch.Tensor, transform: torch.Tensor) -> None:
        """Have features come as ``transform @ (feature - mean)``: (C,) and (C, C)."""
        self.normaliser = nn.Linear(self.config.width, self.config.width)
        with torch.no_grad():
            self.normaliser.weight.copy_(transform)
            self.normaliser.bias.copy_(-transform @ mean)

    def prepare(self, dtype: torch.dtype, *, compile: bool = False) -> None:
        """Have the blocks multiply in ``dtype``, compiled or else with weights packed for the CPU where that helps.

        Norms and what blocks add up stay float32. Comes last: packed weights can't be moved, compiled blocks shouldn't.
        """
        on_cpu = self.prefix.device.type == "cpu"
        if compile:
            self.blocks.compile(mode="default" if on_cpu else "reduce-overhead")
        pack = not compile and on_cpu and dtype == torch.float32 and packing_helps()
        for module in self.blocks.modules():
            if isinstance(module, FusedLinear):
                module.to(dtype)
                if pack:
                    module.pack()
