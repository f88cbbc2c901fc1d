"""Score whether a backend sees what is in an image and leaves alone what isn't.

Run as ``python -m ovseg_ros.evaluation.presence RECORDING --concepts chair sofa piano``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ovseg_ros.datasets import LAYOUTS, Recording, open_sequence
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.arguments import positive
from ovseg_ros.evaluation.presence_counts import PresenceCounts
from ovseg_ros.evaluation.presence_masks import ConceptFinder, LabelledView, Masks
from ovseg_ros.evaluation.results import show
from ovseg_ros.segmentation import load_segmenter
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import InvalidFrameError, PromptedSegmenter, Segmenter
from ovseg_ros.vocabulary import Vocabulary, normalise

MIN_SCORE = 0.5
MIN_PIXELS = 100
COLUMNS = ("precision", "recall", "false_alarm", "MCC")


@torch.inference_mode()
def score_presence(
    views: Iterable[LabelledView],
    segmenter: Segmenter,
    concepts: Sequence[str],
    *,
    min_score: float = MIN_SCORE,
    min_pixels: int = MIN_PIXELS,
) -> PresenceCounts:
    """Look for every concept in every image and compare with the truth.

    A concept is seen where it has a mask of at least ``min_pixels``, and there where the truth has one. Images where
    its true masks are all smaller are left out of its counts. Unlabelled pixels belong to no mask. Where the truth
    doesn't tell things of one class apart, the masks of a concept are taken as one.

    Args:
        views: images with truth, read once.
        segmenter: one that finds only what it is told to is told the concepts.
        concepts: distinct names; one that isn't the name of a class is there in no image.
        min_score: see `ConceptFinder`.
        min_pixels: of a mask that counts.

    Raises:
        OvsegError: the concepts are none or not distinct, or the segmenter can't be asked for one of them.
    """
    vocabulary = Vocabulary.from_names(concepts)
    if isinstance(segmenter, PromptedSegmenter):
        segmenter.look_for(vocabulary)
    find = ConceptFinder(segmenter, vocabulary.names, min_score)
    counts = PresenceCounts(vocabulary.names)
    for view in views:
        known = view.labels > 0
        for index, (concept, found) in enumerate(zip(vocabulary.names, find(view.rgb), strict=True)):
            whole = view.masks(concept)
            truth = _large(whole, min_pixels)
            if len(whole) and not len(truth):
                counts.leave_out(index)
                continue
            seen: Masks = found & known
            if view.instances is None:
                seen = np.logical_or.reduce(seen, axis=0, keepdims=True)
            counts.add(index, truth, _large(seen, min_pixels))
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    return show(_score, _parse(arguments), _as_text)


def _score(options: argparse.Namespace) -> dict[str, Any]:
    sequences = [_open(name, options.dataset) for name in options.recording]
    classes = dict.fromkeys(normalise(name) for sequence in sequences for name in sequence.class_names)
    concepts = [*(options.concepts or classes), *options.absent]
    if options.instances and not all(isinstance(sequence, RoomSequence) for sequence in sequences):
        raise OvsegError("only generated rooms tell things of one class apart: drop --instances")
    seen: Counter[str] = Counter()
    counts = score_presence(
        _views(sequences, options.every, options.instances, seen),
        load_segmenter(options.backend, options.device),
        concepts,
        min_score=options.min_score,
        min_pixels=options.min_pixels,
    )
    if not seen["images"]:
        raise OvsegError(f"{', '.join(options.recording)} has no image with labels: choose a recording that has them")
    return {
        "protocol": "presence",
        "backend": options.backend,
        "recordings": options.recording,
        "masks": "instances" if options.instances else "regions",
        "min_score": options.min_score,
        "min_pixels": options.min_pixels,
        **seen,
        "never_there": list(counts.never_there),
        "no_class": [word for word in counts.concepts if word not in classes],
        "presence": counts.presence(),
        **counts.summary(),
        "per_concept": counts.per_concept(),
    }


def _open(name: str, dataset: str) -> Recording | RoomSequence:
    if dataset != "rooms":
        return open_sequence(name, dataset)
    if not name.isdigit():
        raise OvsegError(f"with --dataset rooms, RECORDING is the seed of a room, got {name!r}")
    return RoomSequence(int(name))


def _views(
    sequences: Sequence[Recording | RoomSequence], every: int, instances: bool, seen: Counter[str]
) -> Iterator[LabelledView]:
    """The images that have labels; ``seen`` counts "images", "unlabelled" and "damaged"."""
    numbers = [(sequence, index) for sequence in sequences for index in range(0, len(sequence), every)]
    for sequence, index in tqdm(numbers, unit="image", disable=None, file=sys.stderr):
        view = _view(sequence, index, instances, seen)
        if view is not None:
            seen["images"] += 1
            yield view


def _view(sequence: Recording | RoomSequence, index: int, instances: bool, seen: Counter[str]) -> LabelledView | None:
    if isinstance(sequence, RoomSequence):
        room = sequence.view(index)
        things = room.instances if instances else None
        return LabelledView(torch.from_numpy(room.rgb), room.labels, sequence.class_names, things)
    try:
        frame = sequence[index]
    except InvalidFrameError:
        seen["damaged"] += 1
        return None
    if frame.semantics is None:
        seen["unlabelled"] += 1
        return None
    return LabelledView(frame.rgb, frame.semantics.numpy(), sequence.class_names)


def _large(masks: Masks, min_pixels: int) -> Masks:
    return masks[masks.sum(axis=(1, 2)) >= min_pixels]


def _as_text(results: dict[str, Any]) -> str:
    rows = {**results["per_concept"], "all": results["presence"]}
    width = max(len(name) for name in (*rows, "concept"))
    lines = [f"{'concept':{width}} " + " ".join(f"{key:>5}" for key in ("TP", "FP", "FN", "TN"))]
    lines[0] += " ".join(["", *(f"{key:>11}" for key in COLUMNS)])
    for name, row in rows.items():
        tallies = " ".join(f"{row[key]:5d}" for key in ("TP", "FP", "FN", "TN"))
        lines.append(f"{name:{width}} {tallies} " + " ".join(f"{row[key]:11.3f}" for key in COLUMNS))
    never, alarm = len(results["never_there"]), results["presence"]["false_alarm_never"]
    lines += [
        "",
        f"{results['images']} images; {never} concepts are in none of them: false alarm {alarm:.3f}",
        f"taken to be nowhere, as no class has the name: {', '.join(results['no_class']) or 'nothing'}",
        f"positive F1 of {results['masks']} {results['positive_F1']:.3f}  cgF1 {results['cgF1']:.3f}",
    ]
    return "\n".join(lines)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ovseg_ros.evaluation.presence", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "recording", nargs="+", help="with ground-truth label images; with --dataset rooms the seed of a room"
    )
    parser.add_argument("--dataset", choices=("auto", *LAYOUTS, "rooms"), default="auto", help="layout")
    parser.add_argument("--backend", default="openseg", help="which segmenter to score")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--concepts", nargs="+", help="what to look for (default: the recording's classes); no class: it isn't there"
    )
    parser.add_argument("--absent", nargs="+", default=[], metavar="WORD", help="further things that aren't there")
    parser.add_argument("--every", type=positive, default=1, metavar="N", help="use every N-th image")
    parser.add_argument("--min-score", type=float, default=MIN_SCORE, help="of a mask, 0 to 1 (default %(default)s)")
    parser.add_argument("--min-pixels", type=positive, default=MIN_PIXELS, help="of a mask (default %(default)s)")
    parser.add_argument("--instances", action="store_true", help="of rooms: judge each thing by itself")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
