"""Random weights in RADIO's container: what a released checkpoint holds, made from a seed."""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

TEACHERS: tuple[dict[str, object], ...] = (
    {"name": "clip", "type": "open_clip", "model": "ViT-H-14-378-quickgelu", "pretrained": "dfn5b"},
    {"name": "siglip2", "type": "siglip2", "model": "siglip2-so400m"},
    {"name": "dino_v2", "type": "dino_v2"},
    {"name": "sam", "type": "sam", "use_summary": False},
)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Sizes:
    """Of the random model; the defaults are those of C-RADIOv3-B but for the heads' outputs of other teachers.

    Attributes:
        width: channels of a token.
        depth: blocks.
        heads: of each attention.
        side: rows and columns of the position table.
        head_hidden: channels inside a teacher's head.
        text: channels of the texts.
        sam: channels of SAM's features.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    side: int = 128
    head_hidden: int = 1520
    text: int = 1152
    sam: int = 1280


TINY = Sizes(width=96, depth=3, heads=3, side=32, head_hidden=80, text=256, sam=64)


def random_checkpoint(sizes: Sizes, teachers: tuple[dict[str, object], ...] = TEACHERS) -> dict[str, object]:
    """``args`` and ``state_dict`` as in a ``.pth.tar``; each tensor is seeded by its name."""
    state = {name: _tensor(name, shape) for name, shape in _shapes(sizes)}
    state["input_conditioner.norm_mean"] = torch.tensor(CLIP_MEAN).view(3, 1, 1)
    state["input_conditioner.norm_std"] = torch.tensor(CLIP_STD).view(3, 1, 1)
    return {"args": _arguments(sizes, teachers), "state_dict": state, "epoch": 0}


def write_random_checkpoint(path: Path, sizes: Sizes) -> Path:
    """Save `random_checkpoint` as RADIO saves its own."""
    torch.save(random_checkpoint(sizes), path)
    return path


def _arguments(sizes: Sizes, teachers: tuple[dict[str, object], ...]) -> argparse.Namespace:
    return argparse.Namespace(
        model="vit_base_patch16_v2_224",
        model_kwargs={"embed_dim": sizes.width, "depth": sizes.depth, "num_heads": sizes.heads},
        in_chans=None, input_size=(3, 512, 512), pretrained=False, num_classes=0, drop=0.0, drop_path=None,
        drop_block=None, gp="token", bn_momentum=None, bn_eps=None, torchscript=False, initial_checkpoint="",
        cpe_max_size=16 * sizes.side, register_multiple=8, cls_token_per_teacher=True,
        teachers=[dict(teacher) for teacher in teachers], mlp_version="v2", spectral_reparam=False,
        spectral_heads=False, dtype=torch.float32,
    )  # fmt: skip


def _shapes(sizes: Sizes) -> Iterator[tuple[str, tuple[int, ...]]]:
    width = sizes.width
    yield "base_model.reg_token", (1, 4, width)
    for i in range(sizes.depth):
        block = f"base_model.blocks.{i}."
        for norm in ("norm1", "norm2"):
            yield from _affine(block + norm, (width,))
        yield from _affine(block + "attn.qkv", (3 * width, width))
        yield from _affine(block + "attn.proj", (width, width))
        yield block + "ls1.grandma", (width,)
        yield from _affine(block + "mlp.fc1", (4 * width, width))
        yield from _affine(block + "mlp.fc2", (width, 4 * width))
        yield block + "ls2.grandma", (width,)
    patches = "base_model.patch_generator."
    yield patches + "pos_embed", (1, sizes.side**2, width)
    yield patches + "embedder.weight", (width, 3 * 16 * 16)
    yield patches + "cls_token.token", (8, width)
    for teacher, output, features in (("siglip2", sizes.text, sizes.text), ("sam", 256, sizes.sam)):
        yield from _head(f"_heads.{teacher}.", width, sizes.head_hidden, output)
        yield from _head(f"_feature_projections.{teacher}.", width, sizes.head_hidden, features)


def _head(prefix: str, inputs: int, hidden: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _affine(prefix + "fc1", (hidden, inputs))
    for i in range(2):
        yield from _affine(f"{prefix}blocks.{i}.0", (hidden,))
        yield from _affine(f"{prefix}blocks.{i}.2", (hidden, hidden))
    yield from _affine(prefix + "final.0", (hidden,))
    yield from _affine(prefix + "final.2", (outputs, hidden))


def _affine(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield name + ".weight", shape
    yield name + ".bias", shape[:1]


def _tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Of a size that lets every block matter and no activation explode."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith(".grandma"):
        return 0.5 + 0.1 * noise
    if name.endswith(".weight") and len(shape) == 1:
        return 1 + 0.1 * noise
    if name.endswith(".weight"):
        return noise / shape[1] ** 0.5
    return noise * (0.02 if name.endswith(".bias") else 0.5)
