"""Undistortion of colour and depth, with the tables of the latest calibration kept."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ovseg_ros.types import Intrinsics, InvalidFrameError

FISHEYE_MODELS = ("equidistant", "fisheye")
PINHOLE_MODELS = ("plumb_bob", "rational_polynomial", "thin_prism", "")


@dataclass(frozen=True)
class Calibration:
    """What a camera_info says: the camera at its own size, and how its lens bends.

    Attributes:
        intrinsics: at camera_info's size.
        model: ROS's name of the distortion model.
        distortion: coefficients in OpenCV's order; empty where there is none.
    """

    intrinsics: Intrinsics
    model: str
    distortion: tuple[float, ...]


class Rectifier:
    """Undistorts images; the camera matrix stays the same."""

    def __init__(self) -> None:
        self._key: tuple[Calibration, Intrinsics] | None = None
        self._tables: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(
        self, rgb: np.ndarray, depth: np.ndarray, calibration: Calibration, intrinsics: Intrinsics
    ) -> tuple[np.ndarray, np.ndarray]:
        """Undistort one registered pair.

        Args:
            rgb: (H, W, 3) uint8.
            depth: (H, W) float32 metres, distorted like the colour image it is registered to.
            calibration: model and coefficients, which don't depend on the size of the image.
            intrinsics: of this image size.

        Returns:
            Both images, seen by the same camera without distortion. Pixels that no ray of the lens reaches
            are black in colour and NaN in depth; depth is never averaged over an edge.

        Raises:
            InvalidFrameError: "intrinsics" for an unknown distortion model.
        """
        key = (calibration, intrinsics)
        if self._tables is None or self._key != key:
            self._tables, self._key = _tables(calibration, intrinsics), key
        across, down = self._tables
        colour = cv2.remap(rgb, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        metres = cv2.remap(
            depth, across, down, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=float("nan")
        )
        return np.asarray(colour), np.asarray(metres)


def _tables(calibration: Calibration, intrinsics: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    camera = np.array(
        [[intrinsics.fx, 0.0, intrinsics.cx], [0.0, intrinsics.fy, intrinsics.cy], [0.0, 0.0, 1.0]], dtype=np.float64
    )
    coefficients = np.array(calibration.distortion, dtype=np.float64)
    size = (intrinsics.width, intrinsics.height)
    try:
        if calibration.model in FISHEYE_MODELS:
            tables = cv2.fisheye.initUndistortRectifyMap(
                camera, coefficients[:4], np.eye(3), camera, size, cv2.CV_32FC1
            )
        elif calibration.model in PINHOLE_MODELS:
            tables = cv2.initUndistortRectifyMap(camera, coefficients, np.eye(3), camera, size, cv2.CV_32FC1)
        else:
            raise InvalidFrameError(
                "intrinsics",
                f"the distortion model {calibration.model!r} is unknown; known are "
                f"{', '.join(name for name in (*PINHOLE_MODELS, *FISHEYE_MODELS) if name)}: "
                "send rectified images and set inputs.rectified",
            )
    except cv2.error as error:
        raise InvalidFrameError(
            "intrinsics",
            f"{len(coefficients)} distortion coefficients don't fit the model {calibration.model!r}: "
            "check the camera's calibration (camera_info)",
        ) from error
    return np.asarray(tables[0]), np.asarray(tables[1])
