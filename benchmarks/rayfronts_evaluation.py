"""Our protocol `rayfronts` beside RayFronts' own evaluation, on the same arrays.

    python benchmarks/rayfronts_evaluation.py --rayfronts ~/RayFronts

Numbers must be equal where RayFronts has no defect; the size of each known defect's effect is printed below them. Needs
hydra-core and scikit-learn, which RayFronts' scripts import.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rayfronts_peer import evaluator

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.protocols import Ignoring, Protocol, protocol
from ovseg_ros.evaluation.truth import GroundTruth, image_truth, surface_truth
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.segmentation import load_segmenter
from ovseg_ros.simulation import RoomSequence

VOXEL_SIZE = 0.05
CHUNK, DENOISE, THRESHOLD = 10_000, 0.5, 0.1
LIMIT = 1e-6
PERIOD = 4
"""Frames that RayFronts' configurations gather before they reach the map."""


@dataclass(frozen=True)
class Arrays:
    """What is compared: truth at voxels, features of voxels and of class names."""

    truth: GroundTruth
    centres: NDArray[np.float64]
    features: torch.Tensor
    texts: torch.Tensor

    @property
    def cosines(self) -> torch.Tensor:
        return torch.nn.functional.normalize(self.features, dim=1) @ torch.nn.functional.normalize(self.texts, dim=1).T


Numbers = dict[str, float]


def ours(arrays: Arrays, rules: Protocol) -> tuple[Numbers, NDArray[np.int32]]:
    variant = Ignoring("with background")

    def label(allowed: NDArray[np.bool_]) -> NDArray[np.int32]:
        return rules.labelling.labels(arrays.cosines, allowed, 100.0)

    judged = rules.judge(arrays.truth, arrays.centres, label, variant, VOXEL_SIZE)
    numbers = rules.scoring.summary(judged.confusion, judged.scored, judged.present)
    return {key: numbers[key] for key in ("mIoU", "f-mIoU", "accuracy")}, judged.labels


def theirs(
    peer: ModuleType, arrays: Arrays, k: int, chunk: int = CHUNK, order: NDArray[np.int64] | None = None
) -> tuple[Numbers, NDArray[np.int32]]:
    """RayFronts' predictions and metrics; ``order`` shuffles the voxels between the two."""
    labels = peer.eval_utils.compute_semseg_preds(arrays.features, arrays.texts, DENOISE, THRESHOLD, chunk)
    order = np.arange(len(labels)) if order is None else order
    names = arrays.truth.class_names
    evaluation = SimpleNamespace(
        cfg=SimpleNamespace(k=k, mapping=SimpleNamespace(vox_size=VOXEL_SIZE)), num_classes=len(names) + 1
    )
    metrics: dict[str, Any] = peer.SemSegEval.compute_semseg_metrics(
        evaluation,
        torch.from_numpy(arrays.truth.labels).long(),
        labels[order],
        torch.from_numpy(arrays.truth.points).float(),
        torch.from_numpy(arrays.centres[order]).float(),
    )
    pairs = (("mIoU", "miou"), ("f-mIoU", "fmiou"), ("accuracy", "acc"))
    return {key: float(metrics[name]) for key, name in pairs}, labels.int().numpy()


def random_arrays(generator: np.random.Generator, *, on_grid: bool) -> Arrays:
    """Voxels in a block of space, most of them with a feature near that of their true class."""
    names = tuple(f"class {number}" for number in range(20))
    cells = np.unique(generator.integers(0, 30, (25_000, 3)), axis=0)
    truth = cells[generator.random(len(cells)) < 0.8] * VOXEL_SIZE
    centres = cells[generator.random(len(cells)) < 0.8] * VOXEL_SIZE
    texts = generator.standard_normal((len(names), 64))
    meant = (centres[:, 0] / VOXEL_SIZE * len(names) / 31).astype(int)
    features = texts[meant] + generator.normal(0, 1.5, (len(centres), 64))
    labels = (truth[:, 0] / VOXEL_SIZE * (len(names) + 1) / 31).astype(np.int32)
    if not on_grid:
        centres = centres + generator.normal(0, 0.01, centres.shape)
    # In RayFronts' precision, so that both see the same positions.
    truth, centres = (points.astype(np.float32).astype(np.float64) for points in (truth, centres))
    return Arrays(
        GroundTruth(truth, labels, names), centres, torch.tensor(features).float(), torch.tensor(texts).float()
    )


def shaken(arrays: Arrays, generator: np.random.Generator) -> Arrays:
    """The map's voxels moved by a millimetre, so that no two are equally near to a place; in RayFronts' precision."""
    moved = arrays.centres + generator.normal(0, 0.001, arrays.centres.shape)
    return replace(arrays, centres=moved.astype(np.float32).astype(np.float64))


def room_arrays(seed: int, frames: int, used: int | None = None) -> Arrays:
    """A generated room through the embedded model and our map; of ``used`` frames where not all reach it."""
    room = RoomSequence(seed, frames)
    segmenter = load_segmenter("openseg", "cpu")
    semantic_map = SemanticMap(MappingConfig(voxel_size=VOXEL_SIZE), space=segmenter.space.id)
    for index in range(frames if used is None else used):
        frame = room[index]
        semantic_map.integrate(frame, segmenter(frame.rgb))
    order = semantic_map.keys.argsort()
    truth = surface_truth(room.mesh()).voxelised(VOXEL_SIZE, unlabelled_votes=True)
    texts = segmenter.space.encode_text(room.class_names)
    return Arrays(truth, semantic_map.centres[order].numpy(), semantic_map.features[order], texts)


def lifted_truth(seed: int, frames: int, used: int) -> GroundTruth:
    """Label images of the first ``used`` frames, lifted into voxels, as RayFronts does where a data set has them."""
    room = RoomSequence(seed, frames)
    truth = image_truth((room[index] for index in range(used)), room.class_names, VOXEL_SIZE)
    return truth.voxelised(VOXEL_SIZE, unlabelled_votes=False)


def measure(checkout: Path, seed: int, frames: int) -> dict[str, Any]:
    """Every comparison."""
    peer = evaluator(checkout)
    rules, same_voxel = protocol("rayfronts"), protocol("rayfronts-k0")
    generator = np.random.default_rng(0)
    room = room_arrays(seed, frames)
    equal: dict[str, Any] = {}
    for name, arrays, kind, k in (
        ("random, k=5, no ties", random_arrays(generator, on_grid=False), rules, 5),
        ("random, k=0", random_arrays(generator, on_grid=True), same_voxel, 0),
        ("room, k=5, no ties", shaken(room, generator), rules, 5),
        ("room, k=0", room, same_voxel, 0),
    ):
        mine, my_labels = ours(arrays, kind)
        peers, peer_labels = theirs(peer, arrays, k)
        equal[name] = {
            "ours": mine,
            "rayfronts": peers,
            "difference": max(abs(mine[key] - peers[key]) for key in mine),
            "labels_equal": bool((my_labels == peer_labels).all()),
        }
    room = room_arrays(seed, frames)
    return {
        "equal": equal,
        "limit": LIMIT,
        "defects": defects(peer, room, seed, frames),
        "room": seed,
        "frames": frames,
    }


def defects(peer: ModuleType, room: Arrays, seed: int, frames: int) -> dict[str, Any]:
    """How far each known defect moves RayFronts' own numbers on a map of a room."""
    rules = protocol("rayfronts")
    base, labels = theirs(peer, room, 5)
    whole, whole_labels = theirs(peer, room, 5, chunk=len(room.features))
    generator = np.random.default_rng(0)
    shuffled = [theirs(peer, room, 5, order=generator.permutation(len(room.features)))[0]["mIoU"] for _ in range(5)]
    ours_here, our_labels = ours(room, rules)
    kept = frames - frames % PERIOD
    lacking = room_arrays(seed, frames, kept)
    late, _ = theirs(peer, lacking, 5)
    lifted, _ = theirs(peer, replace(room, truth=lifted_truth(seed, frames, frames)), 5)
    lifted_late, _ = theirs(peer, replace(lacking, truth=lifted_truth(seed, frames, kept)), 5)
    times = torch.from_numpy(generator.integers(1, 50, len(room.features))).float()
    _, scaled_labels = theirs(peer, replace(room, features=room.features * times[:, None]), 5)
    holed = room.features.clone()
    holed[::CHUNK] = 0
    empty, empty_labels = theirs(peer, replace(room, features=holed), 5)
    unseen = {
        classes: peer.eval_utils.compute_semseg_preds(
            torch.eye(classes + 1)[:1], torch.eye(classes + 1)[1:], 0, THRESHOLD
        ).tolist()
        for classes in (8, 20)
    }
    strict_cap = replace(rules, matching=replace(rules.matching, reach=2.0))
    return {
        "denoising_per_chunk": {
            "mIoU": base["mIoU"],
            "mIoU_whole": whole["mIoU"],
            "labels_changed": float((labels != whole_labels).mean()),
        },
        "ties_between_neighbours": {
            "mIoU": base["mIoU"],
            "mIoU_of_five_orders": [min(shuffled), max(shuffled)],
            "mIoU_ours": ours_here["mIoU"],
            "labels_equal": bool((labels == our_labels).all()),
        },
        "last_frames_dropped": {"frames": frames, "in_the_map": kept, "mIoU": late["mIoU"], "mIoU_all": base["mIoU"]},
        "last_frames_dropped_from_lifted_truth_too": {"mIoU": lifted_late["mIoU"], "mIoU_all": lifted["mIoU"]},
        "features_scaled_by_the_last_frames": {"labels_changed": float((labels != scaled_labels).mean())},
        "one_voxel_of_a_chunk_without_a_feature": {
            "mIoU": empty["mIoU"],
            "its_label": int(empty_labels[0]),
            "labels_changed": float((labels != empty_labels).mean()),
        },
        "unlabelled_voxels_named_first_class": {str(classes): found for classes, found in unseen.items()},
        "no_distance_limit": {"mIoU": ours_here["mIoU"], "mIoU_within_two_voxels": ours(room, strict_cap)[0]["mIoU"]},
    }


def table(result: dict[str, Any]) -> str:
    lines = []
    for name, row in result["equal"].items():
        pairs = ", ".join(f"{key} {row['ours'][key]:.6f} | {row['rayfronts'][key]:.6f}" for key in row["ours"])
        lines.append(f"{name}: ours | RayFronts: {pairs}; difference {row['difference']:.1e}; labels equal: "
                     f"{row['labels_equal']}")  # fmt: skip
    lines += ["", f"Defects, on room {result['room']} with {result['frames']} frames:"]
    return "\n".join([*lines, json.dumps(result["defects"], indent=1)])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("--rayfronts", type=Path, required=True, metavar="PATH", help="a checkout of RayFronts")
    parser.add_argument("--seed", type=int, default=9001, help="of the room that defects are measured on")
    parser.add_argument("--frames", type=int, default=30, help="of that room (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        with torch.inference_mode():
            result = measure(options.rayfronts, options.seed, options.frames)
    except OvsegError as error:
        parser.error(str(error))
    print(json.dumps(result) if options.json else table(result))
    return int(any(row["difference"] > LIMIT for row in result["equal"].values()))


if __name__ == "__main__":
    raise SystemExit(main())
