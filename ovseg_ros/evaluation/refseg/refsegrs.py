"""RefSegRS (Yuan et al. 2024, "RRSIS: Referring Remote Sensing Image Segmentation").

ROOT/images/*.tif   ROOT/masks/*.tif   ROOT/output_phrase_{train,val,test}.txt
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.refseg.samples import SPLITS, Sample

TREE = "images/, masks/ and output_phrase_SPLIT.txt, see https://gitlab.lrz.de/ai4eo/reasoning/rrsis"
INSIDE = 50
"""Brighter pixels of a mask are inside."""


class RefSegRs:
    """A split of RefSegRS; a sample for each line.

    Args:
        root: the folder that holds ``images`` and ``masks``.
        split: train, val or test.

    Raises:
        OvsegError: if files are missing or not as published, or the split is unknown.
    """

    def __init__(self, root: Path, split: str) -> None:
        if split not in SPLITS:
            raise OvsegError(f"RefSegRS has no split {split!r}: choose one of {', '.join(SPLITS)}")
        phrases = root / f"output_phrase_{split}.txt"
        for path in (phrases, root / "images", root / "masks"):
            if not path.exists():
                raise OvsegError(f"RefSegRS at {root} has no {path.relative_to(root)}: it needs {TREE}")
        try:
            lines = phrases.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise OvsegError(f"{phrases} can't be read ({error}): fetch it again") from error
        self.samples = []
        for number, line in enumerate(lines, start=1):
            name, _, expression = line.partition(" ")
            if not name or not expression.strip():
                raise OvsegError(f"line {number} of {phrases} has no number and words: fetch it again")
            self.samples.append(Sample(root / "images" / f"{name}.tif", expression, root / "masks" / f"{name}.tif"))

    def mask(self, sample: Sample) -> NDArray[np.bool_]:
        """As of `RefDataset`."""
        image = cv2.imread(str(sample.annotation), cv2.IMREAD_ANYDEPTH)
        if image is None:
            raise OvsegError(f"the mask {sample.annotation} can't be read: fetch it again")
        return np.asarray(image > INSIDE)
