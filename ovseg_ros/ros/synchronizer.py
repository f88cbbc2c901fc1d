"""Which depth image and which poses belong to a colour image: bounded matching by stamps, without ROS."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
class PoseBracket:
    """The pose messages around a stamp; the same one twice where it has the stamp itself.

    Attributes:
        before: the last one before the stamp.
        after: the first one after it.
        fraction: 0..1, where between the two the stamp lies.
    """

    before: Any
    after: Any
    fraction: float


@dataclass(frozen=True)
class Matched:
    """Messages that belong together.

    Attributes:
        stamp_ns: the colour image's.
        colour: its message.
        depth: the message nearest in time.
        pose: the PoseBracket around the stamp; None where poses don't come as messages.
        since: when they were complete, seconds of the monotonic clock.
    """

    stamp_ns: int
    colour: Any
    depth: Any
    pose: Any
    since: float = field(default_factory=time.monotonic)


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
    """Matches every colour image with the depth image nearest in time and with the poses around its stamp.

    A depth image is settled when its stamp is equal, or when a later message shows that none nearer can come:
    taking the nearest one so far would pair an image with the depth before it whenever the network
    reorders two topics. A depth image is used once; a pose may serve two images.

    Poses are there to interpolate between, never beyond: an image waits for a pose at or after its stamp for as long
    as ``queue_size`` allows, and is dropped when the two poses around it are too far apart to say what lies between.

    Each stream is expected in order of its stamps, as one publisher sends them. A message that is up to the
    slop older than the newest of its stream is late: it is dropped and counted. One that is older still means
    that the source began again: what waits from the other side of the jump is forgotten, the restart is
    counted once, and matching goes on.

    Not thread-safe: call it from one thread.

    Args:
        slop_ns: how far a partner may be from the colour image, nanoseconds.
        pose_gap_ns: how far apart the poses around an image may be, nanoseconds; None: no stream of poses.
        queue_size: how many colour images, and how many depth images, may wait.
        on_drop: called with a cause ("unmatched", "stamp") and a sentence, once per loss.
    """

    def __init__(
        self, *, slop_ns: int, pose_gap_ns: int | None, queue_size: int, on_drop: Callable[[str, str], None]
    ) -> None:
        self._slop_ns = slop_ns
        self._pose_gap_ns = pose_gap_ns
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
            depth = self._nearest_depth(stamp_ns)
            pose = None if self._pose_gap_ns is None else self._poses_around(stamp_ns, self._pose_gap_ns)
            if depth is Missing.NEVER or pose is Missing.NEVER:
                colours.popleft()
                self._unmatched(Stream.DEPTH if depth is Missing.NEVER else Stream.POSE)
                continue
            if isinstance(depth, Missing) or isinstance(pose, Missing):
                break
            colours.popleft()
            self._forget(Stream.DEPTH, depth[0] + 1)
            if pose is not None:
                self._forget(Stream.POSE, pose[0][0])
            matched.append(Matched(stamp_ns, colour, depth[1], _bracket(stamp_ns, pose)))
        return matched

    def _nearest_depth(self, stamp_ns: int) -> _Entry | Missing:
        queue = self._waiting[Stream.DEPTH]
        last = self._last[Stream.DEPTH]
        nearest = min(queue, key=lambda entry: abs(entry[0] - stamp_ns), default=None)
        if nearest is not None and nearest[0] == stamp_ns:
            return nearest
        if last is None or last <= stamp_ns:
            return Missing.NOT_YET
        if nearest is None or abs(nearest[0] - stamp_ns) > self._slop_ns:
            return Missing.NEVER
        return nearest

    def _poses_around(self, stamp_ns: int, gap_ns: int) -> tuple[_Entry, _Entry] | Missing:
        queue = self._waiting[Stream.POSE]
        last = self._last[Stream.POSE]
        after = min((entry for entry in queue if entry[0] >= stamp_ns), key=lambda entry: entry[0], default=None)
        if after is None:
            return Missing.NOT_YET if last is None or last < stamp_ns else Missing.NEVER
        if after[0] == stamp_ns:
            return after, after
        before = max((entry for entry in queue if entry[0] < stamp_ns), key=lambda entry: entry[0], default=None)
        return Missing.NEVER if before is None or after[0] - before[0] > gap_ns else (before, after)

    def _forget(self, stream: Stream, before_ns: int) -> None:
        queue = self._waiting[stream]
        while queue and queue[0][0] < before_ns:
            queue.popleft()

    def _trim(self) -> None:
        colours = self._waiting[Stream.COLOUR]
        while len(colours) > self._limits[Stream.COLOUR]:
            stamp_ns, _ = colours.popleft()
            absent = [Stream.DEPTH] if self._nearest_depth(stamp_ns) is Missing.NOT_YET else []
            gap_ns = self._pose_gap_ns
            if gap_ns is not None and self._poses_around(stamp_ns, gap_ns) is Missing.NOT_YET:
                absent.append(Stream.POSE)
            self._unmatched(*absent)
        for stream in (Stream.DEPTH, Stream.POSE):
            while len(self._waiting[stream]) > self._limits[stream]:
                self._waiting[stream].popleft()

    def _unmatched(self, *streams: Stream) -> None:
        names = " and ".join(stream.value for stream in streams)
        wanted, limit = [], []
        if Stream.DEPTH in streams:
            wanted.append(f"depth image within {self._slop_ns / NANOSECONDS:g} s")
            limit.append("sync.slop")
        if Stream.POSE in streams and self._pose_gap_ns is not None:
            wanted.append(f"poses around its stamp at most {self._pose_gap_ns / NANOSECONDS:g} s apart")
            limit.append("sync.pose_gap")
        self._on_drop(
            "unmatched",
            f"a colour image found no {' and no '.join(wanted)}: check that {names} is published with the clock of "
            f"the camera's stamps, or raise {', '.join(limit)} or sync.queue_size",
        )


def _bracket(stamp_ns: int, poses: tuple[_Entry, _Entry] | None) -> PoseBracket | None:
    if poses is None:
        return None
    before, after = poses
    span = after[0] - before[0]
    return PoseBracket(before[1], after[1], (stamp_ns - before[0]) / span if span else 0.0)
