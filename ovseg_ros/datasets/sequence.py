"""A recording that is read frame by frame, whatever its layout on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.datasets.class_table import ClassTable
from ovseg_ros.datasets.files import read_colour, read_depth, read_image, stamp_of
from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.types import Intrinsics, InvalidFrameError, RgbdFrame


class Recording(Protocol):
    """A posed RGB-D recording, whatever it lies in; frames are decoded when asked for."""

    @property
    def layout(self) -> str:
        """How it lies on disk, as `open_sequence` names it."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the ground truth; empty if the recording has none."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> RgbdFrame: ...

    def __iter__(self) -> Iterator[RgbdFrame]: ...

    def pose_at(self, index: int) -> tuple[NDArray[np.float64], int]:
        """(4, 4) camera -> world and stamp in nanoseconds of frame ``index``; its images aren't decoded."""

    def mesh(self) -> LabelledMesh | None:
        """The ground-truth mesh, if the recording has one."""


@dataclass(frozen=True)
class FrameFiles:
    """Where one frame lies: its number in the file names, its images, labels and a stamp if the recording has them."""

    number: int
    colour: Path
    depth: Path
    labels: Path | None = None
    recorded_ns: int | None = None

    @property
    def stamp_ns(self) -> int:
        """Nanoseconds, as recorded or by the sensor's usual rate."""
        return stamp_of(self.number) if self.recorded_ns is None else self.recorded_ns


@dataclass(frozen=True)
class RgbdSequence:
    """A posed RGB-D recording; frames are decoded when asked for, one at a time.

    Attributes:
        root: folder of the recording.
        layout: how it lies on disk, as `open_sequence` names it.
        files: one entry per frame, in order.
        poses: (N, 4, 4) float64 camera -> world; NaN where a pose was unreadable.
        intrinsics: of the depth images.
        units_per_metre: of the 16-bit depth images.
        no_reading: raw depth values that mean no reading.
        classes: what the ids in label images mean; None if nothing in the recording says so.
        load_mesh: reads the ground-truth mesh, with the same class names, or gives None if there is none.
        fit_colour_to_depth: the layout allows colour and labels of another size than depth.
        rectify_depth: brings depth images as stored, (H, W) metres, into the colour camera.

    Example:
        >>> sequence = open_sequence("kitchen_rgbd")  # doctest: +SKIP
        >>> for frame in sequence:  # doctest: +SKIP
        ...     semantic_map.integrate(frame, segment(segmenter, frame))
    """

    root: Path
    layout: str
    files: tuple[FrameFiles, ...]
    poses: torch.Tensor
    intrinsics: Intrinsics
    units_per_metre: float
    no_reading: tuple[int, ...]
    classes: ClassTable | None
    load_mesh: Callable[[], LabelledMesh | None]
    fit_colour_to_depth: bool = False
    rectify_depth: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the ground truth; empty if the recording has none."""
        return self.classes.names if self.classes else ()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> RgbdFrame:
        """Decode frame ``index``.

        Raises:
            InvalidFrameError: this one frame is damaged; the others can still be read.
            IndexError: there is no such frame.
        """
        files = self.files[index]
        depth = read_depth(files.depth, self.units_per_metre, self.no_reading)
        if self.rectify_depth is not None:
            depth = self.rectify_depth(depth)
        rgb = read_colour(files.colour)
        if self.fit_colour_to_depth and rgb.shape[:2] != depth.shape:
            rgb = cv2.resize(rgb, depth.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
        return RgbdFrame(
            rgb=torch.from_numpy(rgb),
            depth=torch.from_numpy(depth),
            intrinsics=self.intrinsics,
            pose=self.poses[index],
            stamp_ns=files.stamp_ns,
            semantics=self._semantics(files, depth.shape),
        )

    def __iter__(self) -> Iterator[RgbdFrame]:
        return (self[index] for index in range(len(self)))

    def pose_at(self, index: int) -> tuple[NDArray[np.float64], int]:
        """(4, 4) camera -> world, NaN where it was unreadable, and stamp in nanoseconds of frame ``index``."""
        return self.poses[index].numpy(), self.files[index].stamp_ns

    def mesh(self) -> LabelledMesh | None:
        """The ground-truth mesh, if the recording has one.

        Raises:
            OvsegError: the mesh is damaged, or nothing says what its labels mean.
        """
        return self.load_mesh()

    def _semantics(self, files: FrameFiles, shape: tuple[int, ...]) -> torch.Tensor | None:
        if self.classes is None or files.labels is None or not files.labels.exists():
            return None
        raw = read_image(files.labels, cv2.IMREAD_UNCHANGED)
        if raw.ndim != 2 or not np.issubdtype(raw.dtype, np.integer):
            raise InvalidFrameError("dtype", f"{files.labels} must hold one integer label per pixel, got {raw.shape}")
        if self.fit_colour_to_depth and raw.shape != shape:
            raw = cv2.resize(raw, shape[::-1], interpolation=cv2.INTER_NEAREST)
        if raw.shape != shape:
            raise InvalidFrameError("size", f"{files.labels} is {raw.shape} but the depth image is {shape}")
        return torch.from_numpy(self.classes.labels_of(raw.astype(np.int64)))
