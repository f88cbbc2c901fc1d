"""How long a sentence takes in a scene of many things."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from ovseg_ros.evaluation.referring.things import STRUCTURE, Thing, things_of
from ovseg_ros.evaluation.referring.true_scene import TrueScene
from ovseg_ros.referring import Scene, Viewpoint, parse_request, resolve
from ovseg_ros.simulation import generate_room

SPACING = 8.0
"""Metres from the middle of one room to that of the next."""

VIEWPOINT = Viewpoint(np.array([0.0, 0.0, 1.4]), 0.0)


def crowded_scene(objects: int, seed: int) -> TrueScene:
    """So many things: generated rooms side by side, of seeds from ``seed`` on."""
    things: list[Thing] = []
    side = int(np.ceil(np.sqrt(objects / 10)))
    for number in count():
        shift = SPACING * np.array(divmod(number, side), np.float64)
        room = [thing for thing in things_of(generate_room(seed + number)) if thing.label not in STRUCTURE]
        things += [replace(thing, footprint=thing.footprint + shift) for thing in room]
        if len(things) >= objects:
            return TrueScene(things[:objects], {})
    raise AssertionError("rooms have things in them")


def latency(sentences: Sequence[str], scene: Scene) -> dict[str, float]:
    """Milliseconds from text to answer: median, 95th and 99th percentile over the sentences."""
    seconds = []
    for sentence in sentences:
        start = time.perf_counter()
        resolve(parse_request(sentence), scene, VIEWPOINT)
        seconds.append(time.perf_counter() - start)
    p50, p95, p99 = 1e3 * np.percentile(seconds, (50, 95, 99))
    return {"sentences": len(sentences), "objects": len(scene.boxes), "p50": p50, "p95": p95, "p99": p99}
