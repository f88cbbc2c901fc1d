"""sensor_msgs/CompressedImage -> arrays, for the formats of image_transport's plugins compressed and compressedDepth.

Every refusal is an InvalidFrameError "encoding".
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np

from ovseg_ros.sensor_messages.images import DEPTH_ENCODINGS, millimetres_to_metres
from ovseg_ros.sensor_messages.rvl import decode_rvl
from ovseg_ros.types import InvalidFrameError

_DEPTH_HEADER = struct.Struct("<i2f")
"""What compressedDepth writes before the image: its number of the format, and the two constants of inverse depth."""


def compressed_to_rgb(message: Any) -> np.ndarray:
    """Colour CompressedImage (JPEG, PNG or what else OpenCV reads) -> (H, W, 3) uint8 red, green, blue; contiguous.

    Raises:
        InvalidFrameError: "encoding" for data that OpenCV can't decode.
    """
    # The lens is calibrated in the sensor's axes: an orientation in EXIF must not turn the image.
    pixels = _decode(message, bytes(message.data), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    _, named, stored = message.format.partition(";")
    # OpenCV's decoders give blue first, unless the publisher passed it red first; then the format doesn't say bgr.
    red_first = bool(named) and "compressed bgr" not in stored
    return np.ascontiguousarray(pixels if red_first else pixels[:, :, ::-1])


def compressed_to_depth(message: Any) -> np.ndarray:
    """CompressedImage of depth -> (H, W) float32 metres, with the readings that `image_to_depth` has.

    Bare 16-bit PNG, and compressedDepth of 16-bit images in PNG or RVL, are lossless millimetres. compressedDepth of
    "32FC1" is quantised inverse depth: metres are a / (value - b) with the constants a, b of the message, and no
    reading at 0.

    Raises:
        InvalidFrameError: "encoding" for another format or data that can't be decoded.
    """
    data = bytes(message.data)
    pixel, _, compression = (part.strip() for part in message.format.partition(";"))
    if "compressedDepth" not in message.format:
        return millimetres_to_metres(_sixteen_bit(message, data))
    if pixel not in DEPTH_ENCODINGS:
        raise InvalidFrameError(
            "encoding",
            f"the depth image is compressed as {message.format!r}; supported are {', '.join(DEPTH_ENCODINGS)} by "
            "compressedDepth: publish one of these, or send raw images",
        )
    code = data[_DEPTH_HEADER.size :]
    values = decode_rvl(code) if "rvl" in compression else _sixteen_bit(message, code)
    if pixel != "32FC1":
        return millimetres_to_metres(values)
    _, scale, offset = _DEPTH_HEADER.unpack_from(data)
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.float32(scale) / (values.astype(np.float32) - np.float32(offset))
    metres[(values == 0) | ~((metres > 0) & np.isfinite(metres))] = np.nan
    return metres


def _sixteen_bit(message: Any, data: bytes) -> np.ndarray:
    values = _decode(message, data, cv2.IMREAD_UNCHANGED)
    if values.dtype != np.uint16 or values.ndim != 2:
        raise InvalidFrameError(
            "encoding",
            f"the compressed depth image ({message.format!r}) holds {values.dtype} of shape {values.shape}, where "
            "16-bit numbers, one a pixel, are expected: send 16-bit png or compressedDepth",
        )
    return values


def _decode(message: Any, data: bytes, flags: int) -> np.ndarray:
    pixels = None
    if data:  # OpenCV asserts on nothing, and returns nothing for what it doesn't know
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:
            pixels = None
    if pixels is None:
        raise InvalidFrameError(
            "encoding",
            f"an image compressed as {message.format!r} with {len(message.data)} bytes can't be decoded: it is "
            "truncated or of another format, check the publisher or send raw images",
        )
    return np.asarray(pixels)
