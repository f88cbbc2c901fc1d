"""Rays beyond depth range as cones, and the part of unobserved space that the rays of one class point into."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.types import Intrinsics

PAIRS_AT_ONCE = 1 << 16
"""Pairs of place and ray compared in one go: 0.5 MB for a float64 matrix, which a processor's cache holds."""

ROUNDING = 1e-9
"""Metres, and square metres, by which a place on a cone's surface may seem to lie outside."""


@dataclass(frozen=True)
class Cone:
    """Where the thing that a ray has seen may be, seen from the frontier that the ray starts at.

    The axis starts in the frontier's centre and has the ray's direction. The cone is cut off there by the plane across
    the axis, as a circle of ``radius``; its apex is ``radius / tan(half_angle)`` behind. It has no far end: the space
    that it is held against ends it. A place at distance t along the axis is inside if t >= 0 and it is at most
    ``radius + t * tan(half_angle)`` from the axis.

    Attributes:
        half_angle: between axis and surface, radians, from 0 to below a right angle.
        radius: metres.

    Raises:
        OvsegError: an attribute is out of range.

    Example:
        >>> origin, axis = torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.0]])
        >>> places = torch.tensor([[1.0, 1.9, 0.0], [1.0, 2.1, 0.0], [-0.1, 0.0, 0.0]])
        >>> Cone(half_angle=math.pi / 4, radius=1.0).contains(places, origin, axis).squeeze(1)
        tensor([ True, False, False])
    """

    half_angle: float
    radius: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.half_angle < math.pi / 2:
            raise OvsegError(
                f"the half angle of a cone is 0 to below 90 degrees, got {math.degrees(self.half_angle):g}: "
                "half a camera's field of view will do"
            )
        if not (math.isfinite(self.radius) and self.radius >= 0.0):
            raise OvsegError(f"the radius of a cone is at least 0 m, got {self.radius}: take a frontier's cell size")

    def contains(self, places: torch.Tensor, origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """(P, 3) places, (R, 3) origins in metres and (R, 3) unit directions -> (P, R) bool."""
        slope, radius = math.tan(self.half_angle), self.radius
        along = torch.addmm(-(origins * directions).sum(dim=1), places, directions.T)
        # |p - o|² - t² - (radius + slope t)², from matrix products: a few times faster than from differences.
        beyond = torch.addmm(origins.square().sum(dim=1) - radius * radius, places, origins.T, alpha=-2.0)
        beyond += places.square().sum(dim=1)[:, None]
        beyond -= (along * (1.0 + slope * slope) + 2.0 * slope * radius).mul_(along)
        return (beyond <= ROUNDING) & (along >= -ROUNDING)

    def votes(self, places: torch.Tensor, origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """(P, 3) places, (R, 3) origins in metres and (R, 3) unit directions -> (P,) int64 cones around each place."""
        # Far from the origin of the world the difference of squares would lose its digits.
        middle = origins.mean(dim=0)
        parts = torch.split(places - middle, max(1, PAIRS_AT_ONCE // len(origins)))
        return torch.cat([self.contains(part, origins - middle, directions).sum(dim=1) for part in parts])


def claimed(votes: torch.Tensor, threshold: float) -> torch.Tensor:
    """(P,) votes -> (P,) bool: more than ``threshold`` of the most that a place has; nowhere where none has a vote."""
    return votes > threshold * votes.amax().clamp(min=1).double() if len(votes) else votes > 0


def half_field_of_view(camera: Intrinsics) -> float:
    """Radians: half of the wider of the two angles that a camera sees, which RayFronts means its cones to open."""
    return math.atan(max(camera.width / camera.fx, camera.height / camera.fy) / 2)
