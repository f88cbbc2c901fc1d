"""Counts of what was said to be there and of masks that fit, and cgF1: classification-gated F1 (SAM 3, section 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

IOU_THRESHOLDS = np.arange(50, 100, 5) / 100
"""From each of these on a mask fits, as in COCO; F1 is the mean over them."""

TP, FP, FN, TN = range(4)


class PresenceCounts:
    """What was found and missed, over many images.

    Args:
        concepts: what was looked for.
    """

    def __init__(self, concepts: Sequence[str]) -> None:
        self.concepts = tuple(concepts)
        self._outcomes = np.zeros((len(self.concepts), 4), dtype=np.int64)
        self._left_out = np.zeros(len(self.concepts), dtype=np.int64)
        self._masks = np.zeros((len(IOU_THRESHOLDS), 3), dtype=np.int64)

    def add(self, concept: int, truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> None:
        """Count one concept in one image.

        Args:
            concept: its index.
            truth: (T, H, W) masks; none where it isn't there.
            predicted: (P, H, W) masks; none where it isn't seen.
        """
        there, seen = len(truth) > 0, len(predicted) > 0
        self._outcomes[concept, (TP if seen else FN) if there else (FP if seen else TN)] += 1
        if there:
            hits = matched(truth, predicted)
            self._masks += np.stack((hits, len(predicted) - hits, len(truth) - hits), axis=1)

    def leave_out(self, concept: int) -> None:
        """Count an image in which a concept is there, but too small to judge."""
        self._left_out[concept] += 1

    @property
    def never_there(self) -> tuple[str, ...]:
        """Concepts that no image has."""
        return tuple(name for name, never in zip(self.concepts, self._never, strict=True) if never)

    def presence(self) -> dict[str, float]:
        """`outcome_scores` over all concepts and images, and "false_alarm_never": of concepts that no image has."""
        never = self._outcomes[self._never].sum(axis=0)
        return {
            **outcome_scores(self._outcomes.sum(axis=0)),
            "false_alarm_never": _ratio(never[FP], never[FP] + never[TN]),
            "left_out": int(self._left_out.sum()),
        }

    def per_concept(self) -> dict[str, dict[str, float]]:
        """`outcome_scores` of each concept over the images."""
        return {
            name: {**outcome_scores(row), "left_out": int(left_out)}
            for name, row, left_out in zip(self.concepts, self._outcomes, self._left_out, strict=True)
        }

    @property
    def positive_f1(self) -> NDArray[np.float64]:
        """(10,) F1 of masks at IOU_THRESHOLDS, over the images that have their concept; NaN where none has."""
        hits, false, missed = self._masks.T
        return np.array([_ratio(2 * h, 2 * h + f + m) for h, f, m in zip(hits, false, missed, strict=True)])

    def summary(self) -> dict[str, float]:
        """The mean of `positive_f1`, and cgF1: that times the MCC of presence; NaN where either is."""
        f1 = float(self.positive_f1.mean())
        return {"positive_F1": f1, "cgF1": f1 * self.presence()["MCC"]}

    @property
    def _never(self) -> NDArray[np.bool_]:
        return self._outcomes[:, TP] + self._outcomes[:, FN] + self._left_out == 0


def matched(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(T, H, W) and (P, H, W) masks -> (10,) pairs that fit at IOU_THRESHOLDS.

    Masks are paired one to one so that the sum of their IoU is largest, before any threshold is asked.
    """
    first, second = (masks.reshape(len(masks), math.prod(masks.shape[1:])) for masks in (truth, predicted))
    shared = first.astype(np.float32) @ second.astype(np.float32).T
    union = first.sum(axis=1)[:, None] + second.sum(axis=1)[None] - shared
    iou = shared.astype(np.float64) / np.maximum(union, 1)
    pairs = linear_sum_assignment(iou, maximize=True)
    return (iou[pairs][None] >= IOU_THRESHOLDS[:, None]).sum(axis=1)


def outcome_scores(outcomes: NDArray[np.int64]) -> dict[str, float]:
    """TP, FP, FN, TN and what follows from them; NaN where the truth leaves nothing to be right about.

    "false_alarm" is the share of FP among what isn't there. "MCC" is Matthews' correlation, -1..1; 0 for one answer
    to everything.
    """
    tp, fp, fn, tn = (int(count) for count in outcomes)
    return {
        "TP": tp,
        "FP": fp,
        "FN": fn,
        "TN": tn,
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "false_alarm": _ratio(fp, fp + tn),
        "MCC": _correlation(tp, fp, fn, tn),
    }


def _correlation(tp: int, fp: int, fn: int, tn: int) -> float:
    if not (tp + fn and fp + tn):
        return math.nan
    answers = (tp + fp) * (fn + tn)
    return (tp * tn - fp * fn) / math.sqrt(answers * (tp + fn) * (fp + tn)) if answers else 0.0


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else math.nan
