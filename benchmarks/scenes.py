"""Synthetic sequences without textures, noise or models to wait for: a furnished room and an endless corridor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from ovseg_ros.geometry import unproject
from ovseg_ros.types import Intrinsics, RgbdFrame, Segmentation

VOXEL_SIZE = 0.05
SPACE = "benchmark/1"
PATCH = 16
"""Pixels along the edge of a feature cell, as of a vision transformer with patches of 16."""

RANGE = 5.0
"""Farther surfaces read as +inf, metres."""

AMBIGUOUS = 1e-4
"""Readings whose point lies this near to a voxel's face are left out, metres: mappers that work in float32 and in
float64 would round them to different voxels, and neither would be wrong."""

ROOM = ((-3.0, -2.5, 0.0), (3.0, 2.5, 2.7))
ROOM_BOXES = (
    ((-3.0, -2.5, 0.0), (-1.0, -1.5, 0.45)),
    ((1.8, -2.5, 0.0), (3.0, -1.9, 2.0)),
    ((-0.6, 1.7, 0.0), (0.9, 2.5, 0.75)),
    ((-3.0, 1.0, 0.0), (-2.3, 2.5, 1.8)),
    ((2.2, 0.6, 0.0), (3.0, 1.6, 1.0)),
    ((0.0, -2.5, 1.2), (1.0, -2.3, 1.7)),
    ((-3.0, -0.4, 0.0), (-2.6, 0.3, 0.5)),
)
"""Floor plan and furniture, (low, high) corners in metres. All faces lie at voxel centres."""

CORRIDOR_HALF_WIDTH = 1.2
CORRIDOR_HEIGHT = 2.5
CORRIDOR_START = 10.0
CORRIDOR_BOXES = (
    ((0.10, 0.45), (0.20, 0.90)),
    ((0.20, 0.75), (0.35, 0.45)),
    ((0.05, 0.80), (0.15, 2.10)),
    ((0.30, 0.60), (0.60, 1.40)),
    ((0.15, 0.65), (0.45, 0.75)),
)
"""For each metre in turn: where a box stands along the corridor, and its depth from the wall and height, metres."""

STRIDE = 0.5
"""Metres between two timed frames in the corridor."""

FILL_STRIDE = 2.5
"""Metres between two frames that only make the map grow: the nearest at which nothing in view is skipped."""

CORRIDOR_FIRST = 50_000
"""Voxels from which on the corridor's first frames are timed."""

Box = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Case:
    """A named sequence.

    Attributes:
        scene: "room" or "corridor".
        camera: of all its frames.
        frames: how many are timed, unless the command line says otherwise.
        voxels: what the map holds when the last of them begin, likewise. A corridor is walked that far in between;
            a room is looked at after a walk through a corridor far away.
    """

    scene: str
    camera: Intrinsics
    frames: int
    voxels: int


def _camera(width: int, height: int) -> Intrinsics:
    return Intrinsics(0.6 * width, 0.6 * width, (width - 1) / 2, (height - 1) / 2, width, height)


CASES = {
    "room640": Case("room", _camera(640, 480), frames=75, voxels=0),
    "room320": Case("room", _camera(320, 240), frames=120, voxels=0),
    "corridor320": Case("corridor", _camera(320, 240), frames=20, voxels=513_000),
}


def walk(case: Case, frames: int, voxels: int, mapped: Callable[[], int]) -> Iterator[tuple[RgbdFrame, bool]]:
    """The frames of a case, each with whether to time it; ``mapped`` says how many voxels the map has by now."""
    steps = _room_walk if case.scene == "room" else _corridor_walk
    yield from steps(case.camera, frames, voxels, mapped)


def _room_walk(
    camera: Intrinsics, frames: int, voxels: int, mapped: Callable[[], int]
) -> Iterator[tuple[RgbdFrame, bool]]:
    x = CORRIDOR_START
    while mapped() < voxels:
        yield corridor_frame(camera, x), False
        x += FILL_STRIDE
    for i in range(frames):
        yield room_frame(camera, 2 * math.pi * i / frames), True


def _corridor_walk(
    camera: Intrinsics, frames: int, voxels: int, mapped: Callable[[], int]
) -> Iterator[tuple[RgbdFrame, bool]]:
    x = CORRIDOR_START
    for target, timed in ((min(CORRIDOR_FIRST, voxels), frames // 2), (voxels, frames - frames // 2)):
        while mapped() < target:
            yield corridor_frame(camera, x), False
            x += FILL_STRIDE
        for _ in range(timed):
            yield corridor_frame(camera, x), True
            x += STRIDE


def room_frame(camera: Intrinsics, heading: float) -> RgbdFrame:
    """What a camera in the middle of the room sees that is turned to ``heading`` radians and a little down."""
    eye = (0.4 * math.cos(heading), 0.4 * math.sin(heading), 1.4)
    return _render(camera, _pose(eye, heading, pitch=-0.2), ROOM, ROOM_BOXES, stamp_ns=int(heading * 1e9))


def corridor_frame(camera: Intrinsics, x: float) -> RgbdFrame:
    """What a camera at ``x`` metres along the corridor sees that looks ahead."""
    walls = ((x - 1, -CORRIDOR_HALF_WIDTH, 0.0), (x + 2 * RANGE, CORRIDOR_HALF_WIDTH, CORRIDOR_HEIGHT))
    boxes = [_corridor_box(metre) for metre in range(int(x), int(x + RANGE) + 1)]
    return _render(camera, _pose((x, 0.0, 1.25), 0.0, pitch=0.0), walls, boxes, stamp_ns=int(x * 1e9))


def random_features(channels: int, camera: Intrinsics, seed: int) -> Segmentation:
    """(C, H / PATCH, W / PATCH) normally distributed features."""
    generator = torch.Generator().manual_seed(seed)
    return Segmentation(
        torch.randn(channels, camera.height // PATCH, camera.width // PATCH, generator=generator), SPACE
    )


def _corridor_box(metre: int) -> Box:
    (start, end), (depth, height) = CORRIDOR_BOXES[metre % len(CORRIDOR_BOXES)]
    near, far = CORRIDOR_HALF_WIDTH - depth, CORRIDOR_HALF_WIDTH
    low_y, high_y = (near, far) if metre % 2 else (-far, -near)
    return (metre + start, low_y, 0.0), (metre + end, high_y, height)


def _pose(eye: tuple[float, float, float], heading: float, pitch: float) -> torch.Tensor:
    """(4, 4) float64 pose of a camera that looks along ``heading`` (0 is +x) and ``pitch`` (up is positive)."""
    ahead = (math.cos(pitch) * math.cos(heading), math.cos(pitch) * math.sin(heading), math.sin(pitch))
    right = (math.sin(heading), -math.cos(heading), 0.0)
    axes = torch.tensor((right, (0.0, 0.0, 0.0), ahead), dtype=torch.float64)
    axes[1] = torch.linalg.cross(axes[2], axes[0])
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = axes.T
    pose[:3, 3] = torch.tensor(eye, dtype=torch.float64)
    return pose


def _render(camera: Intrinsics, pose: torch.Tensor, walls: Box, boxes: Sequence[Box], stamp_ns: int) -> RgbdFrame:
    """Cast one ray a pixel at the inside of the walls and the outside of the boxes."""
    # As long as it takes to advance one metre along the optical axis: the way to a hit, in rays, is its depth.
    rays = unproject(torch.ones(camera.height, camera.width, dtype=torch.float64), camera) @ pose[:3, :3].T
    eye = pose[:3, 3]
    depth = _crossings(eye, rays, walls)[1]
    for box in boxes:
        enters, leaves = _crossings(eye, rays, box)
        depth = torch.where((enters <= leaves) & (enters > 0), torch.minimum(depth, enters), depth)
    depth = torch.where(depth <= RANGE, depth, math.inf).float()

    points = eye + rays * depth.clamp(max=RANGE).double()[..., None]
    cells = points / VOXEL_SIZE
    from_face = (cells - cells.floor() - 0.5).abs().amin(dim=-1) * VOXEL_SIZE
    depth[(from_face < AMBIGUOUS) & torch.isfinite(depth)] = math.nan
    colours = 127.5 * (1 + torch.sin(points * torch.tensor((2.1, 3.3, 4.7), dtype=torch.float64)))
    return RgbdFrame(colours.to(torch.uint8), depth, camera, pose, stamp_ns)


def _crossings(eye: torch.Tensor, rays: torch.Tensor, box: Box) -> tuple[torch.Tensor, torch.Tensor]:
    """Multiples of the (H, W, 3) rays at which they enter and leave a box; a miss leaves before it enters."""
    low, high = torch.tensor(box, dtype=torch.float64)
    one, other = (low - eye) / rays, (high - eye) / rays
    return torch.minimum(one, other).amax(dim=-1), torch.maximum(one, other).amin(dim=-1)
