"""Ask generated rooms questions about their things and count what is answered rightly."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from ovseg_ros.evaluation.arguments import positive
from ovseg_ros.evaluation.referring.latency import crowded_scene, latency
from ovseg_ros.evaluation.referring.queries import RoomQuestions
from ovseg_ros.evaluation.referring.score import Outcome, ask, summary
from ovseg_ros.evaluation.referring.things import Thing
from ovseg_ros.evaluation.referring.true_scene import TrueScene
from ovseg_ros.evaluation.results import show
from ovseg_ros.mapping import MappingConfig
from ovseg_ros.pipeline import build_map
from ovseg_ros.referring import Boxes, MapScene, Scene
from ovseg_ros.segmentation import load_segmenter
from ovseg_ros.simulation import RoomSequence, generate_room
from ovseg_ros.types import Segmenter

TIMED = 500
"""Sentences that are timed, at most."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    return show(_score, _parse(arguments), _as_text)


def _score(options: argparse.Namespace) -> dict[str, Any]:
    outcomes, wrong = _ask_rooms(options)
    return {
        "scene": options.scene,
        **({"backend": options.backend, "frames": options.frames} if options.scene == "map" else {}),
        "seeds": list(range(options.seed, options.seed + options.rooms)),
        **summary(outcomes),
        "milliseconds": _time(outcomes, options),
        "wrong": wrong,
    }


def _ask_rooms(options: argparse.Namespace) -> tuple[list[Outcome], list[dict[str, Any]]]:
    segmenter = load_segmenter(options.backend, options.device) if options.scene == "map" else None
    outcomes: list[Outcome] = []
    wrong: list[dict[str, Any]] = []
    for seed in tqdm(range(options.seed, options.seed + options.rooms), unit="room", file=sys.stderr):
        questions = RoomQuestions(generate_room(seed), np.random.default_rng(seed))
        scene: Scene = TrueScene(questions.things, questions.regions)
        if segmenter:
            scene = _mapped(seed, segmenter, scene.regions, options)
        for query in questions.draw(options.per_kind):
            outcome = ask(query, scene, questions.things)
            outcomes.append(outcome)
            if not outcome.right:
                wrong.append({"seed": seed, **_described(outcome, questions.things)})
    return outcomes, wrong


def _mapped(seed: int, segmenter: Segmenter, regions: Mapping[str, Boxes], options: argparse.Namespace) -> MapScene:
    """What a model and the map make of a walk through the room."""
    sequence = RoomSequence(seed, frames=options.frames)
    frames = [sequence[index] for index in range(len(sequence))]
    semantic_map, _ = build_map(frames, segmenter, MappingConfig(), device=options.device)
    return MapScene(semantic_map, segmenter.space, regions=regions)


def _described(outcome: Outcome, things: Sequence[Thing]) -> dict[str, Any]:
    query = outcome.query
    return {
        "kind": query.kind,
        "text": query.text,
        "expected": f"{query.status.value} {[f'{things[i].label} {i}' for i in query.targets]}",
        "answered": f"{outcome.status.value} {list(outcome.said)}",
        "cause": outcome.cause.value if outcome.cause else None,
    }


def _time(outcomes: Sequence[Outcome], options: argparse.Namespace) -> dict[str, float]:
    step = max(1, len(outcomes) // TIMED)
    sentences = [outcome.query.text for outcome in outcomes[::step]]
    return latency(sentences, crowded_scene(options.objects, options.seed))


def _as_text(results: dict[str, Any]) -> str:
    relations, absent = results["relations"], results["abstention"]
    lines = [
        f"{results['queries']} questions, {results['accuracy']:.3f} answered rightly",
        f"{relations['queries']} about one thing with relations: {relations['accuracy']:.3f}",
        f"absent: {absent['absent']['share']:.3f} not_found of {absent['absent']['queries']}; "
        f"ambiguous: {absent['ambiguous']['share']:.3f} of {absent['ambiguous']['queries']}",
        "F1  " + "  ".join(f"{name} {value:.3f}" for name, value in results["f1"].items()),
        "causes  " + ", ".join(f"{name} {number}" for name, number in results["causes"].items()),
        "milliseconds  " + "  ".join(f"{name} {value:.4g}" for name, value in results["milliseconds"].items()),
        "",
    ]
    for title, rows in (("boxes", results["boxes"]), ("kind", results["kinds"])):
        keys = list(next(iter(rows.values()), {}))
        lines.append(f"{title:18}" + "".join(f"{key:>10}" for key in keys))
        lines += [f"{name:18}" + "".join(f"{row[key]:10.4g}" for key in keys) for name, row in rows.items()]
        lines.append("")
    lines += [f"{row['seed']} {row['text']!r}: {row['expected']}, not {row['answered']}" for row in results["wrong"]]
    return "\n".join(lines)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="refer_eval.py", description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", type=positive, default=20, help="how many rooms")
    parser.add_argument("--seed", type=_seed, default=9100, help="of the first room; the others count up from it")
    parser.add_argument("--per-kind", type=positive, default=9, help="questions of each kind and room, at most")
    parser.add_argument("--objects", type=positive, default=500, help="things in the scene that answers are timed in")
    parser.add_argument("--scene", choices=("truth", "map"), default="truth", help="true things, or those of a map")
    parser.add_argument("--backend", default="openseg", help="model that makes the map")
    parser.add_argument("--frames", type=positive, default=60, help="of the walk through each room that is mapped")
    parser.add_argument("--device", default="cpu", help="where the model and the map live")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args(arguments)


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} must be at least 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
