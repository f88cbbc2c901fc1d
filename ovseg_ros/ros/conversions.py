"""ROS messages -> arrays and frames. numpy only: cv_bridge is neither needed nor imported.

Every refusal is an InvalidFrameError whose cause is one of `CAUSES`; nothing else escapes for bad content.
Messages are read by attribute, so these functions need no ROS and take anything of the same shape.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch

from ovseg_ros.geometry import rigid_transform
from ovseg_ros.ros.rectification import Calibration, Rectifier
from ovseg_ros.types import Intrinsics, InvalidFrameError, RgbdFrame

CAUSES = ("encoding", "size", "no_depth", "intrinsics", "pose", "stamp")

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

QUATERNION_TOLERANCE = 0.01
"""How far the norm of a quaternion may be from 1: rounding and interpolation stay far below."""

SCALE_TOLERANCE = 0.01
"""How much the two factors between camera_info's size and the image's may differ."""


def stamp_to_ns(stamp: Any) -> int:
    """builtin_interfaces/Time -> nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


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
    raw = _rows(message, np.dtype(np.uint16).newbyteorder(order), 1)[:, :, 0]
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


def camera_info_to_calibration(message: Any, *, rectified: bool = False) -> Calibration:
    """sensor_msgs/CameraInfo -> Calibration: camera matrix and distortion at camera_info's own size.

    Args:
        message: the camera_info.
        rectified: the images are rectified already, so that P describes them and D doesn't apply.

    Raises:
        InvalidFrameError: "intrinsics" for focal lengths or a size that aren't positive.
    """
    matrix = [float(v) for v in (message.p if rectified else message.k)]
    row = 4 if rectified else 3
    if len(matrix) != 3 * row:
        raise InvalidFrameError("intrinsics", f"camera_info's matrix has {len(matrix)} values instead of {3 * row}")
    intrinsics = Intrinsics(
        fx=matrix[0],
        fy=matrix[row + 1],
        cx=matrix[2],
        cy=matrix[row + 2],
        width=int(message.width),
        height=int(message.height),
    )
    intrinsics.validate()
    distortion = () if rectified else tuple(float(v) for v in message.d)
    if not all(math.isfinite(value) for value in distortion):
        raise InvalidFrameError("intrinsics", f"camera_info's distortion is not finite: {distortion}; calibrate again")
    return Calibration(intrinsics, str(message.distortion_model), distortion if any(distortion) else ())


def scale_to_image(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    """The intrinsics of an image that was resized from camera_info's size by one factor.

    Raises:
        InvalidFrameError: "size" when the two factors differ: the image is cropped or of another camera.
    """
    if (intrinsics.width, intrinsics.height) == (width, height):
        return intrinsics
    sx, sy = width / intrinsics.width, height / intrinsics.height
    if abs(sx - sy) > SCALE_TOLERANCE * max(sx, sy):
        raise InvalidFrameError(
            "size",
            f"the colour image is {width}x{height} but camera_info is of {intrinsics.width}x{intrinsics.height}: "
            "the sides scale differently, so it belongs to another camera or mode",
        )
    return intrinsics.scaled(width, height)


def pose_to_matrix(pose: Any) -> np.ndarray:
    """geometry_msgs/Pose -> (4, 4) float64 transform from the posed frame to its parent.

    Raises:
        InvalidFrameError: "pose" for values that aren't finite or a quaternion far from unit length.
    """
    position = np.array([pose.position.x, pose.position.y, pose.position.z], dtype=np.float64)
    quaternion = np.array(
        [pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w], dtype=np.float64
    )
    if not (np.isfinite(position).all() and np.isfinite(quaternion).all()):
        raise InvalidFrameError(
            "pose",
            f"the camera pose is not finite (position {position.tolist()}, quaternion {quaternion.tolist()}): "
            "check the localisation that publishes it",
        )
    norm = float(np.linalg.norm(quaternion))
    if abs(norm - 1.0) > QUATERNION_TOLERANCE:
        raise InvalidFrameError(
            "pose",
            f"the camera pose has a quaternion of length {norm:.4g} where 1 ± {QUATERNION_TOLERANCE} is expected: "
            "normalise it where it is published",
        )
    return rigid_transform(position.tolist(), (quaternion / norm).tolist()).numpy()


class FrameBuilder:
    """Puts the messages of one moment together into an RgbdFrame.

    Remembers the undistortion tables of the latest calibration, which cost more than a frame.

    Args:
        map_frame: the frame that poses must be given in.
        rectified: the images are rectified already; see `camera_info_to_calibration`.
    """

    def __init__(self, map_frame: str, *, rectified: bool = False) -> None:
        self._map_frame = map_frame
        self._rectified = rectified
        self._rectifier = Rectifier()

    def build(self, colour: Any, depth: Any, camera_info: Any, pose: Any) -> RgbdFrame:
        """Two Images, a CameraInfo and a PoseStamped (camera in frames.map, optical axes) -> RgbdFrame.

        Raises:
            InvalidFrameError: with a cause of `CAUSES` and one sentence.
        """
        frame = str(pose.header.frame_id)
        if frame and frame != self._map_frame:
            raise InvalidFrameError(
                "pose",
                f"the camera pose is given in frame {frame!r} but the map is kept in {self._map_frame!r}: "
                "publish it there or set frames.map",
            )
        matrix = pose_to_matrix(pose.pose)
        rgb = image_to_rgb(colour)
        metres = image_to_depth(depth)
        height, width = rgb.shape[:2]
        if metres.shape != (height, width):
            raise InvalidFrameError(
                "size",
                f"the colour image is {width}x{height} but the depth image {metres.shape[1]}x{metres.shape[0]}: "
                "depth must be registered to the colour image (depth_image_proc's register node does it)",
            )
        if not np.isfinite(metres).any():
            raise InvalidFrameError(
                "no_depth", "the depth image has no reading at all: check the sensor and its registration to colour"
            )
        calibration = camera_info_to_calibration(camera_info, rectified=self._rectified)
        intrinsics = scale_to_image(calibration.intrinsics, width, height)
        if calibration.distortion:
            rgb, metres = self._rectifier(rgb, metres, calibration, intrinsics)
        return RgbdFrame(
            rgb=torch.from_numpy(rgb),
            depth=torch.from_numpy(metres),
            intrinsics=intrinsics,
            pose=torch.from_numpy(matrix),
            stamp_ns=stamp_to_ns(colour.header.stamp),
        )
