"""Single files of a recording: images, poses, tables. What can't be read never reaches the map."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ovseg_ros.datasets.image_header import claimed_size
from ovseg_ros.errors import OvsegError
from ovseg_ros.types import InvalidFrameError, RgbdFrame

JPEG_QUALITY = 95
UINT16_MAX = 65535
SENSOR_RATE_HZ = 30
MAX_PIXELS = 1 << 26
"""Of one image: 67 million, twice what a full-frame camera takes."""
PROGRESS_DELAY_SECONDS = 1.0

Image = NDArray[np.integer[Any] | np.floating[Any]]
T = TypeVar("T")


def with_progress(items: Iterable[T], what: str) -> Iterable[T]:
    """The same items; people at a terminal see a bar once it takes longer than a second."""
    return tqdm(items, desc=what, unit=" files", leave=False, disable=None, delay=PROGRESS_DELAY_SECONDS)


def stamp_of(number: int) -> int:
    """Frame number -> nanoseconds at the sensor's usual rate: most layouts record no time."""
    return number * 1_000_000_000 // SENSOR_RATE_HZ


def number_in(path: Path) -> int | None:
    """The frame number in a file name like ``frame-000012.color.jpg``, ``rgb_12.png`` or ``12.png``; None without."""
    digits = re.findall(r"[0-9]+", path.name.split(".")[0])
    return int(digits[-1]) if digits else None


def numbered_files(folder: Path, pattern: str) -> list[tuple[int, Path]]:
    """The files that match, in the order of the numbers in their names, one per number."""
    found = {number: file for file in sorted(folder.glob(pattern)) if (number := number_in(file)) is not None}
    return sorted(found.items())


def find_above(folder: Path, name: str, levels: int = 3) -> Path | None:
    """The file ``name`` in the folder or in one of those above it, up to so many."""
    above = (folder, *folder.parents)[: levels + 1]
    return next((path / name for path in above if (path / name).exists()), None)


def read_image(path: Path, flags: int) -> Image:
    """Decode a PNG or JPEG file.

    Raises:
        InvalidFrameError: with the cause "file": it is missing, damaged, or claims to be too large.
    """
    try:
        size = claimed_size(path)
        if size is not None and size[0] * size[1] > MAX_PIXELS:
            raise InvalidFrameError(
                "file", f"{path} claims {size[0]}x{size[1]} pixels, above the limit of {MAX_PIXELS}: export it smaller"
            )
        image = None if size is None else cv2.imread(str(path), flags)
    except (OSError, cv2.error):
        image = None
    if image is None:
        state = "damaged, or neither PNG nor JPEG" if path.exists() else "missing"
        raise InvalidFrameError("file", f"{path} is {state}: copy it again")
    return np.asarray(image)


def read_colour(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB."""
    return cv2.cvtColor(read_image(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(np.uint8)


def read_depth(path: Path, units_per_metre: float, no_reading: tuple[int, ...]) -> NDArray[np.float32]:
    """(H, W) float32 metres from 16-bit PNG; NaN where the file has one of the ``no_reading`` values."""
    raw = read_image(path, cv2.IMREAD_UNCHANGED)
    if raw.dtype != np.uint16 or raw.ndim != 2:
        raise InvalidFrameError(
            "dtype", f"{path} must be a 16-bit image with one channel, got {raw.dtype} {raw.shape}: export depth as PNG"
        )
    depth = (raw.astype(np.float64) / units_per_metre).astype(np.float32)
    depth[np.isin(raw, no_reading)] = np.nan
    return depth


def write_colour(path: Path, frame: RgbdFrame) -> None:
    """Write the colour image as JPEG or PNG, by its suffix."""
    image = cv2.cvtColor(frame.rgb.cpu().numpy(), cv2.COLOR_RGB2BGR)
    _write_image(path, image, [] if path.suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def write_depth(path: Path, frame: RgbdFrame, units_per_metre: float) -> None:
    """Write 16-bit depth; 0 where there is no reading or 16 bits can't hold it."""
    units = frame.depth.cpu().double().numpy() * units_per_metre
    kept = np.isfinite(units) & (units > 0) & (units < UINT16_MAX - 0.5)
    _write_image(path, np.where(kept, np.rint(np.where(kept, units, 0)), 0).astype(np.uint16), [])


def write_labels(path: Path, frame: RgbdFrame) -> None:
    """Write the label ids as 16-bit PNG."""
    if frame.semantics is not None:
        _write_image(path, frame.semantics.cpu().numpy().astype(np.uint16), [])


def _write_image(path: Path, image: Image, options: list[int]) -> None:
    if not cv2.imwrite(str(path), image, options):
        raise OvsegError(f"cannot write {path}: check that the disk has room and the folder may be written")


def parse_pose(text: str) -> torch.Tensor:
    """16 numbers -> (4, 4) float64; all NaN where the text is something else, so that the frame is refused."""
    values = numbers_in(text)
    if len(values) != 16:
        return torch.full((4, 4), torch.nan, dtype=torch.float64)
    return torch.tensor(values, dtype=torch.float64).reshape(4, 4)


def trajectory_lines(path: Path) -> list[str]:
    """A pose per line, by frame number: empty lines count, for a frame that has none.

    Raises:
        OvsegError: it can't be read.
    """
    try:
        return path.read_text(errors="replace").rstrip().splitlines()
    except OSError as error:
        raise OvsegError(f"cannot read {path}: {error.strerror}") from error


def numbers_in(text: str) -> list[float]:
    """The numbers of a text that holds nothing else; none where it does."""
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        return []


def read_pose(path: Path) -> torch.Tensor:
    """A pose file -> (4, 4) float64 camera -> world; all NaN where it is missing or unreadable."""
    return parse_pose(path.read_text(errors="replace") if path.is_file() else "")


def format_row(values: Iterable[float]) -> str:
    """Numbers in a line, without loss."""
    return " ".join(f"{value:.17g}" for value in values)


def format_matrix(matrix: NDArray[np.float64]) -> str:
    """Rows of numbers, without loss."""
    return "\n".join(format_row(row) for row in matrix) + "\n"


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without empty ones and comments that start with #.

    Raises:
        OvsegError: it can't be read.
    """
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise OvsegError(f"cannot read {path}: {error.strerror}") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OvsegError: it can't be read or isn't JSON.
    """
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise OvsegError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise OvsegError(f"{path} is not a readable JSON file: copy it again") from error


def write_json(path: Path, data: Any) -> None:
    """Write readable JSON."""
    path.write_text(json.dumps(data, indent=1) + "\n")


def read_table(path: Path, columns: tuple[str, ...], delimiter: str) -> Iterator[tuple[str, ...]]:
    """The named columns of a text table with a header, row by row.

    Raises:
        OvsegError: it can't be read or lacks a column.
    """
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise OvsegError(f"{path} lacks the column {missing[0]!r}: download the file again")
            yield from (tuple(row[name] or "" for name in columns) for row in reader)
    except (OSError, csv.Error) as error:
        raise OvsegError(f"{path} can't be read as a table: {error}") from error
