"""Which of the things seen now are which of the objects known: by overlap, helped by names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ovseg_ros.mapping.owners import NO_OBJECT

MIN_OVERLAP = 0.4
"""Weaker overlaps are other things. Neighbours share voxels of their border only; of one thing seen twice with a depth
camera's noise about half of the voxels are the same."""

BACKING = 4.0
"""A part that speaks fully for the whole may be this many times smaller."""


@dataclass(frozen=True)
class Overlaps:
    """How I things lie over O objects.

    Attributes:
        explained: (I, O) share of a thing's voxels that belong to the object.
        covered: (I, O) share of an object's voxels, wherever they are, that are the thing's.
        visible: (I, O) the same of those of its voxels that could be seen now.
    """

    explained: torch.Tensor
    covered: torch.Tensor
    visible: torch.Tensor

    @classmethod
    def of(
        cls, shared: torch.Tensor, things: torch.Tensor, objects: torch.Tensor, seen: torch.Tensor | None = None
    ) -> Overlaps:
        """From (I, O) shared voxels, (I,) voxels of the things, (O,) of the objects, and (I, O) of those seen now."""
        return cls(
            explained=shared / things[:, None].clamp(min=1),
            covered=shared / objects.clamp(min=1),
            visible=shared / (objects if seen is None else seen).clamp(min=1),
        )

    def fit(self, agreement: torch.Tensor) -> torch.Tensor:
        """How well they go together, (I, O) in 0..1, given how far their names agree, (I, O) in 0..1.

        By the same name, a part of a thing is the thing, whichever of the two is the part. By another name it is the
        same only if each covers the other, as far as it can be seen, and not only some corner of it can.
        """
        part = torch.maximum(torch.maximum(self.explained, self.covered), (self.explained * self.visible).sqrt())
        whole = torch.minimum(torch.minimum(self.explained, self.visible), BACKING * self.covered)
        return agreement * part + (1.0 - agreement) * whole

    def absorbed(self, agreement: torch.Tensor) -> torch.Tensor:
        """How far each object is a part of each thing, (I, O) in 0..1; by another name, only if it is most of it."""
        part = torch.minimum(self.visible, BACKING * torch.maximum(self.explained, self.covered))
        return agreement * part + (1.0 - agreement) * torch.minimum(self.covered, self.explained)


def agreements(things: Sequence[Mapping[str, float]], objects: Sequence[Mapping[str, float]]) -> torch.Tensor:
    """(I, O) in 0..1: how much of an object's likeliest name's score it has by a name of the thing."""
    return torch.tensor(
        [
            [max(known.get(name, 0.0) for name in names) / max(max(known.values()), 1e-9) for known in objects]
            for names in things
        ]
    ).view(len(things), len(objects))


def assign(fit: torch.Tensor) -> list[int | None]:
    """(I, O) -> for each thing its object, each object once, the best pairs first; None below MIN_OVERLAP.

    Of equal pairs the first thing and the first object are taken.
    """
    pairs = (fit >= MIN_OVERLAP).nonzero()
    order = torch.argsort(fit[fit >= MIN_OVERLAP], descending=True, stable=True)
    chosen: list[int | None] = [None] * len(fit)
    taken: set[int] = set()
    for thing, known in pairs[order].tolist():
        if chosen[thing] is None and known not in taken:
            chosen[thing] = known
            taken.add(known)
    return chosen


def numbered(members: torch.Tensor) -> tuple[list[int], torch.Tensor]:
    """(n, K) ids -> the O distinct ones but NO_OBJECT, and their (n, K) places among them, O for NO_OBJECT."""
    known, places = torch.unique(members, return_inverse=True)
    if len(known) and known[0] == NO_OBJECT:
        return known[1:].tolist(), torch.where(places == 0, len(known) - 1, places - 1)
    return known.tolist(), places


def one_hot(places: torch.Tensor, count: int) -> torch.Tensor:
    """(n, K) places up to ``count`` -> (n, count) float32, 1 in each place."""
    return torch.zeros(len(places), count + 1, device=places.device).scatter_(1, places, 1.0)[:, :count]


def count_pairs(things: torch.Tensor, places: torch.Tensor, rows: int, count: int) -> torch.Tensor:
    """(E,) rows and their (E, K) places up to ``count`` -> (rows, count) float32, how often they come together."""
    pairs = things[:, None] * (count + 1) + places
    return torch.bincount(pairs.flatten(), minlength=rows * (count + 1)).view(rows, count + 1)[:, :count].float()
