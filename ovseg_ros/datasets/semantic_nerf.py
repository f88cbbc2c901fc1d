"""`semantic_nerf`: Replica as Semantic-NeRF renders it, with label images.

The files:

    office_0/Sequence_1/traj_w_c.txt                            a row-major 4x4 camera -> world per line, optical axes
    office_0/Sequence_1/rgb/rgb_0.png                           640x480
    office_0/Sequence_1/depth/depth_0.png                       16 bit, millimetres; 0 = no reading
    office_0/Sequence_1/semantic_class/semantic_class_0.png     8 or 16 bit, Replica's class ids; 0 = unlabelled
    office_0/Sequence_1/camera-intrinsics.txt                   3x3 (ours, optional); else a field of view of 90 degrees
    office_0/Sequence_1/classes.json, mesh.ply                  what the ids mean, the labelled surface (ours, optional)

The camera is that of Semantic-NeRF's `set_params_replica`: focal length width / 2, principal point in the middle of the
image, which in coordinates of pixel centres is (width - 1) / 2.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ovseg_ros.datasets.camera_files import INTRINSICS_FILE, image_size, read_intrinsics, write_camera_matrix
from ovseg_ros.datasets.class_table import CLASSES_FILE, ClassTable, published_classes
from ovseg_ros.datasets.files import (
    format_row,
    numbered_files,
    parse_pose,
    trajectory_lines,
    write_colour,
    write_depth,
    write_labels,
)
from ovseg_ros.datasets.labelled_mesh import MESH_FILE, LabelledMesh
from ovseg_ros.datasets.published_layout import PublishedLayout
from ovseg_ros.datasets.sequence import FrameFiles, RgbdSequence
from ovseg_ros.types import Intrinsics, RgbdFrame

LAYOUT = PublishedLayout(
    name="semantic_nerf",
    tree="office_0/Sequence_1/traj_w_c.txt, rgb/rgb_0.png, depth/depth_0.png, semantic_class/semantic_class_0.png",
    source="the Replica renderings linked from the README of github.com/Harry-Zhi/semantic_nerf",
)
TRAJECTORY_FILE = "traj_w_c.txt"
LABELS = "semantic_class"
UNITS_PER_METRE = 1000.0
WRITTEN = Path("room_0") / "Sequence_1"


def looks_like(path: Path) -> bool:
    """Whether anything in the folder, of a sequence, a scene or all scenes, suggests this layout."""
    return (path / LABELS).is_dir() or bool(_sequences(path))


def open_semantic_nerf(path: Path, class_list: str | None = None) -> RgbdSequence:
    """Open a sequence, or a folder above it if that holds a single one.

    Raises:
        OvsegError: something that all frames need is missing, or the folder holds several.
    """
    sequences = _sequences(path)
    if not sequences:
        raise LAYOUT.incomplete(path, f"{TRAJECTORY_FILE} is missing")
    root = LAYOUT.only_one(path, sequences)
    colours = numbered_files(root / "rgb", "rgb*.png")
    if not colours:
        raise LAYOUT.incomplete(path, f"{root / 'rgb'} has no rgb_*.png")
    lines = trajectory_lines(root / TRAJECTORY_FILE)
    if colours[-1][0] >= len(lines):
        missing = f"{TRAJECTORY_FILE} has {len(lines)} poses but the last image is number {colours[-1][0]} (from 0)"
        raise LAYOUT.incomplete(path, missing)
    files = tuple(
        FrameFiles(number, colour, root / "depth" / f"depth_{number}.png", root / LABELS / f"{LABELS}_{number}.png")
        for number, colour in colours
    )
    labelled = (root / LABELS).is_dir() or class_list is not None
    mesh_file = root / MESH_FILE
    return RgbdSequence(
        root=root,
        layout=LAYOUT.name,
        files=files,
        poses=torch.stack([parse_pose(lines[number]) for number, _ in colours]),
        intrinsics=_camera(root, files),
        units_per_metre=UNITS_PER_METRE,
        no_reading=(0,),
        classes=published_classes(root, class_list, "replica51", ("Replica",)) if labelled else None,
        load_mesh=lambda: LabelledMesh.read_ply(mesh_file) if mesh_file.exists() else None,
    )


class SemanticNerfWriter:
    """Writes this layout with one sequence in it, one frame at a time."""

    def __init__(self, out: Path, intrinsics: Intrinsics, class_names: tuple[str, ...]) -> None:
        self._root = out / WRITTEN
        for folder in ("rgb", "depth"):
            (self._root / folder).mkdir(parents=True)
        write_camera_matrix(self._root / INTRINSICS_FILE, intrinsics)
        if class_names:
            (self._root / LABELS).mkdir()
            ClassTable.numbered(class_names).write(self._root / CLASSES_FILE)

    def add_frame(self, number: int, frame: RgbdFrame) -> None:
        """Write one frame's images and add its pose to the trajectory."""
        write_colour(self._root / "rgb" / f"rgb_{number}.png", frame)
        write_depth(self._root / "depth" / f"depth_{number}.png", frame, UNITS_PER_METRE)
        write_labels(self._root / LABELS / f"{LABELS}_{number}.png", frame)
        with open(self._root / TRAJECTORY_FILE, "a") as trajectory:
            trajectory.write(format_row(frame.pose.flatten().tolist()) + "\n")

    def add_mesh(self, mesh: LabelledMesh) -> None:
        """Write the ground truth."""
        mesh.write_ply(self._root / MESH_FILE)


def _sequences(path: Path) -> list[Path]:
    for pattern in (TRAJECTORY_FILE, f"*/{TRAJECTORY_FILE}", f"*/*/{TRAJECTORY_FILE}"):
        if found := sorted(file.parent for file in path.glob(pattern)):
            return found
    return []


def _camera(root: Path, files: tuple[FrameFiles, ...]) -> Intrinsics:
    if (root / INTRINSICS_FILE).exists():
        return read_intrinsics(root / INTRINSICS_FILE, files)
    width, height = image_size(files)
    return Intrinsics(width / 2, width / 2, (width - 1) / 2, (height - 1) / 2, width, height)
