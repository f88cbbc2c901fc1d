"""Images with what is known of them on disk, for training: rendered rooms or users' own.

A view is ``NAME.jpg`` (colour) and ``NAME.png`` (label and instance ids), with a caption also ``NAME.txt`` (label ids
of the classes that it names), with depth also ``NAME.depth.png`` (16 bits, millimetres, 0 = no reading). All images of
a folder have one size. ``classes.txt`` holds a class on each line, with further words for it after commas; a folder
without it has the classes of the generated rooms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.files import write_text
from ovseg_ros.simulation import CLASSES
from ovseg_ros.vocabulary import Vocabulary

CLASSES_FILE = "classes.txt"
CAPTION_SUFFIX, DEPTH_SUFFIX = ".txt", ".depth.png"
MAX_CLASSES = 255
"""Label ids are bytes, and 0 means unlabelled."""
MAX_INSTANCE = 65535
MILLIMETRES = 1000.0
MAX_DEPTH = 65.0
"""Metres; what is farther counts as no reading."""
JPEG_QUALITY = 95
JPEG_END = b"\xff\xd9"
PNG_SIZE, PNG_KIND = slice(16, 24), slice(24, 26)
"""Of a PNG's bytes: width and height; bits of a channel, and which channels."""
GREY_16 = b"\x10\x00"


@dataclass(frozen=True)
class View:
    """One image, still encoded.

    Attributes:
        rgb: JPEG bytes.
        truth: PNG bytes (label, instance low, high). A pixel without a label but with an instance belongs to a segment
            of which only the outline is known.
        caption: label ids of the classes that its caption names; None without a caption.
        depth: PNG bytes (16 bits, millimetres); None without depth.
    """

    rgb: bytes
    truth: bytes
    caption: tuple[int, ...] | None = None
    depth: bytes | None = None

    def decode(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Colour (3, H, W) uint8, instance ids (H, W) int64 and label ids (H, W) int64, 0 = unlabelled."""
        rgb = cv2.cvtColor(_decode(self.rgb), cv2.COLOR_BGR2RGB)
        truth = torch.from_numpy(_decode(self.truth)).long()
        return torch.from_numpy(rgb).permute(2, 0, 1), truth[..., 1] + 256 * truth[..., 2], truth[..., 0]

    def decode_depth(self) -> torch.Tensor:
        """(H, W) float32 metres, 0 = no reading; zeros all over without depth."""
        if self.depth is None:
            return torch.zeros(_decode(self.truth).shape[:2])
        return torch.from_numpy(_decode(self.depth, cv2.IMREAD_ANYDEPTH).astype(np.float32)) / MILLIMETRES

    def label_pixels(self) -> torch.Tensor:
        """(MAX_CLASSES + 1,) int64, how many pixels bear each label id; the colour image stays encoded."""
        return torch.from_numpy(np.bincount(_decode(self.truth)[..., 0].ravel(), minlength=MAX_CLASSES + 1))


def _decode(data: bytes, kind: int = cv2.IMREAD_COLOR) -> NDArray[Any]:
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), kind)
    if image is None:
        raise OvsegError("a view is damaged: delete the folder's newest files and write them again")
    return image


def encode_view(
    rgb: NDArray[np.uint8],
    labels: NDArray[np.int32],
    instances: NDArray[np.int32],
    caption: tuple[int, ...] | None = None,
    depth: NDArray[np.float32] | None = None,
) -> View:
    """Compress one view.

    Args:
        rgb: (H, W, 3) uint8.
        labels: (H, W) label ids up to MAX_CLASSES, 0 = unlabelled.
        instances: (H, W) instance ids up to MAX_INSTANCE.
        caption: see `View`.
        depth: (H, W) metres; what isn't finite or is out of range is no reading.
    """
    jpeg = cv2.imencode(".jpg", rgb[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1]
    return View(
        jpeg.tobytes(), encode_truth(labels, instances), caption, None if depth is None else _encode_depth(depth)
    )


def encode_truth(labels: NDArray[np.int32], instances: NDArray[np.int32]) -> bytes:
    """Ids (H, W), as in `encode_view`, to PNG bytes."""
    truth = np.stack((labels, instances & 255, instances >> 8), axis=-1).astype(np.uint8)
    return cv2.imencode(".png", truth)[1].tobytes()


def _encode_depth(depth: NDArray[np.float32]) -> bytes:
    read = (depth > 0) & (depth <= MAX_DEPTH)
    millimetres = np.where(read, np.nan_to_num(depth) * MILLIMETRES, 0).round().astype(np.uint16)
    return cv2.imencode(".png", millimetres)[1].tobytes()


def write_view(path: Path, view: View) -> None:
    """Write a view to ``path``, ``*.jpg``; this file appears last and whole, so that readers never see half a view."""
    path.with_suffix(".png").write_bytes(view.truth)
    for suffix, data in (
        (CAPTION_SUFFIX, None if view.caption is None else " ".join(map(str, view.caption)).encode("ascii")),
        (DEPTH_SUFFIX, view.depth),
    ):
        if data is None:
            path.with_suffix(suffix).unlink(missing_ok=True)
        else:
            path.with_suffix(suffix).write_bytes(data)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(view.rgb)
    temporary.replace(path)


def view_files(folder: Path) -> dict[Path, View]:
    """The complete views in a folder, by the path of their colour image, in the order of names.

    Raises:
        OvsegError: if no view is in it, or a caption or depth can't be used.
    """
    views = {}
    for path in sorted(folder.glob("*.jpg")):
        truth = path.with_suffix(".png")
        if truth.exists():
            view = View(path.read_bytes(), truth.read_bytes(), _read_caption(path.with_suffix(CAPTION_SUFFIX)))
            view = replace(view, depth=_read_depth(path.with_suffix(DEPTH_SUFFIX), view.truth))
            if view.rgb.endswith(JPEG_END):
                views[path] = view
    if not views:
        raise OvsegError(
            f"{folder} holds no views: run python -m ovseg_ros.training.room_images {folder} for generated rooms, "
            "or python -m ovseg_ros.training.coco_images for your own images"
        )
    return views


def read_views(folder: Path) -> list[View]:
    """The complete views in a folder, in the order of names.

    Raises:
        OvsegError: as `view_files`.
    """
    return list(view_files(folder).values())


def _read_depth(path: Path, truth: bytes) -> bytes | None:
    if not path.exists():
        return None
    data = path.read_bytes()
    if data[PNG_SIZE] != truth[PNG_SIZE] or data[PNG_KIND] != GREY_16:
        raise OvsegError(f"{path} should be a grey PNG of 16 bits, as large as its view: write the view again")
    return data


def _read_caption(path: Path) -> tuple[int, ...] | None:
    if not path.exists():
        return None
    try:
        named = tuple(int(word) for word in path.read_text(encoding="ascii").split())
    except ValueError:
        named = (0,)
    if named and not 0 < min(named) <= max(named) <= MAX_CLASSES:
        raise OvsegError(f"{path} should hold label ids from 1 to {MAX_CLASSES}: write the view again")
    return named


def room_vocabulary() -> Vocabulary:
    """The generated rooms' classes with the synonyms used in training."""
    return Vocabulary(tuple((entry.name, *entry.synonyms) for entry in CLASSES))


def read_classes(folder: Path) -> Vocabulary:
    """The classes of a folder of views.

    Raises:
        OvsegError: classes.txt can't be used.
    """
    path = folder / CLASSES_FILE
    if not path.exists():
        return room_vocabulary()
    return checked_classes(Vocabulary.parse(path.read_text(encoding="utf-8").splitlines()))


def common_classes(training: Path, validation: Path) -> Vocabulary:
    """The classes of two folders of views.

    Raises:
        OvsegError: they are not the same, or as `read_classes`.
    """
    classes = read_classes(training)
    if read_classes(validation) != classes:
        raise OvsegError(f"{training} and {validation} have different classes: write one of them again")
    return classes


def checked_classes(classes: Vocabulary) -> Vocabulary:
    """``classes``, or an OvsegError if they are more than label ids there are."""
    if len(classes) > MAX_CLASSES:
        raise OvsegError(f"{len(classes)} classes are more than the limit of {MAX_CLASSES}: leave some out")
    return classes


def write_classes(folder: Path, classes: Vocabulary) -> None:
    """Write classes.txt."""
    write_text(folder / CLASSES_FILE, "".join(", ".join(group) + "\n" for group in classes.synonyms))
