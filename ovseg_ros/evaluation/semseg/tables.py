"""Scenes' confusions into the numbers of results.json."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros import __version__
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.confusion import Confusion
from ovseg_ros.evaluation.protocols import METRICS, Scoring
from ovseg_ros.evaluation.semseg.result import Answers, SceneResult, VariantResult
from ovseg_ros.evaluation.semseg.settings import RunSettings

GROUNDING = "grounding-mIoU"
COLUMNS = (*METRICS, GROUNDING, "coverage")
DRAWS, LEVEL = 1000, 0.95

Pick = Callable[[VariantResult], Answers]


def check_comparable(class_lists: Sequence[tuple[str, ...]], failed: Mapping[str, str]) -> None:
    """Raise an OvsegError unless there are finished scenes, each with its class list, and all lists are the same."""
    if not class_lists:
        first = next(iter(failed.items()), ("", "there are none"))
        raise OvsegError(f"none of the {len(failed)} scenes could be evaluated; {first[0]}: {first[1]}")
    if len(set(class_lists)) > 1:
        raise OvsegError("the scenes have different class lists, so nothing can be averaged: evaluate them one by one")


def tabulate(settings: RunSettings, results: Sequence[SceneResult], failed: Mapping[str, str]) -> dict[str, Any]:
    """All numbers of a run, under the keys of results files.

    Args:
        settings: of the run.
        results: finished scenes, in their order.
        failed: scene -> what went wrong.

    Raises:
        OvsegError: no scene was finished, or the scenes' class lists differ.
    """
    check_comparable([result.class_names for result in results], failed)
    rules = settings.rules
    blocks = {variant.variant: _block(results, variant.variant, settings) for variant in rules.variants}
    own = rules.variants[0].variant
    over = "pooled" if rules.scoring.pooled else "mean"
    return {
        "protocol": rules.id,
        "variant": own,
        "headline": {"over": over, **{key: blocks[own][over][key] for key in METRICS}},
        **blocks[own],
        "variants": {name: block for name, block in blocks.items() if name != own},
        "facts": {result.name: result.facts for result in results},
        "failed": dict(failed),
        "protocol_source": rules.source,
        "settings": settings.numbers_depend_on(),
        "versions": versions(),
        "seeds": {"run": settings.seed, "bootstrap": settings.seed, "rooms": room_seeds(settings)},
    }


def versions() -> dict[str, str]:
    """Of what numbers may depend on."""
    return {
        "ovseg_ros": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "machine": platform.machine(),
    }


def _block(results: Sequence[SceneResult], variant: str, settings: RunSettings) -> dict[str, Any]:
    entries = [result.variants[variant] for result in results]
    scoring, named = settings.rules.scoring, settings.dataset.split or None

    def model(entry: VariantResult) -> Answers:
        return entry.model

    def bound(entry: VariantResult) -> Answers:
        return entry.bound

    scenes = [_scene(entry, model, scoring) for entry in entries]
    bounds = [_scene(entry, bound, scoring) for entry in entries]
    names = [result.name for result in results]
    return {
        "scenes": dict(zip(names, scenes, strict=True)),
        "mean": _mean(scenes),
        "pooled": _pooled(entries, model, scoring, named),
        "interval": _intervals(entries, scenes, scoring, settings.seed),
        "ground_truth_bound": {
            "scenes": dict(zip(names, bounds, strict=True)),
            "mean": _mean(bounds),
            "pooled": _pooled(entries, bound, scoring, named),
        },
    }


def _scene(entry: VariantResult, pick: Pick, scoring: Scoring) -> dict[str, float]:
    answers = pick(entry)
    grounding = scoring.summary(answers.grounding, entry.scored, entry.present)["mIoU"]
    return {
        **scoring.summary(answers.confusion, entry.scored, entry.present),
        GROUNDING: grounding,
        "coverage": answers.coverage,
    }


def _mean(scenes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: _known_mean([scene[key] for scene in scenes]) for key in COLUMNS}


def _pooled(
    entries: Sequence[VariantResult], pick: Pick, scoring: Scoring, named: Mapping[str, str] | None
) -> dict[str, Any]:
    picked = [pick(entry) for entry in entries]
    scored = entries[0].scored
    confusion, grounding = _sum([entry.confusion for entry in picked]), _sum([entry.grounding for entry in picked])
    weights = [entry.confusion.total for entry in picked]
    covered = [(entry.coverage, weight) for entry, weight in zip(picked, weights, strict=True) if weight]
    iou = scoring.iou(confusion)
    return {
        **scoring.summary(confusion, scored, confusion.truths > 0),
        GROUNDING: scoring.summary(grounding, scored, grounding.truths > 0)["mIoU"],
        "coverage": sum(share * weight for share, weight in covered) / sum(weights) if covered else math.nan,
        **scoring.groups(confusion, scored, confusion.truths > 0, named),
        "per_class": {
            name: {"IoU": float(iou[row]), "recall": float(confusion.recall[row]), "count": int(confusion.truths[row])}
            for row, name in enumerate(confusion.class_names)
            if confusion.truths[row]
        },
    }


def _intervals(
    entries: Sequence[VariantResult], scenes: Sequence[Mapping[str, float]], scoring: Scoring, seed: int
) -> dict[str, Any]:
    """Percentile bootstrap over scenes: how far the numbers would move with other scenes of this kind."""
    count = len(entries)
    draws = np.random.default_rng(seed).integers(0, count, (DRAWS, count))
    rows = np.array([[scene[key] for key in METRICS] for scene in scenes])
    means = np.array([[_known_mean(column) for column in rows[draw].T.tolist()] for draw in draws])
    names = entries[0].model.confusion.class_names
    # In float64, which is exact for counts and multiplies much faster than integers.
    counts = np.stack([entry.model.confusion.counts.ravel() for entry in entries]).astype(np.float64)
    times = np.stack([np.bincount(draw, minlength=count) for draw in draws]).astype(np.float64)
    pooled = []
    for sums in (row for part in np.array_split(times, DRAWS // 20) for row in part @ counts):
        confusion = Confusion(sums.astype(np.int64).reshape(len(names) + 1, -1), names)
        summary = scoring.summary(confusion, entries[0].scored, confusion.truths > 0)
        pooled.append([summary[key] for key in METRICS])
    return {
        "level": LEVEL,
        "draws": DRAWS,
        "mean": _percentiles(means),
        "pooled": _percentiles(np.array(pooled)),
    }


def _percentiles(values: NDArray[np.float64]) -> dict[str, list[float]]:
    """(draws, metrics) -> lower and upper end for each metric."""
    tail = 50 * (1 - LEVEL)
    known = {key: column[~np.isnan(column)] for key, column in zip(METRICS, values.T, strict=True)}
    return {
        key: np.percentile(column, [tail, 100 - tail]).tolist() if len(column) else [math.nan, math.nan]
        for key, column in known.items()
    }


def _sum(confusions: Sequence[Confusion]) -> Confusion:
    return sum(confusions[1:], start=confusions[0])


def _known_mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def room_seeds(settings: RunSettings) -> list[int]:
    """Of generated rooms; none for recordings."""
    return list(settings.dataset.rooms.seeds) if settings.dataset.rooms is not None else []
