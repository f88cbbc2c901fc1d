"""sensor_msgs/Image -> arrays. numpy is enough: cv_bridge is not needed."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ovseg_ros.types import InvalidFrameError

COLOUR_CHANNELS = {
    "rgb8": (0, 1, 2),
    "bgr8": (2, 1, 0),
    "rgba8": (0, 1, 2),
    "bgra8": (2, 1, 0),
    "mono8": (0, 0, 0),
    "8UC3": (2, 1, 0),
}
"""Encoding -> where red, green and blue are in a pixel.

8UC3 names no order; it is what cv_bridge writes for an OpenCV image when nobody names one, so it is read as BGR.
"""

_PIXEL_BYTES = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC3": 3}

DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")

MILLIMETRES = 0.001
NO_READING_16U = 65535
"""What some drivers write where they measured nothing. REP-118 gives it no meaning of "beyond range"."""


def image_to_rgb(message: Any) -> np.ndarray:
    """sensor_msgs/Image -> (H, W, 3) uint8 red, green, blue; contiguous.

    Raises:
        InvalidFrameError: "encoding" for one that isn't in COLOUR_CHANNELS, "size" for data that don't fit.
    """
    order = COLOUR_CHANNELS.get(message.encoding)
    if order is None:
        raise InvalidFrameError(
            "encoding",
            f"the colour image is encoded as {message.encoding!r}; supported are {', '.join(COLOUR_CHANNELS)}: "
            "set the camera's output format or convert it with image_proc",
        )
    pixels = _rows(message, np.dtype(np.uint8), _PIXEL_BYTES[message.encoding])
    return np.ascontiguousarray(pixels[:, :, order])


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
    order: Literal[">", "<"] = ">" if message.is_bigendian else "<"
    if message.encoding == "32FC1":
        depth = _rows(message, np.dtype(np.float32).newbyteorder(order), 1)[:, :, 0].astype(np.float32)
        depth[(depth <= 0) & np.isfinite(depth)] = np.nan
        return depth
    return millimetres_to_metres(_rows(message, np.dtype(np.uint16).newbyteorder(order), 1)[:, :, 0])


def millimetres_to_metres(raw: np.ndarray) -> np.ndarray:
    """(H, W) uint16 millimetres -> (H, W) float32 metres, NaN where there is no reading."""
    depth = raw.astype(np.float32) * np.float32(MILLIMETRES)
    depth[(raw == 0) | (raw == NO_READING_16U)] = np.nan
    return depth


def _rows(message: Any, dtype: np.dtype[Any], channels: int) -> np.ndarray:
    """(H, W, channels) view of an image's data without the padding at the end of each row."""
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
    return packed.view(dtype)[..., 0]
