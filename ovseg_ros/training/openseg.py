"""Train an OpenSeg on views of generated rooms, or on users' own images (docs/openseg-training.md).

    python -m ovseg_ros.training.openseg --data VIEWS --validation OTHER_VIEWS --out FILE --steps 8000

Everything random in a step is drawn from the seed and the step's number, so the same data, seed and
number of steps give the same weights, and a run that was interrupted and resumed gives them too.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.device import fast_bfloat16
from ovseg_ros.segmentation.openseg.model import SHORTEST_SIDE, STRIDE, OpenSegConfig
from ovseg_ros.segmentation.openseg.prediction import features_at
from ovseg_ros.segmentation.openseg.text import TABLE_FILE, TextTable, file_digest
from ovseg_ros.segmentation.openseg.weights_file import ModelCard, save_weights
from ovseg_ros.training.batches import LossWeights, Settings, TrainingViews, batches, class_weights
from ovseg_ros.training.room_images import parse_size
from ovseg_ros.training.trainer import Trainer
from ovseg_ros.training.validation import REGION_SHARES, mask_recall, score, validation_texts
from ovseg_ros.training.views import View, common_classes, read_views
from ovseg_ros.training.words import TrainingWords

QUICK_VALIDATION_VIEWS = 100
QUICK_REGION_SHARE = 0.5
MAX_ATTENTION_LAYERS = 6
MAX_LEARNING_RATE = 0.1
MEASURED_STEPS = 20
SKIPPED_STEPS = 4
"""First steps of a measurement, slow because everything is new."""


def steps_within(minutes: float, trainer: Trainer, data: TrainingViews) -> int:
    """How many steps fit into ``minutes`` on this machine as busy as it is now; trains a throw-away copy to see."""
    seconds = []
    for full_share in (0.0, 1.0):
        settings = replace(trainer.settings, steps=MEASURED_STEPS, full_share=full_share)
        probe = Trainer(settings, trainer.words, trainer.weights, trainer.autocast)
        times = [time.perf_counter()]
        for batch in batches(data, settings, 0):
            probe.train_step(batch)
            times.append(time.perf_counter())
        seconds.append((times[-1] - times[SKIPPED_STEPS]) / (MEASURED_STEPS - SKIPPED_STEPS))
    share = trainer.settings.full_share
    return max(1, int(60 * minutes / ((1 - share) * seconds[0] + share * seconds[1])))


def train(
    trainer: Trainer,
    data: TrainingViews,
    validation: list[View],
    checkpoint: Path,
    every_minutes: float = 5.0,
) -> None:
    """Run the remaining steps with a progress bar; every some minutes save a checkpoint and validate."""
    texts = {"names": trainer.words.names()}
    ways = {"features": features_at(QUICK_REGION_SHARE)}
    spaced = validation[:: max(1, len(validation) // QUICK_VALIDATION_VIEWS)]
    progress = tqdm(total=trainer.settings.steps, initial=trainer.step, unit="step", mininterval=5.0)
    smooth: dict[str, float] = {}
    last = time.monotonic()
    for batch in batches(data, trainer.settings, trainer.step):
        for name, value in trainer.train_step(batch).items():
            smooth[name] = 0.98 * smooth.get(name, value) + 0.02 * value
        progress.update()
        progress.set_postfix({name: f"{value:.3f}" for name, value in smooth.items()}, refresh=False)
        if time.monotonic() - last > 60 * every_minutes:
            trainer.save(checkpoint)
            values = score(trainer.average, spaced, texts, ways, trainer.autocast)
            numbers = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
            progress.write(f"step {trainer.step}: {numbers}  " + "  ".join(f"{k} {v:.3f}" for k, v in smooth.items()))
            last = time.monotonic()
    progress.close()
    trainer.save(checkpoint)


def finish(trainer: Trainer, validation: list[View], data: dict[str, Any], out: Path) -> ModelCard:
    """Choose the region share on the validation views, measure, and write the weights."""
    texts = validation_texts(TextTable.packaged(), trainer.words.vocabulary)
    ways = {str(share): features_at(share) for share in REGION_SHARES}
    values = score(trainer.average, validation, texts, ways, trainer.autocast)
    best = max(REGION_SHARES, key=lambda share: values[f"names@{share}"])
    measured = {key: value for key, value in values.items() if key.endswith(f"@{best}") and not math.isnan(value)}
    quality = {key.split("@")[0] + "_miou": value for key, value in measured.items()}
    quality["mask_recall"] = mask_recall(trainer.average, validation, trainer.autocast)
    settings = trainer.settings
    training = {**data, **{key: value for key, value in asdict(settings).items() if key != "model"}}
    training["parameters"] = sum(value.numel() for value in trainer.average.parameters())
    card = ModelCard(
        config=replace(settings.model, region_share=best),
        vocabulary=trainer.words.vocabulary,
        logit_scale=float(trainer.average.logit_scale),
        text_table=file_digest(TABLE_FILE),
        quality=quality,
        training=training,
    )
    save_weights(trainer.average, card, out)
    return card


def check_views(settings: Settings, views: Sequence[View]) -> None:
    """Raise an OvsegError unless views, all of one size, have what a run with these settings needs."""
    rows, columns = settings.model.working_size(*views[0].decode_depth().shape)
    width, height = settings.crop
    if width > columns or height > rows:
        raise OvsegError(
            f"crops of {width}x{height} are larger than the views, which are brought to {columns}x{rows}: "
            "make --crop smaller or --long-side larger"
        )
    blind = sum(view.depth is None for view in views)
    if settings.model.depth and blind:
        raise OvsegError(
            f"{blind} of {len(views)} views have no depth: write them again with a version that keeps it, "
            "or train without --depth"
        )


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(description="Train OpenSeg on views of generated rooms or on your own images.")
    parser.add_argument("--data", type=Path, required=True, help="folder of views (room_images, coco_images)")
    parser.add_argument("--validation", type=Path, required=True, help="such a folder with other images")
    parser.add_argument("--out", type=Path, required=True, help="weights file to write")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, help="optimiser steps")
    length.add_argument("--minutes", type=float, help="as many steps as fit in this time, measured at the start")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=Settings.batch, help="images per step")
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=Settings.learning_rate,
        help="the highest; less to go on from other weights",
    )
    parser.add_argument("--crop", type=parse_size, default=Settings.crop, help="most steps' crops, such as 192x160")
    parser.add_argument(
        "--full-share", type=float, default=Settings.full_share, help="last share of the steps, on whole images"
    )
    parser.add_argument(
        "--losses",
        type=parse_losses,
        default=LossWeights(),
        help="weights of the losses, those not named 0; mask=1,grounding=1 is the paper's objective",
    )
    parser.add_argument("--caption-keep", type=float, default=Settings.caption_keep, help="share of a caption's words")
    parser.add_argument("--attention-layers", type=int, default=OpenSegConfig.attention_layers, help="0 to 6")
    parser.add_argument(
        "--long-side", type=int, default=OpenSegConfig.long_side, help="pixels that the model works at, a multiple of 4"
    )
    parser.add_argument("--depth", action="store_true", help="let the model look at depth, too; all views must have it")
    parser.add_argument("--checkpoint", type=Path, help="default: OUT with .checkpoint added")
    parser.add_argument("--init", type=Path, help="weights file to start from, such as the packaged one")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--threads", type=int, help="of the computation; the data has one more")
    return parser


def parse_losses(text: str) -> LossWeights:
    """``"mask=1,grounding=0.5"`` -> these weights, and 0 for the others."""
    known = [entry.name for entry in fields(LossWeights)]
    try:
        given = {name.strip(): float(value) for name, value in (part.split("=") for part in text.split(","))}
        return LossWeights(**(dict.fromkeys(known, 0.0) | given))
    except (ValueError, TypeError, OvsegError):
        example = "mask=1,grounding=0.5"
        raise argparse.ArgumentTypeError(
            f"expected such as {example} out of {', '.join(known)}, got {text!r}"
        ) from None


def run(arguments: argparse.Namespace) -> ModelCard:
    """Train as the command line says.

    Raises:
        OvsegError: if the data or the checkpoint can't be used.
    """
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    autocast = arguments.precision == "bfloat16" or (arguments.precision == "auto" and fast_bfloat16())
    checkpoint = arguments.checkpoint or arguments.out.with_name(arguments.out.name + ".checkpoint")
    words = TrainingWords(common_classes(arguments.data, arguments.validation), TextTable.packaged())
    data, validation = TrainingViews.load(arguments.data, words.classes), read_views(arguments.validation)
    state: dict[str, Any] | None = None
    if arguments.resume:
        if not checkpoint.is_file():
            raise OvsegError(f"there is no checkpoint {checkpoint} to resume from: drop --resume")
        state = torch.load(checkpoint, weights_only=True)
    settings = Settings(
        steps=arguments.steps or 0,
        seed=arguments.seed,
        batch=arguments.batch,
        crop=arguments.crop,
        full_share=arguments.full_share,
        learning_rate=arguments.learning_rate,
        caption_keep=arguments.caption_keep,
        losses=arguments.losses,
        model=OpenSegConfig(
            attention_layers=arguments.attention_layers, long_side=arguments.long_side, depth=arguments.depth
        ),
    )
    check_views(settings, [*data.views, *validation])
    weights = class_weights(data.pixels)
    if arguments.minutes is not None:
        probe = Trainer(replace(settings, steps=1), words, weights, autocast)
        steps = int(state["settings"]["steps"]) if state else steps_within(arguments.minutes, probe, data)
        settings = replace(settings, steps=steps)
    trainer = Trainer(settings, words, weights, autocast)
    if state:
        trainer.load(state)
    elif arguments.init:
        trainer.start_from(arguments.init)
    train(trainer, data, validation, checkpoint)
    source: dict[str, Any] = {"views": len(data.views), "validation_views": len(validation)}
    if arguments.init:
        source["started_from"] = file_digest(arguments.init)
    return finish(trainer, validation, source, arguments.out)


def main() -> None:
    """Command line of this module."""
    parser = make_parser()
    arguments = parser.parse_args()
    if any(side % STRIDE for side in arguments.crop):
        parser.error(f"the sides of --crop must be multiples of {STRIDE}")
    if arguments.long_side < SHORTEST_SIDE or arguments.long_side % STRIDE:
        parser.error(f"--long-side is a multiple of {STRIDE}, at least {SHORTEST_SIDE}, got {arguments.long_side}")
    if not 0 <= arguments.attention_layers <= MAX_ATTENTION_LAYERS:
        parser.error(f"--attention-layers is 0 to {MAX_ATTENTION_LAYERS}, got {arguments.attention_layers}")
    if not 0 < arguments.learning_rate <= MAX_LEARNING_RATE:
        parser.error(f"--learning-rate is above 0 and at most {MAX_LEARNING_RATE}, got {arguments.learning_rate}")
    if not 0 <= arguments.full_share <= 1:
        parser.error(f"--full-share is a share from 0 to 1, got {arguments.full_share}")
    if not 0 < arguments.caption_keep <= 1:
        parser.error(f"--caption-keep is a probability above 0, got {arguments.caption_keep}")
    try:
        card = run(arguments)
    except OvsegError as error:
        raise SystemExit(str(error)) from error
    print("  ".join(f"{name} {value:.3f}" for name, value in card.quality.items()), f"-> {arguments.out}")


if __name__ == "__main__":
    main()
