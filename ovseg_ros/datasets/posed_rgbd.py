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

import torch

from ovseg_ros.datasets.camera_files import INTRINSICS_FILE, read_intrinsics, write_camera_matrix
from ovseg_ros.datasets.class_table import CLASSES_FILE, ClassTable, own_classes
from ovseg_ros.datasets.files import (
    UINT16_MAX,
    format_matrix,
    numbered_files,
    read_pose,
    with_progress,
    write_colour,
    write_depth,
    write_labels,
)
from ovseg_ros.datasets.labelled_mesh import MESH_FILE, LabelledMesh
from ovseg_ros.datasets.published_layout import PublishedLayout
from ovseg_ros.datasets.sequence import FrameFiles, RgbdSequence
from ovseg_ros.types import Intrinsics, RgbdFrame

LAYOUT = PublishedLayout(
    name="posed_rgbd",
    tree="camera-intrinsics.txt and frame-000000.color.jpg (or .png) + .depth.png + .pose.txt in one folder",
    source="as 3DMatch and many own recordings have them",
)
COLOURS = "frame-*.color.*"
UNITS_PER_METRE = 1000.0


def looks_like(path: Path) -> bool:
    """Whether anything in the folder suggests this layout."""
    return (path / INTRINSICS_FILE).exists() or any(path.glob(COLOURS))


def open_posed_rgbd(path: Path, class_list: str | None = None) -> RgbdSequence:
    """Open a recording.

    Raises:
        OvsegError: something that all frames need is missing.
    """
    files = posed_files(path, LAYOUT)
    if not (path / INTRINSICS_FILE).exists():
        raise LAYOUT.incomplete(path, f"{INTRINSICS_FILE} is missing")
    return posed_sequence(path, LAYOUT, files, read_intrinsics(path / INTRINSICS_FILE, files), class_list)


def posed_files(path: Path, layout: PublishedLayout) -> tuple[FrameFiles, ...]:
    """The numbered frames in a folder.

    Raises:
        OvsegError: there are none.
    """
    colours = numbered_files(path, COLOURS)
    if not colours:
        raise layout.incomplete(path, f"there is no {COLOURS} (jpg or png)")
    return tuple(
        FrameFiles(number, colour, _beside(colour, "depth.png"), _beside(colour, "label.png"))
        for number, colour in colours
    )


def posed_sequence(
    path: Path, layout: PublishedLayout, files: tuple[FrameFiles, ...], camera: Intrinsics, class_list: str | None
) -> RgbdSequence:
    """Numbered frames with their pose files and our ground truth."""
    mesh_file = path / MESH_FILE
    return RgbdSequence(
        root=path,
        layout=layout.name,
        files=files,
        poses=torch.stack([read_pose(_beside(entry.colour, "pose.txt")) for entry in with_progress(files, "poses")]),
        intrinsics=camera,
        units_per_metre=UNITS_PER_METRE,
        no_reading=(0, UINT16_MAX),
        classes=own_classes(path, class_list),
        load_mesh=lambda: LabelledMesh.read_ply(mesh_file) if mesh_file.exists() else None,
    )


class PosedRgbdWriter:
    """Writes this layout, one frame at a time."""

    def __init__(self, out: Path, intrinsics: Intrinsics, class_names: tuple[str, ...]) -> None:
        self._out = out
        write_camera_matrix(out / INTRINSICS_FILE, intrinsics)
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
