"""From the pixels of a frame that see beyond depth range to rays matched with frontiers: pure functions."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch

from ovseg_ros.mapping.fusion import grid_intervals
from ovseg_ros.types import Intrinsics

PAIRS_AT_ONCE = 1 << 18
"""Pairs of ray and frontier compared in one go: 2 MB for a float64 matrix, four of which exist at a time."""

GOLDEN_RATIO = (1 + math.sqrt(5)) / 2

ROUNDING = 1e-6
"""Radians by which the arc cosine of a float64 may be off near 0."""


@dataclass(frozen=True)
class DirectionBins:
    """All directions, in bins of nearly equal area about the world's z axis.

    Bands of equal height in elevation lie around the horizon and end in a cap around each pole, which is
    one bin. The others are cut in azimuth into as many bins as fit at their middle. The first bin of a
    band is centred on azimuth 180 degrees, so the seam of the angle lies within it.

    Attributes:
        degrees: height of a band, rounded so that an even number of them goes from pole to pole.
    """

    degrees: float

    @property
    def sizes(self) -> list[int]:
        """Bins of each band, from the cap around -z to the cap around +z."""
        steps = 2 * round(90.0 / self.degrees)
        return [max(1, round(2 * steps * math.cos(math.pi * (i / steps - 0.5)))) for i in range(steps + 1)]

    @property
    def count(self) -> int:
        """Bins in all."""
        return sum(self.sizes)

    def of(self, directions: torch.Tensor) -> torch.Tensor:
        """(n, 3) directions of any length -> (n,) int64 bins, 0 to ``count`` - 1."""
        sizes = torch.tensor(self.sizes, device=directions.device)
        first = sizes.cumsum(0) - sizes
        x, y, z = directions.unbind(dim=-1)
        elevation = torch.atan2(z, torch.hypot(x, y)) / math.pi + 0.5
        azimuth = torch.atan2(y, x) / (2 * math.pi) + 0.5
        band = torch.round(elevation * (len(sizes) - 1)).long()
        return first[band] + torch.round(azimuth * sizes[band]).long() % sizes[band]


def pixels_beyond_range(depth: torch.Tensor, erosion: int, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels whose square of ``erosion`` pixels to each side lies within the image and is all at +inf.

    Of more than ``limit`` such pixels, listed row by row, one is taken from each of ``limit`` equal
    stretches of the list. Where in its stretch follows the golden ratio, so that the pixels of
    successive rows don't line up.

    Args:
        depth: (H, W) metres.
        erosion: pixels, at least 0.
        limit: pixels returned at most.

    Returns:
        (M,) int64 image rows and as many columns.
    """
    beyond = torch.isposinf(depth)
    window = 2 * erosion + 1
    if min(depth.shape) < window or not beyond.any():
        nothing = torch.empty(0, dtype=torch.int64, device=depth.device)
        return nothing, nothing
    for axis in (0, 1):
        length = beyond.shape[axis] - 2 * erosion
        beyond = functools.reduce(torch.logical_and, (beyond.narrow(axis, i, length) for i in range(window)))
    pixels = beyond.flatten().nonzero().squeeze(1)
    if len(pixels) > limit:
        stretch = torch.arange(limit + 1, device=depth.device)
        start = torch.div(stretch * len(pixels), limit, rounding_mode="floor")
        step = (stretch[:-1] * GOLDEN_RATIO) % 1.0 * start.diff()
        pixels = pixels[start[:-1] + step.long()]
    width = beyond.shape[1]
    return torch.div(pixels, width, rounding_mode="floor") + erosion, pixels % width + erosion


def pixel_directions(
    rows: torch.Tensor, columns: torch.Tensor, intrinsics: Intrinsics, pose: torch.Tensor
) -> torch.Tensor:
    """(M,) pixel coordinates, camera, (4, 4) float64 camera -> world -> (M, 3) float64 unit directions in the world."""
    x = (columns.double() - intrinsics.cx) / intrinsics.fx
    y = (rows.double() - intrinsics.cy) / intrinsics.fy
    directions = torch.stack((x, y, torch.ones_like(x)), dim=-1)
    return turned(torch.nn.functional.normalize(directions, dim=-1), pose)


def turned(directions: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
    """(n, 3) directions after a (4, 4) rigid transform, of their length though it is a rotation only to some digits."""
    length = directions.norm(dim=-1, keepdim=True)
    return torch.nn.functional.normalize(directions @ pose[:3, :3].T, dim=-1) * length


def match_frontiers(
    directions: torch.Tensor,
    offsets: torch.Tensor,
    *,
    min_distance: float,
    max_distance: float,
    max_ortho: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The frontier of least cost for each ray from the camera, where there is one.

    A frontier in front of the camera, at the distance d from it and r from the ray, costs
    ``(r / max_ortho + d / max_distance) / 2``. That is the cost of RayFronts with the limits in place of
    the largest distances in the frame. Frontiers outside the limits, or at both of them, don't match.

    Args:
        directions: (M, 3) float64 of unit length, within a half space.
        offsets: (F, 3) float64 frontiers relative to the camera, metres, in the axes of ``directions``.
        min_distance: smallest d, metres, above ``max_ortho``.
        max_distance: largest d, metres.
        max_ortho: largest r, metres.

    Returns:
        Of the m rays that have one: (m,) int64 number of the ray, ascending, (m,) int64 number of its
        frontier, (m,) float64 cost from 0 to below 1.
    """
    squares = offsets.square().sum(dim=-1)
    distance = squares.sqrt()
    near = (distance >= min_distance) & (distance <= max_distance)
    near &= _in_reach(directions, offsets, distance, max_ortho)
    candidates = near.nonzero().squeeze(1)
    cost = torch.full((len(directions),), torch.inf, dtype=torch.float64, device=offsets.device)
    chosen = torch.zeros(len(directions), dtype=torch.int64, device=offsets.device)
    if len(candidates):
        offsets, squares = offsets[candidates], squares[candidates]
        far = distance[candidates] / (2 * max_distance)
        rays_at_once = max(1, PAIRS_AT_ONCE // len(candidates))
        for start in range(0, len(directions), rays_at_once):
            part = slice(start, start + rays_at_once)
            # A frontier behind the camera is as far from the ray as from the camera: beyond max_ortho.
            ahead = (directions[part] @ offsets.T).clamp_(min=0.0)
            ortho = (squares - ahead.square_()).clamp_(min=0.0).sqrt_()
            costs = (ortho / (2 * max_ortho)).add_(far).masked_fill_(ortho > max_ortho, torch.inf)
            cost[part], best = costs.min(dim=1)
            chosen[part] = candidates[best]
    matched = (cost < 1.0).nonzero().squeeze(1)
    return matched, chosen[matched], cost[matched]


def _in_reach(
    directions: torch.Tensor, offsets: torch.Tensor, distance: torch.Tensor, max_ortho: float
) -> torch.Tensor:
    """(F,) bool: false only for frontiers outside the cone around all rays, widened by ``max_ortho``."""
    axis = torch.nn.functional.normalize(directions.mean(dim=0), dim=0)
    half_angle = torch.acos((directions @ axis).amin().clamp(-1.0, 1.0))
    widened = half_angle + torch.asin((max_ortho / distance).clamp(max=1.0))
    angle = torch.acos((offsets @ axis / distance).clamp(-1.0, 1.0))
    return angle <= widened + ROUNDING


def sample_bilinear(
    features: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, image: tuple[int, int]
) -> torch.Tensor:
    """Features at single pixels, as upsampling the grid to the whole image would give them (align_corners=False).

    Args:
        features: (C, h, w) on a grid that covers the image.
        rows: (n,) int64 image rows.
        columns: (n,) int64 image columns.
        image: (H, W).

    Returns:
        (n, C) float32.
    """
    _, height, width = features.shape
    top, below, fraction_y = grid_intervals(image[0], height, rows.device)
    left, right, fraction_x = grid_intervals(image[1], width, rows.device)
    y0, x0 = top[rows], left[columns]
    y1, x1 = below[y0], right[x0]
    along_x, along_y = fraction_x[columns, None].float(), fraction_y[rows, None].float()
    # Whole features side by side in memory: the grid is small, and gathering it channel by channel is slow.
    cells = features.flatten(1).T.to(torch.float32).contiguous()
    upper = torch.lerp(cells[y0 * width + x0], cells[y0 * width + x1], along_x)
    lower = torch.lerp(cells[y1 * width + x0], cells[y1 * width + x1], along_x)
    return torch.lerp(upper, lower, along_y)
