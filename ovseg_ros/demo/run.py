"""Player node -> mapping node -> questions through the service, in separate processes over real DDS."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ovseg_ros.datasets import open_sequence
from ovseg_ros.demo.questions import Question, choose_questions
from ovseg_ros.demo.report import QuestionResult, RoomResult, write_pictures
from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.client import RETRY_SECONDS, MapClient
from ovseg_ros.ros.node_parameters import Value
from ovseg_ros.ros.processes import NodeProcess
from ovseg_ros.simulation import RoomSequence

LAST_DOMAIN = 101
"""Largest ROS_DOMAIN_ID that is safe on Linux."""

STILL_SECONDS = 3.0
"""Where frames were lost on the way, the map is complete when the player has ended and nothing waits for this long."""

PATIENCE_SECONDS = 600.0

START_SECONDS = 120.0
"""How long a node may take to load its model."""

CONFIGURE_FAILED = "configure failed"
"""What the node's log says when it can't load its model."""


@dataclass(frozen=True)
class DemoOptions:
    """How to run the demo.

    Attributes:
        out: folder for maps, pictures and the nodes' logs.
        backend, device, voxel_size: of the mapping node.
        rate: frames per second that the player publishes.
        frames: per generated room.
        size: of generated images, pixels.
        quiet: no progress bars.
    """

    out: Path
    backend: str = "openseg"
    device: str = "auto"
    voxel_size: float = 0.05
    rate: float = 8.0
    frames: int = 80
    size: tuple[int, int] = (320, 240)
    quiet: bool = False


def demo_rooms(rooms: int, seed: int, options: DemoOptions) -> list[RoomResult]:
    """Map and question generated rooms with seeds from ``seed`` up.

    Raises:
        OvsegError: a node didn't start or didn't answer; says which log to read.
    """
    results = []
    with _MappingNode(options) as client:
        for room_seed in range(seed, seed + rooms):
            sequence = RoomSequence(room_seed, options.frames, *options.size)
            questions = choose_questions(sequence, np.random.default_rng((room_seed, 4)))
            width, height = options.size
            playing: dict[str, Value] = {
                "room_seed": room_seed,
                "room_frames": options.frames,
                "room_size": f"{width}x{height}",
            }
            mapped = _play(client, playing, options, options.frames, f"room {room_seed}")
            results.append(_question(client, questions, options, f"room-{room_seed}", room_seed, mapped))
    return results


def demo_recording(sequence: Path, layout: str, words: Sequence[str], options: DemoOptions) -> RoomResult:
    """Map a recording and ask for ``words``; there is no truth to compare with.

    Raises:
        OvsegError: as `demo_rooms`.
    """
    frames = len(open_sequence(sequence, layout))
    with _MappingNode(options) as client:
        playing: dict[str, Value] = {"sequence": str(sequence.absolute()), "layout": layout}
        mapped = _play(client, playing, options, frames, sequence.name)
        questions = tuple(Question(word, "name", ()) for word in words)
        return _question(client, questions, options, sequence.name or "recording", None, mapped)


class _MappingNode:
    """A running, active mapping node and a client of it, alone on a ROS domain of their own."""

    def __init__(self, options: DemoOptions) -> None:
        try:
            options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OvsegError(f"can't make the folder {options.out}: {error.strerror}: choose another --out") from error
        # Never the user's own domain: clearing the map of a robot at work would be no demonstration.
        os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % LAST_DOMAIN)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self._options = options
        self._node: NodeProcess | None = None
        self._client: MapClient | None = None

    def __enter__(self) -> MapClient:
        options = self._options
        # Every frame counts here, and nobody waits for the newest: the queue holds the whole recording.
        parameters: dict[str, Value] = {
            "backend": options.backend,
            "device": options.device,
            "mapping.voxel_size": float(options.voxel_size),
            "mapping.queue_size": 10000,
            "pose_source": "pose",
            "inputs.reliability": "reliable",
            "sync.queue_size": 50,
        }
        self._node = NodeProcess("mapping_node", options.out / "mapping_node.log", parameters=parameters)
        try:
            self._client = MapClient()
            self._client.wait_for(self._is_active, "mapping_node to become active", START_SECONDS)
        except BaseException:
            # Ctrl-C too: the node has a session of its own and would live on.
            self.__exit__()
            raise
        return self._client

    def _is_active(self) -> bool:
        """Whether it maps; gives up at once when it can't."""
        assert self._node is not None and self._client is not None
        lines = self._node.printed().splitlines()
        reasons = [line for line in lines if CONFIGURE_FAILED in line]
        if reasons or not self._node.running:
            reason = (reasons or lines or ["it ended without a word"])[-1]
            raise OvsegError(f"mapping_node did not start: {reason}")
        with contextlib.suppress(OvsegError):
            return self._client.state(timeout=RETRY_SECONDS) == "active"
        return False

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
        if self._node is not None:
            self._node.stop()


def _play(client: MapClient, playing: dict[str, Value], options: DemoOptions, frames: int, name: str) -> int:
    """Clear the map, play a recording, wait until the node has taken in all of it; return the frames mapped."""
    client.clear()
    before = client.diagnostics()
    parameters: dict[str, Value] = {**playing, "rate": float(options.rate)}
    log = options.out / "rgbd_player_node.log"
    bar = tqdm(total=frames, desc=f"mapping {name}", unit="frame", disable=True if options.quiet else None)
    handled, last_change = 0, time.monotonic()
    with NodeProcess("rgbd_player_node", log, parameters=parameters) as player, bar:
        while True:
            playing_on = player.running
            now = client.diagnostics()
            newly = _handled(now) - _handled(before) - handled
            if newly > 0:
                handled, last_change = handled + newly, time.monotonic()
                bar.update(newly)
            still = time.monotonic() - last_change
            if not playing_on and (handled >= frames or (now["queue"] == "0" and still > STILL_SECONDS)):
                break
            if still > PATIENCE_SECONDS:
                raise OvsegError(f"no frame was mapped for {PATIENCE_SECONDS:g} s: see {log} and mapping_node.log")
        status = player.wait(PATIENCE_SECONDS)
    mapped = int(now["frames_integrated"]) - int(before["frames_integrated"])
    if status != 0 or not mapped:
        raise OvsegError(f"{name} could not be played ({mapped} frames mapped, exit status {status}): see {log}")
    return mapped


def _handled(diagnostics: dict[str, str]) -> int:
    """Frames that the node has mapped or refused."""
    return int(diagnostics["frames_integrated"]) + int(diagnostics["frames_dropped"])


def _question(
    client: MapClient, questions: Sequence[Question], options: DemoOptions, name: str, seed: int | None, frames: int
) -> RoomResult:
    """Ask everything in one request, save the map, and draw it with the answers."""
    response: Any = client.query([question.query for question in questions], max_matches=1)
    if not response.success:
        raise OvsegError(f"the query was refused: {response.message}")
    best = {match.query: match for match in reversed(response.matches)}
    results = []
    for question in questions:
        match = best.get(question.query)
        position = None if match is None else (match.position.x, match.position.y, match.position.z)
        results.append(
            QuestionResult(
                question=question,
                position=position,
                score=None if match is None else float(match.score),
                distance=None if position is None else question.distance(np.array(position)),
            )
        )
    path = (options.out / f"{name}.ovmap").absolute()
    saved = client.save(str(path))
    if not saved.success:
        raise OvsegError(f"the map was not saved: {saved.message}")
    result = RoomResult(name, seed, frames, int(saved.voxel_count), tuple(results), path)
    write_pictures(result)
    return result
