"""Things in the map: what instance masks of many frames agree on, each with an id that stays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import in_key_range, pack_keys, transform_points, unpack_keys, voxel_centres, voxel_indices
from ovseg_ros.mapping.association import Overlaps, agreements, assign, count_pairs, numbered, one_hot
from ovseg_ros.mapping.map_object import MapObject, Record
from ovseg_ros.mapping.object_columns import read_records, record_columns
from ovseg_ros.mapping.owners import NO_OBJECT, Owners, OwnerTable, is_member
from ovseg_ros.mapping.sightings import Sightings

OBJECTS = "objects."
"""Begins the names of the objects' columns among those of a map."""

ABSORBED = 0.6
"""How much of an object a sighting of another must cover to say that they are one."""

JOIN_VIEWS = 3
JOIN_SHARE = 0.5
"""Two objects are joined when so many frames say so, and so many for each frame that saw the less seen one."""

TRACK_OVERLAP = 0.4
"""A followed thing that overlaps less with where it was has moved."""


class ObjectLayer:
    """The objects of one map. The work of `observe` depends on what the frame sees.

    Example:
        >>> layer = ObjectLayer(voxel_size=0.05)
        >>> len(layer), list(layer)
        (0, [])
    """

    def __init__(self, voxel_size: float, device: torch.device | str = "cpu") -> None:
        """Start without objects, for voxels of this edge length in metres."""
        self._voxel_size = voxel_size
        self._device = torch.device(device)
        self._owners = OwnerTable(self._device)
        self._records: dict[int, Record] = {}
        self._next_id = 0
        self._tracks: dict[int, int] = {}
        self._together: dict[tuple[int, int], int] = {}

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, torch.Tensor], voxel_size: float, device: torch.device | str = "cpu"
    ) -> ObjectLayer:
        """Rebuild what `columns` returned, an empty layer of none; the tensors are copied.

        Raises:
            OvsegError: naming what makes these no columns of objects.
        """
        layer = cls(voxel_size, device)
        if not columns:
            return layer
        layer._records = read_records(columns)
        layer._next_id = int(columns["next_id"])
        owners = layer._owners.read(columns["keys"].to(layer._device))
        owners.ids, owners.hits, owners.chances = (
            columns[name].to(layer._device, copy=True) for name in ("ids", "hits", "chances")
        )
        layer._owners.write(owners)
        numbers = sorted(layer._records)
        things, keys, _, _ = layer._entries(numbers)
        lengths = torch.bincount(things, minlength=len(numbers)).tolist()
        parts = torch.split(keys[torch.argsort(things)], lengths)
        for number, part in zip(numbers, parts, strict=True):
            layer._records[number].extend(part)
        layer._recount(owners.members[:0], owners.members)
        layer._records = {number: record for number, record in layer._records.items() if record.voxels}
        return layer

    @property
    def columns(self) -> dict[str, torch.Tensor]:
        """All that is stored, by name; nothing if there never was an object. Tracks aren't: they end with a model."""
        return self._owners.columns | record_columns(self._records, self._next_id) if self._next_id else {}

    def __len__(self) -> int:
        """Objects that were seen often enough to be shown."""
        return len(self._shown())

    def __iter__(self) -> Iterator[MapObject]:
        """The objects that were seen often enough to be shown, by id."""
        ids = self._shown()
        return (
            self._records[number].as_object(number, keys, self._voxel_size)
            for number, keys in zip(ids, self._voxels_of(ids), strict=True)
        )

    def observe(self, sightings: Sightings, stamp_ns: int) -> None:
        """Take one frame's instances into account.

        Args:
            sightings: in any order.
            stamp_ns: of the frame, nanoseconds.
        """
        sightings = sightings.distinct() if len(sightings.keys) else sightings
        if not (sightings.names and len(sightings.keys)):
            return
        present = sightings.inside > 0
        touched = (present.any(dim=0) | self._owners.knows(sightings.keys)).nonzero().squeeze(1)
        keys, present = sightings.keys[touched], present[:, touched]
        inside, edge = sightings.inside[:, touched], sightings.edge[:, touched]
        owners = self._owners.read(keys)
        known, places = numbered(owners.members)
        members = one_hot(places, len(known))
        sizes, seen = self._sizes(known), members.sum(dim=0)
        shared, at_edge = present.float() @ members, ((edge > 0) & ~present).float() @ members
        overlaps = Overlaps.of(shared, present.sum(dim=1), sizes, seen - at_edge)
        # A sliver seen apart may lie in what is always the edge of the whole.
        around = Overlaps.of(shared + at_edge, (inside + edge > 0).sum(dim=1), sizes, seen)
        agreement = agreements(sightings.names, [self._records[number].names for number in known]).to(self._device)
        ids = self._identify(sightings.tracks, overlaps, agreement, known)
        if self._vacate_moved(ids, sightings.tracks, overlaps, known):
            owners = self._owners.read(keys)

        numbers = torch.tensor(ids, device=self._device)
        thing, voxel = (present | (owners.ids == numbers[:, None, None]).any(dim=2)).nonzero(as_tuple=True)
        # What lies at the border of a mask is no chance: a thin thing would lose by it.
        chances = torch.maximum(sightings.pixels[touched] - edge, inside)
        for number, names in zip(ids, sightings.names, strict=True):
            self._records.setdefault(number, Record()).see(names, 1, stamp_ns, stamp_ns)
        self._add(owners, keys, voxel, numbers[thing], inside[thing, voxel], chances[thing, voxel])
        self._join_absorbed(ids, around.absorbed(agreement), known)

    @property
    def labels(self) -> dict[int, str]:
        """Id -> likeliest name of the objects that are shown."""
        return {number: self._records[number].label for number in self._shown()}

    def ids_of(self, keys: torch.Tensor, among: Collection[int] | None = None) -> torch.Tensor:
        """(n,) packed keys -> (n,) int64 id of the shown object that each voxel most likely belongs to, -1 for none.

        Only objects of ``among`` count, if that is given.
        """
        members, hits = self._owners.members(keys)
        wanted = [number for number in self._shown() if among is None or number in among]
        fits = torch.isin(members, torch.tensor(wanted, dtype=torch.int64, device=self._device))
        best = torch.where(fits, hits, -1.0).argmax(dim=1, keepdim=True)
        return torch.where(fits, members, NO_OBJECT).gather(1, best).squeeze(1)

    def voxels_of(self, number: int) -> torch.Tensor:
        """(n,) ascending packed keys of the voxels of the shown object with this id."""
        return self._voxels_of([number])[0]

    def remove(self, keys: torch.Tensor) -> None:
        """Take (n,) distinct voxels from all objects; objects without voxels are gone."""
        if not len(self._owners):
            return
        keys = keys[self._owners.knows(keys)]
        before = self._owners.read(keys).members
        self._owners.remove(keys)
        self._recount(before, before[:0])

    def add(self, other: ObjectLayer, transform: torch.Tensor | None = None) -> None:
        """Add the objects of another map; those that overlap with objects here are the same things.

        Others keep their ids where these are larger than all here, else get new ones.

        Args:
            other: of voxels of the same size.
            transform: (4, 4) rigid, points there -> points here; None where both are in one frame.

        Raises:
            OvsegError: the transform moves voxels out of the range of a map.
        """
        theirs = sorted(other._records)
        if not theirs:
            self._next_id = max(self._next_id, other._next_id)
            return
        things, keys, hits, chances = (column.to(self._device) for column in other._entries(theirs))
        if transform is not None:
            things, keys, hits, chances = self._moved(transform, things, keys, hits, chances)
        distinct, voxel = torch.unique(keys, return_inverse=True)
        owners = self._owners.read(distinct)
        known, places = numbered(owners.members)
        member = is_member(hits, chances)
        shared = count_pairs(things[member], places[voxel[member]], len(theirs), len(known))
        sizes = torch.bincount(things[member], minlength=len(theirs))
        overlaps = Overlaps.of(shared, sizes, self._sizes(known))
        records = [other._records[number] for number in theirs]
        agreement = agreements([r.names for r in records], [self._records[number].names for number in known])
        chosen = assign(overlaps.fit(agreement.to(self._device)))
        ids = [known[place] if place is not None else NO_OBJECT for place in chosen]
        for i, number in enumerate(theirs):
            if ids[i] == NO_OBJECT:
                self._next_id = max(self._next_id, number)
                ids[i] = self._new_id()
            record = records[i]
            self._records.setdefault(ids[i], Record()).see(
                record.names, record.views, record.first_seen, record.last_seen
            )
        self._next_id = max(self._next_id, other._next_id)
        self._add(owners, distinct, voxel, torch.tensor(ids, device=self._device)[things], hits, chances)

    def _shown(self) -> list[int]:
        return sorted(number for number, record in self._records.items() if record.is_shown)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _sizes(self, ids: Sequence[int]) -> torch.Tensor:
        """(O,) float32 voxels of objects."""
        return torch.tensor([float(self._records[number].voxels) for number in ids], device=self._device)

    def _identify(
        self, tracks: Sequence[int | None], overlaps: Overlaps, agreement: torch.Tensor, known: Sequence[int]
    ) -> list[int]:
        """The object, known or new, of each sighting; ``known`` are those that the overlaps are with."""
        fit = overlaps.fit(agreement)
        ids: list[int | None] = [None] * len(tracks)
        for i, track in enumerate(tracks):
            followed = None if track is None else self._tracks.get(track)
            if followed is not None and followed not in ids:
                ids[i] = followed
                fit[i] = 0.0
                fit[:, [number == followed for number in known]] = 0.0
        for i, place in enumerate(assign(fit)):
            if place is not None:
                ids[i] = known[place]
        identified = [self._new_id() if number is None else number for number in ids]
        self._tracks |= {track: number for track, number in zip(tracks, identified, strict=True) if track is not None}
        return identified

    def _vacate_moved(
        self, ids: Sequence[int], tracks: Sequence[int | None], overlaps: Overlaps, known: Sequence[int]
    ) -> bool:
        """Take their voxels from followed objects that are elsewhere now; whether there were any."""
        part = torch.maximum(overlaps.explained, overlaps.covered).tolist()
        moved = [
            number
            for i, number in enumerate(ids)
            if tracks[i] is not None
            and number in self._records
            and (number not in known or part[i][known.index(number)] < TRACK_OVERLAP)
        ]
        for number in moved:
            keys = self._keys_of(number)
            owners = self._owners.read(keys)
            owners.take(number)
            self._owners.write(owners)
            self._records[number].voxels, self._records[number].keys = 0, []
        return bool(moved)

    def _add(
        self,
        owners: Owners,
        keys: torch.Tensor,
        voxels: torch.Tensor,
        ids: torch.Tensor,
        hits: torch.Tensor,
        chances: torch.Tensor,
    ) -> None:
        """Add (E,) hits and chances of objects to the voxels of ``keys``, of which ``owners`` are."""
        before = owners.members
        new = owners.add(voxels, ids, hits, chances)
        self._owners.write(owners)
        for number in torch.unique(ids[new]).tolist():
            self._records[number].extend(keys[voxels[new & (ids == number)]])
        self._recount(before, owners.members)
        for number in torch.unique(ids).tolist():
            if number in self._records and not self._records[number].voxels:
                self._forget(number)

    def _recount(self, before: torch.Tensor, after: torch.Tensor) -> None:
        """Bring numbers of voxels up to date after (n, K) members of some have changed to others."""
        numbers, place = torch.unique(torch.cat((before.flatten(), after.flatten())), return_inverse=True)
        sign = torch.ones(len(place), dtype=torch.float64, device=self._device)
        sign[: before.numel()] = -1.0
        changes = torch.bincount(place, sign, minlength=len(numbers)).long()
        for number, change in zip(numbers.tolist(), changes.tolist(), strict=True):
            if number in self._records and change:
                self._records[number].voxels += change
                if not self._records[number].voxels:
                    self._forget(number)

    def _forget(self, number: int) -> None:
        del self._records[number]
        self._tracks = {track: owner for track, owner in self._tracks.items() if owner != number}
        self._together = {pair: count for pair, count in self._together.items() if number not in pair}

    def _join_absorbed(self, ids: Sequence[int], absorbed: torch.Tensor, known: Sequence[int]) -> None:
        """Join objects of which often enough a sighting of one was the other too, which wasn't seen beside it."""
        pairs = [
            (min(number, known[place]), max(number, known[place]))
            for i, place in (absorbed >= ABSORBED).nonzero().tolist()
            if known[place] not in ids
            for number in [ids[i]]
        ]
        for pair in combinations(sorted(ids), 2):
            if pair in self._together:
                self._together[pair] -= 1
        for pair in pairs:
            if not all(number in self._records for number in pair):
                continue
            older, younger = pair
            self._together[pair] = self._together.get(pair, 0) + 1
            views = min(self._records[number].views for number in pair)
            if self._together[pair] >= max(JOIN_VIEWS, JOIN_SHARE * views):
                self._join(older, younger)

    def _join(self, older: int, younger: int) -> None:
        """Make two objects one, by the id of the older."""
        joined, record = self._records[younger], self._records[older]
        keys = self._keys_of(younger)
        owners = self._owners.read(keys)
        before = owners.members
        voxels, hits, chances = owners.take(younger)
        owners.add(voxels, torch.full_like(voxels, older), hits, chances)
        self._owners.write(owners)
        record.extend(keys)
        record.see(joined.names, joined.views, joined.first_seen, joined.last_seen)
        for track, owner in self._tracks.items():
            self._tracks[track] = older if owner == younger else owner
        self._recount(before, owners.members)

    def _keys_of(self, number: int) -> torch.Tensor:
        """(n,) ascending keys of all voxels that an object may have a place in."""
        keys = torch.unique(torch.cat(self._records[number].keys))
        return keys[self._owners.knows(keys)]

    def _voxels_of(self, ids: Sequence[int]) -> list[torch.Tensor]:
        """For each object the (n,) ascending keys of the voxels that belong to it."""
        if not ids:
            return []
        keys = [self._keys_of(number) for number in ids]
        lengths = torch.tensor([len(part) for part in keys], device=self._device)
        of_keys = torch.tensor(ids, device=self._device).repeat_interleave(lengths)
        members, _ = self._owners.members(torch.cat(keys))
        own = (members == of_keys[:, None]).any(dim=1)
        return [part[mine] for part, mine in zip(keys, torch.split(own, lengths.tolist()), strict=True)]

    def _entries(self, ids: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """All places of objects, E in all: place in ``ids``, key, hits and chances of each."""
        columns = self._owners.columns
        wanted = torch.tensor(ids, dtype=torch.int64, device=self._device)
        voxel, place = torch.isin(columns["ids"], wanted).nonzero(as_tuple=True)
        things = torch.searchsorted(wanted, columns["ids"][voxel, place])
        return things, columns["keys"][voxel], columns["hits"][voxel, place], columns["chances"][voxel, place]

    def _moved(
        self,
        transform: torch.Tensor,
        things: torch.Tensor,
        keys: torch.Tensor,
        hits: torch.Tensor,
        chances: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Places where voxels lie after a (4, 4) transform; those of one object in one voxel are added."""
        centres = voxel_centres(unpack_keys(keys), self._voxel_size)
        indices = voxel_indices(transform_points(transform.to(self._device), centres), self._voxel_size)
        if not in_key_range(indices).all():
            raise OvsegError("the transform moves objects out of the range of a map: check its translation, in metres")
        voxels, voxel = torch.unique(pack_keys(indices), return_inverse=True)
        pairs, row = torch.unique(things * len(voxels) + voxel, return_inverse=True)
        hits, chances = (torch.bincount(row, values, minlength=len(pairs)).float() for values in (hits, chances))
        return pairs // max(len(voxels), 1), voxels[pairs % max(len(voxels), 1)], hits, chances
