"""One thing in the map, as it is shown, and what is known of it beside its voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from ovseg_ros.geometry import unpack_keys

MIN_VIEWS = 2
"""Frames that must have seen an object before it is shown: what a model sees once is often a mistake."""

KEY_LISTS = 32
"""Lists of an object's voxels that are joined to one when there are more."""


@dataclass(frozen=True)
class MapObject:
    """One thing in the map.

    Attributes:
        id: stays while the thing is in the map, and is never used again for another.
        label_scores: name -> mean score in 0..1 over all views, likeliest first.
        keys: (n,) int64 packed voxels that it consists of, ascending.
        voxel_size: of these, metres.
        view_count: frames that saw it.
        first_seen_ns, last_seen_ns: stamps of the first and the last of them.
    """

    id: int
    label_scores: Mapping[str, float]
    keys: torch.Tensor
    voxel_size: float
    view_count: int
    first_seen_ns: int
    last_seen_ns: int

    @property
    def label(self) -> str:
        """The likeliest name."""
        return next(iter(self.label_scores))

    @property
    def score(self) -> float:
        """Of the likeliest name, 0..1."""
        return self.label_scores[self.label]

    @property
    def voxel_count(self) -> int:
        """Voxels that it consists of."""
        return len(self.keys)

    @property
    def centre(self) -> tuple[float, float, float]:
        """x, y, z of the middle of its box along the axes of the map frame, metres."""
        low, high = self._corners()
        x, y, z = ((low + high) / 2 * self.voxel_size).tolist()
        return x, y, z

    @property
    def size(self) -> tuple[float, float, float]:
        """Of that box, metres, voxels included."""
        low, high = self._corners()
        dx, dy, dz = ((high - low + 1) * self.voxel_size).tolist()
        return dx, dy, dz

    def _corners(self) -> tuple[torch.Tensor, torch.Tensor]:
        indices = unpack_keys(self.keys)
        return indices.amin(dim=0).double(), indices.amax(dim=0).double()


@dataclass
class Record:
    """What is known of an object beside its voxels.

    Attributes:
        names: name -> sum of its scores over all views.
        views: frames that saw it.
        first_seen, last_seen: their stamps, nanoseconds.
        voxels: how many belong to it.
        keys: voxels that it has, or has had, a place in; may repeat.
    """

    names: dict[str, float] = field(default_factory=dict)
    views: int = 0
    first_seen: int = 0
    last_seen: int = 0
    voxels: int = 0
    keys: list[torch.Tensor] = field(default_factory=list)

    def see(self, names: Mapping[str, float], views: int, first: int, last: int) -> None:
        """Take sums of scores over as many views into account."""
        for name, score in names.items():
            self.names[name] = self.names.get(name, 0.0) + score
        self.first_seen = min(self.first_seen, first) if self.views else first
        self.last_seen = max(self.last_seen, last) if self.views else last
        self.views += views

    def extend(self, keys: torch.Tensor) -> None:
        """Remember (n,) more keys."""
        self.keys.append(keys)
        if len(self.keys) > KEY_LISTS:
            self.keys = [torch.unique(torch.cat(self.keys))]

    @property
    def is_shown(self) -> bool:
        """Whether enough frames saw it."""
        return self.views >= MIN_VIEWS

    @property
    def label(self) -> str:
        """The likeliest name."""
        return min(self.names, key=lambda name: (-self.names[name], name))

    def as_object(self, number: int, keys: torch.Tensor, voxel_size: float) -> MapObject:
        """The object of this id and (n,) voxels of this size."""
        scores = sorted(self.names.items(), key=lambda item: (-item[1], item[0]))
        return MapObject(
            id=number,
            label_scores={name: total / self.views for name, total in scores},
            keys=keys,
            voxel_size=voxel_size,
            view_count=self.views,
            first_seen_ns=self.first_seen,
            last_seen_ns=self.last_seen,
        )
