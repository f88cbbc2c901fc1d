"""sensor_msgs/Image -> arrays. numpy and OpenCV are enough: cv_bridge is not needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from ovseg_ros.types import InvalidFrameError


@dataclass(frozen=True)
class _Pixels:
    """How an encoding stores colour.

    Attributes:
        channels: numbers in a pixel.
        rgb: where red, green and blue are among them; or OpenCV's code of the conversion to RGB.
        dtype: of a number; of 16 bits the upper 8 are kept.
    """

    channels: int
    rgb: tuple[int, int, int] | int
    dtype: type = np.uint8


_RGB, _BGR = (0, 1, 2), (2, 1, 0)

_COLOUR = {
    "rgb8": _Pixels(3, _RGB),
    "bgr8": _Pixels(3, _BGR),
    "rgba8": _Pixels(4, _RGB),
    "bgra8": _Pixels(4, _BGR),
    "mono8": _Pixels(1, (0, 0, 0)),
    # These two name no order; it is what cv_bridge writes for an OpenCV image when nobody names one, so BGR.
    "8UC3": _Pixels(3, _BGR),
    "8UC4": _Pixels(4, _BGR),
    "rgb16": _Pixels(3, _RGB, np.uint16),
    "bgr16": _Pixels(3, _BGR, np.uint16),
    "yuv422": _Pixels(2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": _Pixels(2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": _Pixels(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": _Pixels(2, cv2.COLOR_YUV2RGB_YUY2),
}
# ROS names a Bayer pattern by its first two rows, OpenCV by the second row from its second column.
for _pattern, _code in (
    ("rggb", cv2.COLOR_BayerBG2RGB),
    ("bggr", cv2.COLOR_BayerRG2RGB),
    ("gbrg", cv2.COLOR_BayerGR2RGB),
    ("grbg", cv2.COLOR_BayerGB2RGB),
):
    _COLOUR[f"bayer_{_pattern}8"] = _Pixels(1, _code)
    _COLOUR[f"bayer_{_pattern}16"] = _Pixels(1, _code, np.uint16)

COLOUR_ENCODINGS = tuple(_COLOUR)

DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")

MILLIMETRES = 0.001
NO_READING_16U = 65535
"""What some drivers write where they measured nothing. REP-118 gives it no meaning of "beyond range"."""


def image_to_rgb(message: Any) -> np.ndarray:
    """sensor_msgs/Image -> (H, W, 3) uint8 red, green, blue; contiguous.

    Raises:
        InvalidFrameError: "encoding" for one that isn't in COLOUR_ENCODINGS, "size" for data that don't fit.
    """
    stored = _COLOUR.get(message.encoding)
    if stored is None:
        raise InvalidFrameError(
            "encoding",
            f"the colour image is encoded as {message.encoding!r}; supported are {', '.join(COLOUR_ENCODINGS)}: "
            "set the camera's output format or convert it with image_proc",
        )
    pixels = _rows(message, np.dtype(stored.dtype), stored.channels)
    if stored.dtype is np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if isinstance(stored.rgb, tuple):
        return np.ascontiguousarray(pixels[:, :, stored.rgb])
    try:
        return np.asarray(cv2.cvtColor(pixels, stored.rgb))
    except cv2.error as error:
        raise InvalidFrameError(
            "size",
            f"an image of {message.width}x{message.height} can't be {message.encoding}, whose pixels come in pairs: "
            "check the camera driver",
        ) from error


def image_to_depth(message: Any) -> np.ndarray:
    """sensor_msgs/Image -> (H, W) float32 metres as REP-118 says.

    16-bit images are millimetres and have no reading at 0 and 65535; 32-bit floats are metres, of which zero
    and negative ones are no reading. No reading becomes NaN; +inf (beyond range) and -inf (too near) stay.

    Raises:
        InvalidFrameError: "encoding" for one that isn't in DEPTH_ENCODINGS, "size" for data that don't fit.
    """
    if message.encoding not in DEPTH_ENCODINGS:
        raise InvalidFrameError(
            "encoding",
            f"the depth image is encoded as {message.encoding!r}; supported are {', '.join(DEPTH_ENCODINGS)}: "
            "set the camera's output format or convert it with depth_image_proc",
        )
    if message.encoding == "32FC1":
        depth = _rows(message, np.dtype(np.float32), 1)[:, :, 0].astype(np.float32)
        depth[(depth <= 0) & np.isfinite(depth)] = np.nan
        return depth
    return millimetres_to_metres(_rows(message, np.dtype(np.uint16), 1)[:, :, 0])


def millimetres_to_metres(raw: np.ndarray) -> np.ndarray:
    """(H, W) uint16 millimetres -> (H, W) float32 metres, NaN where there is no reading."""
    depth = raw.astype(np.float32) * np.float32(MILLIMETRES)
    depth[(raw == 0) | (raw == NO_READING_16U)] = np.nan
    return depth


def _rows(message: Any, dtype: np.dtype[Any], channels: int) -> np.ndarray:
    """(H, W, channels) of ``dtype`` in the message's byte order, without the padding at the end of each row."""
    order: Literal[">", "<"] = ">" if message.is_bigendian else "<"
    height, width, step = int(message.height), int(message.width), int(message.step)
    row_bytes = width * channels * dtype.itemsize
    data = np.frombuffer(message.data, dtype=np.uint8)
    if height <= 0 or width <= 0:
        raise InvalidFrameError("size", f"the image is {width}x{height} pixels: check the camera driver")
    if step < row_bytes or data.size < step * (height - 1) + row_bytes:
        raise InvalidFrameError(
            "size",
            f"an image of {width}x{height} {message.encoding} needs rows of {row_bytes} bytes, but step is {step} "
            f"and there are {data.size} bytes: the message is truncated or its size is wrong, check the driver",
        )
    strides = (step, channels * dtype.itemsize, dtype.itemsize, 1)
    shape = (height, width, channels, dtype.itemsize)
    packed = np.ascontiguousarray(np.lib.stride_tricks.as_strided(data, shape, strides, writeable=False))
    return packed.view(dtype.newbyteorder(order))[..., 0]
