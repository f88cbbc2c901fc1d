"""The published folder -> a network: tensors by hand, every one accounted for, no code run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.model_folder import shortened
from ovseg_ros.segmentation.rs2sam2.architecture import WHERE, Architecture, read_architecture
from ovseg_ros.segmentation.rs2sam2.names import is_unused, published_names
from ovseg_ros.segmentation.rs2sam2.network import Rs2Sam2Network

WRAPPER = "module.evf_model."
"""What training puts before each name; the published script takes it off again."""


def load_network(folder: Path, device: str) -> Rs2Sam2Network:
    """Read ``config.json`` and ``*.safetensors`` (or, where there are none, ``*.bin``) of a folder.

    Returns:
        The network in eval mode, float32.

    Raises:
        OvsegError: naming what is missing, superfluous, of another shape or damaged, and what to do.
    """
    if not folder.is_dir():
        raise OvsegError(f"there is no folder {folder}: {WHERE}")
    sizes = read_architecture(folder)
    return build_network(_read_tensors(folder), sizes, folder).to(device)


def build_network(published: Mapping[str, torch.Tensor], sizes: Architecture, source: Path) -> Rs2Sam2Network:
    """A network in eval mode, of tensors by their published names.

    Raises:
        OvsegError: as of `load_network`, naming the source.
    """
    # Nothing is drawn at random: 4 GB of numbers would be replaced at once.
    with torch.device("meta"):
        network = Rs2Sam2Network(sizes)
    ours: dict[str, torch.Tensor] = {}
    taken: set[str] = set()
    for name, parameter in network.state_dict().items():
        names = published_names(name, parameter.shape)
        missing = [needed for needed in names if needed not in published]
        if missing:
            raise OvsegError(f"{source} lacks the tensor {missing[0]}: it is no whole RS2-SAM2; {WHERE}")
        tensor = torch.cat([published[row] for row in names]) if len(names) > 1 else published[names[0]]
        if tensor.shape != parameter.shape:
            raise OvsegError(
                f"{names[0]} of {source} has the shape {tuple(tensor.shape)}, RS2-SAM2's has {tuple(parameter.shape)}: "
                f"it is another model; {WHERE}"
            )
        ours[name] = tensor.float()
        taken.update(names)
    extra = sorted(name for name in published if name not in taken and not is_unused(name))
    if extra:
        raise OvsegError(f"{source} has {len(extra)} tensors that RS2-SAM2 doesn't have, {extra[0]} first: {WHERE}")
    network.load_state_dict(ours, assign=True)
    return network.eval().requires_grad_(False)


def _read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    safe, other = sorted(folder.glob("*.safetensors")), sorted(folder.glob("*.bin"))
    if not safe and not other:
        raise OvsegError(f"{folder} has no *.safetensors: {WHERE}")
    tensors: dict[str, torch.Tensor] = {}
    for path in safe or other:
        try:
            tensors |= _read_safetensors(path) if safe else _read_pickled(path)
        except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError, TypeError) as error:
            raise OvsegError(f"{path} can't be read as weights ({shortened(error)}): fetch it again") from error
    return {name.removeprefix(WRAPPER): tensor for name, tensor in tensors.items()}


def _read_pickled(path: Path) -> dict[str, torch.Tensor]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    entries = content.items() if isinstance(content, dict) else [("", content)]
    if not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in entries):
        raise TypeError("it holds more than tensors by their names")
    return dict(entries)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if not is_unused(name)}  # noqa: SIM118
