"""Where a published model's files are: a local folder, or the Hugging Face cache."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ovseg_ros.errors import OvsegError

WEIGHTS = ("*.safetensors",)
SMALL_FILES = "*.json"
"""Pattern of a model's settings and words."""

SAMPLES, SAMPLE_BYTES = 256, 4096
"""Gigabytes need not be read to tell two trainings of a model apart: pages spread over each file do."""


def model_folder(model: str, needed: tuple[str, ...], weights: tuple[str, ...] = WEIGHTS) -> Path:
    """The folder of ``model`` with the ``needed`` files and its ``weights``.

    Args:
        model: a local folder, or an id such as ``google/siglip2-so400m-patch16-naflex``, which is downloaded once
            unless ``HF_HUB_OFFLINE`` is set.
        needed: file names.
        weights: patterns of its large files, of which one at least must be there.

    Raises:
        OvsegError: with what is missing and the command that fetches it.
    """
    local = Path(model).expanduser()
    if local.is_dir():
        missing = _missing(local, needed, weights)
        if missing:
            raise OvsegError(
                f"{local} has no {missing}: give the folder of a whole model, as {_command('ID', weights)} makes it"
            )
        return local
    if local.is_absolute() or model.startswith("."):
        raise OvsegError(f"there is no folder {local}: give that of a model, or the id of one on huggingface.co")
    from huggingface_hub import snapshot_download

    reason = ""
    # First without the network: a robot that has the files must not wait for it.
    for offline in (True, False):
        try:
            folder = Path(snapshot_download(model, allow_patterns=[SMALL_FILES, *weights], local_files_only=offline))
        except (OSError, ValueError) as error:
            reason = shortened(error)
            continue
        if not _missing(folder, needed, weights):
            return folder
        reason = f"{folder} has no {_missing(folder, needed, weights)}"
    raise OvsegError(
        f"{model} is not on this machine ({reason}): fetch it with {_command(model, weights)}, or name its folder"
    )


def files_digest(paths: list[Path]) -> str:
    """24 hexadecimal digits that change with the files' names, sizes or contents (large files by samples)."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            if size <= SAMPLES * SAMPLE_BYTES:
                digest.update(file.read())
                continue
            for sample in range(SAMPLES):
                file.seek(sample * (size - SAMPLE_BYTES) // (SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()[:24]


def read_tensors(folder: Path, prefixes: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Only those tensors of a folder's safetensors whose names start with a prefix, which is replaced.

    Raises:
        OvsegError: for a damaged file.
    """
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118
                    prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
                    if prefix is not None:
                        tensors[prefixes[prefix] + name.removeprefix(prefix)] = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise OvsegError(f"{path} is damaged ({shortened(error)}): fetch it again") from error
    return tensors


def shortened(error: Exception) -> str:
    """What a library said, on one line of bearable length."""
    return " ".join(str(error).split())[:200]


def _missing(folder: Path, needed: tuple[str, ...], weights: tuple[str, ...]) -> str:
    missing = [name for name in needed if not (folder / name).is_file()]
    if not any(path for pattern in weights for path in folder.glob(pattern)):
        missing.append(" or ".join(weights))
    return " and no ".join(missing)


def _command(model: str, weights: tuple[str, ...]) -> str:
    return f"`hf download {model} " + " ".join(f"--include '{pattern}'" for pattern in (SMALL_FILES, *weights)) + "`"
