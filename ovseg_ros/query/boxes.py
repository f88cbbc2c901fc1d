"""The box of a thing as people would draw it: upright, turned as the thing is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ovseg_ros.geometry import unpack_keys

WORTH_TURNING = 0.85
"""A turned box is taken where its footprint is at most this share of the straight one's: else noise would turn it."""

THINNEST = 0.5
"""Voxels: what fills less than one is somewhere in it, and this thick on average."""


@dataclass(frozen=True)
class UprightBox:
    """A box whose z is up.

    Attributes:
        centre: x, y, z in the map frame, metres.
        size: along its own x, y, z, metres.
        yaw: radians from the map's x to its own, within a quarter turn about 0.
    """

    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float


def upright_box(keys: torch.Tensor, voxel_size: float) -> UprightBox:
    """The smallest upright box around the centres of (n,) packed voxels, n > 0, of this size in metres.

    Maps hold surfaces, and a surface that runs through a voxel is on average where its centre is.
    """
    points = unpack_keys(keys.cpu()).double().numpy() * voxel_size
    low, high = points.min(axis=0), points.max(axis=0)
    thinnest = THINNEST * voxel_size
    straight = np.maximum(high - low, thinnest)
    (x, y), (width, depth), degrees = cv2.minAreaRect(np.unique(points[:, :2] - low[:2], axis=0).astype(np.float32))
    quarters = round(degrees / 90.0)
    yaw = np.deg2rad(degrees - 90.0 * quarters)
    turned = np.maximum([depth, width] if quarters % 2 else [width, depth], thinnest)
    if turned.prod() > WORTH_TURNING * straight[:2].prod():
        return _box((low + high) / 2, straight, 0.0)
    return _box(
        np.array([x + low[0], y + low[1], (low[2] + high[2]) / 2]), np.array([*turned, straight[2]]), float(yaw)
    )


def _box(centre: np.ndarray, size: np.ndarray, yaw: float) -> UprightBox:
    x, y, z = centre.tolist()
    dx, dy, dz = size.tolist()
    return UprightBox((x, y, z), (dx, dy, dz), yaw)
