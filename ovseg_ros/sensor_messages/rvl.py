"""RVL, the lossless code of depth images that compressedDepth has beside PNG.

A. D. Wilson, "Fast Lossless Depth Image Compression", ISS 2017. The image is runs: so many zeros, so many others, and
for each of the others its difference to the one before it, zigzag. All of these are numbers of 3 bits at a time, the
lowest first, in nibbles whose top bit says that more follow; eight nibbles, the highest first, make a word.
"""

from __future__ import annotations

import struct

import numpy as np

from ovseg_ros.types import InvalidFrameError

MAX_PIXELS = 1 << 24
"""Larger images than 4096x4096 aren't a depth camera's: a damaged size must not take the memory."""

_SIZE = struct.Struct("<2I")
_LONGEST = 11
"""Nibbles of the longest number: 33 bits."""


def decode_rvl(data: bytes) -> np.ndarray:
    """Width and height (uint32 each) and the code -> (H, W) uint16.

    Raises:
        InvalidFrameError: "encoding" for a size out of limits or runs that don't fill it.
    """
    if len(data) < _SIZE.size or len(data) % 4:
        raise _damaged(f"has {len(data)} bytes")
    width, height = _SIZE.unpack_from(data)
    if not 0 < width * height <= MAX_PIXELS:
        raise _damaged(f"says that it is {width}x{height} pixels")
    numbers = _numbers(data[_SIZE.size :])
    lengths, headers = _runs(numbers, width * height)
    filled = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    coded = numbers[: headers[-1] + lengths[-1] + 1]
    differences = np.delete(coded, np.concatenate([headers - 1, headers]))
    pixels = np.zeros(width * height, np.uint16)
    pixels[filled] = np.cumsum((differences >> 1) ^ -(differences & 1)).astype(np.uint16)
    return pixels.reshape(height, width)


def _numbers(code: bytes) -> np.ndarray:
    """(n,) int64: all numbers of the code, and zeros for the padding of its last word."""
    octets = np.frombuffer(code, "<u4").astype(">u4").view(np.uint8)
    nibbles = np.stack([octets >> 4, octets & 15], axis=1).ravel()
    ends = np.flatnonzero(nibbles < 8)
    if not len(ends):
        raise _damaged("ends within a number")
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if sizes.max() > _LONGEST:
        raise _damaged("holds a number of more than 32 bits")
    within = np.arange(ends[-1] + 1) - np.repeat(starts, sizes)
    return np.add.reduceat((nibbles[: ends[-1] + 1] & 7).astype(np.int64) << (3 * within), starts)


def _runs(numbers: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """(2 r,) lengths of the runs, zeros and others in turn, and (r,) where the length of each run of others stands."""
    lengths: list[int] = []
    headers: list[int] = []
    at = filled = 0
    while filled < pixels:
        if at + 1 >= len(numbers):
            raise _damaged("ends before the image does")
        zeros, others = int(numbers[at]), int(numbers[at + 1])
        if not zeros and not others:
            raise _damaged("has a run of no length")
        lengths += (zeros, others)
        headers.append(at + 1)
        filled += zeros + others
        at += 2 + others
    if filled > pixels or at > len(numbers):
        raise _damaged("has runs that don't fill its size")
    return np.array(lengths), np.array(headers)


def _damaged(what: str) -> InvalidFrameError:
    return InvalidFrameError(
        "encoding",
        f"the depth image compressed as rvl {what}: it is truncated or damaged, check the publisher or set its "
        "parameter format to png",
    )
