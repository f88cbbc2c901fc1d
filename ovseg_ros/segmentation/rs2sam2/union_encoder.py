"""BEiT-3 as the union encoder: an image and a text, attended together.

Wang et al. 2022, "Image as a Foreign Language"; the order of layers is torchscale's (norms before and inside attention
and feed-forward). Names of submodules are those of the published checkpoint: ``A`` is the expert for patches, ``B`` the
one for words.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import nn

from ovseg_ros.segmentation.rs2sam2.architecture import Architecture

FIRST_POSITION = 2
"""Position tables begin with two rows that are never used, as fairseq's."""

EXPANSION = 4


class Experts(nn.Module):
    """The same layer twice: for the first ``patches`` tokens, and for the words after them."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.A, self.B = make(), make()

    def forward(self, tokens: torch.Tensor, patches: int) -> torch.Tensor:
        """(B, T, C) -> (B, T, C')."""
        return torch.cat((self.A(tokens[:, :patches]), self.B(tokens[:, patches:])), dim=1)


class FeedForward(nn.Module):
    """Two linear layers with a norm before the second."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, EXPANSION * width)
        self.ffn_layernorm = nn.LayerNorm(EXPANSION * width)
        self.fc2 = nn.Linear(EXPANSION * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, C) -> (B, T, C)."""
        contracted: torch.Tensor = self.fc2(self.ffn_layernorm(functional.gelu(self.fc1(tokens))))
        return contracted


class SelfAttention(nn.Module):
    """Every token attends to all that are no padding; each kind of token has projections of its own."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            Experts(lambda: nn.Linear(width, width)) for _ in range(4)
        )
        self.inner_attn_ln = Experts(lambda: nn.LayerNorm(width))

    def forward(self, tokens: torch.Tensor, patches: int, read: torch.Tensor) -> torch.Tensor:
        """(B, T, C) tokens, the number of patches, (B, T) bool whether a token is read -> (B, T, C)."""
        batch, count, width = tokens.shape
        query, key, value = (
            project(tokens, patches).view(batch, count, self._heads, -1).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=read[:, None, None])
        mixed = mixed.transpose(1, 2).reshape(batch, count, width)
        out: torch.Tensor = self.out_proj(self.inner_attn_ln(mixed, patches), patches)
        return out


class Layer(nn.Module):
    """Attention and feed-forward, each with its norm before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, heads)
        self.self_attn_layer_norm = Experts(lambda: nn.LayerNorm(width))
        self.ffn = Experts(lambda: FeedForward(width))
        self.final_layer_norm = Experts(lambda: nn.LayerNorm(width))

    def forward(self, tokens: torch.Tensor, patches: int, read: torch.Tensor) -> torch.Tensor:
        """As of `SelfAttention`."""
        tokens = tokens + self.self_attn(self.self_attn_layer_norm(tokens, patches), patches, read)
        out: torch.Tensor = tokens + self.ffn(self.final_layer_norm(tokens, patches), patches)
        return out


class VisionEmbedding(nn.Module):
    """An image as a class token and its patches."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, s, s) -> (B, 1 + patches, C)."""
        patches = self.proj(image).flatten(2).transpose(1, 2)
        return torch.cat((self.cls_token.expand(len(image), -1, -1), patches), dim=1)


class Positions(nn.Module):
    """Tables of positions, ``A`` for class token and patches, ``B`` for words."""

    def __init__(self, patches: int, words: int, width: int) -> None:
        super().__init__()
        self.A = nn.Embedding(FIRST_POSITION + patches, width)
        self.B = nn.Embedding(words, width)

    def forward(self, patches: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """(B, P, C) and (B, W, C) tokens -> (B, P + W, C), each with its position added."""
        return torch.cat(
            [
                tokens + table.weight[FIRST_POSITION : FIRST_POSITION + tokens.shape[1]]
                for tokens, table in ((patches, self.A), (words, self.B))
            ],
            dim=1,
        )


class Trunk(nn.Module):
    """Positions, layers, a norm."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.embed_positions = Positions(sizes.union_grid**2 + 1, sizes.positions, sizes.width)
        self.layers = nn.ModuleList(Layer(sizes.width, sizes.heads) for _ in range(sizes.depth))
        self.layer_norm = Experts(lambda: nn.LayerNorm(sizes.width))

    def forward(self, patches: torch.Tensor, words: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        """(B, P, C) and (B, W, C) tokens, (B, W) bool whether a word is read -> (B, P + W, C)."""
        count = patches.shape[1]
        read = functional.pad(read, (count, 0), value=True)
        tokens = self.embed_positions(patches, words) * read[..., None]
        for layer in self.layers:
            tokens = layer(tokens, count, read)
        normed: torch.Tensor = self.layer_norm(tokens, count)
        return normed


class UnionEncoder(nn.Module):
    """BEiT-3 for one image and one text."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.text_embed = nn.Embedding(sizes.vocabulary, sizes.width)
        self.vision_embed = VisionEmbedding(sizes.width, sizes.patch_size)
        self.encoder = Trunk(sizes)

    def forward(
        self, image: torch.Tensor, ids: torch.Tensor, read: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Encode together.

        Args:
            image: (B, 3, s, s) normalised.
            ids: (B, W) int64 tokens.
            read: (B, W) bool, False for tokens that nothing attends to.

        Returns:
            (B, 1, C) class token, (B, g * g, C) patches and (B, W, C) words.
        """
        patches = self.vision_embed(image)
        tokens = self.encoder(patches, self.text_embed(ids), read)
        return tokens[:, :1], tokens[:, 1 : patches.shape[1]], tokens[:, patches.shape[1] :]
