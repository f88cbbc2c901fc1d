#!/usr/bin/env python3
"""How many frames a second go through player and mapping_node, beside the same frames in one process.

    OMP_NUM_THREADS=1 python benchmarks/ros_throughput.py --frames 120 --size 640x480 --json

Both read the same recording from disk and map it with the embedded model, from the end of the first frame on; `memory`
is the one process with all frames read beforehand. The node is asked now and then how far it is, not always: answering
takes time as well. They take turns, round by round. The player plays
faster than one process maps, and the node's queue holds everything, so no frame is dropped and the node never waits.
Other programs on the machine take more from three processes than from one: `load` is how many there were.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from fusion import positive
from ros_rig import cpu_seconds, mapping_node
from scenes import room_frame

from ovseg_ros.datasets import open_sequence, write_sequence
from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig
from ovseg_ros.pipeline import build_map
from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.player import image_size
from ovseg_ros.ros.processes import NodeProcess
from ovseg_ros.segmentation import load_segmenter
from ovseg_ros.types import Intrinsics, RgbdFrame, Segmenter

PLAY_SECONDS = 120.0
POLLS = 40
"""So often the node is asked how far it is; the end may be seen that share of the time too late."""

HURRY = 1.5
"""How much faster than one process maps the player plays."""

NO_DROPS = {
    "pose_source": "pose",
    "inputs.reliability": "reliable",
    "sync.queue_size": 100,
    "mapping.queue_size": 10000,
    "device": "cpu",
}


def record(folder: Path, frames: int, size: tuple[int, int]) -> Sequence[RgbdFrame]:
    """A camera that turns once in a furnished room, as a recording on disk."""
    width, height = size
    camera = Intrinsics(0.6 * width, 0.6 * width, (width - 1) / 2, (height - 1) / 2, width, height)
    views = (room_frame(camera, 2 * math.pi * i / frames) for i in range(frames))
    write_sequence(views, None, folder, "posed_rgbd", ())
    return open_sequence(folder)


@dataclass(frozen=True)
class Pace:
    """Frames per second, and milliseconds of CPU time for each."""

    hz: float
    cpu_ms: float

    @classmethod
    def between(cls, begin: tuple[float, float], end: tuple[float, float], frames: int) -> Pace:
        """Of so many frames between two moments, each the clock's seconds and the process's CPU seconds."""
        return cls(frames / (end[0] - begin[0]), 1e3 * (end[1] - begin[1]) / frames)


def in_process(sequence: Sequence[RgbdFrame], segmenter: Segmenter) -> Pace:
    """Of `build_map`."""
    ends: list[tuple[float, float]] = []

    def ticking(numbers: Iterable[int]) -> Iterator[int]:
        for number in numbers:
            yield number
            ends.append((time.perf_counter(), time.process_time()))

    _, report = build_map(sequence, segmenter, MappingConfig(), progress=ticking)
    if report.frames < len(sequence):
        raise OvsegError(f"{len(sequence) - report.frames} frames could not be mapped: {report.reasons}")
    return Pace.between(ends[0], ends[-1], len(ends) - 1)


def over_ros(recording: Path, frames: int, expected_hz: float, folder: Path) -> Pace:
    """Of mapping_node, fed faster than it is expected to map."""
    with mapping_node(folder / "mapping_node.log", NO_DROPS) as (node, client):
        play = {"sequence": str(recording), "rate": HURRY * expected_hz}
        with NodeProcess("rgbd_player_node", folder / "player.log", parameters=play) as player:
            pause = frames / expected_hz / POLLS
            seen = [at for at in _progress(client, frames, node.pid, pause, player.printed) if at.frames]
        dropped = client.diagnostics()["frames_dropped"]
        if dropped != "0":
            raise OvsegError(f"{dropped} frames were dropped: the figures would say nothing")
    begin, end = seen[0], seen[-1]
    if begin.frames == end.frames:
        raise OvsegError(f"{frames} frames are too few to see how fast they are mapped: give more --frames")
    return Pace.between((begin.clock, begin.cpu), (end.clock, end.cpu), end.frames - begin.frames)


@dataclass(frozen=True)
class Progress:
    """So many frames were mapped at a moment: the clock's seconds and the node's CPU seconds."""

    frames: int
    clock: float
    cpu: float


def _progress(client: MapClient, frames: int, pid: int, pause: float, said: Callable[[], str]) -> Iterator[Progress]:
    """How far the map is, every ``pause`` seconds until all is done."""
    deadline = time.monotonic() + PLAY_SECONDS
    revision = 0
    while revision < frames:
        if time.monotonic() > deadline:
            raise OvsegError(f"{frames} frames weren't mapped within {PLAY_SECONDS:g} s; the player said: {said()}")
        time.sleep(pause)
        revision = client.query([]).map_revision  # even a refused request is told it
        yield Progress(revision, time.perf_counter(), cpu_seconds(pid))


def measure(frames: int, size: tuple[int, int], rounds: int, folder: Path) -> dict[str, Any]:
    """Medians over the rounds, under the keys that `--json` prints."""
    segmenter = load_segmenter("openseg", "cpu")
    sequence = record(folder / "recording", frames, size)
    held = [sequence[number] for number in range(frames)]
    paces: dict[str, list[Pace]] = {"ros": [], "in_process": [], "memory": []}
    for _ in range(rounds):
        paces["in_process"].append(in_process(sequence, segmenter))
        paces["ros"].append(over_ros(folder / "recording", frames, paces["in_process"][-1].hz, folder))
        paces["memory"].append(in_process(held, segmenter))
    medians = {f"{name}_hz": median(pace.hz for pace in paces[name]) for name in paces}
    cpu = {f"{name}_cpu_ms": median(pace.cpu_ms for pace in paces[name]) for name in paces}
    return {
        "frames": frames,
        "size": f"{size[0]}x{size[1]}",
        "rounds": rounds,
        "load": os.getloadavg()[0],
        **medians,
        **cpu,
        "ratio": medians["ros_hz"] / medians["in_process_hz"],
        "ratio_to_memory": medians["ros_hz"] / medians["memory_hz"],
    }


def table(result: dict[str, Any]) -> str:
    """What was measured, for people."""
    return "\n".join(
        (
            f"{result['frames']} frames of {result['size']}, {result['rounds']} rounds, load {result['load']:.1f}",
            f"mapping_node {result['ros_hz']:7.1f} frames/s, {result['ros_cpu_ms']:5.0f} ms of CPU",
            f"one process  {result['in_process_hz']:7.1f} frames/s, {result['in_process_cpu_ms']:5.0f} ms of CPU, "
            f"ratio {result['ratio']:.2f}",
            f"frames held  {result['memory_hz']:7.1f} frames/s, {result['memory_cpu_ms']:5.0f} ms of CPU, "
            f"ratio {result['ratio_to_memory']:.2f}",
        )
    )


def main(arguments: Sequence[str] | None = None) -> None:
    summary, _, more = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=positive, default=120, metavar="N", help="default %(default)s")
    parser.add_argument("--size", type=image_size, default=(640, 480), metavar="WxH", help="default 640x480")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.frames < 2:
        parser.error("--frames must be 2 or more, got 1")
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.frames, options.size, options.rounds, Path(folder))
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
