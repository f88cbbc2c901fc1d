"""One scene through the map and against its truth; many scenes into one report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.datasets import LabelledMesh
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.confusion import Confusion
from ovseg_ros.evaluation.transfer import transfer_labels
from ovseg_ros.evaluation.voxel_truth import voxel_truth
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.query import label_voxels
from ovseg_ros.types import Intrinsics, InvalidFrameError, LanguageSpace, RgbdFrame, Segmentation

SCORES = ("mIoU", "f-mIoU", "mAcc", "accuracy", "coverage")


class TruthSequence(Protocol):
    """Frames with everything needed to judge a map of them."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Label id i + 1 is ``class_names[i]``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> RgbdFrame: ...

    def mesh(self) -> LabelledMesh:
        """The labelled surface."""

    def clean_depth(self, index: int) -> NDArray[np.float32]:
        """(H, W) noise-free metres."""


@dataclass(frozen=True)
class SceneScore:
    """How a map of one scene did.

    Attributes:
        name: of the scene.
        confusion: over truth voxels.
        coverage: share of truth voxels that have a map voxel near, 0..1.
        voxels: in the map.
        skipped: frames that did not reach the map, by cause.
    """

    name: str
    confusion: Confusion
    coverage: float
    voxels: int
    skipped: dict[str, int]

    def summary(self) -> dict[str, Any]:
        """As in results files."""
        return {**self.confusion.summary(), "coverage": self.coverage, "voxels": self.voxels, "skipped": self.skipped}


@torch.inference_mode()
def score_scene(
    name: str,
    sequence: TruthSequence,
    segment: Callable[[RgbdFrame], Segmentation],
    space: LanguageSpace,
    config: MappingConfig,
    *,
    device: str = "cpu",
    frames: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> SceneScore:
    """Map a sequence, label its voxels with the class names, compare with the truth voxels.

    Args:
        name: of the scene.
        sequence: frames and truth.
        segment: what stands between a frame and its features.
        space: the features' language.
        config: of the map; its voxel size is also the truth's.
        device: where the map lives.
        frames: wraps the frame numbers, to show progress.
    """
    semantic_map = SemanticMap(config, space=space.id, device=device)
    skipped: Counter[str] = Counter()
    seen: list[tuple[int, Intrinsics, NDArray[np.float64]]] = []
    for index in frames(range(len(sequence))):
        try:
            frame = sequence[index]
            seen.append((index, frame.intrinsics, frame.pose.cpu().numpy()))
            semantic_map.integrate(frame, segment(frame))
        except InvalidFrameError as error:
            skipped[error.cause] += 1
    views = ((sequence.clean_depth(index), intrinsics, pose) for index, intrinsics, pose in seen)
    truth = voxel_truth(sequence.mesh(), views, config.voxel_size)
    labels = label_voxels(semantic_map, space, sequence.class_names)[0].int().cpu().numpy()
    transfer = transfer_labels(truth, semantic_map.centres.cpu().numpy(), labels)
    confusion = Confusion.of(truth.labels, transfer.labels, sequence.class_names)
    return SceneScore(name, confusion, transfer.coverage, semantic_map.voxel_count, dict(skipped))


def report(scores: Sequence[SceneScore]) -> dict[str, Any]:
    """Per scene, mean over scenes, and pooled over all voxels, under the keys of results files.

    Raises:
        OvsegError: there are no scenes.
    """
    if not scores:
        raise OvsegError("there are no scenes to report: evaluate at least one")
    pooled = sum((score.confusion for score in scores[1:]), start=scores[0].confusion)
    truths = [score.confusion.total for score in scores]
    covered = sum(score.coverage * count for score, count in zip(scores, truths, strict=True) if count)
    scenes = {score.name: score.summary() for score in scores}
    return {
        "scenes": scenes,
        "mean": {key: _mean([scene[key] for scene in scenes.values()]) for key in SCORES},
        "pooled": {
            **pooled.summary(),
            "coverage": covered / sum(truths) if sum(truths) else math.nan,
            "per_class": pooled.per_class(),
        },
    }


def format_report(results: dict[str, Any]) -> str:
    """The report as text: scenes, mean, pooled, then classes from worst to best."""
    rows = [*results["scenes"].items(), ("mean", results["mean"]), ("pooled", results["pooled"])]
    width = max(len(name) for name, _ in rows)
    lines = [" ".join([f"{'scene':{width}}", *(f"{key:>9}" for key in SCORES)])]
    lines += [" ".join([f"{name:{width}}", *(f"{row[key]:9.3f}" for key in SCORES)]) for name, row in rows]
    return "\n".join([*lines, "", format_classes(results["pooled"]["per_class"])])


def format_classes(per_class: dict[str, dict[str, float]]) -> str:
    """IoU, recall and count of each class, worst first."""
    width = max([len(name) for name in per_class] + [len("class")])
    lines = [f"{'class':{width}} {'IoU':>7} {'recall':>7} {'count':>9}"]
    for name, row in sorted(per_class.items(), key=lambda item: item[1]["IoU"]):
        lines.append(f"{name:{width}} {row['IoU']:7.3f} {row['recall']:7.3f} {row['count']:9d}")
    return "\n".join(lines)


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
