"""The camera of a recording: a matrix in a text file, or the one that was published with the data set."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.datasets.files import format_matrix, read_image, read_lines
from ovseg_ros.datasets.sequence import FrameFiles
from ovseg_ros.errors import OvsegError
from ovseg_ros.types import Intrinsics, InvalidFrameError

INTRINSICS_FILE = "camera-intrinsics.txt"
"""3x3; where a layout publishes no camera file, ours beside the images overrides the published camera."""


def read_camera_matrix(path: Path) -> NDArray[np.float64]:
    """A 3x3 or 4x4 camera matrix as text.

    Raises:
        OvsegError: the file is missing, is not such a matrix, or no camera has it.
    """
    if not path.is_file():
        raise OvsegError(f"{path} is missing: it must hold a 3x3 camera matrix")
    try:
        matrix = np.array([line.split() for line in read_lines(path)], dtype=np.float64)
    except ValueError as error:
        raise OvsegError(f"{path} is unreadable: it must hold a 3x3 camera matrix") from error
    if matrix.shape not in ((3, 3), (4, 4)):
        raise OvsegError(f"{path} must hold a 3x3 or 4x4 camera matrix, got shape {matrix.shape}")
    if not (np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise OvsegError(
            f"{path} has the focal lengths {matrix[0, 0]:g} and {matrix[1, 1]:g}, and all of it must be finite and "
            "these positive: export it again"
        )
    return matrix


def write_camera_matrix(path: Path, camera: Intrinsics) -> None:
    """Write 3x3, as `read_camera_matrix` reads it."""
    path.write_text(format_matrix(np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])))


def image_size(files: tuple[FrameFiles, ...]) -> tuple[int, int]:
    """Width and height of the first depth image that can be read.

    Raises:
        OvsegError: none can.
    """
    for entry in files:
        try:
            image = read_image(entry.depth, cv2.IMREAD_UNCHANGED)
        except InvalidFrameError:
            continue
        return image.shape[1], image.shape[0]
    raise OvsegError(
        f"none of the {len(files)} depth images can be read, the first is {files[0].depth}: copy them again"
    )


def read_intrinsics(path: Path, files: tuple[FrameFiles, ...]) -> Intrinsics:
    """The camera matrix in a text file, with the size of the first depth image that can be read.

    Raises:
        OvsegError: the matrix is missing or unreadable, or so are all depth images.
    """
    matrix = read_camera_matrix(path)
    fx, fy, cx, cy = (float(matrix[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Intrinsics(fx, fy, cx, cy, *image_size(files))


def published_intrinsics(folder: Path, files: tuple[FrameFiles, ...], published: Intrinsics) -> Intrinsics:
    """The camera that a data set's authors name, unless ``camera-intrinsics.txt`` lies beside the images.

    Raises:
        OvsegError: the images have another size than that camera.
    """
    if (folder / INTRINSICS_FILE).exists():
        return read_intrinsics(folder / INTRINSICS_FILE, files)
    width, height = image_size(files)
    if (width, height) != (published.width, published.height):
        raise OvsegError(
            f"{folder} has images of {width}x{height}, but the published camera takes {published.width}x"
            f"{published.height}: write your camera's matrix to {INTRINSICS_FILE} there"
        )
    return published
