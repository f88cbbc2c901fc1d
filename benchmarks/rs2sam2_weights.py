"""A random RS2-SAM2 of any size: each tensor made from its published name, so that others can make it too."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from ovseg_ros.segmentation.rs2sam2.architecture import MODEL_TYPE, SIZES, Architecture
from ovseg_ros.segmentation.rs2sam2.names import STACKED, published_names
from ovseg_ros.segmentation.rs2sam2.network import Rs2Sam2Network
from ovseg_ros.segmentation.rs2sam2.tokenizer import BEGIN, END, UNKNOWN

SMALL = Architecture(
    image_size=128, width=64, heads=2, depth=2, vocabulary=300, positions=64, hiera_width=16, hiera_heads=1,
    blocks=(1, 2, 3, 1), windows=(4, 4, 8, 4), global_blocks=(4,), background=(3, 3),
)  # fmt: skip
"""Every kind of layer; most numbers are SAM 2's decoder's. Upstream can't have another grid of patches."""


@dataclass(frozen=True)
class Inputs:
    """What both models are given: a (H, W, 3) uint8 image and (1, W) int64 tokens, an unknown one among them."""

    rgb: torch.Tensor
    ids: torch.Tensor


def random_inputs(sizes: Architecture) -> Inputs:
    """An image of coarse colours, and an expression."""
    seed = torch.Generator().manual_seed(0)
    colours = torch.randint(0, 256, (9, 12, 3), generator=seed, dtype=torch.uint8)
    ids = torch.randint(UNKNOWN + 1, sizes.vocabulary, (1, 7), generator=seed)
    ids[0, 0], ids[0, 3], ids[0, -1] = BEGIN, UNKNOWN, END
    return Inputs(colours.repeat_interleave(20, dim=0).repeat_interleave(20, dim=1), ids)


def random_tensor(name: str, shape: torch.Size) -> torch.Tensor:
    """By its published name; spread so that texts clearly differ, and nothing explodes."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith(("text_embed.weight", ".A.weight", ".B.weight")) and "embed" in name:
        return 0.5 * noise
    if name.endswith("gaussian_matrix") or (len(shape) == 2 and shape[0] == 1):
        return noise
    if len(shape) > 1:
        return noise / (2 * noise[0].numel()) ** 0.5
    return 1 + 0.1 * noise if name.endswith("weight") else 0.1 * noise


def random_weights(sizes: Architecture) -> dict[str, torch.Tensor]:
    """What a published folder holds, without what takes no part."""
    with torch.device("meta"):
        state = Rs2Sam2Network(sizes).state_dict()
    weights = {}
    for name, value in state.items():
        shape = torch.Size((1, value.shape[1])) if name == STACKED else value.shape
        weights |= {published: random_tensor(published, shape) for published in published_names(name, value.shape)}
    return weights


def write_folder(folder: Path, sizes: Architecture) -> None:
    """A folder like the published one, but for the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(random_weights(sizes), folder / "model.safetensors")
    config = {"model_type": MODEL_TYPE, "mm_extractor_scale": "large", SIZES: asdict(sizes)}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
