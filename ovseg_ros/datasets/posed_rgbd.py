"""`posed_rgbd`: numbered colour, depth and pose files in one folder, as handheld Kinect recordings are published.

The files:

    camera-intrinsics.txt        3x3
    frame-000000.color.jpg       or .png
    frame-000000.depth.png       16 bit, millimetres; 0 and 65535 = no reading
    frame-000000.pose.txt        4x4 camera -> world, optical axes
    frame-000000.label.png       16 bit label ids (ours, optional)
    classes.json, mesh.ply       what the ids mean, and the labelled surface (ours, optional)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ovseg_ros.datasets.files import (
    CLASSES_FILE,
    UINT16_MAX,
    ClassTable,
    format_matrix,
    read_pose,
    write_colour,
    write_depth,
    write_labels,
)
from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.datasets.sequence import FrameFiles, RgbdSequence, incomplete, number_in, read_intrinsics
from ovseg_ros.types import Intrinsics, RgbdFrame

LAYOUT = "posed_rgbd"
TREE = "camera-intrinsics.txt and frame-000000.color.jpg (or .png) + .depth.png + .pose.txt in one folder"
INTRINSICS_FILE = "camera-intrinsics.txt"
MESH_FILE = "mesh.ply"
UNITS_PER_METRE = 1000.0


def looks_like(path: Path) -> bool:
    """Whether anything in the folder suggests this layout."""
    return (path / INTRINSICS_FILE).exists() or any(path.glob("frame-*.color.*"))


def open_posed_rgbd(path: Path) -> RgbdSequence:
    """Open a recording.

    Raises:
        OvsegError: something that all frames need is missing.
    """
    colours = sorted((number, file) for file in path.glob("frame-*.color.*") if (number := number_in(file)) is not None)
    if not colours:
        raise incomplete(path, LAYOUT, "there is no frame-*.color.jpg or .png", TREE)
    if not (path / INTRINSICS_FILE).exists():
        raise incomplete(path, LAYOUT, f"{INTRINSICS_FILE} is missing", TREE)
    files = tuple(_files_of(number, colour) for number, colour in colours)
    mesh_file = path / MESH_FILE
    return RgbdSequence(
        root=path,
        layout=LAYOUT,
        files=files,
        poses=torch.stack([read_pose(_beside(entry.colour, "pose.txt")) for entry in files]),
        intrinsics=read_intrinsics(path / INTRINSICS_FILE, files),
        units_per_metre=UNITS_PER_METRE,
        no_reading=(0, UINT16_MAX),
        classes=ClassTable.read(path / CLASSES_FILE),
        load_mesh=lambda: LabelledMesh.read_ply(mesh_file) if mesh_file.exists() else None,
    )


class PosedRgbdWriter:
    """Writes this layout, one frame at a time."""

    def __init__(self, out: Path, intrinsics: Intrinsics, class_names: tuple[str, ...]) -> None:
        self._out = out
        camera = [[intrinsics.fx, 0, intrinsics.cx], [0, intrinsics.fy, intrinsics.cy], [0, 0, 1]]
        (out / INTRINSICS_FILE).write_text(format_matrix(np.array(camera, dtype=np.float64)))
        if class_names:
            ClassTable.numbered(class_names).write(out / CLASSES_FILE)

    def add_frame(self, number: int, frame: RgbdFrame) -> None:
        """Write one frame's files."""
        colour = self._out / f"frame-{number:06d}.color.jpg"
        write_colour(colour, frame)
        write_depth(_beside(colour, "depth.png"), frame, UNITS_PER_METRE)
        write_labels(_beside(colour, "label.png"), frame)
        _beside(colour, "pose.txt").write_text(format_matrix(frame.pose.cpu().numpy()))

    def add_mesh(self, mesh: LabelledMesh) -> None:
        """Write the ground truth."""
        mesh.write_ply(self._out / MESH_FILE)


def _beside(colour: Path, suffix: str) -> Path:
    return colour.with_name(f"{colour.name.split('.')[0]}.{suffix}")


def _files_of(number: int, colour: Path) -> FrameFiles:
    labels = _beside(colour, "label.png")
    return FrameFiles(number, colour, _beside(colour, "depth.png"), labels if labels.exists() else None)
