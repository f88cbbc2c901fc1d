"""Single files of a recording: images, poses, class lists. What can't be read never reaches the map."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.types import InvalidFrameError, RgbdFrame

CLASSES_FILE = "classes.json"
JPEG_QUALITY = 95
UINT16_MAX = 65535
SENSOR_RATE_HZ = 30


@dataclass(frozen=True)
class ClassTable:
    """Which id in the files means which class.

    Attributes:
        names: class names; label id i + 1 is ``names[i]``.
        file_ids: the id that each class has in the files, 1..65535.
    """

    names: tuple[str, ...]
    file_ids: tuple[int, ...]

    @classmethod
    def numbered(cls, names: tuple[str, ...]) -> ClassTable:
        """The table of files that hold our own label ids."""
        return cls(names, tuple(range(1, len(names) + 1)))

    def labels_of(self, file_ids: NDArray[np.integer]) -> NDArray[np.int32]:
        """Ids as in the files, any shape -> int32 label ids; ids that the table lacks become 0."""
        lookup = np.zeros(UINT16_MAX + 1, dtype=np.int32)
        lookup[list(self.file_ids)] = np.arange(1, len(self.file_ids) + 1)
        known = (file_ids >= 0) & (file_ids <= UINT16_MAX)
        return np.where(known, lookup[np.where(known, file_ids, 0)], 0).astype(np.int32)

    def write(self, path: Path) -> None:
        """Write ``{"classes": [{"id": 1, "name": "wall"}, ...]}``."""
        classes = [{"id": i, "name": name} for i, name in zip(self.file_ids, self.names, strict=True)]
        path.write_text(json.dumps({"classes": classes}, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> ClassTable | None:
        """Read what `write` wrote; None if there is no such file.

        Raises:
            OvsegError: the file is there but does not hold a class list.
        """
        if not path.exists():
            return None
        try:
            classes = [(int(entry["id"]), str(entry["name"])) for entry in json.loads(path.read_text())["classes"]]
        except (ValueError, KeyError, TypeError) as error:
            raise OvsegError(
                f'{path} is not a class list: it must read {{"classes": [{{"id": 1, "name": "wall"}}, ...]}}'
            ) from error
        if any(not 0 < file_id <= UINT16_MAX for file_id, _ in classes):
            raise OvsegError(f"{path} has a class id outside 1..{UINT16_MAX}: 0 is kept for unlabelled")
        return cls(tuple(name for _, name in classes), tuple(file_id for file_id, _ in classes))


Image = NDArray[np.integer[Any] | np.floating[Any]]


def stamp_of(number: int) -> int:
    """Frame number -> nanoseconds at the sensor's usual rate: these layouts record no time."""
    return number * 1_000_000_000 // SENSOR_RATE_HZ


def read_image(path: Path, flags: int) -> Image:
    """Decode an image file.

    Raises:
        InvalidFrameError: with the cause "file": it is missing or damaged.
    """
    image = cv2.imread(str(path), flags)
    if image is None:
        raise InvalidFrameError("file", f"{path} is {'damaged' if path.exists() else 'missing'}: copy it again")
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
    """Write the colour image as JPEG."""
    image = cv2.cvtColor(frame.rgb.cpu().numpy(), cv2.COLOR_RGB2BGR)
    _write_image(path, image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


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
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != 16:
        return torch.full((4, 4), torch.nan, dtype=torch.float64)
    return torch.tensor(values, dtype=torch.float64).reshape(4, 4)


def read_pose(path: Path) -> torch.Tensor:
    """A pose file -> (4, 4) float64 camera -> world; all NaN where it is missing or unreadable."""
    return parse_pose(path.read_text(errors="replace") if path.exists() else "")


def format_matrix(matrix: NDArray[np.float64]) -> str:
    """Rows of numbers, without loss."""
    return "\n".join(" ".join(f"{value:.17g}" for value in row) for row in matrix) + "\n"


def read_camera_matrix(path: Path) -> NDArray[np.float64]:
    """A 3x3 or 4x4 camera matrix as text.

    Raises:
        OvsegError: the file is missing or is not such a matrix.
    """
    try:
        matrix = np.array([line.split() for line in path.read_text().strip().splitlines()], dtype=np.float64)
    except (OSError, ValueError) as error:
        raise OvsegError(f"{path} is missing or unreadable: it must hold a 3x3 camera matrix") from error
    if matrix.shape not in ((3, 3), (4, 4)):
        raise OvsegError(f"{path} must hold a 3x3 or 4x4 camera matrix, got shape {matrix.shape}")
    return matrix
