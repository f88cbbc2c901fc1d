"""A generated room as a recording: the same interface as a data set on disk."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.errors import OvsegError
from ovseg_ros.simulation.classes import CLASS_NAMES
from ovseg_ros.simulation.depth_noise import DepthNoise
from ovseg_ros.simulation.layout import generate_room
from ovseg_ros.simulation.renderer import RoomRenderer, RoomView
from ovseg_ros.simulation.trajectory import walk
from ovseg_ros.types import Intrinsics, RgbdFrame

FRAME_PERIOD_NS = 100_000_000


def default_intrinsics(width: int, height: int) -> Intrinsics:
    """A camera with a horizontal field of view of about 60 degrees and square pixels."""
    focal = 0.87 * width
    return Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)


class RoomSequence:
    """A walk through a generated room, rendered frame by frame when asked for.

    Args:
        seed: of the room, the walk and the noise.
        frames: length of the walk.
        width, height: of the images in pixels.
        noise: whether depth has a camera's errors.

    Example:
        >>> sequence = RoomSequence(seed=7, frames=3, width=64, height=48)
        >>> sequence[0].depth.shape
        torch.Size([48, 64])
    """

    layout = "rooms"
    class_names = CLASS_NAMES

    def __init__(self, seed: int, frames: int = 80, width: int = 320, height: int = 240, noise: bool = True) -> None:
        if frames < 1 or width < 16 or height < 16 or seed < 0:
            raise OvsegError(
                f"a room needs at least 1 frame of 16x16 pixels and a seed of 0 or more, "
                f"got frames={frames} size={width}x{height} seed={seed}"
            )
        self.room = generate_room(seed)
        self.intrinsics = default_intrinsics(width, height)
        self.poses = walk(self.room, frames, np.random.default_rng((seed, 1)))
        self._renderer = RoomRenderer(self.room, self.intrinsics, DepthNoise() if noise else None)

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, index: int) -> RgbdFrame:
        if not 0 <= index < len(self):
            raise IndexError(index)
        view = self.view(index)
        pose, stamp_ns = self.pose_at(index)
        return RgbdFrame(
            rgb=torch.from_numpy(view.rgb),
            depth=torch.from_numpy(view.depth),
            intrinsics=self.intrinsics,
            pose=torch.from_numpy(pose),
            stamp_ns=stamp_ns,
            semantics=torch.from_numpy(view.labels),
        )

    def pose_at(self, index: int) -> tuple[NDArray[np.float64], int]:
        """(4, 4) camera -> world and stamp in nanoseconds of frame ``index``; nothing is rendered."""
        return self.poses[index], (index + 1) * FRAME_PERIOD_NS

    def view(self, index: int) -> RoomView:
        """Frame ``index`` with everything that is known about it."""
        return self._renderer.render(self.poses[index], np.random.default_rng((self.room.seed, 2, index)))

    def clean_depth(self, index: int) -> NDArray[np.float32]:
        """(H, W) exact metres of frame ``index``."""
        return self._renderer.cast_depth(self.poses[index])

    def mesh(self) -> LabelledMesh:
        """The room's labelled triangles."""
        return self.room.mesh()
