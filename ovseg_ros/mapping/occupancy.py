"""Which cells are occupied, free, or have never been seen: log-odds in blocks of 8 x 8 x 8 cells.

Log-odds add up (Moravec and Elfes 1985) and are clamped, so that the map can change its mind in a known
number of frames (Hornung et al. 2013, OctoMap, section 3.2). They are small integers, one byte per cell.

The blocks are rows of a `VoxelTable`: growing adds a block of rows and copies nothing, and a frame reads
and writes the rows it sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import KEY_LIMIT, pack_keys, unpack_keys
from ovseg_ros.mapping.blocks import (
    BLOCK,
    BLOCK_CELLS,
    BLOCK_LIMIT,
    BlockBox,
    block_keys_of,
    cell_numbers,
    marked_keys,
    neighbours_towards,
)
from ovseg_ros.mapping.columns import Column
from ovseg_ros.mapping.config import MappingConfig
from ovseg_ros.mapping.free_space import blocks_in_view, free_cells, reach_of, view_box
from ovseg_ros.mapping.layer_config import MAX_LOG_ODDS, OccupancyConfig
from ovseg_ros.mapping.resampling import blocks_reached, in_cells, pulled
from ovseg_ros.mapping.voxel_hash import EMPTY
from ovseg_ros.mapping.voxel_table import VoxelTable
from ovseg_ros.types import RgbdFrame

UNOBSERVED = -128
"""What a cell holds that no frame has said anything about; also what a frame says about such a cell."""

NANOSECONDS = 1_000_000_000

BLOCKS_AT_ONCE = 512
"""Blocks of another grid added in one go: their cells have 262 144 centres, 6 MB in float64."""

NEVER = torch.iinfo(torch.int64).min
"""Older than any stamp."""

COLUMNS = {"block_keys": "keys", "log_odds": "log_odds", "stamps": "stamps"}
"""What `OccupancyGrid.columns` calls the columns of the table."""


@dataclass(frozen=True)
class Observation:
    """What one frame says, worked out against the grid as it was; `OccupancyGrid.apply` writes it.

    Attributes:
        freed: (n,) int64 packed keys of the cells that are free with this frame and weren't before, or have
            a hit of this frame that didn't outweigh what was known: no semantic voxel belongs there. Remove
            them after the frame's voxels were added.
        box: (2, 3) int64 lowest and highest cell that may change, on whole blocks; the highest is below
            the lowest where the frame says nothing.
        block_keys: (B,) int64 distinct packed indices of the blocks it says something about.
        log_odds: (B, 512) int8 what their cells will hold.
        stamps: (B,) int64 nanoseconds, what their stamps will be.
        changes: `OccupancyGrid.changes` of the grid it was worked out against.
    """

    freed: torch.Tensor
    box: torch.Tensor
    block_keys: torch.Tensor
    log_odds: torch.Tensor
    stamps: torch.Tensor
    changes: int


class OccupancyGrid:
    """Log-odds of cells that are as large as voxels and have the same keys. Above 0 is occupied, below 0 free.

    A cell at 0 has been seen, but nothing is known of it: a surface is too near to tell, or hits and
    misses cancel out.

    The work for a frame is proportional to what it sees. Evidence fades when its block is next seen: the
    stamp of a block says up to when it has faded, in whole steps. A cell that has faded to 0 is unobserved.
    """

    def __init__(self, config: OccupancyConfig, voxel_size: float, device: torch.device | str = "cpu") -> None:
        """Make a grid in which nothing has been observed.

        Args:
            config: evidence, clamping and decay.
            voxel_size: edge of a cell, metres.
            device: where the grid lives; frames are brought there.
        """
        self.config = config
        self.voxel_size = voxel_size
        self.device = torch.device(device)
        self._table = self._empty_table()
        self._changes = 0

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, torch.Tensor],
        config: OccupancyConfig,
        voxel_size: float,
        device: torch.device | str = "cpu",
    ) -> OccupancyGrid:
        """Rebuild a grid from what `columns` returned; the tensors are copied.

        Raises:
            OvsegError: naming what makes these no columns of a grid.
        """
        grid = cls(config, voxel_size, device)
        _check_columns(columns)
        grid.load(columns)
        return grid

    def observe(self, frame: RgbdFrame, hits: torch.Tensor, mapping: MappingConfig) -> Observation:
        """Work out what a frame says; the grid stays as it is.

        Args:
            frame: its depth counts. +inf and readings beyond `max_depth` free space up to there; NaN, 0, negative
                ones, -inf and those below `min_depth` say nothing.
            hits: (V,) int64 packed keys of the voxels that readings fell into. They are occupied,
                whatever else the frame says.
            mapping: depth range and region. No cell is freed nearer than `min_depth`, nor than one cell, or outside
                the region, rounded outwards to whole blocks.

        Raises:
            OvsegError: the frame reaches over too many cells.
        """
        box, evidence = self._evidence(frame, hits.to(self.device), mapping)
        block_keys = pack_keys(box)
        before, stamps = self._read(block_keys)
        now = torch.full_like(stamps, frame.stamp_ns)
        before, stamps = self._faded(before, torch.where(stamps == NEVER, now, stamps), now)

        sums = before.masked_fill(before == UNOBSERVED, 0).add_(evidence)
        sums.clamp_(self.config.min_log_odds, self.config.max_log_odds)
        after = torch.where(evidence == UNOBSERVED, before, sums)
        was_free = (before < 0) & (before != UNOBSERVED)
        freed = (after < 0) & (evidence != UNOBSERVED) & ((evidence > 0) | ~was_free)
        extent = torch.tensor([[0, 0, 0], [-1, -1, -1]], device=self.device)
        if len(box):
            extent = torch.stack((box.amin(dim=0) * BLOCK, (box.amax(dim=0) + 1) * BLOCK - 1))
        return Observation(marked_keys(block_keys, freed), extent, block_keys, after, stamps, self._changes)

    def apply(self, observation: Observation) -> None:
        """Write what `observe` returned; either all of it or, when memory runs out, nothing.

        Raises:
            ValueError: the grid has changed since.
        """
        if observation.changes != self._changes:
            raise ValueError("the grid has changed since this observation: observe and apply one frame after the other")
        places = self._table.find_or_reserve(observation.block_keys)
        self._table.write(places, {"log_odds": observation.log_odds, "stamps": observation.stamps})
        self._changes += 1

    def load(self, columns: Mapping[str, torch.Tensor]) -> None:
        """Add what `columns` or `columns_of` returned; the tensors are copied, all blocks must be new."""
        columns = {name: column.to(self.device) for name, column in columns.items()}
        places = self._table.find_or_reserve(columns["block_keys"])
        self._table.write(places, {"log_odds": columns["log_odds"], "stamps": columns["stamps"]})
        self._changes += 1

    def remove(self, block_keys: torch.Tensor) -> None:
        """Forget all about (B,) blocks, those that there are."""
        self._table.remove(block_keys)
        self._changes += 1

    def add(self, other: OccupancyGrid, transform: torch.Tensor | None = None) -> None:
        """Add what another grid knows: log-odds add up, clamped; newest stamps, with evidence faded up to them.

        Args:
            other: of cells of the same size.
            transform: (4, 4) rigid, points of ``other`` -> points of this grid, metres; None where both are in
                one frame. A cell gets what the cell of ``other`` knows that its centre lies in.

        Raises:
            OvsegError: the transform moves blocks out of the range of keys.
        """
        for block_keys, log_odds, stamps in other._parts() if transform is None else other._moved_parts(transform):
            self._add(block_keys.to(self.device), log_odds.to(self.device), stamps.to(self.device))
        self._changes += 1

    def clear(self) -> None:
        """Forget everything."""
        self._table = self._empty_table()
        self._changes += 1

    @property
    def changes(self) -> int:
        """Grows by one with each change."""
        return self._changes

    @property
    def block_count(self) -> int:
        """Blocks that hold something, B below."""
        return len(self._table)

    @property
    def block_keys(self) -> torch.Tensor:
        """(B,) int64 packed indices of the blocks."""
        return self._table.column("keys")

    @property
    def stamps(self) -> torch.Tensor:
        """(B,) int64 nanoseconds up to which the evidence of each block has faded."""
        return self._table.column("stamps")

    @property
    def columns(self) -> dict[str, torch.Tensor]:
        """Block_keys (B,) int64, log_odds (B, 512) int8, stamps (B,) int64; the inverse of `from_columns`."""
        return {name: self._table.column(column) for name, column in COLUMNS.items()}

    def columns_of(self, block_keys: torch.Tensor) -> dict[str, torch.Tensor]:
        """Copies of `columns` for (B,) blocks that are there."""
        rows = self._table.rows_of(block_keys)
        return {name: self._table.read(column, rows) for name, column in COLUMNS.items()}

    @property
    def column_bytes(self) -> int:
        """Memory of the blocks that there are."""
        return self._table.column_bytes

    @property
    def occupied_keys(self) -> torch.Tensor:
        """(n,) int64 packed keys of the occupied cells."""
        parts = self._table.chunks("keys", "log_odds")
        return torch.cat([marked_keys(keys, log_odds > 0) for keys, log_odds in parts])

    @property
    def free_keys(self) -> torch.Tensor:
        """(n,) int64 packed keys of the free cells."""
        parts = self._table.chunks("keys", "log_odds")
        return torch.cat([marked_keys(keys, (log_odds < 0) & (log_odds != UNOBSERVED)) for keys, log_odds in parts])

    def log_odds(self, keys: torch.Tensor) -> torch.Tensor:
        """(n,) packed keys of cells -> (n,) int8, UNOBSERVED where nothing is known."""
        cells = unpack_keys(keys.to(self.device))
        block_keys, block_of_cell = torch.unique(block_keys_of(cells), return_inverse=True)
        return self._read(block_keys)[0][block_of_cell, cell_numbers(cells)]

    def window(self, low: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
        """The box of ``shape`` cells from cell ``low`` on, (3,) int64 -> (nx, ny, nz) int8.

        Cells of which nothing is known, or that have no key, are UNOBSERVED.
        """
        box = BlockBox.around(low, low + shape - 1)
        result = torch.full(tuple(shape.tolist()), UNOBSERVED, dtype=torch.int8, device=self.device)
        if not len(box):
            return result
        nx, ny, nz = box.shape
        blocks = self._read(pack_keys(box.blocks(self.device)))[0].view(nx, ny, nz, BLOCK, BLOCK, BLOCK)
        cells = blocks.permute(0, 3, 1, 4, 2, 5).reshape(nx * BLOCK, ny * BLOCK, nz * BLOCK)
        source, target = [], []
        for first, start, end in zip((BLOCK * n for n in box.low), low.tolist(), (low + shape).tolist(), strict=True):
            begin, stop = max(start, first), min(end, KEY_LIMIT)
            source.append(slice(begin - first, stop - first))
            target.append(slice(begin - start, stop - start))
        result[tuple(target)] = cells[tuple(source)]
        return result

    def _read(self, block_keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) block keys -> (B, 512) int8 log-odds, (B,) int64 stamps; UNOBSERVED and NEVER where there is none."""
        rows = self._table.rows_of(block_keys)
        known = (rows != EMPTY).nonzero().squeeze(1)
        log_odds = torch.full((len(rows), BLOCK_CELLS), UNOBSERVED, dtype=torch.int8, device=self.device)
        log_odds[known] = self._table.read("log_odds", rows[known])
        stamps = torch.full_like(rows, NEVER)
        stamps[known] = self._table.read("stamps", rows[known])
        return log_odds, stamps

    def _parts(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """(n,) keys, (n, 512) log-odds and (n,) stamps of all blocks, of at most BLOCKS_AT_ONCE at a time."""
        for chunks in self._table.chunks("keys", "log_odds", "stamps"):
            yield from zip(*(torch.split(chunk, BLOCKS_AT_ONCE) for chunk in chunks), strict=True)

    def _moved_parts(self, transform: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """As `_parts`, after a rigid transform; the stamp of a block is the newest of what it is made of."""
        pose = in_cells(transform, self.voxel_size, self.device)
        reached = torch.unique(torch.cat([blocks_reached(keys, pose) for keys, _, _ in self._parts()]))
        for block_keys in torch.split(reached, BLOCKS_AT_ONCE):
            sources = pulled(block_keys, pose)
            known, stamps = self._read(sources.block_keys)
            log_odds = known[sources.block, sources.number]
            stamps = stamps[sources.block].masked_fill_(log_odds == UNOBSERVED, NEVER)
            newest = stamps.amax(dim=1)
            speaks = newest > NEVER
            log_odds, stamps, newest = log_odds[speaks], stamps[speaks], newest[speaks]
            by_cell = log_odds.view(-1, 1), stamps.view(-1), newest.repeat_interleave(BLOCK_CELLS)
            yield block_keys[speaks], self._faded(*by_cell)[0].view(log_odds.shape), newest

    def _add(self, block_keys: torch.Tensor, theirs: torch.Tensor, stamps: torch.Tensor) -> None:
        """Add (B, 512) log-odds with (B,) stamps to (B,) distinct blocks."""
        ours, our_stamps = self._read(block_keys)
        newest = torch.maximum(our_stamps, stamps)
        # Fading leaves unobserved cells unobserved, so it is no matter that blocks there aren't were seen NEVER.
        ours, _ = self._faded(ours, our_stamps, newest)
        theirs, _ = self._faded(theirs, stamps, newest)
        unknown, not_told = ours == UNOBSERVED, theirs == UNOBSERVED
        sums = ours.masked_fill(unknown, 0) + theirs.masked_fill(not_told, 0)
        sums.clamp_(self.config.min_log_odds, self.config.max_log_odds)
        sums.masked_fill_(unknown & not_told, UNOBSERVED)
        self._table.write(self._table.find_or_reserve(block_keys), {"log_odds": sums, "stamps": newest})

    def _evidence(
        self, frame: RgbdFrame, hits: torch.Tensor, mapping: MappingConfig
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3) indices of the blocks a frame says something about, (B, 512) int8 steps or UNOBSERVED."""
        depth, intrinsics = frame.depth.to(self.device), frame.intrinsics
        pose = frame.pose.to(self.device, torch.float64)
        hit = unpack_keys(hits)
        beside = neighbours_towards(pose[:3, 3] / self.voxel_size, hit)
        reach = reach_of(depth, min_depth=mapping.min_depth, max_depth=mapping.max_depth)
        far, near = float(reach.amax()), max(mapping.min_depth, self.voxel_size)
        first, last = torch.tensor(mapping.region_voxels, dtype=torch.float64, device=self.device).T
        low, high = view_box(far, intrinsics, pose, self.voxel_size).clamp(first, last)
        if len(hit):
            low, high = torch.minimum(low, hit.amin(dim=0) - 1), torch.maximum(high, hit.amax(dim=0) + 1)
        box = BlockBox.around(low, high)

        wanted = blocks_in_view(box, near=near, far=far, intrinsics=intrinsics, pose=pose, voxel_size=self.voxel_size)
        (hit_block, hit_number), (beside_block, beside_number) = box.numbers_of(hit), box.numbers_of(beside)
        wanted[hit_block] = True
        wanted[beside_block] = True
        row_of_block = wanted.cumsum(dim=0) - 1
        blocks = box.blocks(self.device)[wanted]

        free = free_cells(blocks, reach, near=near, intrinsics=intrinsics, pose=pose, voxel_size=self.voxel_size)
        evidence = torch.full(free.shape, UNOBSERVED, dtype=torch.int8, device=self.device)
        evidence.masked_fill_(free, -self.config.miss)
        cells = evidence.view(-1)
        beside_cell = row_of_block[beside_block] * BLOCK_CELLS + beside_number
        cells[beside_cell] = cells[beside_cell].masked_fill(cells[beside_cell] == UNOBSERVED, 0)
        cells[row_of_block[hit_block] * BLOCK_CELLS + hit_number] = self.config.hit
        # UNOBSERVED is the least of all; this is many times faster than `any`.
        speaks = evidence.amax(dim=1) > UNOBSERVED
        return blocks[speaks], evidence[speaks]

    def _faded(
        self, log_odds: torch.Tensor, stamps: torch.Tensor, now: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, n) log-odds and (B,) stamps -> both as they are at the (B,) stamps ``now``."""
        if self.config.decay_seconds == 0:
            return log_odds, torch.maximum(stamps, now)
        step_ns = round(self.config.decay_seconds * NANOSECONDS)
        steps = (now - stamps).clamp(min=0) // step_ns
        left = log_odds.short().abs() - steps.clamp(max=MAX_LOG_ODDS)[:, None]
        faded = (left * log_odds.sign()).to(torch.int8)
        nothing_left = (left <= 0) & (steps > 0)[:, None] | (log_odds == UNOBSERVED)
        return faded.masked_fill_(nothing_left, UNOBSERVED), stamps + steps * step_ns

    def _empty_table(self) -> VoxelTable:
        columns = {"log_odds": Column(torch.int8, (BLOCK_CELLS,)), "stamps": Column(torch.int64)}
        return VoxelTable(columns, self.device)


def _check_columns(columns: Mapping[str, torch.Tensor]) -> None:
    """Refuse what `OccupancyGrid.columns` can't have returned."""
    count = len(columns.get("block_keys", ()))
    expected = {
        "block_keys": (torch.int64, (count,)),
        "log_odds": (torch.int8, (count, BLOCK_CELLS)),
        "stamps": (torch.int64, (count,)),
    }
    found = {name: (column.dtype, tuple(column.shape)) for name, column in columns.items()}
    if found != expected:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise OvsegError(f"occupancy has columns of another size or type ({', '.join(wrong)}): save the map again")
    keys, log_odds = columns["block_keys"], columns["log_odds"]
    blocks = unpack_keys(keys)
    problems = {
        "block keys out of range": (keys < 0).any() or not ((blocks >= -BLOCK_LIMIT) & (blocks < BLOCK_LIMIT)).all(),
        "the same block twice": len(torch.unique(keys)) != count,
        "log-odds out of range": (
            (log_odds != UNOBSERVED) & ((log_odds < -MAX_LOG_ODDS) | (log_odds > MAX_LOG_ODDS))
        ).any(),
    }
    present = [problem for problem, there in problems.items() if there]
    if present:
        raise OvsegError(f"occupancy is damaged: it has {' and '.join(present)}: save the map again")
