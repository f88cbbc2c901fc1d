"""Where a robot could stand: the floor, what is free above it, how far from things, and the way there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import unpack_keys
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.mapping.blocks import BLOCK
from ovseg_ros.mapping.occupancy import UNOBSERVED, OccupancyGrid
from ovseg_ros.mapping.projection import MAX_CELLS

Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.bool_]

STEP = 0.1
"""Metres above the floor below which nothing is in a robot's way: rugs, thresholds, noise."""

DROP = 0.3
"""Metres below the floor within which free space means a hole or stairs, where there is no floor above it."""

STOREY = 1.8
"""Metres between two floors at least: what is level and lower than that above a floor is furniture."""

POPULATED = 0.2
"""A level is a floor only with this share of the level that has the most."""

SEEN_TO_STAND = 0.5
"""Share of the cells in either half of the robot's height that must be seen free where it is to stand."""

SEEN_TO_PASS = 0.25
"""Share of the cells of its whole height that must be seen free where it passes: its own sensors will see the rest."""

CORNER = math.sqrt(0.5)
"""Cells from the middle of one to its corner, where a surface in it may be."""

NOISE = 0.5
"""Cells by which noise in depth may put a surface too far away."""

START_REACH = 1.0
"""Metres from the robot to the nearest place with clearance: it may stand nearer to things than it should."""


@dataclass(frozen=True)
class FloorPlan:
    """One floor from above, cell by cell of the occupancy grid.

    Attributes:
        floor: height of the floor, metres.
        low: (2,) int64 index of the cell in ``free[0, 0]``.
        cell_size: metres.
        free: (nx, ny) whether a robot can stand there: its height above the floor was seen free, and no hole is below.
        passable: (nx, ny) the same, if little of it was seen.
        occupied: (nx, ny) whether something is in its height, or a hole below.
        clearance: (nx, ny) float64 metres from the middle of the cell to the nearest that isn't ``free``, at least;
            negative in those.
        width: (nx, ny) float64 metres to the nearest that is ``occupied``, likewise.
    """

    floor: float
    low: npt.NDArray[np.int64]
    cell_size: float
    free: Marks
    passable: Marks
    occupied: Marks
    clearance: Floats
    width: Floats

    def centres(self, cells: npt.NDArray[np.int64]) -> Floats:
        """(n, 2) rows and columns of ``free`` -> (n, 2) x, y of their middles, metres."""
        return (cells + self.low).astype(np.float64) * self.cell_size

    def paths(self, start: Sequence[float], clearance: float) -> Floats:
        """How far a robot has to go.

        Args:
            start: x, y of the robot, metres.
            clearance: metres that it keeps from what is occupied on the way; up to the nearest cell that has it, it
                must only meet nothing.

        Returns:
            (nx, ny) float64 metres along passable cells; infinite where no way is known.
        """
        roomy = self.passable & (self.width >= clearance)
        cells = np.argwhere(roomy)
        metres = np.full(self.free.shape, np.inf)
        begin = np.asarray(start[:2], dtype=np.float64)
        offsets = self.centres(cells) - begin
        apart = np.linalg.norm(offsets, axis=1)
        near = np.flatnonzero(apart <= START_REACH)
        near = near[self._passable(begin, offsets[near])]
        if not len(near):
            return metres
        # Only the nearest: what is farther may lie beyond a gap that is too narrow.
        near = near[apart[near] <= apart[near].min() + self.cell_size]
        numbers = np.full(np.add(roomy.shape, 2), -1)
        numbers[1:-1, 1:-1][roomy] = np.arange(len(cells))
        robot = len(cells)
        # Rounded up from 0: a link of no length counts as none.
        links = [(np.full(len(near), robot), near, np.maximum(apart[near], 1e-6))]
        for step in ((1, 0), (0, 1), (1, 1), (1, -1)):
            other = numbers[cells[:, 0] + 1 + step[0], cells[:, 1] + 1 + step[1]]
            first = np.flatnonzero(other >= 0)
            links.append((first, other[first], np.full(len(first), self.cell_size * math.hypot(*step))))
        first, second, lengths = (np.concatenate(column) for column in zip(*links, strict=True))
        graph = coo_array((lengths, (first, second)), shape=(robot + 1, robot + 1))
        metres[roomy] = dijkstra(graph, directed=False, indices=np.array([robot]))[0, :robot]
        return metres

    def _passable(self, begin: Floats, offsets: Floats) -> Marks:
        """(n, 2) offsets from a point -> (n,) whether the straight line to there meets nothing."""
        shares = np.linspace(0.0, 1.0, 2 + int(2 * START_REACH / self.cell_size))
        points = begin + shares[:, None, None] * offsets
        x, y = np.moveaxis(np.rint(points / self.cell_size).astype(np.int64) - self.low, -1, 0)
        padded = np.pad(self.occupied, 1)
        blocked = padded[np.clip(x + 1, 0, padded.shape[0] - 1), np.clip(y + 1, 0, padded.shape[1] - 1)]
        return ~blocked.any(axis=0)


def whole_occupancy(semantic_map: SemanticMap) -> OccupancyGrid:
    """The occupancy of all parts of a map.

    Raises:
        OvsegError: the map has no such layer.
    """
    layers = [part.layers.occupancy for part in semantic_map.parts()]
    grids = [grid for grid in layers if grid is not None]
    if not grids:
        raise OvsegError("the map doesn't know what space is free: map with mapping.layers:=occupancy, or more")
    if len(grids) == 1:
        return grids[0]
    whole = OccupancyGrid(grids[0].config, grids[0].voxel_size, grids[0].device)
    for grid in grids:
        whole.load(grid.columns)
    return whole


def floor_height(occupancy: OccupancyGrid, low: torch.Tensor, high: torch.Tensor) -> float | None:
    """The highest floor in a box.

    A floor is a level on which much stands empty: occupied cells with free space above them. Only the lowest such
    level counts of any that are less than STOREY apart; tables and beds are level, too.

    Args:
        occupancy: the grid.
        low: (3,) int64 lowest cell of the box.
        high: (3,) int64 highest cell that may be floor.

    Returns:
        Metres; None if no floor was seen.
    """
    size = occupancy.voxel_size
    above = max(2, round(DROP / size))
    cells = occupancy.window(low, high - low + 1 + torch.tensor([0, 0, above], device=low.device))
    free = (cells < 0) & (cells != UNOBSERVED)
    surface = (cells[:, :, :-above] > 0) & (cells[:, :, 1 : 1 - above] <= 0) & free[:, :, above:]
    counts = surface.sum(dim=(0, 1)).cpu().numpy()
    populated = np.flatnonzero((counts > 0) & (counts >= POPULATED * counts.max(initial=0)))
    found = None
    while len(populated):
        first = populated[0]
        found = int(first + counts[first : first + above].argmax())
        populated = populated[populated >= found + STOREY / size]
    return None if found is None else (found + int(low[2])) * size


def floor_plan(occupancy: OccupancyGrid, floor: float, robot_height: float) -> FloorPlan:
    """What is free for a robot on a floor.

    Args:
        occupancy: the grid; cells of which it knows nothing don't count as free.
        floor: height of the floor, metres.
        robot_height: above it, metres.

    Raises:
        OvsegError: the grid reaches over more than MAX_CELLS columns.
    """
    size = occupancy.voxel_size
    level = round(floor / size)
    # A cell above the floor is left out however large cells are: depth is noisy by as much.
    lowest = level + max(2, math.ceil(STEP / size))
    band = range(lowest, max(lowest, level + math.ceil(robot_height / size)) + 1)
    below = range(level - max(3, round(DROP / size)), level - 1)
    low, shape = plan_bounds(occupancy, range(below.start, band[-1] + 1))
    middle = (band.start + band.stop) // 2
    halves = range(band.start, middle), range(middle, band.stop)
    met, seen = zip(*(column_counts(occupancy, low, shape, half) for half in halves), strict=True)
    supported = column_counts(occupancy, low, shape, range(below.stop, lowest))[0] > 0
    hole = ~supported & (column_counts(occupancy, low, shape, below)[1] > 0)
    occupied = (met[0] + met[1] > 0) | hole
    free = ~occupied
    for count, half in zip(seen, halves, strict=True):
        free &= count >= SEEN_TO_STAND * len(half)
    passable = ~occupied & (seen[0] + seen[1] >= SEEN_TO_PASS * len(band))
    return FloorPlan(
        floor=floor,
        low=low.numpy(),
        cell_size=size,
        free=free,
        passable=passable,
        occupied=occupied,
        clearance=(_distances(np.pad(free, 1))[1:-1, 1:-1] - CORNER - NOISE) * size,
        width=(_distances(~occupied) - CORNER) * size,
    )


def plan_bounds(occupancy: OccupancyGrid, heights: range) -> tuple[torch.Tensor, tuple[int, int]]:
    """The lowest column, (2,) int64, and the number of columns along x and y, that have something at these heights.

    Raises:
        OvsegError: these are more than MAX_CELLS columns.
    """
    blocks = unpack_keys(occupancy.block_keys.cpu())
    blocks = blocks[(blocks[:, 2] * BLOCK < heights.stop) & ((blocks[:, 2] + 1) * BLOCK > heights.start)]
    low, high = torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    if len(blocks):
        low, high = blocks[:, :2].amin(dim=0) * BLOCK, (blocks[:, :2].amax(dim=0) + 1) * BLOCK
    nx, ny = (high - low).tolist()
    if nx * ny > MAX_CELLS:
        raise OvsegError(
            f"the map has {nx} x {ny} cells from above, the limit is {MAX_CELLS} in all: "
            "set mapping.region or take larger voxels"
        )
    return low, (nx, ny)


def _distances(free: Marks) -> Floats:
    """(nx, ny) cells from each cell to the nearest that isn't free; infinite where all are."""
    if free.all():
        return np.full(free.shape, np.inf)
    return np.asarray(distance_transform_edt(free), dtype=np.float64)


def column_counts(
    occupancy: OccupancyGrid, low: torch.Tensor, shape: tuple[int, int], heights: range
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(nx, ny) how many cells of each column are occupied, and how many free, of those at the ``heights``."""
    occupied, free = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for start in range(heights.start, heights.stop, BLOCK):
        corner = torch.tensor([*low.tolist(), start])
        cells = occupancy.window(corner, torch.tensor([*shape, min(BLOCK, heights.stop - start)]))
        occupied += (cells > 0).sum(dim=2).cpu().numpy()
        free += ((cells < 0) & (cells != UNOBSERVED)).sum(dim=2).cpu().numpy()
    return occupied, free
