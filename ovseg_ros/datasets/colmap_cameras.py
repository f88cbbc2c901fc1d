"""Cameras of a reconstruction: COLMAP's text files and nerfstudio's transforms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.datasets.files import numbers_in, read_json, read_lines
from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import rigid_transform
from ovseg_ros.types import Intrinsics, InvalidFrameError

Poses = dict[str, NDArray[np.float64]]
PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE")
FISHEYE = "OPENCV_FISHEYE"
# What nerfstudio did to COLMAP's poses when the data sets here were made: camera axes y and z turned over, world axes x
# and y exchanged, then z turned over. Both are their own inverses.
CAMERA_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
WORLD_TO_NERFSTUDIO = np.array([[0.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])


def read_colmap_poses(path: Path) -> Poses:
    """COLMAP's ``images.txt`` -> (4, 4) float64 camera -> world, optical axes, by the image's file name.

    Raises:
        OvsegError: a line that should hold an image doesn't.
    """
    poses = {}
    # Two lines an image; the second, of its points, may be empty, so empty lines count.
    lines = [line for line in path.read_text(errors="replace").splitlines() if not line.startswith("#")]
    for line in lines[::2]:
        words = line.split(maxsplit=9)
        values = numbers_in(" ".join(words[:9]))
        if len(values) != 9 or len(words) != 10:
            raise OvsegError(
                f"{path} has the line {line[:80]!r}, where IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME belong"
            )
        qw, qx, qy, qz, *position = values[1:8]
        poses[PurePosixPath(words[9].strip()).name] = _inverse(position, (qx, qy, qz, qw))
    return poses


def read_nerfstudio_poses(path: Path) -> Poses:
    """The frames of ``transforms.json``, test frames among them -> poses as of `read_colmap_poses`.

    Raises:
        OvsegError: a frame has no name or no 4x4 matrix.
    """
    data = read_json(path)
    poses = {}
    try:
        for frame in [*data["frames"], *data.get("test_frames", [])]:
            matrix = np.array(frame["transform_matrix"], dtype=np.float64).reshape(4, 4)
            poses[PurePosixPath(frame["file_path"]).name] = nerfstudio_pose(matrix)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise OvsegError(f"{path} must list 'frames' with a file_path and a 4x4 transform_matrix each") from error
    return poses


def nerfstudio_pose(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4) camera -> world of one convention, COLMAP's or nerfstudio's, -> that of the other."""
    return WORLD_TO_NERFSTUDIO @ pose @ CAMERA_TO_OPENGL


def read_pinhole(path: Path) -> Intrinsics:
    """The camera of nerfstudio's ``transforms_undistorted.json``.

    Raises:
        OvsegError: it has none, or one with distortion.
    """
    data = read_json(path)
    try:
        fx, fy, cx, cy = (float(data[name]) for name in ("fl_x", "fl_y", "cx", "cy"))
        distortion = [float(data.get(name, 0)) for name in ("k1", "k2", "k3", "k4", "p1", "p2")]
        camera = Intrinsics(fx, fy, cx, cy, int(data["w"]), int(data["h"]))
        camera.validate()
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InvalidFrameError) as error:
        raise OvsegError(f"{path} must hold the numbers w, h, fl_x, fl_y, cx and cy: make it again") from error
    if any(distortion):
        raise OvsegError(
            f"{path} has distortion {distortion}: undistort the images first, with python -m dslr.undistort"
        )
    return camera


def depth_rectifier(
    cameras_file: Path, camera: Intrinsics
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]] | None:
    """What brings depth images of COLMAP's camera into an undistorted one; None where they are undistorted.

    Args:
        cameras_file: COLMAP's ``cameras.txt``, of the camera that depth was rendered with.
        camera: of the undistorted colour images.

    Raises:
        OvsegError: the file doesn't hold one camera that can be undistorted; for an image of another size, when it is
            rectified, InvalidFrameError.
    """
    cameras = [line.split() for line in read_lines(cameras_file)]
    values = numbers_in(" ".join(cameras[0][2:])) if cameras else []
    model = cameras[0][1] if values else "none"
    if len(cameras) == 1 and model in PINHOLES:
        return None
    if len(cameras) != 1 or model != FISHEYE or len(values) != 10 or not np.isfinite(values).all():
        raise OvsegError(
            f"{cameras_file} must hold one camera, {FISHEYE} or {PINHOLES[0]}, got {len(cameras)}, the first {model}: "
            "put depth images of the undistorted camera into dslr/undistorted_depths"
        )
    width, height, fx, fy, cx, cy = values[:6]
    distorted = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    straight = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    across, down = cv2.fisheye.initUndistortRectifyMap(
        distorted, np.array(values[6:]), np.eye(3), straight, (camera.width, camera.height), cv2.CV_32FC1
    )

    def rectify(depth: NDArray[np.float32]) -> NDArray[np.float32]:
        if depth.shape != (height, width):
            raise InvalidFrameError(
                "size", f"a depth image is {depth.shape} but {cameras_file} says {height:g}x{width:g}: render it again"
            )
        # The nearest pixel: between two depths lies a surface that isn't there.
        nearest, beyond = cv2.INTER_NEAREST, float("nan")
        rectified = cv2.remap(depth, across, down, nearest, borderMode=cv2.BORDER_CONSTANT, borderValue=beyond)
        return rectified.astype(np.float32)

    return rectify


def _inverse(position: list[float], quaternion: tuple[float, ...]) -> NDArray[np.float64]:
    """World -> camera, as COLMAP writes it, -> camera -> world; NaN for what is no rotation, so that it is refused."""
    norm = float(np.linalg.norm(quaternion))
    if not 0.9 < norm < 1.1 or not np.isfinite(position).all():
        return np.full((4, 4), np.nan)
    there = rigid_transform(position, [value / norm for value in quaternion]).numpy()
    pose = np.eye(4)
    pose[:3, :3] = there[:3, :3].T
    pose[:3, 3] = -there[:3, :3].T @ there[:3, 3]
    return pose
