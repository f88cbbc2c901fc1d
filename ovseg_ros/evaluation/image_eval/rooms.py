"""Images of generated rooms as such a folder, to try the evaluation with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from ovseg_ros.datasets import ClassTable
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.image_eval.classes import CLASS_FILES
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.visualization import write_picture


def write_rooms(folder: Path, seeds: Iterable[int], views: int, size: tuple[int, int]) -> None:
    """Write images, label maps and their class list.

    Args:
        folder: a new one.
        seeds: one room each.
        views: images along the walk through each room.
        size: width and height of the images.

    Raises:
        OvsegError: the folder is there already, or can't be written.
    """
    images, labels = folder / "images", folder / "labels"
    try:
        folder.mkdir(parents=True)
        images.mkdir()
        labels.mkdir()
        ClassTable.numbered(RoomSequence.class_names).write(folder / CLASS_FILES[0])
    except FileExistsError as error:
        raise OvsegError(f"{folder} is there already: name a new folder, or drop --rooms to evaluate it") from error
    except OSError as error:
        raise OvsegError(f"cannot write {folder}: {error.strerror}, choose another folder") from error
    for seed in seeds:
        sequence = RoomSequence(seed, views, *size)
        for index in range(len(sequence)):
            view, name = sequence.view(index), f"room-{seed}-{index:03d}.png"
            write_picture(images / name, view.rgb)
            if not cv2.imwrite(str(labels / name), view.labels.astype(np.uint16)):
                raise OvsegError(f"cannot write {labels / name}: check that the disk has room")
