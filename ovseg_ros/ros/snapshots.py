"""Copies of a map's layers and of its newest image at one moment. No ROS in here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ovseg_ros.mapping import SemanticMap
from ovseg_ros.mapping.projection import ground_plan
from ovseg_ros.query import label_features, space_of
from ovseg_ros.types import LanguageSpace


@dataclass(frozen=True)
class FrontierSnapshot:
    """Where free space ends.

    Attributes:
        positions: (F, 3) float64 metres in ``frame_id``.
        frame_id: the map's frame.
        stamp_ns: of the newest frame.
    """

    positions: np.ndarray
    frame_id: str
    stamp_ns: int


@dataclass(frozen=True)
class RaySnapshot:
    """The heaviest rays.

    Attributes:
        keys: frontier and bin of each ray, its name for ever.
        origins: (R, 3) float64 metres in ``frame_id``.
        directions: (R, 3) float64 of unit length.
        weights: (R,) float64.
        labels: (R,) int64; i + 1 is the vocabulary's i-th name, 0 is none.
        label_count: names in the vocabulary.
        frame_id: the map's frame.
        stamp_ns: of the newest frame.
    """

    keys: list[tuple[int, int]]
    origins: np.ndarray
    directions: np.ndarray
    weights: np.ndarray
    labels: np.ndarray
    label_count: int
    frame_id: str
    stamp_ns: int


@dataclass(frozen=True)
class PlanSnapshot:
    """Occupancy seen from above.

    Attributes:
        cells: (ny, nx) int8: 100 occupied, 0 free, -1 unknown.
        corner: x, y of the outer corner of ``cells[0, 0]``, metres in ``frame_id``.
        cell_size: metres.
        frame_id: the map's frame.
        stamp_ns: of the newest frame.
    """

    cells: np.ndarray
    corner: tuple[float, float]
    cell_size: float
    frame_id: str
    stamp_ns: int


@dataclass(frozen=True)
class LabelledImage:
    """The newest frame with the likeliest concept of every pixel.

    Attributes:
        rgb: (H, W, 3) uint8.
        labels: (H, W) int32; i + 1 is ``names[i]``, 0 is none.
        names: the map's vocabulary.
        frame_id: the camera's frame.
        stamp_ns: of the frame.
    """

    rgb: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    frame_id: str
    stamp_ns: int


def frontier_snapshot(semantic_map: SemanticMap) -> FrontierSnapshot | None:
    """The frontiers; None without that layer."""
    frontiers = semantic_map.layers.frontiers
    if frontiers is None:
        return None
    return FrontierSnapshot(as_array(frontiers.positions), semantic_map.frame_id, newest_stamp(semantic_map))


def ray_snapshot(semantic_map: SemanticMap, space: LanguageSpace, limit: int) -> RaySnapshot | None:
    """At most ``limit`` rays; None without that layer."""
    rays, vocabulary = semantic_map.layers.rays, semantic_map.vocabulary
    if rays is None:
        return None
    columns = rays.columns
    heaviest = torch.topk(columns["weights"], min(limit, len(rays))).indices
    keys = zip(columns["frontier_keys"][heaviest].tolist(), columns["bins"][heaviest].tolist(), strict=True)
    return RaySnapshot(
        keys=list(keys),
        origins=as_array(columns["origins"][heaviest]),
        directions=as_array(rays.directions[heaviest]),
        weights=as_array(columns["weights"][heaviest]),
        labels=as_array(label_features(semantic_map.ray_features[heaviest], space_of(semantic_map, space), vocabulary)),
        label_count=len(vocabulary),
        frame_id=semantic_map.frame_id,
        stamp_ns=newest_stamp(semantic_map),
    )


def plan_snapshot(semantic_map: SemanticMap, lowest: float, highest: float) -> PlanSnapshot | None:
    """Occupancy between two heights, metres; None without that layer.

    Raises:
        OvsegError: the plan would be too large.
    """
    occupancy = semantic_map.layers.occupancy
    if occupancy is None:
        return None
    plan = ground_plan(occupancy, lowest, highest)
    return PlanSnapshot(
        as_array(plan.cells), plan.corner, plan.cell_size, semantic_map.frame_id, newest_stamp(semantic_map)
    )


def newest_stamp(semantic_map: SemanticMap) -> int:
    """When the map last saw something, nanoseconds; 0 if never."""
    return int(semantic_map.last_seen.max()) if semantic_map.voxel_count else 0


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """A copy that nobody else writes to."""
    return np.array(tensor.detach().cpu().numpy())
