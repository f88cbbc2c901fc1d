"""How consistently a segmenter labels the same place in 3D when it is seen from different places.

Run as ``python -m ovseg_ros.evaluation.consistency --rooms 5 --seed 9000``. Each image of a generated room is labelled
by itself, and exact depth and poses bring its labels to voxels. An image has one vote in each voxel that it sees: the
label that most of its pixels there have. Nothing is fused, so what is measured is the segmenter, not the map. The true
label images go the same way: what their numbers lack is the cost of voxels and borders.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.arguments import image_size, positive
from ovseg_ros.evaluation.results import show
from ovseg_ros.evaluation.scenes import TruthSequence
from ovseg_ros.evaluation.voxel_truth import VoxelTruth, voxel_truth
from ovseg_ros.geometry import pack_keys, transform_points, unproject, voxel_indices
from ovseg_ros.segmentation import PixelLabeller, load_segmenter, look_also_for
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import RgbdFrame, Segmentation, Segmenter, segment

VOXEL_SIZE = 0.05
"""Metres."""
MIN_IMAGES = 2
"""Voxels that fewer images see don't count; at least 2, of which agreement needs a pair."""

MODEL, BOUND = "model", "true labels"

Labeller = Callable[[RgbdFrame], torch.Tensor]
"""A frame -> (H, W) label ids on the CPU; 0, none of the classes, is a vote like others, and never right."""


@dataclass(frozen=True)
class Places:
    """Voxels that enough images see, and what these say of them.

    Attributes:
        truth: (V,) label id of each, never 0.
        images: (V,) how many see it.
        agreement: (V,) share of the pairs of these images that give it the same label: P_i of J. L. Fleiss, Measuring
            nominal scale agreement among many raters, 1971.
        single: (V,) share of the images that are right.
        majority: (V,) 1 where the label with most votes is right, 0 where it is wrong; where several have most, the
            chance that one drawn from them is right.
    """

    truth: NDArray[np.int32]
    images: NDArray[np.int64]
    agreement: NDArray[np.float64]
    single: NDArray[np.float64]
    majority: NDArray[np.float64]

    @classmethod
    def of(cls, votes: NDArray[np.int64], truth: NDArray[np.int32]) -> Places:
        """Read votes off.

        Args:
            votes: (N, K + 1) how many images give each label id to each voxel.
            truth: (N,) label id of each voxel, 1 to K.
        """
        kept = votes.sum(axis=1) >= MIN_IMAGES
        votes, truth = votes[kept], truth[kept]
        images = votes.sum(axis=1)
        most = votes == votes.max(axis=1, keepdims=True)
        right, right_is_most = (np.take_along_axis(table, truth[:, None], axis=1)[:, 0] for table in (votes, most))
        return cls(
            truth=truth,
            images=images,
            agreement=(votes * (votes - 1)).sum(axis=1) / (images * (images - 1)),
            single=right / images,
            majority=right_is_most / most.sum(axis=1),
        )

    @classmethod
    def joined(cls, parts: Sequence[Places]) -> Places:
        """Those of one or more rooms."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def where(self, chosen: NDArray[np.bool_]) -> Places:
        """Those of a (V,) mask."""
        return Places(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def summary(self) -> dict[str, float]:
        """Means over the voxels, NaN over none.

        ``right_where_all_agree`` and ``right_elsewhere`` are those of the majority, ``right_single`` of one image.
        """
        agreed = self.agreement == 1
        return {
            "voxels": len(self.truth),
            "images_per_voxel": _mean(self.images),
            "agreement": _mean(self.agreement),
            "all_agree": _mean(agreed),
            "right_where_all_agree": _mean(self.majority[agreed]),
            "right_elsewhere": _mean(self.majority[~agreed]),
            "right_single": _mean(self.single),
            "right_majority": _mean(self.majority),
        }


@torch.inference_mode()
def measure(
    sequence: TruthSequence,
    labellers: Mapping[str, Labeller],
    frames: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Places]:
    """Label the images of a sequence and count their votes in the voxels that have a true label.

    Args:
        sequence: frames and truth.
        labellers: any number, by name.
        frames: wraps the frame numbers, to show progress.

    Returns:
        What each labeller says.
    """
    size = len(sequence.class_names) + 1
    views, keys = [], []
    ballots: dict[str, list[NDArray[np.int64]]] = {name: [] for name in labellers}
    for index in frames(range(len(sequence))):
        frame, depth = sequence[index], sequence.clean_depth(index)
        views.append((depth, frame.intrinsics, frame.pose.cpu().numpy()))
        hit, pixel_keys = _voxels(frame, torch.from_numpy(depth))
        voxels, rows = np.unique(pixel_keys, return_inverse=True)
        keys.append(voxels)
        for name, label in labellers.items():
            pixels = _count(rows, label(frame).numpy()[hit], len(voxels), size)
            ballots[name].append(pixels.argmax(axis=1))
    truth = voxel_truth(sequence.mesh(), views, VOXEL_SIZE)
    return {name: _places(np.concatenate(keys), np.concatenate(given), truth, size) for name, given in ballots.items()}


def report(places: Mapping[str, Places], class_names: Sequence[str]) -> dict[str, Any]:
    """For each labeller the summary, the mean of the classes' agreement, and the summary of each true class."""
    results: dict[str, Any] = {}
    for name, seen in places.items():
        of_classes = {entry: seen.where(seen.truth == label) for label, entry in enumerate(class_names, start=1)}
        per_class = {entry: part.summary() for entry, part in of_classes.items() if len(part.truth)}
        mean = _mean(np.array([row["agreement"] for row in per_class.values()]))
        results[name] = {**seen.summary(), "agreement_mean_of_classes": mean, "per_class": per_class}
    return results


def label_alone(segmenter: Segmenter, class_names: Sequence[str], see: Callable[[RgbdFrame], Segmentation]) -> Labeller:
    """Labels each image by itself: the class whose words fit best, 0 where other words of the segmenter fit better.

    Args:
        segmenter: whose words; one that finds only what it is told looks for the classes, too, from now on.
        class_names: label id i + 1 is ``class_names[i]``.
        see: what stands between a frame and its features.

    Raises:
        OvsegError: the segmenter can't be asked for a class.
    """
    look_also_for(segmenter, class_names)
    label = PixelLabeller(segmenter.space, class_names, segmenter.vocabulary)

    def labelled(frame: RgbdFrame) -> torch.Tensor:
        return label(see(frame), frame.intrinsics.height, frame.intrinsics.width).labels.cpu()

    return labelled


def true_labels(frame: RgbdFrame) -> torch.Tensor:
    """The labels that the frame brings.

    Raises:
        OvsegError: it brings none.
    """
    if frame.semantics is None:
        raise OvsegError("the frame has no ground-truth labels: choose a recording that has them")
    return frame.semantics


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    return show(_score, _parse(arguments), _as_text)


def _score(options: argparse.Namespace) -> dict[str, Any]:
    segmenter = load_segmenter(options.backend, options.device)
    see = (lambda frame: segmenter(frame.rgb)) if options.colour_only else partial(segment, segmenter)
    labellers = {MODEL: label_alone(segmenter, RoomSequence.class_names, see), BOUND: true_labels}
    rooms = []
    with tqdm(total=options.rooms * options.frames, unit="frame", disable=None, file=sys.stderr) as progress:

        def counted(indices: Iterable[int]) -> Iterator[int]:
            for index in indices:
                yield index
                progress.update()

        seeds = list(range(options.seed, options.seed + options.rooms))
        for seed in seeds:
            rooms.append(measure(RoomSequence(seed, options.frames, *options.size), labellers, counted))
    return {
        "protocol": "consistency",
        "backend": options.backend,
        "colour_only": options.colour_only,
        "seeds": seeds,
        "frames": options.frames,
        "size": "x".join(map(str, options.size)),
        "voxel_size": VOXEL_SIZE,
        "min_images": MIN_IMAGES,
        **report({name: Places.joined([room[name] for room in rooms]) for name in labellers}, RoomSequence.class_names),
    }


def _voxels(frame: RgbdFrame, depth: torch.Tensor) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(H, W) where exact depth hits something, and the (n,) packed keys of the voxels that these pixels lie in."""
    points = transform_points(frame.pose, unproject(depth.double(), frame.intrinsics))
    hit = torch.isfinite(depth)
    return hit.numpy(), pack_keys(voxel_indices(points[hit], VOXEL_SIZE)).numpy()


def _count(rows: NDArray[np.int64], labels: NDArray[np.integer], height: int, width: int) -> NDArray[np.int64]:
    """(n,) row and column of each vote -> (height, width) votes."""
    votes: NDArray[np.int64] = np.bincount(rows * width + labels, minlength=height * width).reshape(height, width)
    return votes


def _places(keys: NDArray[np.int64], labels: NDArray[np.int64], truth: VoxelTruth, size: int) -> Places:
    """(n,) voxel and label of each image's votes, at the voxels that both they and the truth have."""
    voxels, rows = np.unique(keys, return_inverse=True)
    votes = _count(rows, labels, len(voxels), size)
    _, voted, labelled = np.intersect1d(voxels, truth.keys, assume_unique=True, return_indices=True)
    return Places.of(votes[voted], truth.labels[labelled])


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _as_text(results: dict[str, Any]) -> str:
    model, bound = results[MODEL], results[BOUND]
    numbers = [name for name, value in model.items() if isinstance(value, int | float)]
    lines = [f"{'':26} {MODEL:>11} {BOUND:>11}"]
    lines += [f"{name:26} {_figure(model[name]):>11} {_figure(bound[name]):>11}" for name in numbers]
    lines += ["", f"{'class':26} {'voxels':>7} {'agreement':>9} {BOUND:>11} {'single':>7} {'majority':>8}"]
    rows = sorted(model["per_class"].items(), key=lambda item: item[1]["agreement"])
    lines += [
        f"{name:26} {row['voxels']:7} {row['agreement']:9.3f} {bound['per_class'][name]['agreement']:11.3f} "
        f"{row['right_single']:7.3f} {row['right_majority']:8.3f}"
        for name, row in rows
    ]
    return "\n".join(lines)


def _figure(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ovseg_ros.evaluation.consistency", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--rooms", type=positive, default=5, help="how many rooms (default %(default)s)")
    parser.add_argument("--seed", type=int, default=9000, help="of the first (default %(default)s)")
    parser.add_argument("--frames", type=positive, default=60, help="per room (default %(default)s)")
    parser.add_argument("--size", type=image_size, default=(320, 240), metavar="WxH", help="of the images")
    parser.add_argument("--backend", default="openseg", help="which segmenter to ask (default %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--colour-only", action="store_true", help="don't show depth to a model that looks at it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
