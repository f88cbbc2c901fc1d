#!/usr/bin/env python3
"""How long a question to a session takes while frames are integrated on another thread.

    OMP_NUM_THREADS=1 python benchmarks/query_latency.py --voxels 500000 --queries 200 --json

The session holds a map of so many voxels, a generated room as the embedded model sees it, beside itself as
often as needed. Another room is mapped with the same model meanwhile, at the rate given or as fast as it goes, so that
almost every question meets a map that has changed since the last one. `mapping` are questions for the words of the
vocabulary, `unknown` for other words, about which nothing is known before they are asked. `quiet` are questions to the
same map when nothing is integrated. `cpu_ms` is the asking thread's own work: on a busy machine that is what the
figures of two versions can be compared by; waiting for the frame that is being fused isn't in it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fusion import positive
from scenes import room_frame
from tqdm import tqdm

from ovseg_ros.evaluation.asked_words import OTHER_THINGS
from ovseg_ros.geometry import pack_keys, unpack_keys
from ovseg_ros.mapping import MappingConfig, SemanticMap, storage
from ovseg_ros.ros.session import MapSession
from ovseg_ros.segmentation import load_segmenter
from ovseg_ros.simulation import CLASSES, RoomSequence
from ovseg_ros.types import Intrinsics, Segmenter, segment
from ovseg_ros.vocabulary import Vocabulary

VIEWS = 16
SEED = 9003
"""Of the room that the large map consists of."""

APART = 10
"""Voxels between it and itself."""

FAR = 100.0
"""Metres between the large map and the room that is mapped meanwhile."""

PERCENTILES = (50, 95, 99)


def large_map(voxels: int, segmenter: Segmenter) -> SemanticMap:
    """So many voxels: a generated room as the model sees it, beside itself as often as needed."""
    room = SemanticMap(space=segmenter.space.id, vocabulary=segmenter.vocabulary)
    for frame in tqdm(RoomSequence(SEED), desc="room", unit="frame", disable=None):
        room.integrate(frame, segment(segmenter, frame))
        if room.voxel_count >= voxels:
            break
    copies = -(-voxels // room.voxel_count)
    indices = unpack_keys(room.keys)
    indices[:, 0] += round(FAR / room.config.voxel_size)
    pitch = torch.tensor([int(indices[:, 0].max() - indices[:, 0].min()) + APART, 0, 0])
    columns = {name: column.repeat(copies, *[1] * (column.dim() - 1)) for name, column in room.columns.items()}
    columns["keys"] = pack_keys(indices + pitch * torch.arange(copies)[:, None, None]).flatten()
    columns = {name: column[:voxels] for name, column in columns.items()}
    return SemanticMap.from_columns(
        columns, config=room.config, space=room.space, vocabulary=room.vocabulary, revision=room.revision
    )


class Mapping:
    """Integrates frames of a room on a thread of its own, for as long as the block lasts."""

    def __init__(self, session: MapSession, size: tuple[int, int], rate: float) -> None:
        width, height = size
        camera = Intrinsics(0.6 * width, 0.6 * width, (width - 1) / 2, (height - 1) / 2, width, height)
        self._frames = [room_frame(camera, 2 * math.pi * view / VIEWS) for view in range(VIEWS)]
        self._session = session
        self._period = 1.0 / rate if rate else 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due, number = time.monotonic(), 0
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            frame, number = self._frames[number % VIEWS], number + 1
            self._session.integrate(frame, lambda *_: None, generation=self._session.generation)
            due = max(due + self._period, time.monotonic())


def ask(session: MapSession, words: Sequence[str], queries: int, pause: float, name: str) -> dict[str, Any]:
    """Percentiles of milliseconds, by the clock and of the asking thread's own work."""
    times, works = [], []
    for number in tqdm(range(queries), desc=name, unit="question", disable=None):
        begin, work = time.perf_counter(), time.thread_time()
        session.ask([words[number % len(words)]], min_score=0.3, max_matches=5)
        works.append(1e3 * (time.thread_time() - work))
        times.append(1e3 * (time.perf_counter() - begin))
        time.sleep(pause)
    return {"ms": percentiles(times), "cpu_ms": percentiles(works)}


def measure(voxels: int, queries: int, rate: float, pause: float, size: tuple[int, int]) -> dict[str, Any]:
    """One run, under the keys that `--json` prints."""
    segmenter = load_segmenter("openseg", "cpu")
    session = MapSession(segmenter, MappingConfig(), device="cpu", frame_id="map")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.ovmap"
        storage.save(large_map(voxels, segmenter), path)
        session.load(str(path))
    words, strange = segmenter.vocabulary.names, unknown_words(segmenter.vocabulary)
    mapping = Mapping(session, size, rate)
    first = ask(session, words, 1, 0.0, "first")
    quiet = ask(session, words, max(2, queries // 4), 0.0, "quiet")
    before, begin = session.revision, time.perf_counter()
    with mapping:
        sketched = ask(session, strange[:2], 2, 0.0, "first unknown words")
        unknown = ask(session, strange[2:], queries, pause, "unknown words")
        busy = ask(session, words, queries, pause, "while mapping")
    lasted = time.perf_counter() - begin
    return {
        "voxels": session.voxel_count,
        "queries": queries,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "first_ms": first["ms"]["p50"],
        "first_unknown_ms": sketched["ms"]["p99"],
        "quiet": quiet,
        "mapping": busy,
        "unknown": unknown,
        "frames_hz": (session.revision - before) / lasted,
    }


def unknown_words(vocabulary: Vocabulary) -> list[str]:
    """Things that no room has, and words for things that they have that the vocabulary doesn't know."""
    others = (word for entry in CLASSES for word in entry.held_out if vocabulary.number_of(word) is None)
    return [word for pair in zip_longest(OTHER_THINGS, others) for word in pair if word]


def percentiles(times: Sequence[float]) -> dict[str, float]:
    return {f"p{p}": float(value) for p, value in zip(PERCENTILES, np.percentile(times, PERCENTILES), strict=True)}


def table(result: dict[str, Any]) -> str:
    """What was measured, for people."""
    rows = [
        f"{name:<10}{clock:<8}" + "".join(f"{key:>6}{value:8.1f}" for key, value in result[name][clock].items())
        for name in ("quiet", "mapping", "unknown")
        for clock in ("ms", "cpu_ms")
    ]
    head = (
        f"{result['queries']} questions to {result['voxels']:,} voxels, {result['frames_hz']:.1f} frames/s meanwhile, "
        f"threads {result['threads']}, load {result['load']:.1f}; the first took {result['first_ms']:.0f} ms, "
        f"of the first two for unknown words one {result['first_unknown_ms']:.0f} ms"
    )
    return "\n".join([head, *rows])


def main(arguments: Sequence[str] | None = None) -> None:
    summary, _, more = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voxels", type=positive, default=500_000, metavar="N", help="default %(default)s")
    parser.add_argument("--queries", type=positive, default=200, metavar="Q", help="default %(default)s")
    parser.add_argument("--rate", type=float, default=0.0, help="frames per second; 0: as fast as it goes (default)")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between questions (default %(default)s)")
    parser.add_argument("--threads", type=positive, default=1, metavar="T", help="CPU threads (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    result = measure(options.voxels, options.queries, options.rate, options.pause, (320, 240))
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
