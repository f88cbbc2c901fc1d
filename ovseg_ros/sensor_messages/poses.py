"""Poses and transforms, as ROS messages spell them -> rigid transforms, and what lies between two of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ovseg_ros.geometry import rigid_transform
from ovseg_ros.types import InvalidFrameError

QUATERNION_TOLERANCE = 0.01
"""How far the norm of a quaternion may be from 1: rounding and interpolation stay far below."""


def pose_to_matrix(pose: Any) -> np.ndarray:
    """geometry_msgs/Pose -> (4, 4) float64 transform from the posed frame to its parent.

    Raises:
        InvalidFrameError: "pose" for values that aren't finite or a quaternion far from unit length.
    """
    return rigid_matrix(_xyz(pose.position), _xyzw(pose.orientation))


def transform_to_matrix(transform: Any) -> np.ndarray:
    """geometry_msgs/Transform -> (4, 4) float64; see `pose_to_matrix`."""
    return rigid_matrix(_xyz(transform.translation), _xyzw(transform.rotation))


def rigid_matrix(position: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """(3,) position and (4,) quaternion x, y, z, w, float64 -> (4, 4); errors as of `pose_to_matrix`."""
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


def interpolate(before: np.ndarray, after: np.ndarray, fraction: float) -> np.ndarray:
    """The (4, 4) rigid transform ``fraction`` (0..1) of the way: position on a line, rotation on the shortest arc."""
    pose = np.eye(4)
    pose[:3, 3] = (1.0 - fraction) * before[:3, 3] + fraction * after[:3, 3]
    ends = Rotation.from_matrix(np.stack((before[:3, :3], after[:3, :3])))
    pose[:3, :3] = Slerp([0.0, 1.0], ends)(fraction).as_matrix()
    return pose


def _xyz(vector: Any) -> np.ndarray:
    return np.array([vector.x, vector.y, vector.z], dtype=np.float64)


def _xyzw(quaternion: Any) -> np.ndarray:
    return np.array([quaternion.x, quaternion.y, quaternion.z, quaternion.w], dtype=np.float64)
