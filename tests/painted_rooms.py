"""Maps painted cell by cell: what is free, occupied and unknown, and what stands where, is known exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from word_space import SPACE, VOCABULARY, word

from ovseg_ros.geometry import pack_keys
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.mapping.blocks import BLOCK_CELLS, block_keys_of, cell_numbers
from ovseg_ros.mapping.occupancy import UNOBSERVED, OccupancyGrid
from ovseg_ros.mapping.ray_casting import DirectionBins
from ovseg_ros.mapping.rays import SemanticRays

CELL = 0.1
FREE, OCCUPIED = -10, 10

Box = tuple[Sequence[float], Sequence[float]]
"""Lowest and highest corner, metres; a cell belongs to it if its middle does."""


class Painting:
    """A world of unknown cells to paint in; the last paint counts.

    Args:
        low, high: corners of the world, metres.
    """

    def __init__(self, low: Sequence[float] = (-1, -1, -0.5), high: Sequence[float] = (7, 6, 3)) -> None:
        self._low = np.rint(np.array(low) / CELL).astype(int)
        self.states = np.full(np.rint(np.array(high) / CELL).astype(int) - self._low + 1, UNOBSERVED, dtype=np.int8)
        self._words: dict[str, np.ndarray] = {}
        self.rays: list[tuple[Sequence[float], Sequence[float], str]] = []

    def room(self, low: Sequence[float] = (0, 0), high: Sequence[float] = (6, 5), floor: float = 0.0) -> Painting:
        """Free space with a floor, four walls and a ceiling, 2.5 m high."""
        self.box((low[0], low[1], floor), (high[0], high[1], floor + 2.5), OCCUPIED)
        return self.box(
            (low[0] + CELL, low[1] + CELL, floor + CELL), (high[0] - CELL, high[1] - CELL, floor + 2.4), FREE
        )

    def box(self, low: Sequence[float], high: Sequence[float], state: int = OCCUPIED, name: str = "") -> Painting:
        """Fill a box, of voxels of what is called so."""
        part = tuple(
            slice(round(a / CELL) - start, round(b / CELL) - start + 1)
            for a, b, start in zip(low, high, self._low, strict=True)
        )
        self.states[part] = state
        for marks in self._words.values():
            marks[part] = False
        if name:
            self._words.setdefault(name, np.zeros(self.states.shape, dtype=bool))[part] = True
        return self

    def at(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) metres -> (...) states; unknown outside."""
        padded = np.pad(self.states, 1, constant_values=UNOBSERVED)
        cells = np.clip(np.rint(points / CELL).astype(int) - self._low + 1, 0, np.array(padded.shape) - 1)
        return padded[tuple(np.moveaxis(cells, -1, 0))]

    def is_named(self, name: str, points: np.ndarray, reach: float = 0.0) -> np.ndarray:
        """(n, 3) metres -> (n,) whether something of that name is within ``reach``, along each axis."""
        cells = (np.argwhere(self._words[name]) + self._low) * CELL
        return (np.abs(points[:, None] - cells).max(axis=-1) <= reach + CELL / 2 + 1e-9).any(axis=1)

    def map(self, layers: str = "rays") -> SemanticMap:
        """The world as a map of the words of `word_space`; occupied cells without a name are "wall"."""
        semantic_map = SemanticMap(MappingConfig(voxel_size=CELL, layers=layers), space=SPACE.id, vocabulary=VOCABULARY)
        voxels, features = [], []
        for name, marks in self._words.items():
            voxels.append(np.argwhere(marks))
            features.append(word(name).repeat(len(voxels[-1]), 1))
        count = sum(len(cells) for cells in voxels)
        if count:
            semantic_map = SemanticMap.from_columns(
                {
                    "keys": pack_keys(torch.from_numpy(np.concatenate(voxels) + self._low)),
                    "weights": torch.ones(count),
                    "colours": torch.zeros(count, 3),
                    "features": torch.cat(features),
                    "last_seen": torch.ones(count, dtype=torch.int64),
                    **semantic_map.layers.columns,
                },
                config=semantic_map.config,
                space=SPACE.id,
                vocabulary=VOCABULARY,
                revision=1,
            )
        if semantic_map.layers.occupancy is not None:
            semantic_map.layers.occupancy = self._occupancy(semantic_map.layers.occupancy)
        if self.rays:
            semantic_map.layers.rays = self._semantic_rays(semantic_map.layers.rays)
        return semantic_map

    def _occupancy(self, empty: OccupancyGrid) -> OccupancyGrid:
        cells = torch.from_numpy(np.argwhere(self.states != UNOBSERVED))
        states = torch.from_numpy(self.states)[cells.unbind(dim=1)]
        cells = cells + torch.from_numpy(self._low)
        keys, block = torch.unique(block_keys_of(cells), return_inverse=True)
        log_odds = torch.full((len(keys), BLOCK_CELLS), UNOBSERVED, dtype=torch.int8)
        log_odds[block, cell_numbers(cells)] = states
        columns = {"block_keys": keys, "log_odds": log_odds, "stamps": torch.zeros_like(keys)}
        return OccupancyGrid.from_columns(columns, empty.config, CELL)

    def _semantic_rays(self, empty: SemanticRays) -> SemanticRays:
        origins = torch.tensor([origin for origin, _, _ in self.rays], dtype=torch.float64)
        directions = torch.nn.functional.normalize(
            torch.tensor([direction for _, direction, _ in self.rays], dtype=torch.float64), dim=1
        )
        columns = {
            "frontier_keys": pack_keys(torch.round(origins / empty.cell_size).long()),
            "bins": DirectionBins(empty.config.angle_bin_degrees).of(directions),
            "origins": origins,
            "mean_directions": directions,
            "weights": torch.ones(len(origins), dtype=torch.float64),
            "features": torch.stack([word(name) for _, _, name in self.rays]),
        }
        return SemanticRays.from_columns(columns, empty.config, empty.cell_size)
