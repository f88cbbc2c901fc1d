"""Objects of a ScanNet scan as they were annotated: boxes and names, the given things of ReferIt3D."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.datasets.labelled_mesh import positions_of
from ovseg_ros.datasets.ply import read_binary_ply
from ovseg_ros.errors import OvsegError
from ovseg_ros.query.colours import split_colour
from ovseg_ros.referring import Boxes
from ovseg_ros.referring.lexicon import THING
from ovseg_ros.vocabulary import normalise, singular

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AnnotatedScan:
    """A `Scene` of N annotated objects.

    Attributes:
        ids: (N,) as in the aggregation file.
        names: of each.
        lower, upper: (N, 3) corners of their boxes along the axes of the aligned scan, metres.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    lower: Floats
    upper: Floats

    @property
    def boxes(self) -> Boxes:
        """Where they are."""
        return Boxes.axis_aligned(self.lower, self.upper)

    @property
    def regions(self) -> Mapping[str, Boxes]:
        """A scan names no places."""
        return {}

    def fit(self, noun: str) -> Floats:
        """(N,) 1 for the name or the end of one ("chair" for "office chair"), else 0; given boxes have no colours."""
        word = singular(" ".join(split_colour(normalise(noun).split())[1]))
        if word in ("", THING):
            return np.ones(len(self.names))
        return np.array([float(f" {singular(name)}".endswith(f" {word}")) for name in self.names])


def read_scan(folder: Path) -> AnnotatedScan:
    """Read scans/<name> of ScanNet: the mesh, its segments, which segments are an object, and the axes' alignment.

    Raises:
        OvsegError: a file is missing or disagrees with the others.
    """
    name = folder.name
    vertices = positions_of(read_binary_ply(_file(folder, f"{name}_vh_clean_2.ply"))[0]).astype(np.float64)
    segments = _json(_file(folder, f"{name}_vh_clean_2.0.010000.segs.json"))
    groups = _json(_file(folder, f"{name}.aggregation.json", f"{name}_vh_clean.aggregation.json"))
    aligned = vertices @ _rotation(folder / f"{name}.txt").T
    try:
        segment_of = np.array(segments["segIndices"], np.int64)
        objects = [
            (int(g["objectId"]), str(g["label"]), np.array(g["segments"], np.int64)) for g in groups["segGroups"]
        ]
        parts = [aligned[np.isin(segment_of, wanted)] for _, _, wanted in objects]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise OvsegError(
            f"the annotations in {folder} don't fit its mesh ({error!r}): download the scan again"
        ) from error
    seen = [number for number, part in enumerate(parts) if len(part)]
    return AnnotatedScan(
        ids=tuple(objects[number][0] for number in seen),
        names=tuple(objects[number][1] for number in seen),
        lower=np.array([parts[number].min(axis=0) for number in seen]).reshape(-1, 3),
        upper=np.array([parts[number].max(axis=0) for number in seen]).reshape(-1, 3),
    )


def _rotation(path: Path) -> Floats:
    """(3, 3) of axisAlignment; the identity where the file has none. Boxes and relations don't depend on the origin."""
    if not path.exists():
        return np.eye(3)
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "axisAlignment":
            try:
                return np.array(value.split(), np.float64).reshape(4, 4)[:3, :3]
            except ValueError as error:
                raise OvsegError(f"axisAlignment in {path} is no 4x4 matrix: download the scan again") from error
    return np.eye(3)


def _file(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise OvsegError(f"{folder} has no {' or '.join(names)}: download this scan of ScanNet with its annotations")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OvsegError(f"{path} can't be read as JSON ({error}): download the scan again") from error
