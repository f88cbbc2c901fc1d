"""Answers beside the truth: as a table, as numbers, and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovseg_ros.demo.questions import Question
from ovseg_ros.mapping import storage
from ovseg_ros.visualization.pictures import Mark, render_map, write_picture

NEAR_ENOUGH = 0.5
"""Metres from a right answer's box within which an answer counts."""


@dataclass(frozen=True)
class QuestionResult:
    """One question as it was answered.

    Attributes:
        question: with its truth.
        position: of the best match in metres, map frame; None if nothing was found.
        score: of the best match.
        distance: metres to the box of the nearest right answer; None where there is no answer or no truth.
    """

    question: Question
    position: tuple[float, float, float] | None
    score: float | None
    distance: float | None

    @property
    def right(self) -> bool:
        """Found within NEAR_ENOUGH of the thing, or rightly not found."""
        if self.question.kind == "absent":
            return self.position is None
        return self.distance is not None and self.distance <= NEAR_ENOUGH


@dataclass(frozen=True)
class RoomResult:
    """One mapped room or recording; ``seed`` is None for a recording."""

    name: str
    seed: int | None
    frames: int
    voxels: int
    questions: tuple[QuestionResult, ...]
    map_path: Path


def summary(results: Sequence[RoomResult]) -> dict[str, Any]:
    """Numbers for machines; shares are None where nothing of the kind was asked."""
    asked = [entry for result in results for entry in result.questions]
    return {
        "rooms": [
            {
                "seed": result.seed,
                "frames": result.frames,
                "voxels": result.voxels,
                "map": str(result.map_path),
                "questions": [
                    {
                        "query": entry.question.query,
                        "kind": entry.question.kind,
                        "present": bool(entry.question.answers),
                        "found": entry.position is not None,
                        "distance": entry.distance,
                        "score": entry.score,
                        "position": entry.position,
                    }
                    for entry in result.questions
                ],
            }
            for result in results
        ],
        "present_answered": _share([entry for entry in asked if entry.question.answers]),
        "absent_reported": _share([entry for entry in asked if entry.question.kind == "absent"]),
    }


def table(result: RoomResult) -> str:
    """Answers beside the truth for people."""
    lines = [
        f"{result.name}: {result.frames} frames, {result.voxels} voxels",
        f"  {'question':24} {'answer at (m)':>22} {'score':>6} {'truth at (m)':>22} {'off by':>8}",
    ]
    for entry in result.questions:
        truth = _nearest(entry)
        score = "" if entry.score is None else f"{entry.score:.2f}"
        off = "" if entry.distance is None else f"{entry.distance:.2f} m"
        verdict = "" if result.seed is None else ("ok" if entry.right else "wrong")
        where = _point(entry.position) if entry.position else "not found"
        expected = _point(truth) if truth else ("" if result.seed is None else "not there")
        lines.append(f"  {entry.question.query:24} {where:>22} {score:>6} {expected:>22} {off:>8}  {verdict}")
    return "\n".join(lines)


def write_pictures(result: RoomResult) -> tuple[Path, Path]:
    """Draw the saved map from above and from a corner, answers marked, beside the map's file."""
    semantic_map = storage.load(result.map_path)
    marks = [
        Mark(
            entry.question.query,
            entry.position,
            entry.score,
            truth=_nearest(entry),
            note="" if result.seed is None else ("ok" if entry.right else "wrong"),
        )
        for entry in result.questions
    ]
    paths = (result.map_path.with_suffix(".top.png"), result.map_path.with_suffix(".perspective.png"))
    for path, view in zip(paths, ("top", "corner"), strict=True):
        write_picture(path, render_map(semantic_map, view, marks, title=result.name))  # type: ignore[arg-type]
    return paths


def _nearest(entry: QuestionResult) -> tuple[float, float, float] | None:
    """Centre of the right answer that is nearest to the one given."""
    if not entry.question.answers:
        return None
    position = entry.position or (0.0, 0.0, 0.0)
    centres = [thing.centre for thing in entry.question.answers]
    x, y, z = min(centres, key=lambda centre: float(((centre - position) ** 2).sum()))
    return float(x), float(y), float(z)


def _share(entries: Sequence[QuestionResult]) -> float | None:
    return sum(entry.right for entry in entries) / len(entries) if entries else None


def _point(position: tuple[float, float, float]) -> str:
    return "({:.2f}, {:.2f}, {:.2f})".format(*position)
