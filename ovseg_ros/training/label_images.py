"""Users' own images with label maps to views for training.

    python -m ovseg_ros.training.label_images FOLDER --out VIEWS

FOLDER holds ``images/NAME.jpg`` (or png), ``labels/NAME.png`` and ``classes.txt``. A pixel of the label map says which
line of classes.txt it is ("sofa, couch"), counted from 1; 0 and 255 are unlabelled. Connected pixels of one class are a
segment.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovseg_ros.datasets.files import read_image
from ovseg_ros.errors import OvsegError
from ovseg_ros.training.fitting import Fit
from ovseg_ros.training.room_images import parse_size
from ovseg_ros.training.views import CLASSES_FILE, View, encode_view, read_classes, write_classes, write_view

SUFFIXES = (".jpg", ".jpeg", ".png")
UNLABELLED = 255


def connected_segments(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Label ids (H, W) -> instance ids (H, W) from 1 on, one for each connected area of a label; 0 where unlabelled."""
    instances = np.zeros_like(labels)
    for label in np.unique(labels[labels > 0]):
        parts = cv2.connectedComponents((labels == label).astype(np.uint8))[1]
        instances += np.where(parts > 0, parts + instances.max(), 0)
    return instances


def make_view(rgb: NDArray[np.uint8], labels: NDArray[np.int32], size: tuple[int, int]) -> View:
    """A view of ``size`` (columns, rows) of an image (H, W, 3) and its label ids (H, W)."""
    fit = Fit.of(rgb.shape[:2], size)
    labels = fit.scaled(labels)
    return encode_view(fit.image(rgb), fit.padded(labels), fit.padded(connected_segments(labels)))


def read_labels(path: Path, shape: tuple[int, ...], classes: int) -> NDArray[np.int32]:
    """A label map.

    Raises:
        OvsegError: it can't be read, is not of the image's ``shape`` (rows, columns), or has labels beyond ``classes``.
    """
    labels = read_image(path, cv2.IMREAD_UNCHANGED).astype(np.int32)
    if labels.shape != shape:
        raise OvsegError(f"{path} is {labels.shape} and its image {shape}: export label maps of the images' size")
    labels[labels == UNLABELLED] = 0
    if labels.max() > classes:
        raise OvsegError(f"{path} has the label {labels.max()}, but {CLASSES_FILE} only {classes} lines: add the rest")
    return labels


def convert(folder: Path, out: Path, size: tuple[int, int]) -> int:
    """Write the views and classes of ``folder`` to ``out``; returns how many views.

    Raises:
        OvsegError: the folder can't be used.
    """
    pictures = sorted(path for path in (folder / "images").glob("*") if path.suffix.lower() in SUFFIXES)
    if not pictures or not (folder / CLASSES_FILE).is_file():
        raise OvsegError(
            f"{folder} should hold images/NAME.jpg, labels/NAME.png and {CLASSES_FILE}: add what is missing"
        )
    classes = read_classes(folder)
    write_classes(out, classes)
    for path in tqdm(pictures, unit="image"):
        rgb = read_image(path, cv2.IMREAD_COLOR)[..., ::-1].astype(np.uint8)
        labels = read_labels(folder / "labels" / f"{path.stem}.png", rgb.shape[:2], len(classes))
        write_view(out / f"{path.stem}.jpg", make_view(rgb, labels, size))
    return len(pictures)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="Make views to train on of images with label maps.")
    parser.add_argument("folder", type=Path, help="holds images, labels and classes.txt")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--size", type=parse_size, default=(320, 240), help="of a view, such as 320x240")
    arguments = parser.parse_args()
    try:
        convert(arguments.folder, arguments.out, arguments.size)
    except OvsegError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
