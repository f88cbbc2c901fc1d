"""What each part of OpenSeg's training and prediction is worth: short runs that differ in one thing.

    python -m ovseg_ros.training.ablations --data VIEWS --validation OTHER_VIEWS --out FOLDER

Each run is `ABLATIONS`' first with one change, and trains in the paper's way: captions and masks without classes. A run
that is done is not done again; one that was interrupted goes on. FOLDER gets ``ablations.md`` and ``ablations.csv``.
The crops are small, so that a caption names two or three things: from captions of whole rooms, with six or more, a run
this short learns next to nothing. Meant for views of 128x96 pixels.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.files import write_text
from ovseg_ros.segmentation.openseg.model import OpenSegConfig
from ovseg_ros.segmentation.openseg.prediction import PREDICTIONS
from ovseg_ros.segmentation.openseg.text import TextTable
from ovseg_ros.training.augmentation import Augmentation
from ovseg_ros.training.batches import LossWeights, Settings, TrainingViews, class_weights
from ovseg_ros.training.openseg import train
from ovseg_ros.training.trainer import Trainer
from ovseg_ros.training.validation import mask_recall, score
from ovseg_ros.training.views import View, common_classes, read_views
from ovseg_ros.training.words import TrainingWords

BASE = Settings(
    steps=500,
    batch=64,
    crop=(32, 32),
    full_share=0.0,
    learning_rate=3e-3,
    warmup=100,
    average=0.99,
    losses=LossWeights(mask=1.0, region=0.0, cell=0.0, spread=0.0, grounding=1.0),
    model=OpenSegConfig(
        widths=(16, 24, 32, 48, 64),
        depths=(1, 1, 1, 1),
        pyramid=32,
        head_depth=1,
        queries=32,
        position_grid=(6, 8),
        long_side=96,
    ),
    augmentation=Augmentation(zoom=(1.0, 1.13)),
)


def _layers(count: int) -> Settings:
    return replace(BASE, model=replace(BASE.model, attention_layers=count))


def _losses(**changes: float) -> Settings:
    return replace(BASE, losses=replace(BASE.losses, **changes))


ABLATIONS: Mapping[str, Settings] = MappingProxyType(
    {
        "base: L_G + L_S, T = 3, keep 0.75": BASE,
        "L_G only": _losses(mask=0.0),
        "T = 0": _layers(0),
        "T = 1": _layers(1),
        "keep 1": replace(BASE, caption_keep=1.0),
        "keep 0.25": replace(BASE, caption_keep=0.25),
        "keep 0.5": replace(BASE, caption_keep=0.5),
        "classes instead of captions": _losses(region=1.0, cell=1.0, spread=1.0, grounding=0.0),
    }
)
"""Names as in the table -> settings of the run."""

RECALL = "mask recall"


@dataclass(frozen=True)
class Data:
    """What all runs share: words, views to train on, and views to measure on."""

    words: TrainingWords
    training: TrainingViews
    validation: list[View]

    @classmethod
    def load(cls, training: Path, validation: Path) -> Data:
        """Read two folders of views.

        Raises:
            OvsegError: one has no views, or they have different classes.
        """
        words = TrainingWords(common_classes(training, validation), TextTable.packaged())
        return cls(words, TrainingViews.load(training, words.classes), read_views(validation))


def run(name: str, settings: Settings, data: Data, folder: Path) -> dict[str, float]:
    """Train and measure one run, or read what was measured before; returns numbers by column."""
    stem = "".join(character if character.isalnum() else "-" for character in name)
    result, checkpoint = folder / f"{stem}.json", folder / f"{stem}.checkpoint"
    wanted = json.loads(json.dumps(asdict(settings)))
    if result.is_file():
        content: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        if content["settings"] == wanted:
            return dict(content["numbers"])
        raise OvsegError(f"{result} is of a run with other settings: choose another folder")
    trainer = Trainer(settings, data.words, class_weights(data.training.pixels), autocast=False)
    if checkpoint.is_file():
        trainer.load(torch.load(checkpoint, weights_only=True))
    train(trainer, data.training, data.validation, checkpoint)
    values = score(trainer.average, data.validation, {"mIoU": data.words.names()}, PREDICTIONS, autocast=False)
    numbers = {key.replace("_", " ").replace("@", " "): value for key, value in values.items()}
    numbers[RECALL] = mask_recall(trainer.average, data.validation, autocast=False)
    write_text(result, json.dumps({"settings": wanted, "numbers": numbers}, indent=1))
    checkpoint.unlink()
    return numbers


def markdown(table: Mapping[str, Mapping[str, float]]) -> str:
    """Rows by name, columns by number, in per cent."""
    columns = list(next(iter(table.values())))
    lines = [["run", *columns], ["---", *["---:"] * len(columns)]]
    lines += [[name, *(f"{100 * numbers[column]:.1f}" for column in columns)] for name, numbers in table.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def comma_separated(table: Mapping[str, Mapping[str, float]]) -> str:
    """The same with all digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["run", *next(iter(table.values()))], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"run": name, **numbers} for name, numbers in table.items())
    return text.getvalue()


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="Train OpenSeg in several ways and compare them.")
    parser.add_argument("--data", type=Path, required=True, help="folder of views to train on")
    parser.add_argument("--validation", type=Path, required=True, help="such a folder with other images")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and their table")
    parser.add_argument("--steps", type=int, default=BASE.steps, help="optimiser steps of each run")
    parser.add_argument("--seed", type=int, default=BASE.seed)
    arguments = parser.parse_args()
    table: dict[str, dict[str, float]] = {}
    try:
        data = Data.load(arguments.data, arguments.validation)
        for name, settings in ABLATIONS.items():
            settings = replace(settings, steps=arguments.steps, seed=arguments.seed)
            table[name] = run(name, settings, data, arguments.out)
            write_text(arguments.out / "ablations.md", markdown(table))
            write_text(arguments.out / "ablations.csv", comma_separated(table))
    except OvsegError as error:
        raise SystemExit(str(error)) from error
    print(markdown(table), end="")


if __name__ == "__main__":
    main()
