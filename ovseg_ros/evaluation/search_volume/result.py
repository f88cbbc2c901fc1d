"""What one scene gives, and the file that keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_ros.evaluation.search_volume.counts import Counts, Step
from ovseg_ros.files import write_text

FILE = "search.json"


@dataclass(frozen=True)
class SearchResult:
    """One finished scene.

    Attributes:
        name: of the scene.
        class_names: K names.
        model: the map of the model, step by step.
        bound: that of true labels; empty where the data set has no label images.
        facts: frames, skipped frames by cause, cells, cone, seconds, feature space, prompts.
        settings: `SearchSettings.numbers_depend_on` of the run.
    """

    name: str
    class_names: tuple[str, ...]
    model: tuple[Step, ...]
    bound: tuple[Step, ...]
    facts: dict[str, Any]
    settings: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write the file, whole or not at all."""
        data = {
            "name": self.name,
            "settings": self.settings,
            "facts": self.facts,
            "class_names": list(self.class_names),
            "model": [_step_out(step) for step in self.model],
            "bound": [_step_out(step) for step in self.bound],
        }
        write_text(folder / FILE, json.dumps(data) + "\n")

    @classmethod
    def read(cls, folder: Path) -> SearchResult | None:
        """What `write` wrote; None if it isn't there or is damaged, so that the scene is done again."""
        try:
            data = json.loads((folder / FILE).read_text(encoding="utf-8"))
            model, bound = (tuple(_step_in(step) for step in data[key]) for key in ("model", "bound"))
            return cls(data["name"], tuple(data["class_names"]), model, bound, data["facts"], data["settings"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _step_out(step: Step) -> dict[str, Any]:
    return {
        "frames": step.frames,
        "observed": _counts_out(step.observed),
        "surface": _counts_out(step.surface),
        "empty": step.empty.tolist(),
        "volume": step.volume,
        "labelled": step.labelled,
        "rays": step.rays.tolist(),
    }


def _step_in(data: dict[str, Any]) -> Step:
    return Step(
        frames=int(data["frames"]),
        observed=_counts_in(data["observed"]),
        surface=_counts_in(data["surface"]),
        empty=np.array(data["empty"], dtype=np.int64),
        volume=int(data["volume"]),
        labelled=int(data["labelled"]),
        rays=np.array(data["rays"], dtype=np.int64),
    )


def _counts_out(counts: Counts) -> list[list[int]]:
    return [counts.tp.tolist(), counts.fp.tolist(), counts.fn.tolist()]


def _counts_in(rows: list[list[int]]) -> Counts:
    tp, fp, fn = (np.array(row, dtype=np.int64) for row in rows)
    return Counts(tp, fp, fn)
