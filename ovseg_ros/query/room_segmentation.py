"""Which parts of a floor are rooms: what walls enclose, and doors join.

Cores that are farther from any wall than half a door is wide are rooms; they grow back to the walls and meet in the
doors. This is the distance transform's segmentation in Bormann et al., "Room segmentation: survey, implementation, and
analysis", ICRA 2016, with one threshold, the width of a door.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import (
    binary_closing,
    binary_fill_holes,
    binary_opening,
    distance_transform_edt,
    generate_binary_structure,
    grey_dilation,
    label,
)

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import unpack_keys
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.mapping.blocks import BLOCK
from ovseg_ros.mapping.occupancy import OccupancyGrid
from ovseg_ros.query.ground import STEP, column_counts, floor_height, plan_bounds, whole_occupancy

WALL_BAND = (1.3, 1.95)
"""Metres above the floor: over tables and chairs, under the lintels of doors."""

WALL_SHARE = 0.5
"""A column is wall if so much of that band is occupied."""

WALL_REACH = 0.15
"""Metres of its walls that belong to a room, with what hangs there."""

MIN_AREA = 1.5
"""Square metres: less is a niche."""

ROOM_HEIGHT = 2.5
"""Metres above the floor that belong to a room."""

MAX_DOOR = 5.0
"""Metres: wider openings are no doors."""

CROSS = generate_binary_structure(2, 1)
"""Steps along rows and columns."""

BELOW = 0.2
"""Metres below the floor that do: the floor's own voxels, and noise."""


@dataclass(frozen=True)
class Room:
    """One room of a floor.

    Attributes:
        rectangles: (R, 4) float64 x_min, y_min, x_max, y_max in the map frame, metres; they don't overlap.
        bottom, top: the heights between which things are in it, metres.
    """

    rectangles: npt.NDArray[np.float64]
    bottom: float
    top: float

    @property
    def area(self) -> float:
        """Square metres."""
        return float(self._areas.sum())

    @property
    def middle(self) -> tuple[float, float, float]:
        """Its centre of gravity on the floor, metres."""
        centres = (self.rectangles[:, :2] + self.rectangles[:, 2:]) / 2
        x, y = np.average(centres, axis=0, weights=self._areas).tolist()
        return x, y, self.bottom

    @property
    def _areas(self) -> npt.NDArray[np.float64]:
        sides = self.rectangles[:, 2:] - self.rectangles[:, :2]
        return np.asarray(sides.prod(axis=1))


def segment_rooms(semantic_map: SemanticMap, *, door_width: float = 1.0, floor: float | None = None) -> list[Room]:
    """The rooms of one floor, the largest first.

    Args:
        semantic_map: with an occupancy layer.
        door_width: metres; openings up to this wide part rooms.
        floor: its height, metres; None takes the highest that was seen.

    Raises:
        OvsegError: the map has no occupancy, is empty, no floor was seen in it, or the door is no door.
    """
    occupancy = whole_occupancy(semantic_map)
    if not len(occupancy.block_keys):
        raise OvsegError("the map is empty: map some frames first")
    if floor is None:
        blocks = unpack_keys(occupancy.block_keys)
        floor = floor_height(occupancy, blocks.amin(dim=0) * BLOCK, (blocks.amax(dim=0) + 1) * BLOCK)
    if floor is None:
        raise OvsegError("no floor was seen in the map: let the camera look at it, or give its height")
    if not 0.0 < door_width <= MAX_DOOR:
        raise OvsegError(
            f"doors must be above 0 and up to {MAX_DOOR:g} m wide, got {door_width:g}: give their real width"
        )
    size = occupancy.voxel_size
    reach = math.ceil(WALL_REACH / size)
    walls, inner, low = _plan(occupancy, floor, 2 * reach)
    distance = np.asarray(distance_transform_edt(inner & ~walls)) * size
    cores, count = label(distance > door_width / 2)
    basins = _grown(cores.astype(np.int64), inner & ~walls)
    basins = _grown(basins, ~inner | walls, steps=reach)
    smooth = np.ones((2 * reach + 1, 2 * reach + 1), dtype=bool)
    rooms = []
    for number in range(1, count + 1):
        mask = binary_fill_holes(basins == number)
        # Noise makes walls ragged, and people are to read and edit the rectangles.
        mask = binary_opening(binary_closing(mask, smooth) & ((basins == 0) | (basins == number)), smooth)
        room = Room((_rectangles(mask) + np.tile(low, 2) - 0.5) * size, floor - BELOW, floor + ROOM_HEIGHT)
        if room.area >= MIN_AREA:
            rooms.append(room)
    return sorted(rooms, key=lambda room: -room.area)


def _plan(
    occupancy: OccupancyGrid, floor: float, margin: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """(nx, ny) what is wall, what is seen free at some height, and the lowest cell, with a margin of cells."""
    size = occupancy.voxel_size
    start = math.ceil((floor + STEP) / size)
    band = range(math.ceil((floor + WALL_BAND[0]) / size), math.ceil((floor + WALL_BAND[1]) / size))
    low, shape = plan_bounds(occupancy, range(start, band.stop))
    met, free = column_counts(occupancy, low, shape, band)
    below = column_counts(occupancy, low, shape, range(start, band.start))[1]
    walls = met >= WALL_SHARE * len(band)
    return np.pad(walls, margin), np.pad((free + below) > 0, margin), low.numpy() - margin


def _grown(
    cores: npt.NDArray[np.int64], inner: npt.NDArray[np.bool_], steps: int | None = None
) -> npt.NDArray[np.int64]:
    """Cores grown into the inner cells that they reach, a cell in each step, so that they meet halfway."""
    grown, step = cores, 0
    while steps is None or step < steps:
        ring = np.where(inner & (grown == 0), grey_dilation(grown, footprint=CROSS), grown)
        if np.array_equal(ring, grown):
            break
        grown, step = ring, step + 1
    return grown


def _rectangles(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(nx, ny) -> (R, 4) lowest and highest edge of rectangles that cover it once: equal runs of neighbouring rows."""
    done: list[tuple[int, int, int, int]] = []
    open_runs: dict[tuple[int, int], int] = {}
    for x in range(mask.shape[0] + 1):
        edges = np.flatnonzero(np.diff(mask[x].astype(np.int8), prepend=0, append=0)) if x < len(mask) else np.zeros(0)
        runs = {(int(a), int(b)) for a, b in edges.reshape(-1, 2)}
        for run in set(open_runs) - runs:
            done.append((open_runs.pop(run), run[0], x, run[1]))
        for run in runs - set(open_runs):
            open_runs[run] = x
    return np.array(sorted(done), dtype=np.float64).reshape(-1, 4)
