"""What a run of the evaluation is told: the entries of its configuration files, checked."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import torch

from ovseg_ros import __version__
from ovseg_ros.datasets import class_list
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.protocols import PROTOCOLS, Protocol, protocol
from ovseg_ros.evaluation.scene import TRUTHS
from ovseg_ros.evaluation.truth import BACKGROUND
from ovseg_ros.mapping import MappingConfig

LAUNCHERS = ("sequential", "processes", "ray")
EXPORTS = ("openlex3d",)
NOT_SET = "???"
"""What a configuration file writes where the command line must give a value."""
T = TypeVar("T")


@dataclass(frozen=True)
class RoomSettings:
    """Generated rooms, written to disk before they are read like any recording.

    Attributes:
        seeds: one room each.
        frames: along each walk.
        size: width and height of the images.
    """

    seeds: tuple[int, ...]
    frames: int = 60
    size: tuple[int, int] = (320, 240)


@dataclass(frozen=True)
class DatasetSettings:
    """Which scenes, and where.

    Attributes:
        layout: a name in `ovseg_ros.datasets.LAYOUTS`.
        path: the folder that holds the scenes' folders.
        scenes: names of those folders; empty takes all.
        classes: in which classes the ground truth is read, a list of `ovseg_ros.datasets.class_list`; None: the data
            set's usual.
        truth: where the ground truth comes from, one of `TRUTHS`.
        seen: whether the truth is only what the used frames saw, whatever the protocol: generated meshes have surfaces
            that no scan would have.
        background: the classes that are stuff.
        groups: class name -> head, common or tail, where the data set publishes such a split.
        size: width and height to which images are resized; None leaves them.
        rooms: makes the scenes, where they are generated.
    """

    layout: str
    path: Path
    scenes: tuple[str, ...] = ()
    classes: str | None = None
    truth: str = "vertices"
    seen: bool = False
    background: tuple[str, ...] = BACKGROUND
    groups: dict[str, str] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    rooms: RoomSettings | None = None

    def __post_init__(self) -> None:
        if self.truth not in TRUTHS:
            raise OvsegError(f"dataset.truth is {self.truth!r}: choose one of {', '.join(TRUTHS)}")
        if self.classes is not None:
            class_list(self.classes)

    @property
    def split(self) -> Mapping[str, str]:
        """Class name -> head, common or tail, as configured or as the chosen class list has it; empty if neither."""
        return self.groups or (class_list(self.classes).groups if self.classes else {})


@dataclass(frozen=True)
class MapSettings:
    """Of the map; None leaves the choice to the protocol.

    Attributes:
        voxel_size: metres.
        every: of the frames, one in so many is used.
        max_depth: farther readings are ignored, metres.
        feature_dtype: as in `MappingConfig`.
    """

    voxel_size: float | None = None
    every: int | None = None
    max_depth: float = 10.0
    feature_dtype: str = "float32"


@dataclass(frozen=True)
class RunSettings:
    """All of a run.

    Attributes:
        dataset: which scenes.
        out: folder for results.
        protocol: an id in `PROTOCOLS`.
        backend: of the segmenter.
        device: auto, cpu or cuda.
        map: how it is built.
        launcher: sequential, processes (on this machine) or ray (on many).
        workers: scenes at a time, where the launcher has several.
        threads: of torch on the CPU in each worker; numbers depend on it in the last bits.
        seed: of everything that draws.
        features: folder that keeps the model's features between runs; None keeps none.
        clouds: whether each scene's truth, prediction and errors are written as PLY.
        export: what is written of each scene's map for other benchmarks, of `EXPORTS`.
        overwrite: whether scenes that are finished are done again.
    """

    dataset: DatasetSettings
    out: Path
    protocol: str = "strict"
    backend: str = "openseg"
    device: str = "auto"
    map: MapSettings = field(default_factory=MapSettings)
    launcher: str = "sequential"
    workers: int = 2
    threads: int = 1
    seed: int = 0
    features: Path | None = None
    clouds: bool = True
    export: tuple[str, ...] = ()
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("protocol", self.protocol, tuple(PROTOCOLS)),
            ("launcher", self.launcher, LAUNCHERS),
            *(("export", name, EXPORTS) for name in self.export),
        ):
            if value not in known:
                raise OvsegError(f"{name} is {value!r}: choose one of {', '.join(known)}")
        for name, number in (("workers", self.workers), ("threads", self.threads), ("map.every", self.every)):
            if number < 1:
                raise OvsegError(f"{name} must be at least 1, got {number}")

    @property
    def rules(self) -> Protocol:
        """The protocol."""
        return protocol(self.protocol)

    @property
    def voxel_size(self) -> float:
        """Metres."""
        return self.rules.voxel_size if self.map.voxel_size is None else self.map.voxel_size

    @property
    def every(self) -> int:
        """One frame in so many is used."""
        return self.rules.every if self.map.every is None else self.map.every

    @property
    def seen_only(self) -> bool:
        """Whether truth that no used frame saw is left out."""
        return self.rules.places.seen or self.dataset.seen

    @property
    def mapping(self) -> MappingConfig:
        """The map's own configuration."""
        return MappingConfig(
            voxel_size=self.voxel_size, max_depth=self.map.max_depth, feature_dtype=self.map.feature_dtype
        )

    def numbers_depend_on(self) -> dict[str, Any]:
        """All that scenes' numbers depend on, as JSON has it: a finished scene is good for these settings only."""
        return {
            "protocol": self.protocol,
            "backend": self.backend,
            "voxel_size": self.voxel_size,
            "every": self.every,
            "max_depth": self.map.max_depth,
            "feature_dtype": self.map.feature_dtype,
            "threads": self.threads,
            "seed": self.seed,
            "layout": self.dataset.layout,
            "path": str(self.dataset.path),
            "classes": self.dataset.classes,
            "truth": self.dataset.truth,
            "seen": self.seen_only,
            "background": list(self.dataset.background),
            "size": None if self.dataset.size is None else list(self.dataset.size),
            "versions": {"ovseg_ros": __version__, "torch": str(torch.__version__)},
            "rooms": self.dataset.rooms and {"frames": self.dataset.rooms.frames, "size": [*self.dataset.rooms.size]},
        }


def read_settings(entries: Mapping[str, Any]) -> RunSettings:
    """Settings from nested entries, as YAML and command line give them.

    Raises:
        OvsegError: naming an entry that is unknown, missing, or of the wrong kind.
    """
    return read_as(RunSettings, entries)


def read_as(kind: type[T], entries: Mapping[str, Any], where: str = "") -> T:
    """As `read_settings`, for any frozen dataclass of settings; ``where`` is before the names of its entries."""
    hints = get_type_hints(kind)
    known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    for name in entries:
        if name not in known:
            raise OvsegError(f"there is no entry {where}{name}: there are {', '.join(where + name for name in known)}")
    given = {name: value for name, value in entries.items() if value != NOT_SET}
    values = {name: _converted(hints[name], value, where + name) for name, value in given.items()}
    missing = [name for name, entry in known.items() if _required(entry) and values.get(name) is None]
    if missing:
        raise OvsegError(f"{where}{missing[0]} is not set: add {where}{missing[0]}=VALUE to the command")
    return kind(**values)


def _required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _converted(hint: Any, value: Any, name: str) -> Any:
    """A plain value as the type of its entry."""
    if get_origin(hint) in (Union, types.UnionType):
        return None if value is None else _converted(get_args(hint)[0], value, name)
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return read_as(hint, value, f"{name}.")
    match hint, value:
        case _, bool() if hint is bool:
            return value
        case _, str() if hint is str:
            return value
        case _, str() if hint is Path:
            return Path(value).expanduser().absolute()
        case _, int() if hint is int and not isinstance(value, bool):
            return value
        case _, int() | float() if hint is float and not isinstance(value, bool):
            return float(value)
        case _, list() | tuple() if get_origin(hint) is tuple:
            kinds = get_args(hint)
            if kinds[-1] is Ellipsis or len(kinds) == len(value):
                return tuple(_converted(kinds[0], entry, name) for entry in value)
        case _, Mapping() if get_origin(hint) is dict:
            return {str(key): str(entry) for key, entry in value.items()}
    wanted = getattr(hint, "__name__", None) if get_origin(hint) is None else str(hint)
    raise OvsegError(f"{name} is {value!r} and should be {wanted}: see evaluation_3d/configs")
