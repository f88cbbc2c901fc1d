"""One picture that a map keeps, with what is known of it: camera, pose, coarse depth, and what it shows of the map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
import torch.nn.functional as functional

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import in_key_range, pack_keys, transform_points, unproject, voxel_indices
from ovseg_ros.types import Intrinsics, RgbdFrame

PICTURE_SIDE = 640
"""Pixels of the longer side of a picture, at most."""

DEPTH_SIDE = 128
"""Likewise of its depth image: a voxel of 5 cm at 2 m is still 2 to 3 of its pixels wide."""

JPEG_QUALITY = 90
DEPTH_STEPS = 2**15 - 1

PLACE_SIZE, PLACE_VOXELS = 0.5, 8
"""Edge of the cubes that pictures are compared by, metres and at least so many voxels."""

SECTORS = 8
"""Directions from which a place is seen, around the vertical."""

SATURATION = 0.04
"""Share of the picture from which more pixels of a place don't show it better: 0.5 m at 2 m fill about as much."""


@dataclass(frozen=True)
class View:
    """A picture that was mapped. It never changes, so that it can be read while the map grows.

    Attributes:
        jpeg: the colour image.
        intrinsics: of that image.
        pose: (4, 4) float64 camera -> map frame, on the CPU.
        stamp_ns: of the frame.
        depth_codes: (h, w) int16: depth along the optical axis on a coarser grid that spans the image, in steps of
            ``depth_range`` / 32767; 0 is no reading.
        depth_range: metres.
        voxel_size: of the map, metres.
    """

    jpeg: bytes
    intrinsics: Intrinsics
    pose: torch.Tensor
    stamp_ns: int
    depth_codes: torch.Tensor
    depth_range: float
    voxel_size: float

    @classmethod
    def of(cls, frame: RgbdFrame, min_depth: float, max_depth: float, voxel_size: float) -> View:
        """Keep a frame; readings outside the depth limits, metres, are left out."""
        width, height = fitted(frame.intrinsics.width, frame.intrinsics.height, PICTURE_SIDE)
        rgb = frame.rgb.cpu().numpy()
        if (width, height) != (frame.intrinsics.width, frame.intrinsics.height):
            rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
        coded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        columns, rows = fitted(width, height, DEPTH_SIDE)
        depth = functional.interpolate(frame.depth.cpu()[None, None], (rows, columns), mode="nearest-exact")[0, 0]
        known = depth.isfinite() & (depth >= min_depth) & (depth <= max_depth)
        codes = (torch.where(known, depth, 0.0) / max_depth * DEPTH_STEPS).round().to(torch.int16)
        intrinsics = frame.intrinsics.scaled(width, height)
        pose = frame.pose.double().cpu().clone()
        return cls(coded.tobytes(), intrinsics, pose, frame.stamp_ns, codes, max_depth, voxel_size)

    def rgb(self) -> torch.Tensor:
        """(H, W, 3) uint8 colour image.

        Raises:
            OvsegError: it can't be decoded.
        """
        image = cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR)
        if image is None or image.shape[:2] != (self.intrinsics.height, self.intrinsics.width):
            raise OvsegError("a picture in the map can't be decoded: save the map again")
        return torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    def coarse_frame(self) -> RgbdFrame:
        """The picture as a frame on the grid of its depth image.

        Raises:
            OvsegError: it can't be decoded.
        """
        rows, columns = self.depth_codes.shape
        rgb = torch.from_numpy(cv2.resize(self.rgb().numpy(), (columns, rows), interpolation=cv2.INTER_AREA))
        depth = torch.where(self._known, self._depth(), torch.nan).float()
        return RgbdFrame(rgb, depth, self.intrinsics.scaled(columns, rows), self.pose, self.stamp_ns)

    def voxels(self) -> torch.Tensor:
        """(h, w) int64 packed keys of the voxels that the depth image sees; -1 where it sees none."""
        indices = voxel_indices(self._points(), self.voxel_size)
        return torch.where(self._known & in_key_range(indices), pack_keys(indices), -1)

    @cached_property
    def seen(self) -> torch.Tensor:
        """(n,) int64 packed keys of these voxels, ascending."""
        keys = torch.unique(self.voxels())
        return keys[keys >= 0]

    @cached_property
    def places(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(m,) int64 which places are seen, from which sector; (m,) float32 in 0..1 how well.

        That is the share of the picture that they fill, relative to `SATURATION`.
        """
        size = max(PLACE_SIZE, PLACE_VOXELS * self.voxel_size)
        points = self._points()[self._known]
        x, y = (self.pose[:2, 3] - points[:, :2]).unbind(dim=1)
        sector = ((torch.atan2(y, x) / torch.pi + 1.0) / 2.0 * SECTORS).long().clamp(0, SECTORS - 1)
        indices = voxel_indices(points, size)
        # Places are far coarser than voxels, so that there are keys enough for a place in each sector.
        indices[:, 2] = indices[:, 2] * SECTORS + sector
        indices = indices[in_key_range(indices)]
        keys, counts = torch.unique(pack_keys(indices), return_counts=True)
        return keys, (counts / (SATURATION * self.depth_codes.numel())).clamp(max=1.0).float()

    @property
    def _known(self) -> torch.Tensor:
        return self.depth_codes > 0

    def _points(self) -> torch.Tensor:
        """(h, w, 3) float64 in the map frame."""
        rows, columns = self.depth_codes.shape
        return transform_points(self.pose, unproject(self._depth(), self.intrinsics.scaled(columns, rows)))

    def _depth(self) -> torch.Tensor:
        """(h, w) float64 metres."""
        return self.depth_codes.double() * (self.depth_range / DEPTH_STEPS)


def fitted(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height of an image scaled down so far that neither is above ``side``."""
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
