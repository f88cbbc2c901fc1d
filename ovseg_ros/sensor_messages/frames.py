"""Messages of one moment -> RgbdFrame.

Every refusal is an InvalidFrameError whose cause is one of `CAUSES`; nothing else escapes for bad content.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ovseg_ros.sensor_messages.compressed_images import compressed_to_depth, compressed_to_rgb
from ovseg_ros.sensor_messages.images import image_to_depth, image_to_rgb
from ovseg_ros.sensor_messages.rectification import Calibration, Rectifier
from ovseg_ros.types import Intrinsics, InvalidFrameError, RgbdFrame

CAUSES = ("encoding", "size", "no_depth", "intrinsics", "pose", "stamp")

SCALE_TOLERANCE = 0.01
"""How much the two factors between camera_info's size and the image's may differ."""


def stamp_to_ns(stamp: Any) -> int:
    """builtin_interfaces/Time -> nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


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


class FrameBuilder:
    """Puts the messages of one moment together into an RgbdFrame.

    Remembers the undistortion tables of the latest calibration, which cost more than a frame.

    Args:
        rectified: the images are rectified already; see `camera_info_to_calibration`.
    """

    def __init__(self, *, rectified: bool = False) -> None:
        self._rectified = rectified
        self._rectifier = Rectifier()

    def build(self, colour: Any, depth: Any, camera_info: Any, pose: np.ndarray) -> RgbdFrame:
        """Two Images or CompressedImages, a CameraInfo and the (4, 4) float64 pose, camera to map -> RgbdFrame.

        Raises:
            InvalidFrameError: with a cause of `CAUSES` and one sentence.
        """
        rgb = compressed_to_rgb(colour) if _is_compressed(colour) else image_to_rgb(colour)
        metres = compressed_to_depth(depth) if _is_compressed(depth) else image_to_depth(depth)
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
            pose=torch.from_numpy(pose),
            stamp_ns=stamp_to_ns(colour.header.stamp),
        )


def _is_compressed(message: Any) -> bool:
    return hasattr(message, "format")
