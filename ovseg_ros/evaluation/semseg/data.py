"""The scenes of a run: found on disk, or generated there first."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.datasets import LabelledMesh, Recording, open_sequence, write_sequence
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.scene import RecordedScene
from ovseg_ros.evaluation.semseg.settings import DatasetSettings, RoomSettings
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import RgbdFrame

SUBFOLDERS = ("", "scans", "data")
"""Where data sets keep their scenes below the folder that people name."""
ROOM = "room-"


def scene_names(dataset: DatasetSettings) -> tuple[str, ...]:
    """The names of all scenes of a run.

    Raises:
        OvsegError: there are none.
    """
    if dataset.scenes:
        return dataset.scenes
    if dataset.rooms is not None:
        return tuple(f"{ROOM}{seed}" for seed in dataset.rooms.seeds)
    if not dataset.path.is_dir():
        raise OvsegError(f"dataset.path is {dataset.path}, which is no folder: name the one that holds the scenes")
    names = sorted(child.name for child in dataset.path.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not names:
        raise OvsegError(f"{dataset.path} holds no scene: dataset.path must be the folder of the scenes' folders")
    return tuple(names)


def open_scene(dataset: DatasetSettings, name: str) -> RecordedScene:
    """One scene, ready to be read.

    Raises:
        OvsegError: it isn't there, or not whole.
    """
    if dataset.rooms is not None:
        folder = _room_folder(dataset.path, dataset.layout, dataset.rooms, name)
    else:
        folder = _scene_folder(dataset.path, name)
    recording: Recording = open_sequence(folder, dataset.layout, class_list=dataset.classes)
    if dataset.size is not None:
        recording = ResizedRecording(recording, dataset.size)
    return RecordedScene(name, recording, dataset.truth, dataset.background)


def _scene_folder(path: Path, name: str) -> Path:
    """A scene's folder; Replica's scenes are spelt office0 by some and office_0 by others."""
    for parent in (path / folder for folder in SUBFOLDERS):
        if (parent / name).is_dir():
            return parent / name
        for child in sorted(parent.iterdir()) if parent.is_dir() else ():
            if child.is_dir() and child.name.replace("_", "") == name.replace("_", ""):
                return child
    raise OvsegError(f"{path} holds no scene {name!r}: choose with dataset.scenes, or mend dataset.path")


def _room_folder(path: Path, layout: str, rooms: RoomSettings, name: str) -> Path:
    """The recording of a generated room, written now unless it is there."""
    width, height = rooms.size
    folder = path / f"{layout}-{rooms.frames}x{width}x{height}" / name
    if folder.is_dir():
        return folder
    seed = name.removeprefix(ROOM)
    if not seed.isdigit():
        raise OvsegError(f"{name!r} is no generated room: they are called {ROOM}SEED")
    sequence = RoomSequence(int(seed), rooms.frames, width, height)
    frames = (sequence[index] for index in range(len(sequence)))
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: whoever is killed meanwhile leaves no half room that the next run would read.
    unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        write_sequence(frames, sequence.mesh(), unfinished, layout, sequence.class_names)
        if not folder.is_dir():
            os.rename(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class ResizedRecording:
    """A recording whose images are brought to another size, as some protocols' authors do.

    Attributes:
        recording: the original.
        size: width and height; the aspect may change, and the camera with it.
    """

    recording: Recording
    size: tuple[int, int]

    @property
    def layout(self) -> str:
        """The original's."""
        return self.recording.layout

    @property
    def class_names(self) -> tuple[str, ...]:
        """The original's."""
        return self.recording.class_names

    def __len__(self) -> int:
        return len(self.recording)

    def __getitem__(self, index: int) -> RgbdFrame:
        """Colour averaged over areas; depth and labels from the nearest pixel."""
        frame = self.recording[index]
        if (frame.intrinsics.width, frame.intrinsics.height) == self.size:
            return frame

        def resized(image: torch.Tensor, how: int) -> torch.Tensor:
            return torch.from_numpy(cv2.resize(image.cpu().numpy(), self.size, interpolation=how))

        return RgbdFrame(
            rgb=resized(frame.rgb, cv2.INTER_AREA),
            depth=resized(frame.depth, cv2.INTER_NEAREST_EXACT),
            intrinsics=frame.intrinsics.scaled(*self.size),
            pose=frame.pose,
            stamp_ns=frame.stamp_ns,
            semantics=None if frame.semantics is None else resized(frame.semantics, cv2.INTER_NEAREST_EXACT),
        )

    def __iter__(self) -> Iterator[RgbdFrame]:
        return (self[index] for index in range(len(self)))

    def pose_at(self, index: int) -> tuple[NDArray[np.float64], int]:
        """The original's."""
        return self.recording.pose_at(index)

    def mesh(self) -> LabelledMesh | None:
        """The original's."""
        return self.recording.mesh()
