"""Where a model runs, and in which precision."""

from __future__ import annotations

import torch

from ovseg_ros.errors import OvsegError


def resolve_device(device: str = "auto") -> str:
    """``auto`` -> ``cuda`` where there is a GPU, else ``cpu``; anything else is checked and returned.

    Raises:
        OvsegError: for a device that this machine or torch doesn't have.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdigit():
        raise OvsegError(f"there is no device {device!r}: use auto, cpu, cuda or cuda:0")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise OvsegError(f"this machine has {torch.cuda.device_count()} GPUs, so no {device!r}: use auto or cpu")
    return device


def release_device_memory() -> None:
    """Give memory that torch keeps for reuse back to the GPU, once a model and its map are gone."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices faster than float32 ones: much with AMX, somewhat with AVX-512."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16", False) or capabilities.get("avx512_bf16", False))
