"""The table under the map: against a dictionary, over many blocks, without copies when it grows."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_ros.mapping import columns
from ovseg_ros.mapping.columns import BLOCK_BYTES, BlockColumns, Column
from ovseg_ros.mapping.voxel_table import VoxelTable

SCHEMA = {"number": Column(torch.int64), "pair": Column(torch.float16, (2,))}


def contents(table: VoxelTable) -> dict[int, tuple[float, ...]]:
    columns = (table.column(name).tolist() for name in ("keys", "number", "pair"))
    return {key: (number, *pair) for key, number, pair in zip(*columns, strict=True)}


def put(table: VoxelTable, keys: torch.Tensor, numbers: torch.Tensor) -> None:
    places = table.find_or_reserve(keys)
    table.write(places, {"number": numbers, "pair": torch.stack((numbers, -numbers), dim=1)})


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MIN_BLOCK_ROWS", 16)
    monkeypatch.setattr(columns, "BLOCK_BYTES", 16)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), steps=st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=12))
def test_behaves_like_a_dictionary(seed, steps):
    rng = np.random.default_rng(seed)
    table, expected = VoxelTable(SCHEMA, torch.device("cpu")), {}
    for removes, size in steps:
        keys = rng.choice(150, size, replace=False) * (1 << 40)
        before, snapshot = list(contents(table).items()), table.snapshot()
        if removes:
            present = [key for key in keys.tolist() if expected.pop(key, None) is not None]
            assert table.remove(torch.from_numpy(keys)) == len(present)
        else:
            numbers = rng.integers(0, 1000, size)
            put(table, torch.from_numpy(keys), torch.from_numpy(numbers))
            expected |= {key: (n, n, -n) for key, n in zip(keys.tolist(), numbers.tolist(), strict=True)}
        assert contents(table) == expected and len(table) == len(expected)
        after, changed = list(contents(table).items()), table.changed_since(snapshot).tolist()
        assert {row for row in range(len(after)) if after[row : row + 1] != before[row : row + 1]} <= set(changed)
        assert len(changed) <= size and changed == sorted(changed)
        rows = table.rows_of(torch.arange(150) << 40)
        assert (rows >= 0).tolist() == [(key << 40) in expected for key in range(150)]
        assert torch.equal(table.column("keys")[rows[rows >= 0]], (rows >= 0).nonzero().squeeze(1) << 40)


def test_what_has_changed_is_not_known_of_another_table():
    table, other = (VoxelTable(SCHEMA, torch.device("cpu")) for _ in range(2))
    assert table.changed_since(other.snapshot()) is None


def test_growing_moves_nothing():
    table = VoxelTable(SCHEMA, torch.device("cpu"))
    put(table, torch.arange(40), torch.arange(40))
    before = [chunk.data_ptr() for (chunk,) in table.chunks("pair")]
    put(table, torch.arange(40, 400), torch.arange(360))
    after = [chunk.data_ptr() for (chunk,) in table.chunks("pair")]
    assert len(before) == 3 and len(after) == 25 and after[:3] == before


def test_a_reservation_is_not_seen_until_it_is_written():
    table = VoxelTable(SCHEMA, torch.device("cpu"))
    places = table.find_or_reserve(torch.arange(100))
    assert len(table) == 0 and not places.known.any() and (table.rows_of(places.keys) < 0).all()
    assert torch.isfinite(table.read("pair", places.rows)).all()


def test_bytes_are_those_of_the_rows_in_use():
    table = VoxelTable(SCHEMA, torch.device("cpu"))
    put(table, torch.arange(20), torch.arange(20))
    assert table.column_bytes == 20 * (8 + 8 + 4)


def test_an_empty_table_has_empty_columns():
    empty = BlockColumns(SCHEMA, torch.device("cpu"))
    assert empty.column("pair").shape == (0, 2) and empty.column("pair").dtype == torch.float16


def test_rows_that_were_never_written_take_no_memory():
    def resident() -> int:
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    columns = BlockColumns({"values": Column(torch.float32, (64,))}, torch.device("cpu"))
    before = resident()
    columns.reserve(1)
    assert resident() - before < BLOCK_BYTES / 8
