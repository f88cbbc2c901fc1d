"""Places with names, such as rooms: a file that people can edit, and how far a thing lies in one.

kitchen:
  rectangles: [[0.0, 0.0, 4.0, 3.5], [4.0, 2.0, 5.0, 3.5]]  # x_min, y_min, x_max, y_max in the map frame, metres
  heights: [-0.2, 2.5]                                      # lowest and highest; left out: all heights
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ovseg_ros.errors import OvsegError
from ovseg_ros.query import Room
from ovseg_ros.referring.lexicon import ARTICLES
from ovseg_ros.referring.predicates import covered, ramp
from ovseg_ros.referring.scene import Boxes, Floats
from ovseg_ros.vocabulary import normalise

ANY_HEIGHT = (-1e4, 1e4)
"""Metres: where a place says nothing of heights."""

MAX_BYTES = 4_000_000
MAX_RECTANGLES = 4096

INSIDE = (0.3, 0.8)
"""Share of a thing in a place from which it begins to be in it, and fully is."""


def read_regions(path: Path) -> dict[str, Boxes]:
    """Name of a place, in lower case, -> the boxes that it is made of.

    Raises:
        OvsegError: the file can't be read, or an entry isn't as above; the sentence names it.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise OvsegError(f"{path} has more than {MAX_BYTES} bytes: describe places with fewer rectangles")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:150]
        raise OvsegError(f"places can't be read from {path} ({reason}): give a file of `ovseg regions`") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) and normalise(name) for name in content):
        raise OvsegError(f"{path} should hold names of places with their rectangles: see `ovseg regions --help`")
    return {_spoken(name): _boxes(path, name, entry) for name, entry in content.items()}


def _spoken(name: str) -> str:
    """A name as sentences have it: without an article."""
    first, _, rest = normalise(name).partition(" ")
    return rest if rest and first in ARTICLES else normalise(name)


def format_regions(regions: Mapping[str, Boxes]) -> str:
    """What `read_regions` reads, of places of axis-aligned boxes, each place between its lowest and highest."""
    content = {}
    for name, boxes in regions.items():
        lower, upper = boxes.centres - boxes.sizes / 2, boxes.centres + boxes.sizes / 2
        corners = np.concatenate((lower[:, :2], upper[:, :2]), axis=1).round(3).tolist()
        heights = [round(float(lower[:, 2].min()), 3), round(float(upper[:, 2].max()), 3)]
        content[name] = {"rectangles": corners, "heights": heights}
    comment = "# x_min, y_min, x_max, y_max in the map frame, metres. Names are yours to change.\n"
    return comment + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def place_of(room: Room) -> Boxes:
    """A room as the boxes that it is made of."""
    low, high = (np.full(len(room.rectangles), height) for height in (room.bottom, room.top))
    return Boxes.axis_aligned(
        np.column_stack((room.rectangles[:, :2], low)), np.column_stack((room.rectangles[:, 2:], high))
    )


def inside_place(things: Boxes, place: Boxes) -> Floats:
    """(N,) in 0..1: how far each thing lies in a place, whose boxes count as one."""
    return ramp(covered(things, place), *INSIDE)


def _boxes(path: Path, name: str, entry: Any) -> Boxes:
    fields = entry if isinstance(entry, dict) else {}
    rectangles, heights = fields.get("rectangles"), fields.get("heights", list(ANY_HEIGHT))
    if not fields.keys() <= {"rectangles", "heights"} or not isinstance(rectangles, list) or not rectangles:
        raise OvsegError(f"the place {name!r} in {path} needs `rectangles`, and may have `heights`, got {entry!r:.100}")
    if len(rectangles) > MAX_RECTANGLES:
        raise OvsegError(
            f"the place {name!r} in {path} has {len(rectangles)} rectangles: {MAX_RECTANGLES} is the limit"
        )
    for numbers, count in [(heights, 2), *((rectangle, 4) for rectangle in rectangles)]:
        if not (isinstance(numbers, list) and len(numbers) == count and all(_is_number(value) for value in numbers)):
            raise OvsegError(f"the place {name!r} in {path} should have {count} finite numbers, got {numbers!r:.100}")
        if any(a > b for a, b in zip(numbers[: count // 2], numbers[count // 2 :], strict=True)):
            raise OvsegError(f"the place {name!r} in {path} ends before it begins: {numbers}: lowest numbers first")
    corners = np.array(rectangles, dtype=np.float64)
    low, high = (np.full((len(corners), 1), float(height)) for height in heights)
    return Boxes.axis_aligned(np.hstack((corners[:, :2], low)), np.hstack((corners[:, 2:], high)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
