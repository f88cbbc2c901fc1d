"""Two ways to look into a room: from straight above, and from a corner above like into a doll's house."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ovseg_ros.geometry import pack_keys, unpack_keys
from ovseg_ros.visualization.splatting import Points, depth_cue, splat

CUT_SHARE = 0.84
"""Of the room's height, up to which voxels are shown: takes the ceiling and its lamps away."""
WALL_SHARE = 0.55
"""Of the shown height that a column of voxels must span to count as wall."""
KERB_HEIGHT = 0.1
"""Metres that are left of a wall taken away, so that the room's outline stays."""
CORNER_AZIMUTH_DEGREES = -62.0
CORNER_ELEVATION_DEGREES = 48.0
MIN_EXTENT = 1.0
"""Metres that fill the picture at least, however small the map."""
FOCAL_LENGTH = 2.2
"""In units of the scene's radius at the distance of the scene: a mild perspective."""
LIGHT = np.array([0.28, -0.44, 0.85])

FACE_NORMALS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=np.int64)

Project = Callable[[Points], tuple[Points, Points]]


@dataclass(frozen=True)
class Rendering:
    """A picture of the voxels before anything is written on it.

    Attributes:
        image: (H, W, 3) uint8 RGB on white.
        project: (P, 3) world points -> (P, 2) pixel coordinates (column, row) and (P,) distances.
        pixels_per_metre: exact in the view from above; None in perspective.
    """

    image: NDArray[np.uint8]
    project: Project
    pixels_per_metre: float | None


def below_ceiling(indices: NDArray[np.int64], voxel_size: float, cut_height: float | None) -> NDArray[np.bool_]:
    """(N, 3) voxel indices -> (N,) whether a voxel is low enough to be shown; ``cut_height`` in metres."""
    heights = indices[:, 2] * voxel_size
    if cut_height is None:
        floor, top = np.percentile(heights, [1, 99])
        cut_height = floor + CUT_SHARE * (top - floor)
    return heights <= cut_height


def view_from_above(
    indices: NDArray[np.int64], colours: NDArray[np.uint8], voxel_size: float, size: tuple[int, int]
) -> Rendering:
    """Orthographic, x to the right and y up; (width, height) in pixels."""
    width, height = size
    corners = np.array([indices[:, :2].min(axis=0) - 0.5, indices[:, :2].max(axis=0) + 0.5]) * voxel_size
    middle, extent = corners.mean(axis=0), np.maximum(corners[1] - corners[0], MIN_EXTENT)
    scale = min(width / extent[0], height / extent[1])
    top = (indices[:, 2].max() + 1) * voxel_size

    def project(points: Points) -> tuple[Points, Points]:
        offset = (points[:, :2] - middle) * scale
        pixels = np.stack([(width - 1) / 2 + offset[:, 0], (height - 1) / 2 - offset[:, 1]], axis=1)
        return pixels, top - points[:, 2]

    x = np.rint((middle[0] + (np.arange(width) - (width - 1) / 2) / scale) / voxel_size).astype(np.int64)
    y = np.rint((middle[1] - (np.arange(height) - (height - 1) / 2) / scale) / voxel_size).astype(np.int64)
    seen = _highest_voxels(indices, x, y)
    depth = np.where(seen >= 0, top - indices[seen, 2] * voxel_size, np.inf)
    return Rendering(_shade(colours, seen, depth, np.ones(len(colours)), round(0.12 * scale)), project, scale)


def _highest_voxels(indices: NDArray[np.int64], x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Voxel columns (W,) and (H,) of a picture's pixels -> (H, W) number of the highest voxel, -1 for none."""
    columns, column_of_pixel = np.unique(x, return_inverse=True)
    rows, row_of_pixel = np.unique(y, return_inverse=True)
    # numpy keeps the last value that is assigned to a cell: the highest voxel, in this order.
    upwards = np.argsort(indices[:, 2], kind="stable")
    upwards = upwards[np.isin(indices[upwards, 0], columns) & np.isin(indices[upwards, 1], rows)]
    cells = np.full((len(rows), len(columns)), -1, dtype=np.int64)
    cells[np.searchsorted(rows, indices[upwards, 1]), np.searchsorted(columns, indices[upwards, 0])] = upwards
    return cells[row_of_pixel[:, None], column_of_pixel]


def view_from_corner(
    indices: NDArray[np.int64], colours: NDArray[np.uint8], voxel_size: float, size: tuple[int, int]
) -> Rendering:
    """Perspective, with the near walls taken away; (width, height) in pixels."""
    azimuth, elevation = np.deg2rad([CORNER_AZIMUTH_DEGREES, CORNER_ELEVATION_DEGREES])
    towards_viewer = np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    )
    shown = ~near_walls(indices, voxel_size, towards_viewer)
    indices, colours = indices[shown], colours[shown]
    project, viewer = _perspective(indices * voxel_size, towards_viewer, size)
    voxels, normals = _exposed_faces(indices, voxel_size, viewer)
    centres = indices[voxels] * voxel_size
    pixels_per_voxel = _pixels_per_voxel(project, centres, voxel_size)
    steps = max(1, int(np.ceil(pixels_per_voxel / 2)))
    samples = _face_samples(centres, normals, voxel_size, steps)
    pixels, depths = project(samples.reshape(-1, 3))
    side = int(np.ceil(pixels_per_voxel / steps)) + 1
    seen, depth = splat(pixels, depths, side, (size[1], size[0]))
    seen = np.where(seen >= 0, seen // (steps * steps), -1)
    light = 0.72 + 0.28 * np.clip(normals @ (LIGHT / np.linalg.norm(LIGHT)) / LIGHT[2], 0.0, 1.0)
    image = _shade(colours[voxels], seen, depth, light, round(2 * pixels_per_voxel))
    return Rendering(image, project, None)


def near_walls(indices: NDArray[np.int64], voxel_size: float, towards_viewer: Points) -> NDArray[np.bool_]:
    """(N, 3) voxel indices -> (N,) whether a voxel belongs to a wall whose back is turned to the viewer.

    Walls are columns of voxels that span most of the height; which way one faces is told by the line
    of its neighbours and the middle of the room. What hangs on such a wall goes with it.
    """
    columns, column_of_voxel = np.unique(indices[:, :2], axis=0, return_inverse=True)
    lowest = np.full(len(columns), np.iinfo(np.int64).max)
    highest = np.full(len(columns), np.iinfo(np.int64).min)
    np.minimum.at(lowest, column_of_voxel, indices[:, 2])
    np.maximum.at(highest, column_of_voxel, indices[:, 2])
    walls = columns[highest - lowest >= WALL_SHARE * (indices[:, 2].max() - indices[:, 2].min())]
    neighbours = min(12, len(walls))
    if neighbours < 3:
        return np.zeros(len(indices), dtype=np.bool_)
    _, nearest = cKDTree(walls).query(walls, k=neighbours)
    around = walls[nearest] - walls[nearest].mean(axis=1, keepdims=True)
    _, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))
    inward = axes[:, :, 0]
    middle = (indices[:, :2].min(axis=0) + indices[:, :2].max(axis=0)) / 2
    inward *= np.where(((middle - walls) * inward).sum(axis=1) < 0, -1.0, 1.0)[:, None]
    hidden = walls[inward @ towards_viewer[:2] < 0]
    if not len(hidden):
        return np.zeros(len(indices), dtype=np.bool_)
    reach = max(1.5, 0.12 / voxel_size)
    distances, _ = cKDTree(hidden).query(columns, distance_upper_bound=reach)
    above_kerb = (indices[:, 2] - indices[:, 2].min()) * voxel_size > KERB_HEIGHT
    gone: NDArray[np.bool_] = np.isfinite(distances)[column_of_voxel] & above_kerb
    return gone


def _perspective(points: Points, towards_viewer: Points, size: tuple[int, int]) -> tuple[Project, Points]:
    """A camera that looks at the points along ``-towards_viewer`` and fills the picture with them."""
    width, height = size
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = max(float(np.linalg.norm(points - middle, axis=1).max()), MIN_EXTENT / 2)
    viewer = middle + towards_viewer * radius * FOCAL_LENGTH
    right = np.cross(-towards_viewer, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(-towards_viewer, right), -towards_viewer])

    def flat(world: Points) -> tuple[Points, Points]:
        camera = (world - viewer) @ axes.T
        return camera[:, :2] / camera[:, 2:], camera[:, 2]

    plane, _ = flat(points)
    lowest, highest = plane.min(axis=0), plane.max(axis=0)
    smallest = MIN_EXTENT / (radius * FOCAL_LENGTH)
    scale = float(min(np.array([width, height]) * 0.97 / np.maximum(highest - lowest, smallest)))

    def project(world: Points) -> tuple[Points, Points]:
        position, distance = flat(world)
        return (position - (lowest + highest) / 2) * scale + (np.array([width, height]) - 1) / 2, distance

    return project, viewer


def _exposed_faces(
    indices: NDArray[np.int64], voxel_size: float, viewer: Points
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Faces without a voxel on the other side, turned to the viewer: (F,) voxel and (F, 3) normal of each."""
    occupied = np.sort(pack_keys(torch.from_numpy(indices)).numpy())
    voxels, normals = [], []
    for normal in FACE_NORMALS:
        keys = pack_keys(torch.from_numpy(indices + normal)).numpy()
        place = np.minimum(np.searchsorted(occupied, keys), len(occupied) - 1)
        towards = (viewer - (indices + 0.5 * normal) * voxel_size) @ normal > 0
        chosen = np.flatnonzero((occupied[place] != keys) & towards)
        voxels.append(chosen)
        normals.append(np.broadcast_to(normal, (len(chosen), 3)))
    return np.concatenate(voxels), np.concatenate(normals)


def _pixels_per_voxel(project: Project, centres: Points, voxel_size: float) -> float:
    """The largest size that a voxel has in the picture."""
    here, depths = project(centres)
    nearest = centres[[int(depths.argmin())]]
    around, _ = project(nearest + np.eye(3) * voxel_size)
    return float(np.linalg.norm(around - here[int(depths.argmin())], axis=1).max())


def _face_samples(centres: Points, normals: NDArray[np.int64], voxel_size: float, steps: int) -> Points:
    """(F, steps * steps, 3) points spread evenly over each face."""
    spread = ((np.arange(steps) + 0.5) / steps - 0.5) * voxel_size
    first, second = np.meshgrid(spread, spread)
    u = np.roll(np.abs(normals), 1, axis=1)[:, None, :] * first.reshape(1, -1, 1)
    v = np.roll(np.abs(normals), 2, axis=1)[:, None, :] * second.reshape(1, -1, 1)
    return (centres + 0.5 * voxel_size * normals)[:, None, :] + u + v


def _shade(
    colours: NDArray[np.uint8], seen: NDArray[np.int64], depth: Points, light: Points, radius: int
) -> NDArray[np.uint8]:
    """Colour, light and depth cue of what is seen, on white."""
    brightness = np.where(seen >= 0, light[seen], 1.0) * depth_cue(depth, max(radius, 1))
    image = np.where(seen[..., None] >= 0, colours[seen], 255) * brightness[..., None]
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def indices_of(keys: torch.Tensor) -> NDArray[np.int64]:
    """(N,) packed keys -> (N, 3) int64 voxel indices."""
    return unpack_keys(keys.cpu()).numpy()
