"""Which depth image and which pose belong to a colour image: bounded matching by stamps, without ROS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

POSES_PER_IMAGE = 20
"""Poses come at up to this many times the rate of images (200 Hz odometry, 10 Hz camera), and are small."""

NANOSECONDS = 1_000_000_000


class Stream(Enum):
    """The streams that are matched; the value names the topic in messages for people."""

    COLOUR = "rgb/image"
    DEPTH = "depth/image"
    POSE = "pose"


@dataclass(frozen=True)
class Matched:
    """Messages that belong together; ``stamp_ns`` is the colour image's."""

    stamp_ns: int
    colour: Any
    depth: Any
    pose: Any


class Missing(Enum):
    """Why a colour image has no partner in a stream (yet)."""

    NOT_YET = "not yet"
    NEVER = "never"


_Entry = tuple[int, Any]


def valid_at(entries: Sequence[_Entry], stamp_ns: int) -> Any | None:
    """Which of (stamp, message) ``entries``, in order of arrival, holds at ``stamp_ns``; None if there are none.

    The one of this stamp, else the newest that isn't later, else the one that arrived last.
    """
    earlier = [entry for entry in reversed(entries) if entry[0] <= stamp_ns]
    if earlier:
        return max(earlier, key=lambda entry: entry[0])[1]
    return entries[-1][1] if entries else None


class RgbdSynchronizer:
    """Matches every colour image with the depth image and the pose nearest in time.

    A partner is settled when its stamp is equal, or when a later message shows that none nearer can come:
    taking the nearest one so far would pair an image with the depth before it whenever the network
    reorders two topics. A depth image is used once; a pose may serve two images.

    Each stream is expected in order of its stamps, as one publisher sends them. A message that is up to the
    slop older than the newest of its stream is late: it is dropped and counted. One that is older still means
    that the source began again: what waits from the other side of the jump is forgotten, the restart is
    counted once, and matching goes on.

    Not thread-safe: call it from one thread.

    Args:
        slop_ns: how far a partner may be from the colour image, nanoseconds.
        queue_size: how many colour images, and how many depth images, may wait.
        on_drop: called with a cause ("unmatched", "stamp") and a sentence, once per loss.
    """

    def __init__(self, *, slop_ns: int, queue_size: int, on_drop: Callable[[str, str], None]) -> None:
        self._slop_ns = slop_ns
        self._on_drop = on_drop
        self._limits = {
            Stream.COLOUR: queue_size,
            Stream.DEPTH: queue_size,
            Stream.POSE: queue_size * POSES_PER_IMAGE,
        }
        self._waiting: dict[Stream, deque[_Entry]] = {stream: deque() for stream in Stream}
        self._last: dict[Stream, int | None] = dict.fromkeys(Stream)

    def add(self, stream: Stream, stamp_ns: int, message: Any) -> list[Matched]:
        """Take one message; return what is now complete, oldest first."""
        last = self._last[stream]
        if last is not None and stamp_ns < last:
            if last - stamp_ns <= self._slop_ns:
                self._late(stream, stamp_ns, last)
                return []
            self._restart(stream, stamp_ns, last)
        self._last[stream] = max(stamp_ns, self._last[stream] or stamp_ns)
        self._waiting[stream].append((stamp_ns, message))
        matched = self._match()
        self._trim()
        return matched

    def waiting(self, stream: Stream) -> int:
        """How many messages of ``stream`` are held."""
        return len(self._waiting[stream])

    def _late(self, stream: Stream, stamp_ns: int, last: int) -> None:
        self._on_drop(
            "stamp",
            f"the stamps of {stream.value} went back by {(last - stamp_ns) / NANOSECONDS:.3f} s: "
            "the late message is dropped; check that one publisher alone sends on this topic, in order",
        )

    def _restart(self, stream: Stream, stamp_ns: int, last: int) -> None:
        horizon = stamp_ns + self._slop_ns
        for queue in self._waiting.values():
            while queue and queue[-1][0] > horizon:
                queue.pop()
        # All streams begin again: the others follow in a moment, which is the same restart and no news.
        self._last = dict.fromkeys(Stream)
        self._on_drop(
            "stamp",
            f"the stamps of {stream.value} went back by {(last - stamp_ns) / NANOSECONDS:.3f} s: "
            "what waited for a partner is dropped and mapping goes on from there; "
            "expected when a recording starts again, otherwise check the clock of the sensor",
        )

    def _match(self) -> list[Matched]:
        matched: list[Matched] = []
        colours = self._waiting[Stream.COLOUR]
        while colours:
            stamp_ns, colour = colours[0]
            depth = self._partner(Stream.DEPTH, stamp_ns)
            pose = self._partner(Stream.POSE, stamp_ns)
            if depth is Missing.NEVER or pose is Missing.NEVER:
                colours.popleft()
                self._unmatched(Stream.DEPTH if depth is Missing.NEVER else Stream.POSE)
                continue
            if isinstance(depth, Missing) or isinstance(pose, Missing):
                break
            colours.popleft()
            self._forget(Stream.DEPTH, depth[0] + 1)
            self._forget(Stream.POSE, pose[0])
            matched.append(Matched(stamp_ns, colour, depth[1], pose[1]))
        return matched

    def _partner(self, stream: Stream, stamp_ns: int) -> _Entry | Missing:
        queue = self._waiting[stream]
        last = self._last[stream]
        nearest = min(queue, key=lambda entry: abs(entry[0] - stamp_ns), default=None)
        if nearest is not None and nearest[0] == stamp_ns:
            return nearest
        if last is None or last <= stamp_ns:
            return Missing.NOT_YET
        if nearest is None or abs(nearest[0] - stamp_ns) > self._slop_ns:
            return Missing.NEVER
        return nearest

    def _forget(self, stream: Stream, before_ns: int) -> None:
        queue = self._waiting[stream]
        while queue and queue[0][0] < before_ns:
            queue.popleft()

    def _trim(self) -> None:
        colours = self._waiting[Stream.COLOUR]
        while len(colours) > self._limits[Stream.COLOUR]:
            stamp_ns, _ = colours.popleft()
            absent = [s for s in (Stream.DEPTH, Stream.POSE) if self._partner(s, stamp_ns) is Missing.NOT_YET]
            self._unmatched(*absent)
        for stream in (Stream.DEPTH, Stream.POSE):
            while len(self._waiting[stream]) > self._limits[stream]:
                self._waiting[stream].popleft()

    def _unmatched(self, *streams: Stream) -> None:
        names = " and ".join(stream.value for stream in streams)
        self._on_drop(
            "unmatched",
            f"a colour image found no message on {names} within {self._slop_ns / NANOSECONDS:g} s: "
            f"check that {names} is published with the camera's stamps, or raise sync.slop or sync.queue_size",
        )
