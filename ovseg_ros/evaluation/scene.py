"""The seam to data sets: what an evaluation asks of a scene, and the scenes that lie on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ovseg_ros.datasets import Recording
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.truth import BACKGROUND, GroundTruth, image_truth, surface_truth, vertex_truth
from ovseg_ros.types import RgbdFrame

TRUTHS = ("vertices", "surface", "images")
"""Where the ground truth of a recording comes from: its mesh's vertices, its mesh's triangles, its label images."""


class Frames(Protocol):
    """Frames by number; a damaged one raises InvalidFrameError."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> RgbdFrame: ...


class Scene(Protocol):
    """One scene to be evaluated."""

    @property
    def name(self) -> str:
        """As in results."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Label id i + 1 is ``class_names[i]``, in frames and ground truth."""

    @property
    def frames(self) -> Frames:
        """What is mapped; those with ``semantics`` also give the bound that true labels reach."""

    def ground_truth(self, voxel_size: float, frames: Iterable[RgbdFrame]) -> GroundTruth:
        """What the map is held against.

        Args:
            voxel_size: metres, in which label images are lifted where they are the truth.
            frames: those that a protocol uses.
        """


@dataclass(frozen=True)
class RecordedScene:
    """A recording on disk as a scene.

    Attributes:
        name: as in results.
        frames: the recording.
        truth: one of `TRUTHS`.
        background: the classes that are stuff.
    """

    name: str
    frames: Recording
    truth: str = "vertices"
    background: tuple[str, ...] = BACKGROUND

    @property
    def class_names(self) -> tuple[str, ...]:
        """The recording's.

        Raises:
            OvsegError: it has none.
        """
        if not self.frames.class_names:
            raise OvsegError(f"{self.name} has no class list, so nothing says what its labels mean: add classes.json")
        return self.frames.class_names

    def ground_truth(self, voxel_size: float, frames: Iterable[RgbdFrame]) -> GroundTruth:
        """From mesh or label images, as `truth` says.

        Raises:
            OvsegError: the recording lacks what it says.
        """
        if self.truth == "images":
            return image_truth(frames, self.class_names, voxel_size, self.background)
        mesh = self.frames.mesh()
        if mesh is None:
            raise OvsegError(f"{self.name} has no labelled mesh: set dataset.truth=images if its frames have labels")
        make = vertex_truth if self.truth == "vertices" else surface_truth
        return make(mesh, self.background)
