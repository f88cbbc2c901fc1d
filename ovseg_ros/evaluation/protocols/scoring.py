"""How a protocol reads numbers off a confusion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.confusion import Confusion

METRICS = ("mIoU", "f-mIoU", "mAcc", "accuracy")
GROUPS = ("head", "common", "tail")


class Divisor(Enum):
    """How many classes a mean over classes is divided by."""

    COUNTED = "classes with truth in the confusion"
    TRUE_OR_CLAIMED = "classes with truth or a claim in the confusion"
    PRESENT = "classes that the scene's ground truth has"
    ALL = "all classes of the list"


@dataclass(frozen=True)
class Scoring:
    """The way to the numbers.

    Attributes:
        divisor: of means over classes; classes it counts and nothing was right about are 0.
        pooled: whether the protocol's own number is that of the scenes' summed confusions, or the mean over scenes.
        unanswered_costs_iou: whether places without an answer count as missed in IoU; they always do in recall.
    """

    divisor: Divisor = Divisor.COUNTED
    pooled: bool = False
    unanswered_costs_iou: bool = True

    def summary(self, confusion: Confusion, scored: NDArray[np.bool_], present: NDArray[np.bool_]) -> dict[str, float]:
        """The four numbers under the keys that results files use.

        Args:
            confusion: of K classes; ignored ones have no truth in it.
            scored: (K,) the classes that are not ignored.
            present: (K,) the classes that the ground truth has.
        """
        counted = self._counted(confusion, scored, present)
        truths = confusion.truths * scored
        iou, recall = self.iou(confusion), _ratio(np.diagonal(confusion.counts)[1:], confusion.truths)
        total = truths.sum()
        return {
            "mIoU": _mean(iou * (truths > 0), counted),
            "f-mIoU": float((iou * truths).sum() / total) if total else math.nan,
            "mAcc": _mean(recall, counted),
            "accuracy": float((recall * truths).sum() / total) if total else math.nan,
        }

    def groups(
        self,
        confusion: Confusion,
        scored: NDArray[np.bool_],
        present: NDArray[np.bool_],
        named: Mapping[str, str] | None = None,
    ) -> dict[str, float]:
        """Mean IoU of the classes that are frequent, common and rare.

        Args:
            confusion: of K classes.
            scored: (K,) the classes that are not ignored.
            present: (K,) the classes that the ground truth has.
            named: class name -> group, where a data set publishes its split; else thirds of the scored classes that
                have truth, by how much of it they have; what doesn't divide by three goes to the tail.
        """
        counted = self._counted(confusion, scored, present)
        known = np.flatnonzero(scored & (confusion.truths > 0))
        ranks = known[np.argsort(-confusion.truths[known], kind="stable")]
        third = len(ranks) // 3
        by_frequency = dict(zip(GROUPS, np.split(ranks, [third, 2 * third]), strict=True))
        iou = self.iou(confusion) * (confusion.truths > 0)
        result = {}
        for group in GROUPS:
            members = np.zeros_like(scored)
            members[by_frequency[group]] = True
            if named is not None:
                members = np.array([named.get(name) == group for name in confusion.class_names], dtype=np.bool_)
            result[f"{group}-mIoU"] = _mean(iou, counted & members)
        return result

    def iou(self, confusion: Confusion) -> NDArray[np.float64]:
        """(K,) intersection over union, 0 where there is neither truth nor claim."""
        hits, claims = np.diagonal(confusion.counts)[1:], confusion.counts[:, 1:].sum(axis=0)
        first = 0 if self.unanswered_costs_iou else 1
        return _ratio(hits, confusion.counts[1:, first:].sum(axis=1) + claims - hits)

    def _counted(
        self, confusion: Confusion, scored: NDArray[np.bool_], present: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        match self.divisor:
            case Divisor.COUNTED:
                return scored & (confusion.truths > 0)
            case Divisor.TRUE_OR_CLAIMED:
                return scored & ((confusion.truths > 0) | (confusion.counts[:, 1:].sum(axis=0) > 0))
            case Divisor.PRESENT:
                return scored & present
            case Divisor.ALL:
                return scored


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), 0.0)


def _mean(values: NDArray[np.float64], counted: NDArray[np.bool_]) -> float:
    return float(values[counted].sum() / counted.sum()) if counted.any() else math.nan
