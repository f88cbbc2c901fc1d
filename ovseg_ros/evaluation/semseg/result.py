"""What one scene gives: confusions from which every number is read, and the file that keeps them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.evaluation.confusion import Confusion
from ovseg_ros.evaluation.results import without_nan
from ovseg_ros.files import write_text

FILE = "scene.json"


@dataclass(frozen=True)
class Answers:
    """A map's answers, counted.

    Attributes:
        confusion: each voxel takes any class that the protocol allows.
        grounding: it takes one of those that the scene's truth has, as a caption would tell them.
        coverage: share of the scored truth with a labelled voxel near; NaN without truth.
    """

    confusion: Confusion
    grounding: Confusion
    coverage: float


@dataclass(frozen=True)
class VariantResult:
    """One scene with one choice of ignored classes.

    Attributes:
        model: what the model's map says.
        bound: what a map of true labels says.
        scored: (K,) the classes that are not ignored.
        present: (K,) the classes that the ground truth has.
    """

    model: Answers
    bound: Answers
    scored: NDArray[np.bool_]
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class SceneResult:
    """One finished scene.

    Attributes:
        name: of the scene.
        class_names: K names.
        variants: name of the variant -> numbers, the protocol's own first.
        facts: frames, skipped frames by cause, voxels, seconds, feature space, prompts, source of the bound.
        settings: `RunSettings.numbers_depend_on` of the run.
    """

    name: str
    class_names: tuple[str, ...]
    variants: dict[str, VariantResult]
    facts: dict[str, Any]
    settings: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write the file, whole or not at all."""
        data = {
            "name": self.name,
            "settings": self.settings,
            "facts": self.facts,
            "class_names": list(self.class_names),
            "variants": {name: _variant_out(entry) for name, entry in self.variants.items()},
        }
        write_text(folder / FILE, json.dumps(without_nan(data)) + "\n")

    @classmethod
    def read(cls, folder: Path) -> SceneResult | None:
        """What `write` wrote; None if it isn't there or is damaged, so that the scene is done again."""
        try:
            data = json.loads((folder / FILE).read_text(encoding="utf-8"))
            names = tuple(data["class_names"])
            variants = {name: _variant_in(entry, names) for name, entry in data["variants"].items()}
            return cls(data["name"], names, variants, data["facts"], data["settings"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _variant_out(entry: VariantResult) -> dict[str, Any]:
    return {
        "model": _answers_out(entry.model),
        "bound": _answers_out(entry.bound),
        "scored": entry.scored.tolist(),
        "present": entry.present.tolist(),
    }


def _answers_out(answers: Answers) -> dict[str, Any]:
    return {
        "confusion": answers.confusion.counts.tolist(),
        "grounding": answers.grounding.counts.tolist(),
        "coverage": answers.coverage,
    }


def _variant_in(data: dict[str, Any], names: tuple[str, ...]) -> VariantResult:
    return VariantResult(
        model=_answers_in(data["model"], names),
        bound=_answers_in(data["bound"], names),
        scored=np.array(data["scored"], dtype=np.bool_),
        present=np.array(data["present"], dtype=np.bool_),
    )


def _answers_in(data: dict[str, Any], names: tuple[str, ...]) -> Answers:
    size = len(names) + 1

    def confusion(key: str) -> Confusion:
        return Confusion(np.array(data[key], dtype=np.int64).reshape(size, size), names)

    coverage = math.nan if data["coverage"] is None else float(data["coverage"])
    return Answers(confusion("confusion"), confusion("grounding"), coverage)
