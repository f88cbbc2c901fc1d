"""Time, memory and the machine's own speed."""

from __future__ import annotations

import ctypes
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")
WINDOW = 10
"""Frames at either end of a run whose median is reported, where there are so many."""


def milliseconds(job: Callable[[], object]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    job()
    return 1e3 * (time.perf_counter() - begin)


def cpu_milliseconds(job: Callable[[], object]) -> float:
    """CPU time of one call, of all threads together: waiting for a turn on a busy machine isn't in it."""
    begin = time.process_time()
    job()
    return 1e3 * (time.process_time() - begin)


def window_of(frames: int) -> int:
    """How many frames at either end of a run of 2 or more the reported medians are of; the ends never overlap."""
    return min(WINDOW, frames // 2)


def first_and_last(times: list[float]) -> dict[str, float]:
    """Medians of both ends of a run of 2 or more."""
    window = window_of(len(times))
    return {"first": median(times[:window]), "last": median(times[-window:])}


def bandwidth(floats: int = 1 << 25, rounds: int = 7) -> float:
    """Bytes per second that the current number of threads reads and writes together, copying ``floats`` numbers."""
    source, target = torch.ones(floats), torch.zeros(floats)
    fastest = min(milliseconds(lambda: target.copy_(source)) for _ in range(rounds))
    return 2 * 4 * floats / (fastest / 1e3)


class PeakMemory:
    """Highest resident memory during chosen calls, above what the process held when this was made.

    Before each call, memory that others freed is given back to the system, so that what they left behind is neither
    counted nor hides what the call needs. It makes the calls slow: time them elsewhere. Where the kernel doesn't let
    a process reset its high-water mark, the mark of the whole process is taken, which is never too low.
    """

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: 0)
        self._trim(0)
        self._base = _status_bytes("VmRSS")
        self._highest = 0

    @property
    def bytes_above_base(self) -> int:
        """Highest so far; 0 before the first call."""
        return self._highest

    def during(self, job: Callable[[], object]) -> None:
        """Run ``job`` and take its peak into account."""
        self._trim(0)
        resets = _reset_high_water_mark()
        job()
        peak = _status_bytes("VmHWM") if resets else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._highest = max(self._highest, peak - self._base)


def _reset_high_water_mark() -> bool:
    try:
        RESET.write_text("5")
    except OSError:
        return False
    return True


def _status_bytes(name: str) -> int:
    """A field of /proc/self/status that is given in kB."""
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return 1024 * int(fields[name].split()[0])
