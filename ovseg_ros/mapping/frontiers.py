"""Frontiers: where free space ends at space that nobody has seen (Yamauchi 1997), as RayFronts counts them.

A cell is a frontier cell if it is free and the cube of cells around it, itself included, holds enough
unobserved and enough free cells. Frontier cells are counted in coarse cells; those with enough members
are the frontiers. All of it is integer arithmetic on indices, so a frontier has one key for ever.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import in_key_range, pack_keys, unpack_keys, voxel_indices
from ovseg_ros.mapping.blocks import BLOCK
from ovseg_ros.mapping.config import EVERYWHERE
from ovseg_ros.mapping.layer_config import FrontierConfig
from ovseg_ros.mapping.occupancy import UNOBSERVED, OccupancyGrid

WINDOW_BLOCKS = 16
"""Edge, in blocks, of the windows that a whole grid is looked at in: 2 MB of cells, 3 with what surrounds them."""

ROUNDING = 1e-6
"""Metres by which boxes that only touch may seem to overlap."""


class Frontiers:
    """The frontiers of an OccupancyGrid, kept up to date where it changes.

    Coarse cell c of an axis holds the cells from ``c * group - group // 2`` on. An update costs what the
    changed box costs, and a sort of all frontiers, of which there are a few thousand in a building.
    """

    def __init__(
        self,
        config: FrontierConfig,
        voxel_size: float,
        device: torch.device | str = "cpu",
        region: tuple[tuple[int, int], ...] = EVERYWHERE,
    ) -> None:
        """Make an empty set.

        Args:
            config: what makes a frontier.
            voxel_size: edge of a cell of the grid, metres.
            device: of the grid.
            region: lowest and highest cell along x, y and z that is to be explored: space outside counts as known.
        """
        self.config = config
        self.voxel_size = voxel_size
        self.device = torch.device(device)
        self._region = region
        self._keys = self._no_keys()

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, torch.Tensor],
        config: FrontierConfig,
        voxel_size: float,
        device: torch.device | str = "cpu",
        region: tuple[tuple[int, int], ...] = EVERYWHERE,
    ) -> Frontiers:
        """Rebuild what `columns` returned; the tensor is copied.

        Raises:
            OvsegError: naming what makes these no columns of frontiers.
        """
        keys = columns.get("keys", torch.empty(0))
        if columns.keys() != {"keys"} or keys.dtype != torch.int64 or keys.dim() != 1:
            raise OvsegError("frontiers need one column of (n,) int64 keys: save the map again")
        if (keys < 0).any() or not (keys.diff() > 0).all():
            raise OvsegError("frontiers are damaged: their keys are negative or not ascending: save the map again")
        frontiers = cls(config, voxel_size, device, region)
        frontiers._keys = keys.to(frontiers.device, copy=True)
        return frontiers

    def __len__(self) -> int:
        return len(self._keys)

    def update(self, occupancy: OccupancyGrid, box: torch.Tensor) -> None:
        """Look again at what a change of the grid may have changed.

        Args:
            occupancy: the grid, after the change.
            box: (2, 3) int64 lowest and highest cell that changed, as in `Observation.box`.

        Raises:
            OvsegError: the box has too many cells.
        """
        low, high = box.to(self.device)
        if (high < low).any():
            return
        # Cells see as far as the cube around them, and coarse cells are counted as a whole.
        first, last = self._coarse(low - self.config.radius), self._coarse(high + self.config.radius)
        found = self._found_in(occupancy, first, last)
        kept = unpack_keys(self._keys)
        outside = ((kept < first) | (kept > last)).any(dim=-1)
        self._keys = torch.cat((self._keys[outside], found)).sort().values

    def rebuild(self, occupancy: OccupancyGrid) -> None:
        """Look at all of a grid anew, window by window: the cost is that of the blocks there are."""
        self.clear()
        blocks = unpack_keys(occupancy.block_keys)
        windows = torch.div(blocks, WINDOW_BLOCKS, rounding_mode="floor")
        _, window, counts = torch.unique(pack_keys(windows), return_inverse=True, return_counts=True)
        for part in torch.split(blocks[window.argsort()], counts.tolist()):
            self.update(occupancy, torch.stack((part.amin(dim=0) * BLOCK, part.amax(dim=0) * BLOCK + BLOCK - 1)))

    def clear(self) -> None:
        """Forget everything."""
        self._keys = self._no_keys()

    def nearest(self, centres: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
        """The nearest frontier among those that reach into a box.

        Args:
            centres: (n, 3) float64 of the boxes in the world, metres.
            reach: (3,) float64 half of the edges of all boxes, metres, below one coarse cell.

        Returns:
            (n,) int64 rows of `keys`; -1 for boxes that no frontier reaches into. Touching is not enough.
        """
        steps = torch.arange(-1, 2, device=self.device)
        around = self._coarse(voxel_indices(centres, self.voxel_size))[:, None] + torch.cartesian_prod(*[steps] * 3)
        keys = torch.where(in_key_range(around), pack_keys(around), -1)
        apart = (self._centres(around) - centres[:, None]).abs()
        reached = (apart < reach + self.cell_size / 2 - ROUNDING).all(dim=-1) & torch.isin(keys, self._keys)
        distance, best = apart.square().sum(dim=-1).masked_fill_(~reached, torch.inf).min(dim=1)
        rows = torch.searchsorted(self._keys, keys.gather(1, best[:, None]).squeeze(1))
        return torch.where(distance.isfinite(), rows, -1)

    @property
    def cell_size(self) -> float:
        """Edge of a coarse cell, metres."""
        return self.config.group * self.voxel_size

    @property
    def keys(self) -> torch.Tensor:
        """(F,) int64 packed indices of the frontiers' coarse cells, ascending."""
        return self._keys

    @property
    def positions(self) -> torch.Tensor:
        """(F, 3) float64 centres of the frontiers' coarse cells in the world, metres."""
        return self._centres(unpack_keys(self._keys))

    @property
    def columns(self) -> dict[str, torch.Tensor]:
        """Keys (F,) int64; the inverse of `from_columns`."""
        return {"keys": self._keys}

    def _no_keys(self) -> torch.Tensor:
        return torch.empty(0, dtype=torch.int64, device=self.device)

    def _centres(self, coarse: torch.Tensor) -> torch.Tensor:
        group = self.config.group
        return (coarse.double() * group + ((group - 1) / 2 - group // 2)) * self.voxel_size

    def _coarse(self, cells: torch.Tensor) -> torch.Tensor:
        group = self.config.group
        return torch.div(cells + group // 2, group, rounding_mode="floor")

    def _found_in(self, occupancy: OccupancyGrid, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """(n,) packed keys of the frontiers from coarse cell ``first`` to ``last``, (3,) indices."""
        radius, group = self.config.radius, self.config.group
        low = first * group - group // 2
        shape = (last - first + 1) * group
        log_odds = occupancy.window(low - radius, shape + 2 * radius)
        for axis, (start, end) in enumerate(self._region):
            cells = torch.arange(log_odds.shape[axis], device=self.device) + (low[axis] - radius)
            # Neither free nor unobserved.
            log_odds.movedim(axis, 0)[(cells < start) | (cells > end)] = 0
        unobserved = log_odds == UNOBSERVED
        free = (log_odds < 0) & ~unobserved
        members = free[radius:-radius, radius:-radius, radius:-radius]
        members = members & (_cube_sums(unobserved, radius) >= self.config.min_unobserved)
        members &= _cube_sums(free, radius) >= self.config.min_free

        coarse = torch.div(members.nonzero(), group, rounding_mode="floor")
        _, ny, nz = (last - first + 1).tolist()
        numbers, counts = torch.unique((coarse[:, 0] * ny + coarse[:, 1]) * nz + coarse[:, 2], return_counts=True)
        numbers = numbers[counts >= self.config.min_members]
        found = torch.stack((numbers // (ny * nz), numbers // nz % ny, numbers % nz), dim=-1) + first
        return pack_keys(found[in_key_range(found)])


def _cube_sums(marks: torch.Tensor, radius: int) -> torch.Tensor:
    """(nx, ny, nz) bool -> int8 counts in the cubes of ``radius`` cells to each side that fit: 2 radius fewer each."""
    sums = marks.to(torch.int8)
    for axis in range(3):
        size = sums.shape[axis] - 2 * radius
        total = sums.narrow(axis, 0, size).clone()
        for start in range(1, 2 * radius + 1):
            total += sums.narrow(axis, start, size)
        sums = total
    return sums
