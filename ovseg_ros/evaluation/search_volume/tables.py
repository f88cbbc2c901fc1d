"""Scenes' steps into the numbers of results.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ovseg_ros.evaluation.search_volume.counts import Step
from ovseg_ros.evaluation.search_volume.metrics import METRICS, Floats, areas, searching, truths
from ovseg_ros.evaluation.search_volume.result import SearchResult
from ovseg_ros.evaluation.search_volume.settings import SearchSettings
from ovseg_ros.evaluation.semseg.tables import check_comparable, room_seeds, versions

MODEL, BOUND, BLIND = "model", "true labels", "without rays"
"""Whose rays: the model's; those of true labels; none at all, so that every class may be anywhere in U."""


def tabulate(settings: SearchSettings, results: Sequence[SearchResult], failed: Mapping[str, str]) -> dict[str, Any]:
    """All numbers of a run, under the keys of results files.

    Args:
        settings: of the run.
        results: finished scenes, in their order.
        failed: scene -> what went wrong.

    Raises:
        OvsegError: no scene was finished, or the scenes' class lists differ.
    """
    check_comparable([result.class_names for result in results], failed)
    return {
        "protocol": settings.rules.id,
        "area_under": "the frames until more than half of a class was observed",
        "answers": {
            MODEL: _block(results, [result.model for result in results]),
            BOUND: _block(results, [result.bound for result in results]),
            BLIND: _block(results, [tuple(step.without_rays() for step in result.model) for result in results]),
        },
        "facts": {result.name: result.facts for result in results},
        "failed": dict(failed),
        "settings": settings.numbers_depend_on(),
        "versions": versions(),
        "seeds": {"run": settings.seed, "rooms": room_seeds(settings)},
    }


def _block(results: Sequence[SearchResult], walks: Sequence[tuple[Step, ...]]) -> dict[str, Any]:
    """One kind of answers: ``walks`` has the steps of each scene, none where there are no such answers."""
    known = [(result, steps) for result, steps in zip(results, walks, strict=True) if steps]
    by_scene = {result.name: areas(steps) for result, steps in known}
    scenes = {name: {key: _mean(values) for key, values in area.items()} for name, area in by_scene.items()}
    return {
        "scenes": scenes,
        "mean": {key: _mean(np.array([scene[key] for scene in scenes.values()])) for key in METRICS},
        "per_class": _classes(known, list(by_scene.values())),
        "steps": {result.name: [_moment(steps, place) for place in range(len(steps))] for result, steps in known},
    }


def _classes(
    known: Sequence[tuple[SearchResult, tuple[Step, ...]]], by_scene: Sequence[dict[str, Floats]]
) -> dict[str, dict[str, float]]:
    """Class -> mean over the scenes that have it, their number and the cells it has in them."""
    if not known:
        return {}
    cells = np.array([truths(steps[0]) for _, steps in known])
    means = {key: np.array([area[key] for area in by_scene]) for key in METRICS}
    return {
        name: {
            **{key: _mean(values[:, column]) for key, values in means.items()},
            "scenes": int((cells[:, column] > 0).sum()),
            "cells": int(cells[:, column].sum()),
        }
        for column, name in enumerate(known[0][0].class_names)
        if cells[:, column].any()
    }


def _moment(steps: tuple[Step, ...], place: int) -> dict[str, float]:
    """One step: means over the classes that are still searched for, and how many of these are."""
    step, active = steps[place], searching(steps)[place]
    means = {key: _mean(metric(step)[active]) for key, metric in METRICS.items()}
    return {"frames": step.frames, "unobserved": step.volume, "classes": int(active.sum()), **means}


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
