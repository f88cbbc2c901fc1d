"""RVL depth against a plain encoder, written number by number as the paper says."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from types import SimpleNamespace as Fake

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_ros.sensor_messages import compressed_to_depth
from ovseg_ros.types import InvalidFrameError


def encode(depth: np.ndarray) -> bytes:
    """(H, W) uint16 -> width, height and RVL."""
    nibbles: list[int] = []

    def write(number: int) -> None:
        while True:
            nibble, number = number & 7, number >> 3
            nibbles.append(nibble | (8 if number else 0))
            if not number:
                return

    pixels = [int(value) for value in depth.ravel()]
    at = before = 0
    while at < len(pixels):
        for wanted in (False, True):
            end = at
            while end < len(pixels) and (pixels[end] != 0) == wanted:
                end += 1
            write(end - at)
            for value in pixels[at:end] if wanted else ():
                difference, before = value - before, value
                write(2 * difference if difference >= 0 else -2 * difference - 1)
            at = end
    nibbles += [0] * (-len(nibbles) % 8)
    words = [
        sum(nibble << (28 - 4 * i) for i, nibble in enumerate(nibbles[n : n + 8])) for n in range(0, len(nibbles), 8)
    ]
    return struct.pack(f"<2I{len(words)}I", depth.shape[1], depth.shape[0], *words)


def message(code: bytes, pixel: str = "16UC1", a: float = 0.0, b: float = 0.0) -> Fake:
    return Fake(format=f"{pixel}; compressedDepth rvl", data=struct.pack("<iff", 0, a, b) + code)


def millimetres(raw: np.ndarray) -> np.ndarray:
    return np.where((raw == 0) | (raw == 65535), np.nan, raw * np.float32(0.001)).astype(np.float32)


@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 17)),
    empty=st.sampled_from([0.0, 0.2, 0.9, 1.0]),
    spread=st.sampled_from([3, 300, 65535]),
    seed=st.integers(0, 9999),
)
@settings(deadline=None, max_examples=60)
def test_every_image_comes_back(shape: tuple[int, int], empty: float, spread: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.integers(1, spread + 1, shape).astype(np.uint16)
    raw[rng.random(shape) < empty] = 0
    np.testing.assert_array_equal(compressed_to_depth(message(encode(raw))), millimetres(raw))


def test_a_code_written_by_hand() -> None:
    """One zero, then two others, 1 and 9: differences 1 and 8, zigzag 2 and 16, which takes two nibbles."""
    code = struct.pack("<3I", 3, 1, 0x1228_2000)
    np.testing.assert_array_equal(compressed_to_depth(message(code)), millimetres(np.array([[0, 1, 9]], np.uint16)))


def test_metres_are_quantised_inverse_depth_as_with_png() -> None:
    code = encode(np.array([[0, 100, 200]], np.uint16))
    depth = compressed_to_depth(message(code, "32FC1", 500.0, -50.0))
    np.testing.assert_allclose(depth, [[np.nan, 500 / 150, 500 / 250]])


RAW = np.random.default_rng(1).integers(0, 3, (20, 30)).astype(np.uint16) * 700
CODE = encode(RAW)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (b"", "has 0 bytes"),
        (CODE[:-2], f"has {len(CODE) - 2} bytes"),
        (CODE[:8], "ends within a number"),
        (CODE[: len(CODE) // 8 * 4], "ends before the image does|ends within a number|don't fill"),
        (struct.pack("<2I", 0, 20) + CODE[8:], "0x20 pixels"),
        (struct.pack("<2I", 2**32 - 1, 2**32 - 1) + CODE[8:], "4294967295x4294967295 pixels"),
        (struct.pack("<2I", 31, 20) + CODE[8:], "ends before the image does|no length"),
        (struct.pack("<2I", 29, 20) + CODE[8:], "runs that don't fill its size"),
        (struct.pack("<3I", 3, 1, 0xFFFFFFFF), "ends within a number"),
        (struct.pack("<4I", 3, 1, 0xFFFFFFFF, 0xFFFFFFF1), "more than 32 bits"),
        (struct.pack("<3I", 3, 1, 0), "a run of no length"),
    ],
)
def test_damaged_codes_are_refused_with_what_to_do(code: bytes, words: str) -> None:
    with pytest.raises(
        InvalidFrameError, match=f"({words}).*check the publisher or set its parameter format"
    ) as caught:
        compressed_to_depth(message(code))
    assert caught.value.cause == "encoding"


@given(seed=st.integers(0, 9999))
@settings(deadline=None, max_examples=60)
def test_no_damage_crashes_or_takes_the_memory(seed: int) -> None:
    rng = np.random.default_rng(seed)
    code = bytearray(CODE)
    for at in rng.integers(8, len(code), 4):
        code[at] = rng.integers(256)
    tracemalloc.start()
    with contextlib.suppress(InvalidFrameError):
        assert compressed_to_depth(message(bytes(code))).shape == RAW.shape
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
