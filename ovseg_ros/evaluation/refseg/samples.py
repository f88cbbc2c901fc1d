"""What data sets of referring expressions have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Sample:
    """One expression about one image.

    Attributes:
        image: file.
        expression: as published.
        annotation: what the mask is found by: its file, or a number.
    """

    image: Path
    expression: str
    annotation: Path | int


class RefDataset(Protocol):
    """A split of a data set."""

    @property
    def samples(self) -> Sequence[Sample]:
        """In the published order."""

    def mask(self, sample: Sample) -> NDArray[np.bool_]:
        """(H, W): what the expression means; OvsegError for a file that isn't there or isn't a mask."""
