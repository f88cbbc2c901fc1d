"""A map larger than memory: the parts not seen for longest wait on disk, in cubic tiles, one file each.

A tile goes to disk when the map's columns exceed their limit, and comes back when a frame looks at it. Files
hold rows as they are stored, so a tile comes back bit for bit. They live in a temporary folder (TMPDIR) that
goes with the map.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import unpack_keys
from ovseg_ros.mapping.blocks import BLOCK
from ovseg_ros.mapping.config import MappingConfig
from ovseg_ros.mapping.free_space import reach_of, view_box
from ovseg_ros.mapping.fusion import coarse_keys
from ovseg_ros.mapping.occupancy import OccupancyGrid
from ovseg_ros.mapping.tables import MapTables
from ovseg_ros.types import RgbdFrame

MEGABYTE = 1e6

TILE_CELLS = 64
"""Edge of a tile, at least: 3.2 m with voxels of 5 cm."""

MARGIN_CELLS = 16
"""Beyond a frame's view: what it says is written in whole blocks, and frontiers look at the cells around those."""

SHARE_KEPT = 0.8
"""Of the limit, when tiles go to disk: they go seldom and many at a time, for choosing them looks at the whole map."""

OCCUPANCY = "occupancy."
"""Begins the names of that layer's columns, as in `SpatialLayers.columns`."""

_log = logging.getLogger(__name__)


class Eviction:
    """Which tiles of a map are on disk, and which go there next."""

    def __init__(self, config: MappingConfig, device: torch.device) -> None:
        """Start with nothing on disk; the folder is made when it is needed."""
        self._config = config
        self._device = device
        step = math.lcm(BLOCK, config.feature_block)
        self._edge = step * math.ceil(TILE_CELLS / step)
        self._folder: TemporaryDirectory[str] | None = None
        self._voxels: dict[int, int] = {}
        self._said: set[str] = set()

    @property
    def voxel_count(self) -> int:
        """Voxels on disk."""
        return sum(self._voxels.values())

    @property
    def tile_count(self) -> int:
        """Tiles on disk; some may hold free space only."""
        return len(self._voxels)

    def view_of(self, frame: RgbdFrame) -> torch.Tensor:
        """(2, 3) int64 lowest and highest cell that fusing the frame may read or write."""
        reach = reach_of(frame.depth, min_depth=self._config.min_depth, max_depth=self._config.max_depth)
        box = view_box(float(reach.amax()), frame.intrinsics, frame.pose.double(), self._config.voxel_size)
        return box.long().to(self._device) + torch.tensor([[-MARGIN_CELLS], [MARGIN_CELLS]], device=self._device)

    def recall_view(self, view: torch.Tensor, tables: MapTables, occupancy: OccupancyGrid | None) -> None:
        """Bring back the tiles in a (2, 3) box of cells."""
        tiles = self._tiles_on_disk()
        self._recall(tiles[self._within(tiles, view)], tables, occupancy)

    def recall_voxels(self, keys: torch.Tensor, tables: MapTables, occupancy: OccupancyGrid | None) -> None:
        """Bring back the tiles that voxels with these (n,) keys would lie in."""
        tiles = self._tiles_on_disk()
        self._recall(tiles[torch.isin(tiles, coarse_keys(keys, self._edge))], tables, occupancy)

    def trim(self, megabytes: float, view: torch.Tensor, tables: MapTables, occupancy: OccupancyGrid | None) -> None:
        """Write tiles to disk, those not seen for longest first, if the map's columns exceed a limit.

        Args:
            megabytes: the limit.
            view: (2, 3) box of cells whose tiles stay, whatever the limit.
            tables: voxels and features.
            occupancy: that layer, if the map has it.
        """
        limit = megabytes * MEGABYTE
        used = tables.column_bytes + (occupancy.column_bytes if occupancy is not None else 0)
        if used <= limit:
            return
        tiles, stamps, sizes = self._survey(tables, occupancy)
        free = ~self._within(tiles, view)
        order = torch.argsort(stamps[free], stable=True)
        tiles, sizes = tiles[free][order], sizes[free][order]
        before = sizes.cumsum(0) - sizes
        chosen = tiles[before < used - SHARE_KEPT * limit]
        if not len(chosen):
            self._say_once(
                "limit",
                f"what one frame sees takes more than the memory limit of {megabytes:g} MB, "
                f"{used / MEGABYTE:.0f} MB: raise memory_limit, or lower max_depth",
            )
            return
        try:
            self._evict(chosen, tables, occupancy)
        except (OSError, SafetensorError) as error:
            self._say_once(
                "write", f"parts of the map can't be written to disk and stay in memory: {error}: free some space"
            )

    def tiles(self) -> Iterator[dict[str, torch.Tensor]]:
        """The columns of each tile on disk, one after the other; the tiles stay there."""
        for tile in list(self._voxels):
            columns = self._read(tile)
            if columns:
                yield columns

    def _survey(
        self, tables: MapTables, occupancy: OccupancyGrid | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """All tiles in memory: (T,) keys, (T,) newest stamps, (T,) float64 bytes."""
        row_bytes = tables.column_bytes / max(len(tables.voxels), 1)
        keys, stamps, sizes = [], [], []
        for voxels, last_seen in tables.voxels.chunks("keys", "last_seen"):
            keys.append(coarse_keys(voxels, self._edge))
            stamps.append(last_seen)
            sizes.append(torch.full_like(last_seen, row_bytes, dtype=torch.float64))
        if occupancy is not None:
            keys.append(coarse_keys(occupancy.block_keys, self._edge // BLOCK))
            stamps.append(occupancy.stamps)
            block_bytes = occupancy.column_bytes / max(occupancy.block_count, 1)
            sizes.append(torch.full_like(stamps[-1], block_bytes, dtype=torch.float64))
        tiles, tile_of_row = torch.unique(torch.cat(keys), return_inverse=True)
        newest = torch.zeros_like(tiles).scatter_reduce_(0, tile_of_row, torch.cat(stamps), "amax", include_self=False)
        return tiles, newest, torch.bincount(tile_of_row, torch.cat(sizes), minlength=len(tiles))

    def _evict(self, chosen: torch.Tensor, tables: MapTables, occupancy: OccupancyGrid | None) -> None:
        voxels = torch.cat(
            [keys[torch.isin(coarse_keys(keys, self._edge), chosen)] for (keys,) in tables.voxels.chunks("keys")]
        )
        blocks = occupancy.block_keys if occupancy is not None else voxels[:0]
        parts = zip(
            chosen.tolist(),
            _split(voxels, coarse_keys(voxels, self._edge), chosen),
            _split(blocks, coarse_keys(blocks, self._edge // BLOCK), chosen),
            strict=True,
        )
        for tile, keys, block_keys in parts:
            columns = tables.columns_of(keys)
            if occupancy is not None:
                columns |= {OCCUPANCY + name: column for name, column in occupancy.columns_of(block_keys).items()}
            save_file({name: column.cpu().contiguous() for name, column in columns.items()}, self._path(tile))
            # On disk first, and only then no longer in memory.
            self._voxels[tile] = len(keys)
            tables.remove(keys)
            if occupancy is not None:
                occupancy.remove(block_keys)

    def _recall(self, tiles: torch.Tensor, tables: MapTables, occupancy: OccupancyGrid | None) -> None:
        for tile in tiles.tolist():
            columns = self._read(tile)
            if columns:
                tables.load(columns)
            if columns and occupancy is not None:
                occupancy.load({name.removeprefix(OCCUPANCY): columns[name] for name in columns if OCCUPANCY in name})
            self._voxels.pop(tile, None)
            self._path(tile).unlink(missing_ok=True)

    def _read(self, tile: int) -> dict[str, torch.Tensor]:
        """The columns of a tile; none, and the tile is forgotten, if its file is gone or damaged.

        Raises:
            OvsegError: the file is there and can't be opened.
        """
        try:
            return load_file(self._path(tile), device=str(self._device))
        except (OSError, SafetensorError) as error:
            # Without free file descriptors safetensors, too, says that there is no such file.
            if isinstance(error, OSError) and self._path(tile).exists():
                raise OvsegError(f"a part of the map on disk can't be read now: {error}: close some files") from error
            del self._voxels[tile]
            self._say_once("read", f"parts of the map are lost, their files can't be read: {error}: map them again")
            return {}

    def _path(self, tile: int) -> Path:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="ovseg_tiles_")
        return Path(self._folder.name) / f"{tile}.safetensors"

    def _tiles_on_disk(self) -> torch.Tensor:
        return torch.tensor(list(self._voxels), dtype=torch.int64, device=self._device)

    def _within(self, tiles: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        """(T,) bool: which of the (T,) tiles touch a (2, 3) box of cells."""
        low, high = torch.div(view, self._edge, rounding_mode="floor")
        indices = unpack_keys(tiles)
        return ((indices >= low) & (indices <= high)).all(dim=-1)

    def _say_once(self, kind: str, sentence: str) -> None:
        if kind not in self._said:
            _log.warning(sentence)
        self._said.add(kind)


def _split(keys: torch.Tensor, owners: torch.Tensor, wanted: torch.Tensor) -> list[torch.Tensor]:
    """(n,) keys and the tile of each -> the keys of each of the (T,) wanted tiles."""
    ordered, order = torch.sort(owners)
    starts = torch.searchsorted(ordered, wanted)
    ends = torch.searchsorted(ordered, wanted, right=True)
    return [keys[order[start:end]] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
