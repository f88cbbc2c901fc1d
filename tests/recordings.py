"""A small recording with ground truth, as each layout can hold it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ovseg_ros.datasets import LAYOUTS, LabelledMesh, RgbdSequence, open_sequence, write_sequence
from ovseg_ros.types import Intrinsics, RgbdFrame

CAMERA = Intrinsics(fx=41.25, fy=40.5, cx=15.75, cy=11.25, width=32, height=24)
NAMES = ("wall", "office chair", "lamp")
WRITTEN = sorted(name for name, layout in LAYOUTS.items() if layout.writer)


def make_frame(number: int, camera: Intrinsics = CAMERA) -> RgbdFrame:
    """Smooth colours (JPEG keeps them), depth with every kind of missing reading, labels in blocks."""
    rows, columns = np.mgrid[: camera.height, : camera.width]
    shades = (columns * 192 // camera.width, rows * 192 // camera.height, np.full_like(rows, 10 * number))
    rgb = np.stack(shades, axis=-1).astype(np.uint8)
    depth = (1.0 + rows * 0.05 + columns * 0.0213 + 0.1 * number).astype(np.float32)
    depth[0, :4] = [np.nan, np.inf, -np.inf, 0.0]
    angle = 0.1 * number
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 0] = pose[1, 1] = np.cos(angle)
    pose[0, 1], pose[1, 0] = -np.sin(angle), np.sin(angle)
    pose[:3, 3] = torch.tensor([1.5, -2.25, 1 / 3 + number], dtype=torch.float64)
    labels = torch.from_numpy(((rows // 6 + columns // 8) % 4).astype(np.int32))
    return RgbdFrame(torch.from_numpy(rgb), torch.from_numpy(depth), camera, pose, number, labels)


def make_mesh() -> LabelledMesh:
    generator = np.random.default_rng(1)
    return LabelledMesh(
        vertices=generator.normal(size=(7, 3)).astype(np.float32),
        triangles=np.array([[0, 1, 2], [2, 3, 4], [4, 5, 6]], dtype=np.int32),
        colours=generator.integers(0, 256, (7, 3)).astype(np.uint8),
        labels=np.array([0, 1, 1, 2, 2, 3, 3], dtype=np.int32),
        instances=np.array([0, 1, 1, 2, 2, 300000, 300000], dtype=np.int32),
        class_names=NAMES,
    )


def write(folder: Path, layout: str, count: int = 3) -> Path:
    write_sequence((make_frame(i) for i in range(count)), make_mesh(), folder, layout, NAMES)
    return folder


def opened(folder: Path, **options: str) -> RgbdSequence:
    sequence = open_sequence(folder, **options)
    assert isinstance(sequence, RgbdSequence)
    return sequence
