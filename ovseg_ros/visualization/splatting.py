"""Points onto pixels, nearest first; no loop over points."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating[Any]]

DEPTH_CUE_STRENGTH = 0.4
DEPTH_CUE_RANGE = 0.25
"""Metres of depth step at which the shading is strongest."""


def splat(
    pixels: Points, depths: Points, side: int, shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw each point as a square; where squares overlap, the one of smallest depth is seen.

    Args:
        pixels: (P, 2) column and row of the squares' centres.
        depths: (P,) metres from the viewer.
        side: of a square in pixels.
        shape: (height, width) of the picture.

    Returns:
        (height, width) index of the point seen, -1 for none, and its depth, +inf for none.
    """
    height, width = shape
    # Far points first: numpy keeps the last value that is assigned to a pixel, which is then the nearest.
    order = np.argsort(-depths, kind="stable")
    left = np.rint(pixels[order, 0] - (side - 1) / 2).astype(np.int64)
    top = np.rint(pixels[order, 1] - (side - 1) / 2).astype(np.int64)
    seen = np.full(height * width, -1, dtype=np.int64)
    depth = np.full(height * width, np.inf)
    for down in range(side):
        for right in range(side):
            x, y = left + right, top + down
            inside = np.flatnonzero((x >= 0) & (x < width) & (y >= 0) & (y < height))
            pixel = y[inside] * width + x[inside]
            nearer = depths[order[inside]] < depth[pixel]
            pixel, point = pixel[nearer], order[inside[nearer]]
            seen[pixel] = point
            depth[pixel] = depths[point]
    return seen.reshape(shape), depth.reshape(shape)


def depth_cue(depth: Points, radius: int) -> NDArray[np.float64]:
    """Brightness factors that darken what lies behind something near it in the picture.

    The difference of a depth image and its blurred self tells where something stands out.

    Args:
        depth: (H, W) metres, +inf for background.
        radius: of the blur, pixels.

    Returns:
        (H, W) factors, at most 1.
    """
    known = np.isfinite(depth)
    filled = np.where(known, depth, 0.0)
    size = (2 * radius + 1, 2 * radius + 1)
    share = cv2.blur(known.astype(np.float64), size)
    around = cv2.blur(filled, size) / np.maximum(share, 1e-9)
    behind = np.clip((filled - around) / DEPTH_CUE_RANGE, 0.0, 1.0)
    return np.where(known, 1.0 - DEPTH_CUE_STRENGTH * behind, 1.0)
