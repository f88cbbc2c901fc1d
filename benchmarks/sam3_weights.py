"""A random SAM 3 for images, of any size, made from a seed: each tensor by its own name, so that others can copy it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import torch

PATCH = 14
TOKENS = 32
TABLES = ("embed.weight", "embedding.weight", "embeddings", "token.weight", "points.weight")
"""How the names of weights end that are looked up, not multiplied with."""


@dataclass(frozen=True)
class Sizes:
    """Of the random model.

    Attributes:
        grid: patches on a side of the image.
        pretrained: patches on a side of the position table, which is tiled; divides ``grid``.
        window: patches on a side of an attention window; divides ``grid``.
        width: channels of the image encoder.
        depth: its layers; every second one attends to the whole image.
        text_width: channels of the text encoder.
        text_depth: its layers.
        tokens: numbers of tokens; 0 is padding.
        hidden: channels of everything else.
        layers: of the DETR's encoder, its decoder and the geometry encoder.
        queries: of the decoder.
        heads: of each attention.
    """

    grid: int = 6
    pretrained: int = 2
    window: int = 3
    width: int = 64
    depth: int = 4
    text_width: int = 32
    text_depth: int = 2
    tokens: int = 64
    hidden: int = 32
    layers: int = 2
    queries: int = 12
    heads: int = 2

    @property
    def side(self) -> int:
        """Pixels on a side of the image."""
        return PATCH * self.grid


WIDE = Sizes(
    grid=24, pretrained=8, window=12, width=1024, text_width=512, tokens=1000, hidden=256, layers=3, queries=50, heads=8
)
"""As wide as the published model, with fewer layers and a smaller image."""


@dataclass(frozen=True)
class Inputs:
    """What both models are given: a (side, side, 3) uint8 image, (P, T) int64 token ids, 0 for padding."""

    rgb: torch.Tensor
    ids: torch.Tensor


def random_model(sizes: Sizes) -> Any:
    """A ``Sam3Model`` of transformers in eval mode."""
    from transformers import Sam3Config, Sam3Model

    def part(width: int, **more: Any) -> dict[str, Any]:
        return {"hidden_size": width, "num_attention_heads": sizes.heads, "intermediate_size": 2 * width} | more

    vision = part(
        sizes.width, model_type="sam3_vit_model", num_hidden_layers=sizes.depth, image_size=sizes.side,
        patch_size=PATCH, window_size=sizes.window, global_attn_indexes=list(range(1, sizes.depth, 2)),
        pretrain_image_size=PATCH * sizes.pretrained,
    )  # fmt: skip
    text = part(
        sizes.text_width, model_type="clip_text_model", vocab_size=sizes.tokens, projection_dim=sizes.text_width,
        num_hidden_layers=sizes.text_depth, max_position_embeddings=TOKENS, hidden_act="gelu", bos_token_id=1,
        eos_token_id=2, intermediate_size=4 * sizes.text_width,
    )  # fmt: skip
    layers = part(sizes.hidden, num_layers=sizes.layers)
    config = Sam3Config(
        vision_config={
            "backbone_config": vision,
            "fpn_hidden_size": sizes.hidden,
            "backbone_feature_sizes": [[scale * sizes.grid] * 2 for scale in (4, 2, 1)],
        },
        text_config=text,
        geometry_encoder_config=layers,
        detr_encoder_config=layers,
        detr_decoder_config=layers | {"num_queries": sizes.queries},
        mask_decoder_config={"hidden_size": sizes.hidden, "num_attention_heads": sizes.heads},
    )
    model = Sam3Model(config).eval()
    model.load_state_dict({name: _tensor(name, tuple(value.shape)) for name, value in model.state_dict().items()})
    return model


def random_inputs(sizes: Sizes, prompts: int = 3) -> Inputs:
    """An image of coarse colours, and prompts of different lengths."""
    seed = torch.Generator().manual_seed(0)
    colours = torch.randint(0, 256, (sizes.grid, sizes.grid, 3), generator=seed, dtype=torch.uint8)
    rgb = colours.repeat_interleave(PATCH, dim=0).repeat_interleave(PATCH, dim=1)
    ids = torch.zeros(prompts, TOKENS, dtype=torch.int64)
    for row in range(prompts):
        words = torch.randint(3, sizes.tokens, (2 + row,), generator=seed)
        ids[row, : len(words) + 2] = torch.cat((torch.tensor([1]), words, torch.tensor([2])))
    return Inputs(rgb, ids)


def _tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Spread so that queries and prompts clearly differ, and nothing explodes."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith(TABLES):
        return 0.5 * noise
    if len(shape) > 1:
        return noise / noise[0].numel() ** 0.5
    return 1 + 0.1 * noise if name.endswith("weight") else 0.1 * noise
