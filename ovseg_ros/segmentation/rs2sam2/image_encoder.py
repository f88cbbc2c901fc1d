"""SAM 2's image encoder (Hiera), each block of which is steered by the text and changes it for the next."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

from ovseg_ros.segmentation.rs2sam2.fusion import Adapter, FusionAdapter

ADAPTER_SCALE = 0.5


class SteeredBlocks(nn.Module):
    """The adapters of a Hiera's blocks, and the way through both.

    Args:
        widths: channels that each block puts out.
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.fusion = nn.ModuleList(FusionAdapter(width) for width in widths)
        self.mlp = nn.ModuleList(Adapter(width) for width in widths)

    def forward(self, hiera: Any, image: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Encode an image under a text.

        Args:
            hiera: a ``Sam2HieraDetModel``.
            image: (B, 3, s, s) normalised.
            text: (B, W, 256) words.

        Returns:
            (B, h, w, C) cells at the end of each stage, the finest first.
        """
        cells = hiera.patch_embed(image)
        cells = cells + _positions(hiera, cells.shape[1], cells.shape[2])
        stages = []
        for index, (block, fusion, mlp) in enumerate(zip(hiera.blocks, self.fusion, self.mlp, strict=True)):
            normed = block.layer_norm1(cells)
            skipped = cells if block.dim == block.dim_out else _pooled(block.proj(normed), block.query_stride)
            fused, text = fusion(_attended(block, normed), text)
            cells = skipped + fused
            normed = block.layer_norm2(cells)
            cells = cells + block.mlp(normed) + ADAPTER_SCALE * mlp(normed)
            if index in hiera.stage_ends:
                stages.append(cells)
        return tuple(stages)


def _positions(hiera: Any, rows: int, columns: int) -> torch.Tensor:
    """(1, h, w, C): a coarse table stretched over the image, and one of a window repeated."""
    window = hiera.pos_embed_window
    tiles = (1, 1, rows // window.shape[2], columns // window.shape[3])
    stretched = functional.interpolate(hiera.pos_embed, (rows, columns), mode="bicubic")
    return (stretched + window.tile(tiles)).permute(0, 2, 3, 1)


def _attended(block: Any, cells: torch.Tensor) -> torch.Tensor:
    """(B, h, w, C) normed cells -> (B, h', w', C') after attention, pooled where the block pools its queries."""
    from transformers.models.sam2.modeling_sam2 import window_partition, window_unpartition

    if not block.window_size:
        attended: torch.Tensor = block.attn(hidden_states=cells)
        return attended
    rows, columns = cells.shape[1:3]
    windows, padded = window_partition(cells, block.window_size)
    pool = block.query_stride[0] if block.query_stride else 1
    return window_unpartition(
        block.attn(hidden_states=windows),
        block.window_size // pool,
        (padded[0] // pool, padded[1] // pool),
        (rows // pool, columns // pool),
    )


def _pooled(cells: torch.Tensor, stride: Any) -> torch.Tensor:
    """(B, h, w, C) -> the largest of each ``stride`` cells; all where there is no stride."""
    if not stride:
        return cells
    return functional.max_pool2d(cells.permute(0, 3, 1, 2), tuple(stride)).permute(0, 2, 3, 1)
