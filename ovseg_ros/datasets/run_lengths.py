"""Masks as COCO's run lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError

OFFSET, CONTINUES, SIGN = 48, 0x20, 0x10
BITS = 5
LONGEST = 7
"""Characters of a number: more bits than any image has pixels."""

MAX_PIXELS = 1 << 28


def decode_mask(entry: Mapping[str, Any], name: str) -> NDArray[np.bool_]:
    """(height, width) of one entry ``{"size": [height, width], "counts": ...}``, compressed in a string or listed.

    Args:
        entry: as in an annotation file.
        name: of the entry, for errors.

    Raises:
        OvsegError: if it isn't such an entry, or its runs don't fill the mask.
    """
    size, counts = (entry.get(key) for key in ("size", "counts")) if isinstance(entry, Mapping) else (None, None)
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)):
        raise OvsegError(f"{name} has no size of a mask: the file is not as published, fetch it again")
    if isinstance(counts, list) and all(isinstance(run, int) and 0 <= run <= MAX_PIXELS for run in counts):
        runs = np.array(counts, dtype=np.int64)
    elif isinstance(counts, str) and counts.isascii():
        runs = _runs(np.frombuffer(counts.encode("ascii"), dtype=np.uint8).astype(np.int64) - OFFSET, name)
    else:
        raise OvsegError(f"{name} has no run lengths: the file is not as published, fetch it again")
    height, width = size
    if height * width > MAX_PIXELS or runs.sum() != height * width or (runs < 0).any():
        raise OvsegError(
            f"the runs of {name} don't fill {height} x {width} pixels: the file is damaged, fetch it again"
        )
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def _runs(digits: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    """(n,) characters less OFFSET -> (m,) lengths of runs, outside and inside in turn.

    A number is little-endian in groups of five bits; from the fourth on it is the difference to the one two before.
    """
    if not len(digits):
        return digits
    last = (digits & CONTINUES) == 0
    ends = np.flatnonzero(last)
    if (digits < 0).any() or (digits >= 2 * CONTINUES).any() or not last[-1]:
        raise OvsegError(f"{name} holds no run lengths: the file is damaged, fetch it again")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > LONGEST:
        raise OvsegError(f"{name} holds a run that is too long: the file is damaged, fetch it again")
    place = np.arange(len(digits)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((digits & (CONTINUES - 1)) << (BITS * place), starts)
    negative = (digits[ends] & SIGN) != 0
    numbers[negative] -= 1 << (BITS * lengths[negative])
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers
