"""The RS2-SAM2 backend: referring expressions in aerial images, with weights that users fetch from their authors."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.registry import BackendInfo
from ovseg_ros.segmentation.rs2sam2.architecture import WHERE
from ovseg_ros.segmentation.rs2sam2.referrer import Rs2Sam2Referrer

NAME = "rs2sam2"
VARIABLE = "OVSEG_RS2SAM2_WEIGHTS"
"""Names the folder of the weights where nobody says otherwise."""


def describe() -> BackendInfo:
    """What `ovseg backends` shows."""
    folder = os.environ.get(VARIABLE, "")
    found = bool(folder) and Path(folder).expanduser().is_dir()
    return BackendInfo(
        name=NAME,
        installed=found and find_spec("transformers") is not None and find_spec("sentencepiece") is not None,
        weights=folder if found else f"missing: set {VARIABLE} to their folder (docs/rs2sam2.md says how to get them)",
        licence="ours Apache-2.0; of the weights: their code's repository names none, ask the authors",
        summary="RS2-SAM2: what a sentence means in an aerial image (ovseg refer); wants a GPU",
    )


def load(device: str, weights: Path | None) -> Rs2Sam2Referrer:
    """The model in ``weights``, or in the folder that the environment names.

    Raises:
        OvsegError: without a folder, or with one that can't be loaded.
    """
    folder = weights or Path(os.environ.get(VARIABLE, ""))
    if folder == Path():
        raise OvsegError(f"RS2-SAM2 needs its weights: name their folder with --weights or in {VARIABLE}; {WHERE}")
    return Rs2Sam2Referrer.load(folder.expanduser(), device)
