"""Where SAM 3's files are, and what to do when they aren't. Its weights are gated: everybody asks for them."""

from __future__ import annotations

from pathlib import Path

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.model_folder import files_digest, model_folder

NEEDED_FILES = ("config.json", "tokenizer.json")
LICENCE = (
    "weights: SAM License (Meta; commercial use allowed, no military, nuclear, espionage or weapons use, passed on "
    "with a copy); code: Apache-2.0 (transformers and our own), nothing of Meta's is shipped"
)


def fetch_model(weights: str) -> Path:
    """The folder of ``weights``, a local one or a hub id, downloaded once where the user has access.

    Raises:
        OvsegError: with how to get access, how to log in, and how to do without a network.
    """
    try:
        return model_folder(weights, NEEDED_FILES)
    except OvsegError as error:
        if not _is_hub_id(weights):
            raise
        raise OvsegError(
            f"{error}; access is gated: ask for it on https://huggingface.co/{weights}, then `hf auth login` (or set "
            f"HF_TOKEN); without a network copy the folder that `hf download {weights} --local-dir sam3` makes "
            "elsewhere and set `weights` to it (docs/sam3.md)"
        ) from error


def find_model(weights: str) -> Path | None:
    """The folder of ``weights`` if it is whole and on this machine; never asks the network."""
    folder: Path | None = Path(weights).expanduser()
    if _is_hub_id(weights):
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(weights, NEEDED_FILES[0])
        folder = Path(cached).parent if isinstance(cached, str) else None
    try:
        return folder and model_folder(str(folder.absolute()), NEEDED_FILES)
    except OvsegError:
        return None


def weights_digest(folder: Path) -> str:
    """12 hexadecimal digits that change with the model or its tokenizer."""
    return files_digest([*(folder / name for name in NEEDED_FILES), *folder.glob("*.safetensors")])[:12]


def _is_hub_id(weights: str) -> bool:
    return weights.count("/") == 1 and weights[0] not in "./~" and not Path(weights).is_dir()
