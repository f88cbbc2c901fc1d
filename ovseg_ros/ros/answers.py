"""What a session answers with: places, directions and clouds, with the state of the map they are of. No ROS in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ovseg_ros.query import Located, Match, RayMatch


@dataclass(frozen=True)
class Answers:
    """Places and directions that answer one request, with the state of the map they were found in.

    ``partly_asked`` has the queries for what less than all of the map was asked for, with that share.
    """

    revision: int
    voxel_count: int
    frame_id: str
    stamp_ns: int
    matches: tuple[Match, ...]
    rays: tuple[RayMatch, ...]
    partly_asked: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class GoalAnswer:
    """Where to stand, or why nowhere, with the state of the map that this was found in.

    Attributes:
        revision: of the map.
        frame_id: the map's frame.
        stamp_ns: of the newest frame.
        found: the best of what fits the query; None if nothing does.
        located: where to stand; None where there is no such place.
        sentence: the place in words, or the reason.
    """

    revision: int
    frame_id: str
    stamp_ns: int
    found: Match | RayMatch | None
    located: Located | None
    sentence: str


@dataclass(frozen=True)
class LabelledCloud:
    """The map at one moment as arrays.

    Attributes:
        centres: (N, 3) float64 metres in ``frame_id``.
        colours: (N, 3) uint8.
        labels: (N,) uint16; i + 1 is the vocabulary's i-th name, 0 is none.
        confidence: (N,) float32 0..1.
        frame_id: the map's frame.
        stamp_ns: of the newest frame.
    """

    centres: np.ndarray
    colours: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    frame_id: str
    stamp_ns: int


@dataclass(frozen=True)
class ScoredCloud:
    """The map at one moment with the score of one query.

    Attributes:
        centres: (N, 3) float64 metres in ``frame_id``.
        scores: (N,) float32 0..1.
        frame_id: the map's frame.
        stamp_ns: of the newest frame.
    """

    centres: np.ndarray
    scores: np.ndarray
    frame_id: str
    stamp_ns: int
