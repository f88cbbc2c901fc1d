"""What sentences are about: things with boxes and names, and where somebody looks from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import OvsegError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Boxes:
    """N upright boxes in the map frame, z up.

    Attributes:
        centres: (N, 3) float64 metres.
        sizes: (N, 3) float64 metres along the boxes' own x, y and z.
        yaws: (N,) float64 radians from the map's x to the box's.

    Raises:
        OvsegError: the shapes disagree, or a number is not finite.
    """

    centres: Floats
    sizes: Floats
    yaws: Floats

    def __post_init__(self) -> None:
        count = len(self.yaws)
        shapes = (self.centres.shape, self.sizes.shape, self.yaws.shape)
        finite = all(np.isfinite(values).all() for values in (self.centres, self.sizes, self.yaws))
        if shapes != ((count, 3), (count, 3), (count,)) or not finite or (self.sizes < 0).any():
            raise OvsegError(
                f"boxes need finite (N, 3) centres, (N, 3) sizes from 0 and (N,) yaws, got {shapes}: check the objects"
            )

    def __len__(self) -> int:
        return len(self.yaws)

    def __getitem__(self, index: npt.NDArray[np.int64]) -> Boxes:
        return Boxes(self.centres[index], self.sizes[index], self.yaws[index])

    @property
    def bottoms(self) -> Floats:
        """(N,) lowest z."""
        return self.centres[:, 2] - self.sizes[:, 2] / 2

    @property
    def tops(self) -> Floats:
        """(N,) highest z."""
        return self.centres[:, 2] + self.sizes[:, 2] / 2

    @property
    def volumes(self) -> Floats:
        """(N,) cubic metres."""
        return self.sizes.prod(axis=1)

    @classmethod
    def axis_aligned(cls, lower: Floats, upper: Floats) -> Boxes:
        """Boxes between (N, 3) lowest and (N, 3) highest corners."""
        lower, upper = np.asarray(lower, np.float64).reshape(-1, 3), np.asarray(upper, np.float64).reshape(-1, 3)
        return cls((lower + upper) / 2, upper - lower, np.zeros(len(lower)))


@dataclass(frozen=True)
class Viewpoint:
    """Somebody who looks: a robot, a person.

    Attributes:
        position: (3,) metres in the map frame.
        yaw: radians from the map's x to where they look.
    """

    position: Floats
    yaw: float


class Scene(Protocol):
    """N things to choose from."""

    @property
    def boxes(self) -> Boxes:
        """Where they are."""

    @property
    def regions(self) -> Mapping[str, Boxes]:
        """Name of a room or a place -> the boxes it is made of."""

    def fit(self, noun: str) -> Floats:
        """(N,) 0..1: how likely each is what the noun names: "red chair", "red", or "thing" for anything."""
