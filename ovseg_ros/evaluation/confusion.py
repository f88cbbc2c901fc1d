"""Confusion matrices and the numbers read off them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Confusion:
    """Counts of (truth, prediction) pairs.

    Attributes:
        counts: (K + 1, K + 1) int64; row = true label id, column = predicted one, 0 = unlabelled.
            Row 0 is empty, since where there is no truth there is nothing to be right about; unless a protocol
            charges for what is claimed there: then it adds false positives and no truth.
            Column 0 counts against recall: where there is truth, no answer is a wrong answer.
        class_names: K names; label id i + 1 is ``class_names[i]``.

    Example:
        >>> truth, predicted = np.array([1, 1, 2, 0]), np.array([1, 2, 2, 1])
        >>> Confusion.of(truth, predicted, ("wall", "chair")).accuracy
        0.6666666666666666
    """

    counts: NDArray[np.int64]
    class_names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        truth: NDArray[np.integer],
        predicted: NDArray[np.integer],
        class_names: tuple[str, ...],
        charged: NDArray[np.bool_] | None = None,
    ) -> Confusion:
        """Count two label arrays of one shape.

        Args:
            truth: label ids; unlabelled (0) is left out.
            predicted: label ids, 0 where there is no answer.
            class_names: behind the ids.
            charged: where claims count as false positives although the truth is 0.

        Raises:
            OvsegError: the shapes differ, or a label has no name.
        """
        size = len(class_names) + 1
        if truth.shape != predicted.shape:
            raise OvsegError(f"truth {truth.shape} and prediction {predicted.shape} must have the same shape")
        for name, labels in (("truth", truth), ("prediction", predicted)):
            if labels.size and (labels.min() < 0 or labels.max() >= size):
                raise OvsegError(f"the {name} has labels {labels.min()}..{labels.max()}, the limit is 0..{size - 1}")
        kept = truth > 0 if charged is None else (truth > 0) | charged
        pairs = truth[kept].astype(np.int64) * size + predicted[kept]
        return cls(np.bincount(pairs, minlength=size * size).reshape(size, size), class_names)

    @classmethod
    def empty(cls, class_names: tuple[str, ...]) -> Confusion:
        """Nothing counted yet."""
        size = len(class_names) + 1
        return cls(np.zeros((size, size), dtype=np.int64), class_names)

    def __add__(self, other: Confusion) -> Confusion:
        if self.class_names != other.class_names:
            raise OvsegError("confusions of different class lists cannot be added: evaluate them with one list")
        return Confusion(self.counts + other.counts, self.class_names)

    @property
    def total(self) -> int:
        """How many labelled truths were counted."""
        return int(self.truths.sum())

    @property
    def iou(self) -> FloatArray:
        """(K,) intersection over union; NaN for classes that the truth lacks."""
        hits = np.diagonal(self.counts)[1:]
        union = self.truths + self.counts[:, 1:].sum(axis=0) - hits
        return _ratio(hits, np.where(self.truths > 0, union, 0))

    @property
    def recall(self) -> FloatArray:
        """(K,) share of each class that was recognised; NaN for classes that the truth lacks."""
        return _ratio(np.diagonal(self.counts)[1:], self.truths)

    @property
    def mean_iou(self) -> float:
        """mIoU: over the classes that the truth has; NaN if it has none."""
        return _mean(self.iou)

    @property
    def frequency_weighted_iou(self) -> float:
        """f-mIoU: each class weighted with its share of the truth."""
        return float(np.nansum(self.iou * self.truths) / self.total) if self.total else float("nan")

    @property
    def mean_accuracy(self) -> float:
        """mAcc: mean recall over the classes that the truth has."""
        return _mean(self.recall)

    @property
    def accuracy(self) -> float:
        """Share of all labelled truths that were recognised."""
        return float(np.trace(self.counts[1:, 1:]) / self.total) if self.total else float("nan")

    def summary(self) -> dict[str, float]:
        """The four numbers under the keys that results files use."""
        return {
            "mIoU": self.mean_iou,
            "f-mIoU": self.frequency_weighted_iou,
            "mAcc": self.mean_accuracy,
            "accuracy": self.accuracy,
        }

    def per_class(self) -> dict[str, dict[str, float]]:
        """IoU, recall and truth count of each class that the truth has, in the order of the names."""
        rows = zip(self.class_names, self.iou, self.recall, self.truths, strict=True)
        return {
            name: {"IoU": float(iou), "recall": float(recall), "count": int(count)}
            for name, iou, recall, count in rows
            if count
        }

    @property
    def truths(self) -> NDArray[np.int64]:
        """(K,) truths of each class."""
        truths: NDArray[np.int64] = self.counts[1:].sum(axis=1)
        return truths


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> FloatArray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean(values: FloatArray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
