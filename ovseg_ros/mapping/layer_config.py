"""What the layers of a map are built with: evidence, frontiers, rays."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ovseg_ros.errors import OvsegError

MAX_LOG_ODDS = 63
"""Clamped log-odds and one frame's evidence add up within a byte."""

MAX_RADIUS = 2
"""A cube of 5 x 5 x 5 cells is counted in a byte, one of 7 x 7 x 7 isn't."""

MAX_GROUP = 64

MIN_ANGLE_BIN, MAX_ANGLE_BIN = 5.0, 90.0

MIN_DISTANCE_CELLS = 2.0
"""Frontiers nearer to the camera than this many frontier cells take no rays: their direction says too little."""


@dataclass(frozen=True)
class OccupancyConfig:
    """Parameters of an OccupancyGrid. Log-odds are counted in steps of their own.

    Attributes:
        hit: steps that a cell gains in a frame with a reading in it.
        miss: steps that it loses in a frame that sees it empty.
        max_log_odds: a cell gains up to here. With the defaults an occupied cell is free after at most 21
            frames that see it empty.
        min_log_odds: a cell loses down to here.
        decay_seconds: time in which evidence fades by one step towards unknown; 0 keeps it for ever.

    Raises:
        OvsegError: naming the value, the limit and the fix.
    """

    hit: int = 3
    miss: int = 1
    max_log_odds: int = 20
    min_log_odds: int = -20
    decay_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("hit", self.hit), ("miss", self.miss)):
            if not 1 <= value <= MAX_LOG_ODDS:
                raise OvsegError(f"{name} must be 1 to {MAX_LOG_ODDS} steps, got {value}: 3 for hit and 1 for miss do")
        if not (self.hit <= self.max_log_odds <= MAX_LOG_ODDS):
            raise OvsegError(
                f"max_log_odds must be hit, {self.hit}, to {MAX_LOG_ODDS}, got {self.max_log_odds}: "
                "20 forgets a thing 21 frames after it is gone"
            )
        if not (-MAX_LOG_ODDS <= self.min_log_odds <= -self.miss):
            raise OvsegError(
                f"min_log_odds must be {-MAX_LOG_ODDS} to minus miss, {-self.miss}, got {self.min_log_odds}: "
                "-20 lets a thing appear within 7 frames"
            )
        if not (self.decay_seconds == 0 or 1e-3 <= self.decay_seconds <= 1e6):
            raise OvsegError(
                f"decay_seconds must be 0.001 to 1000000, or 0 for never, got {self.decay_seconds}: "
                "10 forgets an unseen cell after some minutes"
            )


@dataclass(frozen=True)
class FrontierConfig:
    """Parameters of Frontiers; the defaults are those of RayFronts.

    Attributes:
        radius: cells to each side of the cube around a cell.
        min_unobserved: unobserved cells in the cube of a frontier cell, at least.
        min_free: free cells in that cube, at least, the cell itself included.
        group: cells along the edge of a coarse cell.
        min_members: frontier cells in a frontier, at least.

    Raises:
        OvsegError: naming the value, the limit and the fix.
    """

    radius: int = 1
    min_unobserved: int = 9
    min_free: int = 4
    group: int = 5
    min_members: int = 13

    def __post_init__(self) -> None:
        cube = (2 * self.radius + 1) ** 3
        limits = {
            "radius": (1, MAX_RADIUS, 1),
            "min_unobserved": (1, cube, 9),
            "min_free": (1, cube, 4),
            "group": (1, MAX_GROUP, 5),
            "min_members": (1, self.group**3, min(13, self.group**3)),
        }
        for name, (least, most, fix) in limits.items():
            if not least <= getattr(self, name) <= most:
                raise OvsegError(f"{name} must be {least} to {most}, got {getattr(self, name)}: {fix} will do")


@dataclass(frozen=True)
class RayConfig:
    """Parameters of SemanticRays.

    Attributes:
        angle_bin_degrees: extent of a bin of directions, 5 to 90, rounded so that bins fill the sphere.
        max_rays_per_frame: pixels that a frame casts at most, spread evenly over those it could cast.
        max_rays: rays remembered at most; those of least weight are forgotten first.
        erosion: only pixels whose square of this many pixels to each side is all at infinite depth are cast,
            for features are blurred across the borders of what is near.
        max_ortho_cells: largest distance of a frontier from a ray that it takes, in frontier cells, below 2.
        max_distance: largest distance of a frontier from the camera, metres; RayFronts takes 3 times depth range.

    Raises:
        OvsegError: naming the value, the limit and the fix.
    """

    angle_bin_degrees: float = 30.0
    max_rays_per_frame: int = 1000
    max_rays: int = 20_000
    erosion: int = 2
    max_ortho_cells: float = 1.0
    max_distance: float = 15.0

    def __post_init__(self) -> None:
        if not MIN_ANGLE_BIN <= self.angle_bin_degrees <= MAX_ANGLE_BIN:
            raise OvsegError(
                f"angle_bin_degrees must be {MIN_ANGLE_BIN} to {MAX_ANGLE_BIN}, got {self.angle_bin_degrees}: "
                "30 tells 46 directions apart"
            )
        if not (self.max_rays_per_frame >= 1 and self.max_rays >= 1 and self.erosion >= 0):
            raise OvsegError(
                "max_rays_per_frame and max_rays must be at least 1 and erosion at least 0, got "
                f"{self.max_rays_per_frame}, {self.max_rays} and {self.erosion}: 1000, 20000 and 2 suit a room"
            )
        if not 0.0 < self.max_ortho_cells < MIN_DISTANCE_CELLS:
            raise OvsegError(
                f"max_ortho_cells must be above 0 and below {MIN_DISTANCE_CELLS}, got {self.max_ortho_cells}: "
                "1 lets a ray meet the frontiers around it"
            )
        if not (math.isfinite(self.max_distance) and self.max_distance > 0):
            raise OvsegError(
                f"max_distance must be positive and finite, got {self.max_distance}: take 3 times max_depth"
            )
