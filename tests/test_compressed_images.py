"""CompressedImage -> arrays, with plain objects of the messages' shape: no ROS needed."""

from __future__ import annotations

import struct
from types import SimpleNamespace as Fake

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_ros.sensor_messages import compressed_to_depth, compressed_to_rgb
from ovseg_ros.types import InvalidFrameError

RAMP = np.linspace(0, 250, 32 * 24).reshape(24, 32).astype(np.uint8)
RGB = np.dstack([RAMP, 255 - RAMP, RAMP // 2])


def message(pixels: np.ndarray, extension: str, format: str, header: bytes = b"") -> Fake:
    return Fake(format=format, data=header + cv2.imencode(extension, pixels)[1].tobytes())


def depth_header(a: float = 0.0, b: float = 0.0) -> bytes:
    return struct.pack("<iff", 0, a, b)


@pytest.mark.parametrize("extension", [".png", ".jpg"])
@pytest.mark.parametrize(
    ("format", "red_first"),
    [
        ("jpeg", False),
        ("rgb8; jpeg compressed bgr8", False),
        ("bgr8; png compressed bgr8", False),
        ("rgb8; jpeg compressed rgb8", True),
    ],
)
def test_colours_have_the_order_that_the_format_names(extension: str, format: str, red_first: bool) -> None:
    rgb = compressed_to_rgb(message(RGB if red_first else RGB[:, :, ::-1], extension, format))
    assert rgb.dtype == np.uint8
    assert rgb.flags["C_CONTIGUOUS"]
    assert np.abs(rgb.astype(int) - RGB).max() <= (0 if extension == ".png" else 24)


def test_grey_images_become_three_equal_channels() -> None:
    rgb = compressed_to_rgb(message(RAMP, ".png", "mono8; png compressed "))
    np.testing.assert_array_equal(rgb, np.dstack([RAMP] * 3))


@pytest.mark.parametrize(
    ("format", "header"),
    [
        ("16UC1; compressedDepth png", depth_header()),
        ("mono16; compressedDepth", depth_header()),
        ("16UC1; png compressed ", b""),
        ("png", b""),
    ],
)
def test_compressed_millimetres_are_exact(format: str, header: bytes) -> None:
    raw = np.array([[0, 1, 500], [1234, 65534, 65535]], np.uint16)
    expected = np.array([[np.nan, 0.001, 0.5], [1.234, 65.534, np.nan]], np.float32)
    depth = compressed_to_depth(message(raw, ".png", format, header))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, expected, rtol=1e-6)


@given(seed=st.integers(0, 10_000), quantisation=st.floats(10.0, 200.0), far=st.floats(2.0, 50.0))
@settings(deadline=None, max_examples=25)
def test_compressed_metres_come_back_within_the_quantisation(seed: int, quantisation: float, far: float) -> None:
    near = np.random.default_rng(seed).uniform(0.7, far, (6, 7))
    a = quantisation * (quantisation + 1.0)
    b = 1.0 - a / far
    raw = np.round(a / near + b).astype(np.uint16)
    raw[0, 0] = 0
    depth = compressed_to_depth(message(raw, ".png", "32FC1; compressedDepth png", depth_header(a, b)))
    assert np.isnan(depth[0, 0])
    # Half a step of inverse depth on either side, and float32.
    error = np.abs(1.0 / depth.ravel()[1:] - 1.0 / near.ravel()[1:])
    assert error.max() <= 0.5 / a + 1e-4


def test_constants_that_give_no_distance_give_no_reading() -> None:
    raw = np.array([[1, 2, 3]], np.uint16)
    depth = compressed_to_depth(message(raw, ".png", "32FC1; compressedDepth png", depth_header(1.0, 2.0)))
    np.testing.assert_array_equal(depth, np.array([[np.nan, np.nan, 1.0]], np.float32))


@pytest.mark.parametrize(
    "bad",
    [
        Fake(format="jpeg", data=b""),
        Fake(format="jpeg", data=b"not an image at all"),
        Fake(format="h264", data=b"\0\0\0\1" * 50),
        Fake(format="png", data=cv2.imencode(".png", RGB)[1].tobytes()[:30]),
    ],
)
def test_colour_data_that_cannot_be_decoded_are_refused(bad: Fake) -> None:
    with pytest.raises(
        InvalidFrameError, match=f"'{bad.format}' with {len(bad.data)} bytes can't be decoded"
    ) as caught:
        compressed_to_rgb(bad)
    assert caught.value.cause == "encoding"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (message(RAMP, ".png", "mono8; png compressed "), "holds uint8.*send 16-bit png"),
        (
            message(RAMP, ".png", "16UC1; compressedDepth rvl", depth_header()),
            "compressed as rvl .* is truncated or damaged",
        ),
        (
            message(RAMP, ".png", "mono8; compressedDepth png", depth_header()),
            "supported are 16UC1, mono16, 32FC1 by compressedDepth",
        ),
        (message(RAMP, ".png", "16UC1; compressedDepth png", depth_header()), "holds uint8"),
        (message(RGB, ".png", "16UC1; compressedDepth png", depth_header()), r"shape \(24, 32, 3\)"),
        (Fake(format="16UC1; compressedDepth png", data=depth_header()), "can't be decoded"),
        (Fake(format="16UC1; compressedDepth png", data=b"123"), "can't be decoded"),
        (Fake(format="", data=b""), "compressed as ''"),
    ],
)
def test_depth_of_another_kind_is_refused(bad: Fake, words: str) -> None:
    with pytest.raises(InvalidFrameError, match=words) as caught:
        compressed_to_depth(bad)
    assert caught.value.cause == "encoding"
