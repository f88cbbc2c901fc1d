"""Images and label maps on disk, in pairs by name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.datasets import ClassTable
from ovseg_ros.datasets.files import read_image
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.images import LabelledImage
from ovseg_ros.types import InvalidFrameError

LAYOUTS = (("images/validation", "annotations/validation"), ("images", "labels"), ("images", "annotations"))
"""Subfolders of images and of label maps, in the order in which they are looked for; the first is ADE20K's."""
IMAGES, LABEL_MAPS = (".jpg", ".jpeg", ".png"), (".png", ".npy")
UNLABELLED = (0, 255, 65535)
"""What label maps usually hold where nothing is labelled."""


@dataclass(frozen=True)
class Pair:
    """An image and its label map; None where only the other is there.

    Attributes:
        name: path below the folder, without the suffix.
    """

    name: str
    image: Path | None
    labels: Path | None


def find_pairs(folder: Path, images: str | None = None, labels: str | None = None) -> list[Pair]:
    """All images and label maps of a folder, in the order of their names.

    Args:
        folder: in one of `LAYOUTS`, unless the subfolders are named.
        images: subfolder of the images.
        labels: subfolder of the label maps.

    Raises:
        OvsegError: there are none.
    """
    layouts = LAYOUTS if images is None or labels is None else ((images, labels),)
    found = next((pair for pair in layouts if all((folder / part).is_dir() for part in pair)), None)
    if found is None:
        expected = " or ".join(" + ".join(pair) for pair in layouts)
        raise OvsegError(f"{folder} should hold {expected}: name the subfolders with --images and --labels")
    pictures, maps = _files(folder / found[0], IMAGES), _files(folder / found[1], LABEL_MAPS)
    if not pictures:
        raise OvsegError(f"{folder / found[0]} holds no image ({', '.join(IMAGES)}): name another with --images")
    return [Pair(name, pictures.get(name), maps.get(name)) for name in sorted(pictures.keys() | maps.keys())]


def read_pair(pair: Pair, table: ClassTable, ignored: Collection[int]) -> LabelledImage:
    """Read both files.

    Args:
        pair: of `find_pairs`.
        table: number in the label map -> label id.
        ignored: numbers where nothing is labelled, whatever the table says.

    Raises:
        InvalidFrameError: with the cause "missing", "file", "dtype", "size" or "class".
    """
    if pair.image is None or pair.labels is None:
        absent, present = ("image", pair.labels) if pair.image is None else ("label map", pair.image)
        raise InvalidFrameError("missing", f"{present} has no {absent} of its name: add it")
    # Label maps are drawn on the pixels as they are stored, whichever way up a viewer would show them.
    stored = read_image(pair.image, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    numbers = _read_numbers(pair.labels)
    if numbers.shape != stored.shape[:2]:
        sizes = " and ".join(f"{width}x{height}" for height, width in (numbers.shape, stored.shape[:2]))
        raise InvalidFrameError("size", f"{pair.labels} and its image are {sizes}: export them in one size")
    unknown = sorted(set(np.unique(numbers).tolist()) - set(table.labels) - set(ignored))
    if unknown:
        shown = ", ".join(map(str, unknown[:5]))
        raise InvalidFrameError(
            "class", f"{pair.labels} has numbers that no class has ({shown}): name them with --ignore, or mend the list"
        )
    rgb = cv2.cvtColor(stored.astype(np.uint8), cv2.COLOR_BGR2RGB)
    labels = np.where(np.isin(numbers, list(ignored)), 0, table.labels_of(numbers))
    return LabelledImage(torch.from_numpy(rgb), labels.astype(np.int32))


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes)
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}


def _read_numbers(path: Path) -> NDArray[np.integer]:
    if path.suffix.lower() == ".npy":
        try:
            numbers = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InvalidFrameError("file", f"{path} is damaged: copy it again") from error
    else:
        numbers = read_image(path, cv2.IMREAD_UNCHANGED)
    if numbers.ndim != 2 or numbers.dtype.kind not in "iu":
        raise InvalidFrameError(
            "dtype",
            f"{path} must hold one whole number per pixel, got {numbers.dtype} {numbers.shape}: export class numbers, "
            "not colours or a palette",
        )
    return numbers
