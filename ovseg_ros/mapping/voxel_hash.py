"""Packed voxel keys -> slots: an open-addressing hash table made of torch tensors, on any device.

A Python loop runs over probe rounds only; every round handles all keys that are still open at once.
With the table at most half full, all but a few keys are settled in the first two rounds.
"""

from __future__ import annotations

import torch

EMPTY = -1
"""Marks a free place, a missing key, and the slot of a removed one; packed keys are never negative."""

MIN_CAPACITY = 1024
MIX_1 = -0x61C8864680B583EB
MIX_2 = -0x3B314601E57A13AD
"""Odd 64-bit multipliers (as signed numbers) with well spread bits."""


class VoxelHash:
    """A map from distinct int64 keys >= 0 to slots from 0 to 2**31 - 1; work is proportional to the batch.

    A removed key keeps its place, without a slot, until the table grows: others may have probed past it.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._count = 0
        self._used = 0
        self._keys = torch.full((MIN_CAPACITY,), EMPTY, dtype=torch.int64, device=device)
        self._slots = torch.full((MIN_CAPACITY,), EMPTY, dtype=torch.int32, device=device)

    def __len__(self) -> int:
        return self._count

    def lookup(self, keys: torch.Tensor) -> torch.Tensor:
        """(n,) int64 keys -> (n,) int64 slots, EMPTY where a key is absent."""
        places = self._places_of(keys)
        return torch.where(places == EMPTY, EMPTY, self._slots[places].long())

    def insert(self, keys: torch.Tensor, slots: torch.Tensor) -> None:
        """Add (n,) distinct int64 keys that `lookup` doesn't find, with their (n,) int64 slots."""
        self.reserve(len(keys))
        self._place(keys, slots.int())
        self._count += len(keys)
        self._used += len(keys)

    def assign(self, keys: torch.Tensor, slots: torch.Tensor) -> None:
        """Give (n,) distinct keys that are in the table (n,) other slots."""
        self._slots[self._places_of(keys)] = slots.int()

    def remove(self, keys: torch.Tensor) -> None:
        """Forget (n,) distinct keys that are in the table."""
        self._slots[self._places_of(keys)] = EMPTY
        self._count -= len(keys)

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

    def reserve(self, more: int) -> None:
        """Make room for ``more`` keys at no more than half load; grows by doubling and forgets removed keys."""
        capacity = len(self._keys)
        if 2 * (self._used + more) <= capacity:
            return
        present = self._slots != EMPTY
        keys, slots = self._keys[present], self._slots[present]
        while 2 * (len(keys) + more) > capacity:
            capacity *= 2
        table = torch.full((capacity,), EMPTY, dtype=torch.int64, device=keys.device)
        self._slots = torch.full((capacity,), EMPTY, dtype=torch.int32, device=keys.device)
        self._keys = table
        self._place(keys, slots)
        self._used = len(keys)

    def _place(self, keys: torch.Tensor, slots: torch.Tensor) -> None:
        places = self._first_places(keys)
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

    def _first_places(self, keys: torch.Tensor) -> torch.Tensor:
        mixed = keys * MIX_1
        mixed = (mixed ^ (mixed >> 32)) * MIX_2
        return (mixed ^ (mixed >> 29)) & (len(self._keys) - 1)

    def _next_places(self, places: torch.Tensor, step: int) -> torch.Tensor:
        """Triangular probing: steps of 1, 2, 3 ... visit every place of a power-of-two table once."""
        return (places + step) & (len(self._keys) - 1)
