"""Lines of sight through cells of an occupancy grid: what they meet first, and whether that is what one looks for."""

from __future__ import annotations

import torch

from ovseg_ros.geometry import pack_keys, voxel_indices
from ovseg_ros.mapping.occupancy import UNOBSERVED, OccupancyGrid

SIGHT_CELLS = 2
"""Cells before a surface of which nothing is known: it is too near for them to be seen free."""

MAX_TARGETS = 32
"""Voxels of a thing that are looked at; of more, as many spread evenly."""

CROSSINGS_AT_ONCE = 1 << 20
"""Crossings of cell borders worked on in one go: 8 MB for each float64 tensor of them."""

ROUNDING = 1e-9
"""Parts of a line below which a stretch has no length."""


class Sight:
    """What of a target is seen from where.

    Attributes:
        targets: (k, 3) float64 metres: the voxels that are looked at.
    """

    def __init__(self, occupancy: OccupancyGrid, cells: torch.Tensor, eyes: torch.Tensor) -> None:
        """Look at the occupancy of a box.

        Args:
            occupancy: the grid; cells of which it knows nothing hide what is behind.
            cells: (n, 3) int64 of the target.
            eyes: (m, 3) float64 metres: whatever is given to `seen` lies in the box of these and the target.
        """
        self._size = occupancy.voxel_size
        cells, eyes = cells.to(occupancy.device), eyes.to(occupancy.device)
        eye_cells = voxel_indices(eyes, self._size)
        everything = torch.cat((cells, eye_cells))
        self._low = everything.amin(dim=0) - SIGHT_CELLS
        states = occupancy.window(self._low, everything.amax(dim=0) + SIGHT_CELLS + 1 - self._low)
        self._free = (states < 0) & (states != UNOBSERVED)
        own = torch.zeros_like(self._free)
        own[(cells - self._low).unbind(dim=1)] = True
        reach = 2 * SIGHT_CELLS + 1
        around = torch.nn.functional.max_pool3d(own[None].float(), reach, 1, SIGHT_CELLS)[0] > 0
        self._own = own | (around & (states <= 0))
        spread = torch.linspace(0, len(cells) - 1, min(MAX_TARGETS, len(cells)), dtype=torch.float64).round().long()
        self._targets = cells[pack_keys(cells).argsort()[spread]].double()
        self.targets = self._targets * self._size

    def seen(self, eyes: torch.Tensor) -> torch.Tensor:
        """(n, 3) float64 metres -> (n, k) bool: the line to a target voxel meets the target before anything else."""
        starts = eyes.to(self._targets) / self._size - self._low
        ends = self._targets - self._low
        pairs = len(starts), len(ends)
        met, cells = first_obstacles(self._free, starts.repeat_interleave(pairs[1], dim=0), ends.repeat(pairs[0], 1))
        seen = ~met | self._own[cells.unbind(dim=1)]
        return seen.view(pairs)


def first_obstacles(free: torch.Tensor, starts: torch.Tensor, ends: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Walk straight lines from cell to cell up to the first that isn't free.

    Args:
        free: (nx, ny, nz) bool. Cell i of an axis reaches from i - 0.5 to i + 0.5; what lies outside isn't free.
        starts: (R, 3) float64 in cells.
        ends: (R, 3) float64, likewise; their cells are the last that count.

    Returns:
        (R,) bool whether there is such a cell, the first and the last included, and (R, 3) int64 which; where there is
        none, the cell of the end.
    """
    # A border of cells that aren't free stands for all that lies outside.
    padded = torch.nn.functional.pad(free, (1, 1, 1, 1, 1, 1))
    longest = int((ends - starts).abs().amax().ceil()) + 1 if len(starts) else 1
    at_once = max(1, CROSSINGS_AT_ONCE // (3 * longest))
    parts = [
        _first_obstacles(padded, start, end, longest)
        for start, end in zip(torch.split(starts, at_once), torch.split(ends, at_once), strict=True)
    ]
    met, cells = zip(*parts, strict=True)
    return torch.cat(met), torch.cat(cells)


def _first_obstacles(
    padded: torch.Tensor, starts: torch.Tensor, ends: torch.Tensor, longest: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `first_obstacles`, of lines that cross at most ``longest`` borders along each axis."""
    way = ends - starts
    first = torch.round(starts) + 0.5 * way.sign()
    borders = first[..., None] + way.sign()[..., None] * torch.arange(longest, device=starts.device)
    # 0 / 0 where a line doesn't move along an axis: no border is crossed there.
    crossings = ((borders - starts[..., None]) / way[..., None]).nan_to_num(nan=1.0, posinf=1.0, neginf=1.0)
    crossings = crossings.clamp(0.0, 1.0).flatten(1).sort(dim=1).values
    edges = torch.nn.functional.pad(crossings, (1, 0), value=0.0)
    edges = torch.nn.functional.pad(edges, (0, 1), value=1.0)
    # Where two borders are crossed at once, the stretch between has no length, and rounding would choose any neighbour.
    middles = torch.where(edges.diff() > ROUNDING, (edges[:, 1:] + edges[:, :-1]) / 2, 0.0)
    middles[:, -1] = 1.0
    cells = torch.round(starts[:, None] + middles[..., None] * way[:, None]).long()
    limit = torch.tensor(padded.shape, device=cells.device) - 1
    x, y, z = (cells + 1).clamp(min=0).minimum(limit).unbind(dim=-1)
    blocked = ~padded[x, y, z]
    met, number = blocked.max(dim=1)
    number = torch.where(met, number, cells.shape[1] - 1)
    return met, cells.gather(1, number[:, None, None].expand(-1, 1, 3)).squeeze(1)
