"""What a run of the search volume evaluation is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.protocols import Ignoring
from ovseg_ros.evaluation.semseg.settings import RunSettings, read_as
from ovseg_ros.mapping import MappingConfig


@dataclass(frozen=True)
class SearchEntries:
    """Of the search.

    Attributes:
        scene_depth: metres up to which depth tells what belongs to the scene; the map's own range, ``map.max_depth``,
            must end before.
        period: frames from one judgement of the map to the next.
        half_angle: of cones, degrees; None takes half the wider field of view of the camera.
        threshold: a class is searched for where it has more than this share of the most votes that a place has.
    """

    scene_depth: float = 10.0
    period: int = 5
    half_angle: float | None = None
    threshold: float = 0.05


@dataclass(frozen=True)
class SearchSettings(RunSettings):
    """All of a run. Of the protocol only frames, voxels, wording, labels and what it ignores count here.

    Attributes:
        search: of the search.
    """

    clouds: bool = False
    search: SearchEntries = field(default_factory=SearchEntries)

    def __post_init__(self) -> None:
        super().__post_init__()
        search = self.search
        if self.clouds:
            raise OvsegError("clouds is true, but search volumes are not drawn: leave it false")
        if search.period < 1:
            raise OvsegError(f"search.period must be at least 1 frame, got {search.period}")
        if not 0.0 < self.map.max_depth < search.scene_depth:
            raise OvsegError(
                f"map.max_depth, {self.map.max_depth} m, must be below search.scene_depth, {search.scene_depth} m: "
                "rays are only cast where depth ends before the room does; 1.5 suits a room"
            )
        if search.half_angle is not None and not 0.0 <= search.half_angle < 90.0:
            raise OvsegError(f"search.half_angle must be 0 to below 90 degrees, got {search.half_angle}")
        if not 0.0 <= search.threshold < 1.0:
            raise OvsegError(f"search.threshold must be 0 to below 1, got {search.threshold}: RayFronts takes 0.05")

    @property
    def ignoring(self) -> Ignoring:
        """Which classes are left out: the protocol's own choice."""
        return self.rules.variants[0]

    @property
    def mapping(self) -> MappingConfig:
        """Of the map that searches."""
        return replace(super().mapping, layers="rays")

    @property
    def exploring(self) -> MappingConfig:
        """Of the map that tells what belongs to the scene."""
        return replace(super().mapping, layers="occupancy", max_depth=self.search.scene_depth)

    def numbers_depend_on(self) -> dict[str, Any]:
        """All that scenes' numbers depend on, as JSON has it."""
        return super().numbers_depend_on() | {"search": asdict(self.search)}


def read_search_settings(entries: Mapping[str, Any]) -> SearchSettings:
    """Settings from nested entries, as YAML and command line give them.

    Raises:
        OvsegError: naming an entry that is unknown, missing, or of the wrong kind.
    """
    return read_as(SearchSettings, entries)
