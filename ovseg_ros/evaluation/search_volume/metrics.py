"""From counts to numbers: for each class at each step, and over the steps until the class is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.search_volume.counts import Counts, Step

Floats = NDArray[np.float64]

FOUND = 0.5
"""A class counts as found, and its search as over, once more than this share of its cells was observed."""


def recall(step: Step) -> Floats:
    """(K,) share of the class's cells in U that its search volume holds."""
    return _ratio(step.unobserved.tp, step.unobserved.truths)


def cut_volume(step: Step) -> Floats:
    """(K,) SCV, search volume cut: 1 minus the share of U that is searched in vain."""
    return 1.0 - _ratio(step.unobserved.fp, step.volume)


def search_volume(step: Step) -> Floats:
    """(K,) share of U that is to be searched."""
    return _ratio(step.unobserved.tp + step.unobserved.fp, step.volume)


def f_score(step: Step, beta: float) -> Floats:
    """(K,) weighted harmonic mean of precision and recall over U; 0 where nothing is claimed rightly."""
    counts, weight = step.unobserved, beta * beta
    whole = (1 + weight) * counts.tp + weight * counts.fn + counts.fp
    return np.where(counts.truths > 0, _ratio((1.0 + weight) * counts.tp, whole), np.nan)


def iou(counts: Counts) -> Floats:
    """(K,) intersection over union; NaN where the class has no cell."""
    return np.where(counts.truths > 0, _ratio(counts.tp, counts.truths + counts.fp), np.nan)


METRICS: dict[str, Callable[[Step], Floats]] = {
    "recall": recall,
    "SCV": cut_volume,
    "SCV-recall": lambda step: recall(step) * cut_volume(step),
    "search-volume": search_volume,
    "F0.5": lambda step: f_score(step, 0.5),
    "F1": lambda step: f_score(step, 1.0),
    "F2": lambda step: f_score(step, 2.0),
    "IoU-observed": lambda step: iou(step.observed),
    "IoU-unobserved": lambda step: iou(step.unobserved),
    "IoU-scene": lambda step: iou(step.observed + step.unobserved),
    "IoU-surface": lambda step: iou(step.observed + step.surface),
    "has-rays": lambda step: (step.rays > 0).astype(np.float64),
}
"""Name -> (K,) numbers of a step, NaN where a class has none. IoU-surface leaves out the empty cells of U."""


def truths(step: Step) -> NDArray[np.int64]:
    """(K,) cells of each class in the scene; the same at each step."""
    return step.observed.truths + step.surface.truths


def searching(steps: Sequence[Step]) -> NDArray[np.bool_]:
    """(S, K) at which steps the search for each class goes on: it has cells, and isn't `FOUND` nor was before."""
    seen = np.array([_ratio(step.observed.truths, truths(step)) for step in steps])
    over = np.logical_or.accumulate(seen > FOUND, axis=0)
    return ~over & (truths(steps[0]) > 0)


def areas(steps: Sequence[Step]) -> dict[str, Floats]:
    """Metric -> (K,) mean over the frames up to the last step of the search, each step standing for those before it.

    That is the area under the metric's curve, divided by its length. Steps at which a metric has no value are left out;
    NaN for a class that is nowhere, or was found at the first step.
    """
    lengths = np.diff([step.frames for step in steps], prepend=0)[:, None]
    active = searching(steps)

    def area(metric: Callable[[Step], Floats]) -> Floats:
        values = np.array([metric(step) for step in steps])
        weights = lengths * (active & ~np.isnan(values))
        return _ratio((np.nan_to_num(values) * weights).sum(axis=0), weights.sum(axis=0))

    return {name: area(metric) for name, metric in METRICS.items()}


def _ratio(part: NDArray[Any], whole: NDArray[Any] | int) -> Floats:
    """Elementwise; NaN where the whole is 0."""
    whole = np.broadcast_to(whole, part.shape).astype(np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
