"""Colour and depth paired by message_filters, which comes with a ROS distribution, behind RgbdSynchronizer's door."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.synchronizer import NANOSECONDS, Matched, RgbdSynchronizer, Stream


def have_message_filters() -> bool:
    """Whether message_filters is installed."""
    return importlib.util.find_spec("message_filters") is not None


def require_message_filters() -> None:
    """Raise an OvsegError that names the package, unless message_filters is installed."""
    if not have_message_filters():
        raise OvsegError(
            "sync.matcher message_filters needs the Python package of that name, which comes with a ROS distribution "
            "and isn't installed: sudo apt install ros-$ROS_DISTRO-message-filters, or set sync.matcher to own"
        )


@dataclass(frozen=True)
class _Header:
    stamp: Any


@dataclass(frozen=True)
class _Stamped:
    """A message as message_filters looks at it: its time is in its header."""

    header: _Header
    message: Any


class FilterSynchronizer:
    """Pairs colour and depth with an ApproximateTimeSynchronizer, and pairs with poses as RgbdSynchronizer does.

    Colour images that the filter forgets are counted; why it did, it doesn't say. Arguments, calls and errors are
    RgbdSynchronizer's.
    """

    def __init__(
        self, *, slop_ns: int, pose_gap_ns: int | None, queue_size: int, on_drop: Callable[[str, str], None]
    ) -> None:
        from message_filters import ApproximateTimeSynchronizer, SimpleFilter

        self._own = RgbdSynchronizer(slop_ns=slop_ns, pose_gap_ns=pose_gap_ns, queue_size=queue_size, on_drop=on_drop)
        self._on_drop = on_drop
        self._inputs = {Stream.COLOUR: SimpleFilter(), Stream.DEPTH: SimpleFilter()}
        # The filter's slop isn't included, ours is.
        self._pairs = ApproximateTimeSynchronizer(list(self._inputs.values()), queue_size, (slop_ns + 1) / NANOSECONDS)
        self._pairs.registerCallback(self._on_pair)
        self._matched: list[Matched] = []
        self._held = 0

    def add(self, stream: Stream, stamp_ns: int, message: Any) -> list[Matched]:
        """Take one message; return what is now complete, oldest first."""
        from rclpy.time import Time

        if stream is Stream.POSE:
            return self._own.add(stream, stamp_ns, message)
        self._matched = []
        self._held += stream is Stream.COLOUR
        self._inputs[stream].signalMessage(_Stamped(_Header(Time(nanoseconds=stamp_ns)), (stamp_ns, message)))
        while self._held > len(self._pairs.queues[0]):
            self._held -= 1
            self._on_drop(
                "unmatched",
                "message_filters forgot a colour image without a depth image within sync.slop: check that both have "
                "stamps of one clock, raise sync.slop or sync.queue_size, or set sync.matcher to own",
            )
        return self._matched

    def waiting(self, stream: Stream) -> int:
        """How many messages of ``stream`` are held."""
        filtered = list(self._inputs).index(stream) if stream in self._inputs else None
        return self._own.waiting(stream) + (0 if filtered is None else len(self._pairs.queues[filtered]))

    def _on_pair(self, colour: _Stamped, depth: _Stamped) -> None:
        self._held -= 1
        # Of one stamp now, so that they stay together.
        stamp_ns = colour.message[0]
        for stream, stamped in ((Stream.DEPTH, depth), (Stream.COLOUR, colour)):
            self._matched += self._own.add(stream, stamp_ns, stamped.message[1])
