"""How large an RS2-SAM2 is: as published, or as the folder's config.json says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ovseg_ros.errors import OvsegError

MODEL_TYPE = "evf"
"""What the published config.json calls this model, after EVF-SAM, which it grew from."""

SIZES = "architecture"
"""Entry of config.json with other sizes than the published; the published file has none."""

CHANNELS = 256
"""Of SAM 2's decoder, and of the texts that steer the image encoder."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of the two encoders; the defaults are the published model's.

    Attributes:
        image_size: pixels on a side of SAM 2's image, a multiple of 32.
        union_image_size: pixels on a side of the union encoder's image.
        patch_size: of the union encoder.
        width: channels of the union encoder (BEiT-3).
        heads: of its attention.
        depth: its layers.
        vocabulary: rows of its token table.
        positions: rows of its table of text positions, of which the first two are never used.
        hiera_width: channels of the first stage of SAM 2's image encoder (Hiera); each stage doubles them.
        hiera_heads: of the first stage; each stage doubles them.
        blocks: of the four stages.
        windows: attention window of the four stages, in cells.
        global_blocks: blocks that attend to the whole image.
        background: rows and columns of the position table.
    """

    image_size: int = 1024
    union_image_size: int = 224
    patch_size: int = 16
    width: int = 1024
    heads: int = 16
    depth: int = 24
    vocabulary: int = 64010
    positions: int = 1024
    hiera_width: int = 144
    hiera_heads: int = 2
    blocks: tuple[int, ...] = (2, 6, 36, 4)
    windows: tuple[int, ...] = (8, 4, 16, 8)
    global_blocks: tuple[int, ...] = (23, 33, 43)
    background: tuple[int, ...] = (7, 7)

    @property
    def union_grid(self) -> int:
        """Patches on a side of the union encoder's image."""
        return self.union_image_size // self.patch_size

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest expression, the one that begins and the one that ends it included."""
        return self.positions - 2

    def sam_config(self) -> Any:
        """The ``Sam2Config`` of transformers for its half."""
        from transformers import Sam2Config

        widths = [self.hiera_width << stage for stage in range(len(self.blocks))]
        cells = [self.image_size // stride for stride in (4, 8, 16)]
        return Sam2Config(
            vision_config={
                "backbone_config": {
                    "model_type": "sam2_hiera_det_model",
                    "hidden_size": self.hiera_width,
                    "num_attention_heads": self.hiera_heads,
                    "image_size": [self.image_size, self.image_size],
                    "window_positional_embedding_background_size": list(self.background),
                    "blocks_per_stage": list(self.blocks),
                    "embed_dim_per_stage": widths,
                    "num_attention_heads_per_stage": [self.hiera_heads << stage for stage in range(len(self.blocks))],
                    "window_size_per_stage": list(self.windows),
                    "global_attention_blocks": list(self.global_blocks),
                },
                "backbone_channel_list": widths[::-1],
                "backbone_feature_sizes": [[side, side] for side in cells],
                "fpn_hidden_size": CHANNELS,
            },
            prompt_encoder_config={"hidden_size": CHANNELS, "image_size": self.image_size},
            # As upstream builds it: the single mask is never exchanged for one of three.
            mask_decoder_config={"hidden_size": CHANNELS, "dynamic_multimask_via_stability": False},
        )


def read_architecture(folder: Path) -> Architecture:
    """The sizes that a folder's config.json says.

    Raises:
        OvsegError: if there is none, or it is of another model.
    """
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise OvsegError(f"{folder} has no config.json: {WHERE}") from error
    except (OSError, ValueError) as error:
        raise OvsegError(f"{path} can't be read ({error}): fetch it again") from error
    kind = content.get("model_type") if isinstance(content, Mapping) else None
    if kind != MODEL_TYPE:
        raise OvsegError(f"{path} is of the model {kind!r}, not of {MODEL_TYPE!r}: {WHERE}")
    sizes = content.get(SIZES, {})
    known = {field.name: field.default for field in fields(Architecture)}
    if not isinstance(sizes, Mapping):
        raise OvsegError(f"{path} has an {SIZES} that is no table: its entries are {', '.join(known)}")
    wrong = [name for name, value in sizes.items() if name not in known or not _fits(value, known[name])]
    if wrong:
        raise OvsegError(f"{path} has an {SIZES} with a wrong {wrong[0]}: its entries are {', '.join(known)}")
    entries: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in sizes.items()
    }
    return Architecture(**entries)


WHERE = (
    "give the folder rrsisd or refseg of ReeF2025/RS2-SAM2, as "
    "`hf download ReeF2025/RS2-SAM2 --local-dir rs2sam2` fetches it"
)


def _fits(value: object, default: object) -> bool:
    """Whether a value of JSON is a positive whole number, or a list of them, as the default is."""
    if isinstance(default, tuple):
        return isinstance(value, list) and all(isinstance(entry, int) and entry >= 0 for entry in value)
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
