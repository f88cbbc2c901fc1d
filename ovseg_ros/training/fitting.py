"""Images of any size into one size, with what is known of their pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Fit:
    """Where an image lies in a view: scaled as a whole, in the middle.

    Attributes:
        inner: rows and columns of the scaled image.
        sides: rows above and below it, columns left and right of it.
    """

    inner: tuple[int, int]
    sides: tuple[int, int, int, int]

    @classmethod
    def of(cls, shape: tuple[int, int], size: tuple[int, int]) -> Fit:
        """For an image of ``shape`` (rows, columns) in a view of ``size`` (columns, rows)."""
        columns, rows = size
        scale = min(rows / shape[0], columns / shape[1])
        height, width = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
        top, left = (rows - height) // 2, (columns - width) // 2
        return cls((height, width), (top, rows - height - top, left, columns - width - left))

    def image(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The (H, W, 3) image as the view's; its border is repeated around it."""
        smaller = self.inner[0] < rgb.shape[0]
        scaled = cv2.resize(rgb, self.inner[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        return cv2.copyMakeBorder(scaled, *self.sides, cv2.BORDER_REPLICATE).astype(np.uint8)

    def scaled(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Ids (H, W) of the image's pixels to those of the scaled image."""
        return cv2.resize(ids, self.inner[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int32)

    def padded(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Ids of the scaled image's pixels to the view's; 0 around it."""
        return np.pad(ids, (self.sides[:2], self.sides[2:]))
