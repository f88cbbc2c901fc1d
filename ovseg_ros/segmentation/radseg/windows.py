"""Overlapping windows over an image, and the mean of what the backbone says in them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError


@dataclass(frozen=True)
class Windows:
    """How an image is cut.

    Attributes:
        crop: side of a window in pixels; 0 or less takes the image whole.
        stride: pixels from one window to the next.
        patch: pixels on a side of a cell; both others are multiples of it.

    Raises:
        OvsegError: if they aren't, or windows would leave gaps.
    """

    crop: int
    stride: int
    patch: int

    def __post_init__(self) -> None:
        if self.crop > 0 and (self.crop % self.patch or self.stride % self.patch or not 0 < self.stride <= self.crop):
            raise OvsegError(
                f"windows of {self.crop} pixels every {self.stride} don't fit patches of {self.patch}: take multiples "
                f"of {self.patch}, the stride between {self.patch} and the window, or crop 0 for none"
            )

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns to which an image of ``height`` x ``width`` pixels is resized.

        Whole patches without windows. With them, whole strides and at least a window, except that an image of whole
        strides is left alone, as the reference does.
        """
        if self.crop <= 0:
            return _nearest(height, self.patch), _nearest(width, self.patch)
        if height % self.stride == 0 and width % self.stride == 0:
            return height, width
        longer = max(height, width)
        target = math.ceil(longer / self.stride) * self.stride
        rows, columns = (math.ceil(int(side * target / longer) / self.stride) * self.stride for side in (height, width))
        return max(rows, self.crop), max(columns, self.crop)

    def resize(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, 3, h, w) of the working size."""
        size = self.working_size(images.shape[-2], images.shape[-1])
        if size == tuple(images.shape[-2:]):
            return images
        return functional.interpolate(images, size, mode="bilinear", align_corners=False)

    def corners(self, height: int, width: int) -> list[tuple[int, int]]:
        """Top and left pixel of each window of a resized image; the last ones are moved back inside."""
        return [(top, left) for top in self._starts(height) for left in self._starts(width)]

    def cut(self, images: torch.Tensor) -> torch.Tensor:
        """Resized (B, 3, H, W) -> (windows * B, 3, h, w), all images' first windows first."""
        height, width = images.shape[-2:]
        rows, columns = self._side(height), self._side(width)
        corners = self.corners(height, width)
        return torch.cat([images[:, :, top : top + rows, left : left + columns] for top, left in corners])

    def merge(self, features: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Mean of overlapping features.

        Args:
            features: (windows * B, h, w, C), in the order of `cut`.
            height: of the resized image.
            width: of the resized image.

        Returns:
            (B, C, height / patch, width / patch).
        """
        corners = self.corners(height, width)
        if len(corners) == 1:
            return features.permute(0, 3, 1, 2)
        views = features.view(len(corners), -1, *features.shape[1:])
        sums = features.new_zeros(views.shape[1], height // self.patch, width // self.patch, features.shape[-1])
        counts = features.new_zeros(*sums.shape[1:3], 1)
        rows, columns = features.shape[1:3]
        for view, (top, left) in zip(views, corners, strict=True):
            row, column = top // self.patch, left // self.patch
            sums[:, row : row + rows, column : column + columns] += view
            counts[row : row + rows, column : column + columns] += 1
        return (sums / counts).permute(0, 3, 1, 2)

    def _side(self, length: int) -> int:
        return min(self.crop, length) if self.crop > 0 else length

    def _starts(self, length: int) -> list[int]:
        side = self._side(length)
        steps = math.ceil((length - side) / self.stride) if length > side else 0
        return [min(step * self.stride, length - side) for step in range(steps + 1)]


def _nearest(length: int, multiple: int) -> int:
    return max(1, round(length / multiple)) * multiple
