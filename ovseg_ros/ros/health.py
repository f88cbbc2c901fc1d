"""What a node counts and says about itself: frames, losses by cause, times per stage."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SMOOTHING = 0.2
"""Weight of the newest frame in the mean time of a stage."""

LATENCY_FRAMES = 1000
"""Percentiles of a stage's time are those of so many newest frames."""

PERCENTILES = (50, 95, 99)

RATE_SECONDS = 5.0
"""The rate of frames is their mean over this time."""


@dataclass(frozen=True)
class Report:
    """The counters at one moment.

    Attributes:
        received: topic -> messages.
        integrated: frames that reached the map.
        rate_hz: frames per second that reached the map, mean over the last RATE_SECONDS.
        passed_over: frames that were no keyframes; nothing is wrong with them.
        dropped: cause -> frames that were lost.
        of_cameras: CAMERA.integrated or CAMERA.dropped.CAUSE -> frames, of the cameras that have names.
        stages: name -> smoothed mean milliseconds.
        percentiles: name -> milliseconds that PERCENTILES of the last LATENCY_FRAMES frames stayed within.
        latest_problem: the sentence of the newest loss, empty when there was none.
        new_losses: whether something was dropped since the last report.
    """

    received: dict[str, int]
    integrated: int
    rate_hz: float
    passed_over: int
    dropped: dict[str, int]
    of_cameras: dict[str, int]
    stages: dict[str, float]
    percentiles: dict[str, tuple[float, ...]]
    latest_problem: str
    new_losses: bool


@dataclass
class Health:
    """Counters that any thread may add to. The first loss of each cause and camera is said aloud, the rest is counted.

    Args:
        say: takes a sentence for people.
        clock: seconds that never go back.
    """

    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _received: Counter[str] = field(default_factory=Counter)
    _integrated: int = 0
    _recent: deque[float] = field(default_factory=deque)
    _passed_over: int = 0
    _dropped: Counter[str] = field(default_factory=Counter)
    _of_cameras: Counter[str] = field(default_factory=Counter)
    _said: set[str] = field(default_factory=set)
    _stages: dict[str, float] = field(default_factory=dict)
    _latencies: dict[str, deque[float]] = field(default_factory=dict)
    _latest_problem: str = ""
    _reported: int = 0

    def receive(self, topic: str) -> None:
        """Count a message."""
        with self._lock:
            self._received[topic] += 1

    def integrate(self, camera: str = "") -> None:
        """Count a frame that reached the map, for its camera too if that has a name."""
        with self._lock:
            self._integrated += 1
            if camera:
                self._of_cameras[f"{camera}.integrated"] += 1
            self._recent.append(self.clock())
            self._forget_old()

    def pass_over(self) -> None:
        """Count a frame that is no keyframe."""
        with self._lock:
            self._passed_over += 1

    def drop(self, cause: str, sentence: str, camera: str = "") -> None:
        """Count a loss, for its camera too if that has a name, and say why if it is the first of its cause there."""
        key = f"{camera}.dropped.{cause}" if camera else cause
        problem = f"camera {camera}: {sentence}" if camera else sentence
        with self._lock:
            self._dropped[cause] += 1
            if camera:
                self._of_cameras[key] += 1
            self._latest_problem = problem
            first = key not in self._said
            self._said.add(key)
        if first:
            self.say(f"{problem} (further frames dropped for this cause, {cause}, are counted in /diagnostics)")

    def stage(self, name: str, seconds: float) -> None:
        """Take the time of one step into its mean and its percentiles."""
        with self._lock:
            before = self._stages.get(name, seconds)
            self._stages[name] = before + SMOOTHING * (seconds - before)
            self._latencies.setdefault(name, deque(maxlen=LATENCY_FRAMES)).append(seconds)

    def report(self) -> Report:
        """The counters now."""
        with self._lock:
            self._forget_old()
            losses = sum(self._dropped.values())
            new_losses, self._reported = losses > self._reported, losses
            return Report(
                received=dict(self._received),
                integrated=self._integrated,
                rate_hz=len(self._recent) / RATE_SECONDS,
                passed_over=self._passed_over,
                dropped=dict(self._dropped),
                of_cameras=dict(self._of_cameras),
                stages={name: seconds * 1000.0 for name, seconds in self._stages.items()},
                percentiles={
                    name: tuple(1000.0 * float(value) for value in np.percentile(latencies, PERCENTILES))
                    for name, latencies in self._latencies.items()
                },
                latest_problem=self._latest_problem,
                new_losses=new_losses,
            )

    def _forget_old(self) -> None:
        horizon = self.clock() - RATE_SECONDS
        while self._recent and self._recent[0] <= horizon:
            self._recent.popleft()


def diagnostics_message(node_name: str, activity: str, stamp: Any, report: Report, facts: Mapping[str, object]) -> Any:
    """diagnostic_msgs/DiagnosticArray with one status: OK, or WARN when frames were lost since the last one.

    Args:
        node_name: with its namespace.
        activity: what the node does while all is well.
        stamp: builtin_interfaces/Time of now.
        report: the counters.
        facts: further key -> value, first in the list.
    """
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    values: dict[str, object] = dict(facts)
    values["frames_integrated"] = report.integrated
    values["rate_hz"] = f"{report.rate_hz:.1f}"
    values["frames_passed_over"] = report.passed_over
    values["frames_dropped"] = sum(report.dropped.values())
    values.update({f"dropped.{cause}": count for cause, count in sorted(report.dropped.items())})
    values.update(sorted(report.of_cameras.items()))
    values.update({f"received.{topic}": count for topic, count in sorted(report.received.items())})
    values.update({f"{stage}_ms": f"{mean:.1f}" for stage, mean in report.stages.items()})
    for stage, latencies in report.percentiles.items():
        values.update({f"{stage}_ms.p{p}": f"{ms:.1f}" for p, ms in zip(PERCENTILES, latencies, strict=True)})
    status = DiagnosticStatus(
        level=DiagnosticStatus.WARN if report.new_losses else DiagnosticStatus.OK,
        name=f"{node_name}: {activity}",
        message=report.latest_problem if report.new_losses else activity,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message
