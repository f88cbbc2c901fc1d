"""How well a backend answers words that its training never used, as users ask for them.

Run as ``python -m ovseg_ros.evaluation.asked_words --rooms 5 --seed 9000``. Generated rooms are mapped, and each class
is asked for by its name and by a word held out of training, against the backend's vocabulary. Its score is the
intersection over union of the places that answer with at least `MIN_SCORE`. Then the map is labelled with nothing but
these words, and things that no room has are asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ovseg_ros.evaluation.arguments import image_size, positive
from ovseg_ros.evaluation.confusion import Confusion
from ovseg_ros.evaluation.results import show
from ovseg_ros.evaluation.transfer import transfer_labels
from ovseg_ros.evaluation.voxel_truth import voxel_truth
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.meanings import with_synonyms
from ovseg_ros.query import label_voxels, score_voxels
from ovseg_ros.query.calibration import MAX_QUERIES, MIN_SCORE
from ovseg_ros.segmentation import load_segmenter
from ovseg_ros.simulation import CLASSES, RoomSequence
from ovseg_ros.types import LanguageSpace, Segmenter, segment
from ovseg_ros.vocabulary import Vocabulary

OTHER_THINGS = (
    "piano", "guitar", "dog", "cat", "mirror", "candle", "bicycle", "umbrella", "shoes", "newspaper", "telephone",
    "camera", "violin", "ladder", "toaster", "kettle", "microwave", "dishwasher", "printer", "keyboard", "mouse",
    "fan", "fireplace", "stairs", "aquarium", "helmet", "shirt", "towel", "toothbrush", "broom", "car", "bus",
    "tree", "person", "banana", "apple", "sandwich", "pizza", "knife", "fork", "plate", "bowl", "cup",
    "whiteboard", "blackboard", "wheelchair", "crib", "drum", "skateboard", "surfboard", "hammer", "screwdriver",
    "elephant", "horse", "airplane", "bridge", "mountain", "river", "chandelier", "basket", "bucket", "scissors",
    "treadmill", "dumbbell", "vacuum cleaner", "hair dryer", "remote control", "light switch", "power outlet",
)  # fmt: skip
"""None of them is in any generated room."""

VISIBLE = 0.002
"""Share of a map from which a thing that isn't there counts as found."""


class Overlaps:
    """Intersection and union of what was found for each class with where it is, over many places."""

    def __init__(self, classes: int) -> None:
        self._hits, self._found, self._there = (np.zeros(classes, dtype=np.int64) for _ in range(3))

    def add(self, found: NDArray[np.bool_], truth: NDArray[np.int32]) -> None:
        """(classes, N) whether each is said to be in a place; (N,) label id of what is."""
        there = truth == np.arange(1, len(found) + 1)[:, None]
        found = found & (truth > 0)
        self._hits += (found & there).sum(axis=1)
        self._found += found.sum(axis=1)
        self._there += there.sum(axis=1)

    @property
    def mean(self) -> float:
        """Mean over the classes that are there."""
        union = self._found + self._there - self._hits
        return float((self._hits / np.maximum(union, 1))[self._there > 0].mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    return show(lambda options: score(load_segmenter(options.backend, "cpu"), options), _parse(arguments), _as_text)


def score(segmenter: Segmenter, options: argparse.Namespace) -> dict[str, Any]:
    """What the command prints."""
    names = [entry.name for entry in CLASSES]
    words = {"names": names, "held_out": [(entry.held_out or (entry.name,))[0] for entry in CLASSES]}
    asked = {kind: Overlaps(len(names)) for kind in words}
    labelled = {kind: Confusion.empty(tuple(names)) for kind in words}
    visible = np.zeros(len(OTHER_THINGS))
    for seed in tqdm(range(options.seed, options.seed + options.rooms), "rooms", disable=None):
        sequence = RoomSequence(seed, options.frames, *options.size)
        semantic_map = SemanticMap(MappingConfig(), space=segmenter.space.id, vocabulary=segmenter.vocabulary)
        views = []
        for index in range(len(sequence)):
            frame = sequence[index]
            views.append((sequence.clean_depth(index), frame.intrinsics, frame.pose.cpu().numpy()))
            semantic_map.integrate(frame, segment(segmenter, frame))
        truth = voxel_truth(sequence.mesh(), views, semantic_map.config.voxel_size)
        rows = np.arange(1, semantic_map.voxel_count + 1, dtype=np.int32)
        nearest = transfer_labels(truth, semantic_map.centres.cpu().numpy(), rows).labels
        for kind, texts in words.items():
            found = _found(semantic_map, segmenter.space, texts)
            asked[kind].add(np.pad(found, ((0, 0), (1, 0)))[:, nearest], truth.labels)
            labels = label_voxels(semantic_map, segmenter.space, texts)[0].int().cpu().numpy()
            labelled[kind] += Confusion.of(truth.labels, np.append(0, labels)[nearest].astype(np.int32), tuple(names))
        visible += _found(semantic_map, segmenter.space, OTHER_THINGS).mean(axis=1)
    taken = [word for word in OTHER_THINGS if _is_taken(word, segmenter.vocabulary, segmenter.space)]
    return {
        **{f"asked_{kind}": overlaps.mean for kind, overlaps in asked.items()},
        **{f"labelled_{kind}": confusion.mean_iou for kind, confusion in labelled.items()},
        "other_things_taken_for_known": len(taken) / len(OTHER_THINGS),
        "other_things_found": float((visible / options.rooms >= VISIBLE).mean()),
    }


def _found(semantic_map: SemanticMap, space: LanguageSpace, texts: Sequence[str]) -> NDArray[np.bool_]:
    """(T, N) whether each voxel is an answer to each text."""
    parts = [texts[start : start + MAX_QUERIES] for start in range(0, len(texts), MAX_QUERIES)]
    return torch.cat([score_voxels(semantic_map, space, part) >= MIN_SCORE for part in parts]).cpu().numpy()


def _is_taken(word: str, vocabulary: Vocabulary, space: LanguageSpace) -> bool:
    return len(with_synonyms((word,), vocabulary, space)) > 1


def _as_text(results: dict[str, Any]) -> str:
    return "\n".join(f"{name:28} {value:.3f}" for name, value in results.items())


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ovseg_ros.evaluation.asked_words", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--rooms", type=positive, default=5, help="how many rooms (default %(default)s)")
    parser.add_argument("--seed", type=int, default=9000, help="of the first (default %(default)s)")
    parser.add_argument("--frames", type=positive, default=40, help="per room (default %(default)s)")
    parser.add_argument("--size", type=image_size, default=(320, 240), metavar="WxH", help="of the images")
    parser.add_argument("--backend", default="openseg", help="which segmenter to ask (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
