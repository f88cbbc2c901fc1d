#!/usr/bin/env python3
"""Whether places to stand are what they promise, judged by the true geometry of generated rooms.

    python benchmarks/locate.py --cases 200 --json

Each room is mapped with true labels in place of a model, but with a depth camera's noise. Each class of thing in it is
a case: where should a robot at the end of the walk stand to face it? The answers are checked with the room's triangles,
not with the map: is the place free, how far is the nearest surface, does a straight line from the camera meet the thing
first, is it ahead, is there a way. For refusals it is looked whether the true room has such a place.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import open3d as o3d
import torch
from fusion import positive
from measure import milliseconds
from numpy.typing import NDArray
from scipy.ndimage import label as connected
from scipy.spatial import KDTree
from tqdm import tqdm

from ovseg_ros.evaluation.oracle import OracleSpace
from ovseg_ros.evaluation.voxel_truth import sample_surface
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.query import GoalConfig, Located, Match, NoGoalError, locate
from ovseg_ros.query.ground import START_REACH, STEP
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.vocabulary import Vocabulary

POINTS_PER_SQUARE_METRE = 10_000.0
"""Surfaces are sampled about 1 cm apart, so clearance is measured to that."""
POINTS_PER_THING = 300
GRID = 0.05
NEAR = 0.25
"""Metres from the box of a thing up to which a match counts as it."""
AHEAD = np.deg2rad(30.0)
STRUCTURE = ("wall", "floor", "ceiling")
SHARES = ("free", "clear", "sees", "ahead", "reachable")


class Words(OracleSpace):
    """The words of the ground truth; all others mean nothing at all."""

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        rows = torch.zeros(len(texts), len(self.class_names))
        known = [i for i, text in enumerate(texts) if text in self.class_names]
        if known:
            rows[known] = super().encode_text([texts[i] for i in known])
        return rows


class TrueRoom:
    """A room's triangles, asked about one robot."""

    def __init__(self, sequence: RoomSequence, config: GoalConfig) -> None:
        self.room, self._config = sequence.room, config
        self._scene = o3d.t.geometry.RaycastingScene()
        self._scene.add_triangles(
            o3d.core.Tensor.from_numpy(self.room.vertices),
            o3d.core.Tensor.from_numpy(self.room.triangles.astype(np.uint32)),
        )
        mesh = sequence.mesh()
        self._points, labels = sample_surface(mesh, POINTS_PER_SQUARE_METRE, seed=0)
        self._labels = np.array([mesh.class_names[i - 1] for i in labels])
        height = self._points[:, 2]
        self._obstacles = KDTree(self._points[(height >= STEP) & (height <= config.robot_height), :2])
        steps = np.ceil(self.room.size[:2] / 2 / GRID).astype(int)
        axes = [np.arange(-n, n + 1) * GRID for n in steps]
        self.cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)

    def clearance(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 2) -> (...) metres on the ground to the nearest surface as high as the robot."""
        return np.asarray(self._obstacles.query(places)[0])

    def is_free(self, place: NDArray[np.float64]) -> bool:
        """(2,): within the walls, and a robot's height above the floor without a surface."""
        above = self._cast(np.array([[*place, 0.05]]), np.array([[0.0, 0.0, 1.0]]))[0][0]
        return bool((np.abs(place) < self.room.size[:2] / 2).all() and above > self._config.robot_height - 0.05)

    def reachable(self, robot: NDArray[np.float64], clearance: float) -> NDArray[np.bool_]:
        """Cells with that clearance within the walls that hang together with such a cell near the robot."""
        inside = (np.abs(self.cells) < self.room.size[:2] / 2).all(axis=-1)
        areas, _ = connected(inside & (self.clearance(self.cells) >= clearance), np.ones((3, 3)))
        near = np.linalg.norm(self.cells - robot, axis=-1) <= START_REACH
        return np.isin(areas, np.unique(areas[near & (areas > 0)]))

    def thing(self, name: str, position: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """(n, 3) points on the things of a class, or on those of it at a position."""
        points = self._points[self._labels == name]
        boxes = [entry for entry in self.room.objects if entry.label == name]
        if position is not None:
            boxes = [b for b in boxes if ((position >= b.lower - NEAR) & (position <= b.upper + NEAR)).all()]
        inside = [((points >= b.lower - 1e-3) & (points <= b.upper + 1e-3)).all(axis=1) for b in boxes]
        points = points[np.any(inside, axis=0)] if inside else points[:0]
        return points[:: max(1, len(points) // POINTS_PER_THING)]

    def seen(self, place: NDArray[np.float64], points: NDArray[np.float64], name: str) -> NDArray[np.bool_]:
        """(n,) whether the line from the camera above a place to each point first meets a thing of that class."""
        eye = np.append(place, self._config.camera_height)
        _, triangles = self._cast(np.broadcast_to(eye, points.shape), points - eye)
        names = np.array([entry.label for entry in self.room.objects] + [""])
        owners = np.append(self.room.triangle_objects, len(names) - 1)
        return names[owners[np.minimum(triangles, len(owners) - 1)]] == name

    def has_place(self, name: str, robot: NDArray[np.float64]) -> bool:
        """Whether the robot could reach a place that sees a thing of this class."""
        points = self.thing(name)
        places = self.cells[self.reachable(robot, self._config.clearance)]
        apart = KDTree(points[:, :2]).query(places)[0]
        places = places[(apart >= self._config.min_distance) & (apart <= self._config.max_distance)]
        return any(self.seen(place, points, name).mean() >= 0.1 for place in places[:: max(1, len(places) // 100)])

    def _cast(
        self, origins: NDArray[np.float64], directions: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        rays = np.concatenate((origins, directions), axis=1).astype(np.float32)
        hits = self._scene.cast_rays(o3d.core.Tensor.from_numpy(rays))
        return hits["t_hit"].numpy(), hits["primitive_ids"].numpy().astype(np.int64)


@dataclass(frozen=True)
class Case:
    """One question."""

    seed: int
    name: str
    room: TrueRoom
    semantic_map: SemanticMap
    words: Words
    robot: NDArray[np.float64]


def cases(first_seed: int, frames: int, config: GoalConfig, voxel_size: float) -> Iterator[Case]:
    """Each class of thing of one room after another."""
    seed = first_seed
    while True:
        sequence = RoomSequence(seed, frames=frames, width=160, height=120)
        words = Words(sequence.class_names)
        vocabulary = Vocabulary.from_names(sequence.class_names)
        settings = MappingConfig(voxel_size=voxel_size, layers="occupancy")
        semantic_map = SemanticMap(settings, space=words.id, vocabulary=vocabulary)
        for index in range(len(sequence)):
            semantic_map.integrate(sequence[index], words.segment(sequence[index]))
        room = TrueRoom(sequence, config)
        for name in sorted({entry.label for entry in room.room.objects} - set(STRUCTURE)):
            yield Case(seed, name, room, semantic_map, words, sequence.poses[-1][:2, 3])
        seed += 1


def judge(case: Case, located: Located, config: GoalConfig) -> dict[str, Any]:
    """What the true room says of an answer."""
    room, place = case.room, np.array(located.position[:2])
    assert isinstance(located.found, Match)
    points = room.thing(case.name, np.array(located.found.position))
    seen = room.seen(place, points, case.name) if len(points) else np.zeros(0, dtype=bool)
    towards = (points[seen].mean(axis=0)[:2] if seen.any() else place) - place
    turn = np.angle(np.exp(1j * (np.arctan2(towards[1], towards[0]) - located.yaw)))
    clearance = float(room.clearance(place))
    # The way was found on a grid, so it may be nearer to things by one cell.
    reachable = room.reachable(case.robot, config.clearance - GRID)
    nearest = np.linalg.norm(room.cells - place, axis=-1).argmin()
    return {
        "seed": case.seed,
        "name": case.name,
        "free": room.is_free(place),
        "clear": clearance >= config.clearance,
        "sees": bool(seen.any()),
        "ahead": bool(seen.any() and abs(turn) <= AHEAD),
        "reachable": bool(reachable.flat[nearest]),
        "clearance": clearance,
        "promised_clearance": located.clearance,
        "seen_share": float(seen.mean()) if len(seen) else 0.0,
    }


def measure(count: int, seed: int, frames: int, voxel_size: float, config: GoalConfig) -> dict[str, Any]:
    """Ask ``count`` questions; the keys are those that `--json` prints."""
    answers, refusals, times = [], [], []
    source = cases(seed, frames, config, voxel_size)
    for _ in tqdm(range(count), unit="case", disable=None):
        case, located = next(source), None

        def ask(case: Case = case) -> None:
            nonlocal located
            located = locate(case.semantic_map, case.words, case.name, case.robot.tolist(), config)

        try:
            times.append(milliseconds(ask))
            answers.append(judge(case, located, config))
        except NoGoalError as refusal:
            possible = case.room.has_place(case.name, case.robot)
            refusals.append({"seed": case.seed, "name": case.name, "why": str(refusal), "possible": possible})
    return {
        "cases": count,
        "seeds": [seed, case.seed],
        "frames": frames,
        "voxel_size": voxel_size,
        "answered": len(answers),
        **{name: sum(answer[name] for answer in answers) / max(len(answers), 1) for name in SHARES},
        "least_clearance": min((answer["clearance"] for answer in answers), default=None),
        "clearance_below_promise": max((a["promised_clearance"] - a["clearance"] for a in answers), default=None),
        "median_seen_share": median(answer["seen_share"] for answer in answers) if answers else None,
        "median_ms": median(times) if times else None,
        "refused": len(refusals),
        "refused_though_possible": sum(refusal["possible"] for refusal in refusals),
        "failures": [answer for answer in answers if not all(answer[name] for name in SHARES)],
        "refusals": refusals,
    }


def table(result: dict[str, Any]) -> str:
    """What was measured, for people."""
    lines = [f"{result['cases']} cases, {result['answered']} answered in {result['median_ms'] or 0:.0f} ms (median)"]
    lines += [f"{name:<12}{result[name]:8.1%}" for name in SHARES]
    lines.append(f"{result['refused']} refused, {result['refused_though_possible']} of them though there is a place")
    reasons = Counter(" ".join(refusal["why"].split("'")[2].split()[:3]) for refusal in result["refusals"])
    lines += [f"  {count:4} ... {words} ..." for words, count in reasons.most_common()]
    lines += [f"failed: {failure}" for failure in result["failures"]]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    summary, _, more = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=positive, default=200, help="questions (default %(default)s)")
    parser.add_argument("--seed", type=int, default=5000, help="of the first room (default %(default)s)")
    parser.add_argument("--frames", type=positive, default=60, help="per room (default %(default)s)")
    parser.add_argument("--voxel-size", type=float, default=0.05, metavar="M", help="default %(default)s")
    parser.add_argument(
        "--clearance", type=float, default=GoalConfig.clearance, metavar="M", help="default %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    config = GoalConfig(clearance=options.clearance)
    result = measure(options.cases, options.seed, options.frames, options.voxel_size, config)
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
