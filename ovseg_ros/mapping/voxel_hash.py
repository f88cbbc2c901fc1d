"""Packed voxel keys -> slots: an open-addressing hash table made of torch tensors, on any device.

A Python loop runs over probe rounds only; every round handles all keys that are still open at once.
With the table at most half full, all but a few keys are settled in the first two rounds.

A full table isn't moved to a larger one at once, which would take longer than many frames, but a stretch
with each batch; meanwhile keys are looked for in both.
"""

from __future__ import annotations

import torch

EMPTY = -1
"""Marks a free place, a missing key, and the slot of a removed one; packed keys are never negative."""

MIN_CAPACITY = 1024
MIX_1 = -0x61C8864680B583EB
MIX_2 = -0x3B314601E57A13AD
"""Odd 64-bit multipliers (as signed numbers) with well spread bits."""

MOVED_PLACES = 4096
MOVED_PLACES_PER_KEY = 8
"""Of a full table, with a batch and with each key in it. Half as many keys as it has places fit into one of twice its
size before that is full too, so 2 per key would do."""


class VoxelHash:
    """A map from distinct int64 keys >= 0 to slots from 0 to 2**31 - 1; work is proportional to the batch.

    A removed key keeps its place, without a slot, until its table is full: others may have probed past it.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._count = 0
        self._table = _Table(MIN_CAPACITY, torch.device(device))
        self._full: _Table | None = None
        self._moved = 0

    def __len__(self) -> int:
        return self._count

    def lookup(self, keys: torch.Tensor) -> torch.Tensor:
        """(n,) int64 keys -> (n,) int64 slots, EMPTY where a key is absent."""
        slots = self._table.slots_of(keys)
        if self._full is not None:
            missing = (slots == EMPTY).nonzero().squeeze(1)
            slots[missing] = self._full.slots_of(keys[missing])
        return slots

    def insert(self, keys: torch.Tensor, slots: torch.Tensor) -> None:
        """Add (n,) distinct int64 keys that `lookup` doesn't find, with their (n,) int64 slots."""
        self.reserve(len(keys))
        self._table.place(keys, slots)
        self._count += len(keys)

    def assign(self, keys: torch.Tensor, slots: torch.Tensor) -> None:
        """Give (n,) distinct keys that are in the table (n,) other slots."""
        left = self._table.assign(keys, slots)
        if self._full is not None:
            self._full.assign(keys[left], slots[left])

    def remove(self, keys: torch.Tensor) -> None:
        """Forget (n,) distinct keys that are in the table."""
        self.assign(keys, torch.full_like(keys, EMPTY))
        self._count -= len(keys)

    def reserve(self, more: int) -> None:
        """Make room for ``more`` keys at no more than half load; grows by doubling and forgets removed keys."""
        self._move(MOVED_PLACES + MOVED_PLACES_PER_KEY * more)
        if self._table.has_room(more):
            return
        if self._full is not None:
            self._move(len(self._full))
        capacity = len(self._table)
        while 2 * (self._count + more) > capacity:
            capacity *= 2
        self._full, self._moved = self._table, 0
        self._table = _Table(capacity, self._full.device)
        self._move(MOVED_PLACES + MOVED_PLACES_PER_KEY * more)

    def _move(self, places: int) -> None:
        """Move what is in the next places of the full table to the other."""
        if self._full is None:
            return
        self._table.place(*self._full.take(self._moved, self._moved + places))
        self._moved += places
        if self._moved >= len(self._full):
            self._full = None


class _Table:
    """Places that never become more."""

    def __init__(self, capacity: int, device: torch.device) -> None:
        """Make ``capacity`` free places, a power of two."""
        self.device = device
        self._used = 0
        self._keys = torch.full((capacity,), EMPTY, dtype=torch.int64, device=device)
        self._slots = torch.full((capacity,), EMPTY, dtype=torch.int32, device=device)

    def __len__(self) -> int:
        return len(self._keys)

    def has_room(self, more: int) -> bool:
        """Whether the table is at most half full with ``more`` keys; removed ones still count."""
        return 2 * (self._used + more) <= len(self)

    def slots_of(self, keys: torch.Tensor) -> torch.Tensor:
        """(n,) keys -> (n,) int64 slots, EMPTY where a key is absent."""
        places = self._places_of(keys)
        return torch.where(places == EMPTY, EMPTY, self._slots[places].long())

    def assign(self, keys: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
        """Give (n,) distinct keys (n,) slots where they have one; (m,) numbers of the keys that have none."""
        places = self._places_of(keys)
        here = (places != EMPTY) & (self._slots[places] != EMPTY)
        self._slots[places[here]] = slots[here].int()
        return (~here).nonzero().squeeze(1)

    def place(self, keys: torch.Tensor, slots: torch.Tensor) -> None:
        """Add (n,) distinct keys, and their (n,) slots, where there is room."""
        self._used += len(keys)
        places, slots = self._first_places(keys), slots.int()
        step = 0
        while len(keys):
            free = self._keys[places] == EMPTY
            # Keys that want the same free place all write it; one wins, the others read that and go on.
            self._keys[places[free]] = keys[free]
            settled = self._keys[places] == keys
            self._slots[places[settled]] = slots[settled]
            step += 1
            keys, slots = keys[~settled], slots[~settled]
            places = self._next_places(places[~settled], step)

    def take(self, first: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Remove what the places from ``first`` to before ``end`` hold: (n,) keys and their (n,) slots."""
        slots = self._slots[first:end]
        present = slots != EMPTY
        taken = self._keys[first:end][present], slots[present]
        slots.fill_(EMPTY)
        return taken

    def _places_of(self, keys: torch.Tensor) -> torch.Tensor:
        """(n,) keys -> (n,) int64 places in the table, EMPTY where there is none."""
        result = torch.full_like(keys, EMPTY)
        waiting = torch.arange(len(keys), device=keys.device)
        places = self._first_places(keys)
        step = 0
        while len(waiting):
            stored = self._keys[places]
            found = stored == keys[waiting]
            result[waiting[found]] = places[found]
            undecided = ~found & (stored != EMPTY)
            step += 1
            waiting, places = waiting[undecided], self._next_places(places[undecided], step)
        return result

    def _first_places(self, keys: torch.Tensor) -> torch.Tensor:
        mixed = keys * MIX_1
        mixed = (mixed ^ (mixed >> 32)) * MIX_2
        return (mixed ^ (mixed >> 29)) & (len(self) - 1)

    def _next_places(self, places: torch.Tensor, step: int) -> torch.Tensor:
        """Triangular probing: steps of 1, 2, 3 ... visit every place of a power-of-two table once."""
        return (places + step) & (len(self) - 1)
