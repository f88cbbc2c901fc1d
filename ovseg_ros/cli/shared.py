"""What several verbs begin with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from ovseg_ros.errors import OvsegError


def bag_options(options: argparse.Namespace) -> Any:
    """What --topic and --slop say, or None."""
    from ovseg_ros.datasets import BagOptions

    if not options.topic and options.slop is None:
        return None
    slop = {} if options.slop is None else {"slop": options.slop}
    return BagOptions(topics=dict(options.topic), **slop)


def open_recording(sequence: str, dataset: str, bag: Any = None) -> Any:
    """The recording that ``SEQUENCE --dataset`` names."""
    from ovseg_ros.datasets import open_sequence
    from ovseg_ros.simulation import RoomSequence

    if dataset == "rooms":
        if not sequence.isdigit():
            raise OvsegError(f"with --dataset rooms, SEQUENCE is the seed of a room, got {sequence!r}")
        return RoomSequence(int(sequence))
    return open_sequence(sequence, dataset, bag)


def space_id(space: str | None) -> str:
    """The space of a map that has one."""
    if space is None:
        raise OvsegError("the map is empty and has no feature space: map some frames first")
    return space


def progress_bar(name: str) -> Callable[..., Any]:
    """A progress bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    return partial(tqdm, desc=name, unit="frame", disable=None, file=sys.stderr)
