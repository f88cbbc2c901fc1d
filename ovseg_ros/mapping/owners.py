"""Which objects each voxel may belong to, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ovseg_ros.mapping.columns import Column
from ovseg_ros.mapping.voxel_table import Places, VoxelTable

NO_OBJECT = -1
"""Owner of what belongs to no object; the number of a free place."""

PLACES = 4
"""Objects that a voxel remembers; a fifth takes the place of the weakest."""

MEMBER_SHARE = 0.4
"""A voxel belongs to an object when this share of the pixels that could have been the object's were."""


@dataclass
class Owners:
    """Up to PLACES objects for each of n voxels, K below; changed in place.

    Attributes:
        places: of the voxels in their table.
        ids: (n, K) int64 objects, each at most once for a voxel, NO_OBJECT in free places.
        hits: (n, K) float32 pixels that were the object's.
        chances: (n, K) float32 pixels seen, since the first hit, in frames that saw the object.
    """

    places: Places
    ids: torch.Tensor
    hits: torch.Tensor
    chances: torch.Tensor

    @property
    def members(self) -> torch.Tensor:
        """(n, K) int64 objects that the voxels belong to, NO_OBJECT elsewhere."""
        return _members(self.ids, self.hits, self.chances)

    def add(self, voxels: torch.Tensor, ids: torch.Tensor, hits: torch.Tensor, chances: torch.Tensor) -> torch.Tensor:
        """Add (E,) hits and chances of distinct pairs of a voxel and an object.

        Returns:
            (E,) bool: pairs that are new and have found a place; those without hits are never new.
        """
        found = self.ids[voxels] == ids[:, None]
        entry, place = found.nonzero(as_tuple=True)
        self.hits[voxels[entry], place] += hits[entry]
        self.chances[voxels[entry], place] += chances[entry]
        new = (~found.any(dim=1) & (hits > 0)).nonzero().squeeze(1)
        # The newcomers to a voxel, strongest first, take its places, weakest first.
        new = new[torch.argsort(hits[new], descending=True, stable=True)]
        new = new[torch.argsort(voxels[new], stable=True)]
        at = voxels[new]
        number = torch.arange(len(new), device=new.device)
        rank = number - torch.searchsorted(at, at)
        new, at, rank = new[rank < PLACES], at[rank < PLACES], rank[rank < PLACES]
        strength = torch.where(self.ids == NO_OBJECT, -1.0, self.hits)
        place = torch.argsort(strength[at], dim=1, stable=True).gather(1, rank[:, None]).squeeze(1)
        self.ids[at, place], self.hits[at, place], self.chances[at, place] = ids[new], hits[new], chances[new]
        added = torch.zeros_like(hits, dtype=torch.bool)
        added[new] = True
        return added

    def take(self, owner: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Free the places of one object: (m,) voxels that it had one in, with its (m,) hits and (m,) chances."""
        voxels, place = (self.ids == owner).nonzero(as_tuple=True)
        hits, chances = self.hits[voxels, place], self.chances[voxels, place]
        self.ids[voxels, place] = NO_OBJECT
        self.hits[voxels, place] = self.chances[voxels, place] = 0.0
        return voxels, hits, chances


class OwnerTable:
    """`Owners` by voxel; work is proportional to the voxels asked for."""

    def __init__(self, device: torch.device) -> None:
        columns = {"ids": Column(torch.int64, (PLACES,))}
        columns |= {name: Column(torch.float32, (PLACES,)) for name in ("hits", "chances")}
        self._table = VoxelTable(columns, device)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def columns(self) -> dict[str, torch.Tensor]:
        """All that is stored, by name."""
        return {name: self._table.column(name) for name in self._table.schema}

    def knows(self, keys: torch.Tensor) -> torch.Tensor:
        """(n,) packed keys -> (n,) bool."""
        return self._table.rows_of(keys) >= 0

    def read(self, keys: torch.Tensor) -> Owners:
        """Copies for (n,) distinct keys; a voxel that the table doesn't know has only free places."""
        places = self._table.find_or_reserve(keys)
        known = places.known[:, None]
        ids, hits, chances = (self._table.read_places(name, places) for name in ("ids", "hits", "chances"))
        free = torch.full_like(ids, NO_OBJECT)
        return Owners(
            places, torch.where(known, ids, free), torch.where(known, hits, 0.0), torch.where(known, chances, 0.0)
        )

    def write(self, owners: Owners) -> None:
        """Store what `read` returned and others changed; nothing else was written between."""
        values = {"ids": owners.ids, "hits": owners.hits, "chances": owners.chances}
        self._table.write(owners.places, values)

    def members(self, keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n,) keys, which may repeat -> (n, K) objects they belong to, and their (n, K) hits."""
        rows = self._table.rows_of(keys)
        known = (rows >= 0).nonzero().squeeze(1)
        members = rows.new_full((len(keys), PLACES), NO_OBJECT)
        strengths = torch.zeros(len(keys), PLACES, device=keys.device)
        if len(known):
            ids, hits, chances = (self._table.read(name, rows[known]) for name in ("ids", "hits", "chances"))
            members[known] = _members(ids, hits, chances)
            strengths[known] = hits
        return members, strengths

    def remove(self, keys: torch.Tensor) -> None:
        """Forget (n,) distinct voxels, those that are there."""
        self._table.remove(keys)


def _members(ids: torch.Tensor, hits: torch.Tensor, chances: torch.Tensor) -> torch.Tensor:
    """(n, K) places -> (n, K) objects that the voxels belong to, NO_OBJECT elsewhere."""
    return torch.where(is_member(hits, chances), ids, NO_OBJECT)


def is_member(hits: torch.Tensor, chances: torch.Tensor) -> torch.Tensor:
    """Whether so many hits make a voxel the object's."""
    return hits >= MEMBER_SHARE * chances
