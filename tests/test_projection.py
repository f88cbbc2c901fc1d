"""Occupancy from above: every column says what a brute-force look at its cells says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import pack_keys
from ovseg_ros.mapping.blocks import BLOCK, BLOCK_CELLS
from ovseg_ros.mapping.layer_config import OccupancyConfig
from ovseg_ros.mapping.occupancy import UNOBSERVED, OccupancyGrid
from ovseg_ros.mapping.projection import MAX_CELLS, ground_plan

SIZE = 0.1


def grid(blocks: torch.Tensor, log_odds: torch.Tensor) -> OccupancyGrid:
    columns = {
        "block_keys": pack_keys(blocks),
        "log_odds": log_odds.view(-1, BLOCK_CELLS),
        "stamps": torch.ones(len(blocks), dtype=torch.int64),
    }
    return OccupancyGrid.from_columns(columns, OccupancyConfig(), SIZE)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**16), bottom=st.integers(-16, 16), cells_high=st.integers(0, 20))
def test_each_column_is_what_its_cells_in_the_band_are(seed: int, bottom: int, cells_high: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.unique(torch.randint(-2, 3, (6, 3), generator=generator), dim=0)
    choices = torch.tensor([UNOBSERVED] * 20 + [-3, 0, 5], dtype=torch.int8)
    log_odds = choices[torch.randint(len(choices), (len(blocks), BLOCK, BLOCK, BLOCK), generator=generator)]
    # Between centres, where rounding decides nothing.
    lowest, highest = (bottom - 0.5) * SIZE, (bottom - 0.5 + cells_high) * SIZE
    plan = ground_plan(grid(blocks, log_odds), lowest, highest)

    expected: dict[tuple[int, int], int] = {}
    for block, cells in zip(blocks.tolist(), log_odds.numpy(), strict=True):
        for place in np.argwhere(cells != UNOBSERVED).tolist():
            x, y, z = (BLOCK * b + c for b, c in zip(block, place, strict=True))
            if cells[tuple(place)] != 0 and lowest <= z * SIZE <= highest:
                state = 100 if cells[tuple(place)] > 0 else 0
                expected[x, y] = max(expected.get((x, y), -1), state)
    found = {}
    for row, column in (plan.cells != -1).nonzero().tolist():
        centre = np.array(plan.corner) + (np.array([column, row]) + 0.5) * SIZE
        x, y = np.rint(centre / SIZE).astype(int).tolist()
        found[x, y] = int(plan.cells[row, column])
    assert found == expected


def test_a_plan_too_large_for_memory_is_refused() -> None:
    far = int(MAX_CELLS**0.5)
    blocks = torch.tensor([[0, 0, 0], [far, far, 0]])
    log_odds = torch.zeros(2, BLOCK_CELLS, dtype=torch.int8)
    with pytest.raises(OvsegError, match=r"set mapping\.region"):
        ground_plan(grid(blocks, log_odds), 0.0, 1.0)


def test_a_grid_with_nothing_in_the_band_has_no_cells() -> None:
    blocks, log_odds = torch.zeros(1, 3, dtype=torch.int64), torch.full((1, BLOCK_CELLS), 5, dtype=torch.int8)
    assert ground_plan(grid(blocks, log_odds), 5.0, 6.0).cells.shape == (0, 0)
