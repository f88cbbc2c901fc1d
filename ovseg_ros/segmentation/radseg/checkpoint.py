"""Files of RADIO weights: NVIDIA's ``.pth.tar``, without running anything in it, and safetensors."""

from __future__ import annotations

import argparse
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ovseg_ros.errors import OvsegError

SHOWN_KEYS = 8
RENAMED = (
    (r"^radio_model\.model\.", "base_model."),
    (r"^radio_model\.adaptors\.([^.]+)\.head_mlp\.", r"_heads.\1."),
    (r"^radio_model\.adaptors\.([^.]+)\.feat_mlp\.", r"_feature_projections.\1."),
    (r"^radio_model\.feature_normalizer\.", "_feature_normalizer."),
    (r"^radio_model\.inter_feature_normalizer\.", "_intermediate_feature_normalizer."),
    (r"^radio_model\.", ""),
)
"""Names in the hub's safetensors -> names in ``.pth.tar``."""


@dataclass
class Checkpoint:
    """Tensors by their names in NVIDIA's container, and the arguments of their training.

    Attributes:
        path: where they come from.
        arguments: as NVIDIA's ``args``: `model`, `model_kwargs`, `teachers` and many more.
        tensors: as stored; big ones are read when they are used.
    """

    path: Path
    arguments: Mapping[str, Any]
    tensors: dict[str, torch.Tensor]
    _taken: set[str] = field(default_factory=set)

    def has(self, name: str) -> bool:
        """Whether there is a tensor of this name."""
        return name in self.tensors

    def count(self, pattern: str) -> int:
        """How many numbered parts there are: ``pattern`` has one group, the number."""
        found = (re.match(pattern, name) for name in self.tensors)
        return len({match[1] for match in found if match})

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """A tensor as float32, of this shape where one is given.

        Raises:
            OvsegError: if it is missing or has another shape.
        """
        if name not in self.tensors:
            raise OvsegError(f"{self.path} has no tensor {name}: it isn't a whole RADIO checkpoint, fetch it again")
        tensor = self.tensors[name]
        if shape and tuple(tensor.shape) != shape:
            raise OvsegError(
                f"{name} in {self.path} is {tuple(tensor.shape)} and should be {shape}: "
                "this isn't a RADIO model that is known here"
            )
        self._taken.add(name)
        return tensor.float()

    def check_taken(self, prefix: str, *excused: str) -> None:
        """All tensors whose names begin with ``prefix`` were taken, but for those that match a pattern.

        Raises:
            OvsegError: that lists the others.
        """
        left = [name for name in self.tensors if name.startswith(prefix) and name not in self._taken]
        left = [name for name in left if not any(re.match(pattern, name) for pattern in excused)]
        if left:
            more = f" and {len(left) - SHOWN_KEYS} more" if len(left) > SHOWN_KEYS else ""
            raise OvsegError(
                f"{self.path} has tensors that have no place here ({', '.join(left[:SHOWN_KEYS])}{more}): "
                "use a released C-RADIOv3 or C-RADIOv4 checkpoint"
            )


def read_checkpoint(path: Path) -> Checkpoint:
    """Open ``.safetensors``, or anything else as ``.pth.tar``.

    Raises:
        OvsegError: if it is missing, damaged, of another kind, or has objects in it that might run code.
    """
    if not path.is_file():
        raise OvsegError(f"there are no weights at {path}: see `ovseg backends`")
    arguments, tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not tensors or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise _not_radio(path)
    for pattern, name in RENAMED:
        tensors = {re.sub(pattern, name, key): value for key, value in tensors.items()}
    if any(".parametrizations." in name for name in tensors):
        raise OvsegError(
            f"{path} is a training checkpoint with spectrally parametrised weights: use the released one, `_half` in "
            "NVIDIA's repositories"
        )
    if not isinstance(arguments.get("teachers"), list | tuple) or not any(
        name.startswith("base_model.") for name in tensors
    ):
        raise _not_radio(path)
    return Checkpoint(path, arguments, tensors)


def _read_pickle(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused is None:
            raise _damaged(path, error) from error
        raise OvsegError(
            f"{path} holds a {refused[1]}, which might run code and is not unpickled: convert the file to safetensors "
            "where you trust it, as docs/radseg.md shows"
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(content, dict) or not isinstance(content.get("args"), argparse.Namespace):
        raise _not_radio(path)
    tensors = content.get("state_dict_ema") or content.get("state_dict")
    if not isinstance(tensors, dict):
        raise _not_radio(path)
    return dict(vars(content["args"])), dict(tensors)


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Arguments come from the file's metadata, or from the ``config.json`` beside it, as on the hub."""
    config = path.with_name("config.json")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if "args" in metadata:
            arguments = json.loads(metadata["args"])
        elif config.is_file():
            arguments = json.loads(config.read_text(encoding="utf-8")).get("args")
        else:
            raise OvsegError(
                f"{path} doesn't say which model it is: put the config.json of its repository beside it, or convert "
                "the .pth.tar as docs/radseg.md shows"
            )
    except (SafetensorError, OSError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error
    if not isinstance(arguments, dict):
        raise _not_radio(path)
    return arguments, tensors


def _damaged(path: Path, error: Exception) -> OvsegError:
    reason = " ".join(str(error).split())[:150]
    return OvsegError(f"{path} can't be read as weights ({reason}): it is damaged or something else, fetch it again")


def _not_radio(path: Path) -> OvsegError:
    return OvsegError(
        f"{path} is no RADIO checkpoint (one holds `args` with `teachers`, and `state_dict`): "
        "use C-RADIOv3 or C-RADIOv4 weights"
    )
