"""Which classes a protocol leaves out of its score, and what a claim costs where they are the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.truth import GroundTruth


class Charge(Enum):
    """Where a claim of a scored class is a false positive although nothing scored is there."""

    NOWHERE = "nowhere"
    IGNORED = "where the truth is an ignored class"
    EVERYWHERE = "where the truth is an ignored class or unlabelled"


@dataclass(frozen=True)
class Ignoring:
    """The classes left out.

    Attributes:
        variant: what results call it: "with background" or "without background".
        names: left out.
        containing: every class whose name contains one of these is left out too.
        background: whether what the ground truth calls background is left out too.
        charge: what false positives are counted where.
    """

    variant: str
    names: tuple[str, ...] = ()
    containing: tuple[str, ...] = ()
    background: bool = False
    charge: Charge = Charge.NOWHERE

    def ignored(self, class_names: Sequence[str], background: Sequence[str]) -> tuple[str, ...]:
        """The class names that are left out, in their order."""
        dropped = {*self.names, *(background if self.background else ())}
        return tuple(name for name in class_names if name in dropped or any(part in name for part in self.containing))

    def scored(self, truth: GroundTruth) -> NDArray[np.bool_]:
        """(K,) the classes that are not left out."""
        ignored = self.ignored(truth.class_names, truth.background)
        return np.array([name not in ignored for name in truth.class_names], dtype=np.bool_)

    def charged(self, labels: NDArray[np.int32], scored: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(N,) where claims are false positives only, of (N,) true label ids."""
        if self.charge is Charge.NOWHERE:
            return np.zeros(len(labels), dtype=np.bool_)
        unscored: NDArray[np.bool_] = ~np.append(self.charge is Charge.IGNORED, scored)
        return unscored[labels]
