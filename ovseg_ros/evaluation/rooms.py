"""Score a backend on generated rooms that were not used in training.

Run as ``python -m ovseg_ros.evaluation.rooms --rooms 10 --seed 9000``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from tqdm import tqdm

from ovseg_ros.evaluation.arguments import image_size, positive
from ovseg_ros.evaluation.images import LabelledImage, score_images
from ovseg_ros.evaluation.labelling import ImageLabeller
from ovseg_ros.evaluation.oracle import OracleSpace
from ovseg_ros.evaluation.results import show
from ovseg_ros.evaluation.scenes import format_classes, format_report, report, score_scene
from ovseg_ros.mapping import MappingConfig
from ovseg_ros.segmentation import load_segmenter
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import segment
from ovseg_ros.vocabulary import Vocabulary


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parse(arguments)
    return show(_score_images if options.images else _score_maps, options, _as_text)


def _score_maps(options: argparse.Namespace) -> dict[str, Any]:
    config = MappingConfig(voxel_size=options.voxel_size)
    segmenter = None if options.oracle else load_segmenter(options.backend, options.device)
    scores = []
    with tqdm(total=options.rooms * options.frames, unit="frame", file=sys.stderr) as progress:

        def counted(indices: Iterable[int]) -> Iterator[int]:
            for index in indices:
                yield index
                progress.update()

        for seed, sequence in _rooms(options):
            oracle = OracleSpace(sequence.class_names)
            space = segmenter.space if segmenter else oracle
            see = partial(segment, segmenter) if segmenter else oracle.segment
            name = f"room-{seed}"
            score = score_scene(name, sequence, see, space, config, device=options.device, frames=counted)
            scores.append(score)
            progress.set_postfix(mIoU=f"{score.confusion.mean_iou:.3f}")
    return {**_settings(options, "rooms"), **report(scores)}


def _score_images(options: argparse.Namespace) -> dict[str, Any]:
    segmenter = load_segmenter(options.backend, options.device)

    def views() -> Iterator[LabelledImage]:
        with tqdm(total=options.rooms * options.frames, unit="image", file=sys.stderr) as progress:
            for _, sequence in _rooms(options):
                for index in range(len(sequence)):
                    view = sequence.view(index)
                    yield LabelledImage(torch.from_numpy(view.rgb), view.labels)
                    progress.update()

    scores = score_images(views(), ImageLabeller(segmenter, Vocabulary.from_names(RoomSequence.class_names)))
    return {
        **_settings(options, "rooms-images"),
        "images": scores.images,
        "open": scores.open_choice.summary(),
        "grounding": scores.grounding.summary(),
        "per_class": scores.open_choice.per_class(),
    }


def _rooms(options: argparse.Namespace) -> Iterator[tuple[int, RoomSequence]]:
    width, height = options.size
    for seed in range(options.seed, options.seed + options.rooms):
        yield seed, RoomSequence(seed, frames=options.frames, width=width, height=height)


def _settings(options: argparse.Namespace, protocol: str) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "backend": "ground truth" if options.oracle else options.backend,
        "seeds": list(range(options.seed, options.seed + options.rooms)),
        "frames": options.frames,
        "size": "x".join(map(str, options.size)),
        "voxel_size": options.voxel_size,
    }


def _as_text(results: dict[str, Any]) -> str:
    if "scenes" in results:
        return format_report(results)
    lines = [
        f"{name:10}" + "  ".join(f"{key} {value:.3f}" for key, value in results[name].items())
        for name in ("open", "grounding")
    ]
    return "\n".join([*lines, "", format_classes(results["per_class"])])


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ovseg_ros.evaluation.rooms", description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", type=positive, default=10, help="how many rooms")
    parser.add_argument("--seed", type=int, default=9000, help="of the first room; the others count up from it")
    parser.add_argument("--frames", type=positive, default=60, help="per room")
    parser.add_argument("--size", type=image_size, default=(320, 240), metavar="WxH", help="of the images")
    parser.add_argument("--voxel-size", type=float, default=0.05, help="metres")
    parser.add_argument("--backend", default="openseg", help="which segmenter to score")
    parser.add_argument("--device", default="cpu")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--oracle", action="store_true", help="ground-truth labels in place of the model")
    kind.add_argument("--images", action="store_true", help="score single images, without a map")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
