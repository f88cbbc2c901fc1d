"""Colours that mean something: one per label, one per score."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from numpy.typing import NDArray

GOLDEN_RATIO_STEP = 0.61803398875
UNLABELLED = (176, 176, 176)
TONES = ((0.62, 0.92), (0.90, 0.66), (0.40, 0.84), (0.75, 0.48), (0.95, 0.98))
"""Saturation and value, taken in turn, so that neighbours in hue still differ."""


def label_colours(count: int) -> NDArray[np.uint8]:
    """Fixed distinct colours: row 0 (grey) is unlabelled, row i + 1 the i-th class, whatever the count.

    Returns:
        (count + 1, 3) uint8 RGB.
    """
    rows = [UNLABELLED]
    for index in range(count):
        saturation, value = TONES[index % len(TONES)]
        red, green, blue = colorsys.hsv_to_rgb((0.03 + index * GOLDEN_RATIO_STEP) % 1.0, saturation, value)
        rows.append((round(255 * red), round(255 * green), round(255 * blue)))
    return np.array(rows, dtype=np.uint8)


def heat_colours(scores: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(N,) scores in 0..1 -> (N, 3) uint8 RGB, dark for low and bright for high."""
    levels = np.rint(np.nan_to_num(np.clip(scores, 0.0, 1.0)) * 255).astype(np.uint8)
    coloured = np.asarray(cv2.applyColorMap(levels.reshape(-1, 1), cv2.COLORMAP_INFERNO), dtype=np.uint8)
    return coloured.reshape(-1, 3)[:, ::-1]
