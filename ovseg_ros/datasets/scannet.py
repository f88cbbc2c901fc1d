"""`scannet`: a scan as ScanNet's exporter unpacks it, plus its labelled mesh.

The files:

    color/0.jpg                          any size; resized to the depth image
    depth/0.png                          16 bit, millimetres; 0 = no reading
    pose/0.txt                           4x4 camera -> world; -inf where tracking was lost
    intrinsic/intrinsic_depth.txt        4x4; also intrinsic_color, extrinsic_depth, extrinsic_color
    label-filt/0.png                     16 bit class ids (optional)
    <scan>_vh_clean_2.labels.ply         the surface with a class id per vertex (optional)
    classes.json                         what the ids mean (ours)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ovseg_ros.datasets.files import (
    CLASSES_FILE,
    ClassTable,
    format_matrix,
    read_pose,
    write_colour,
    write_depth,
    write_labels,
)
from ovseg_ros.datasets.labelled_mesh import LabelledMesh, colours_of, positions_of
from ovseg_ros.datasets.ply import read_binary_ply, write_binary_ply
from ovseg_ros.datasets.sequence import FrameFiles, RgbdSequence, incomplete, number_in, read_intrinsics
from ovseg_ros.errors import OvsegError
from ovseg_ros.types import Intrinsics, RgbdFrame

LAYOUT = "scannet"
TREE = "color/0.jpg, depth/0.png, pose/0.txt and intrinsic/intrinsic_depth.txt"
FOLDERS = ("color", "depth", "pose", "intrinsic")
MESH_SUFFIX = "_vh_clean_2.labels.ply"
UNITS_PER_METRE = 1000.0

VERTEX_TYPE = np.dtype(
    [
        ("x", "f4"), ("y", "f4"), ("z", "f4"),
        ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("alpha", "u1"),
        ("label", "u2"),
    ]
)  # fmt: skip


def looks_like(path: Path) -> bool:
    """Whether anything in the folder suggests this layout."""
    return any((path / name).is_dir() for name in FOLDERS)


def open_scannet(path: Path) -> RgbdSequence:
    """Open a scan; frames whose pose is -inf (tracking lost) are left out.

    Raises:
        OvsegError: something that all frames need is missing.
    """
    for folder in FOLDERS:
        if not (path / folder).is_dir():
            raise incomplete(path, LAYOUT, f"the folder {folder}/ is missing", TREE)
    numbered = [(number, file) for file in (path / "color").iterdir() if (number := number_in(file)) is not None]
    poses = {number: read_pose(path / "pose" / f"{number}.txt") for number, _ in numbered}
    colours = sorted((number, file) for number, file in numbered if not torch.isneginf(poses[number]).any())
    if not colours:
        raise incomplete(path, LAYOUT, f"none of the {len(numbered)} images in color/ has a pose", TREE)
    files = tuple(_files_of(path, number, colour) for number, colour in colours)
    classes = ClassTable.read(path / CLASSES_FILE)
    return RgbdSequence(
        root=path,
        layout=LAYOUT,
        files=files,
        poses=torch.stack([poses[entry.number] for entry in files]),
        intrinsics=read_intrinsics(path / "intrinsic" / "intrinsic_depth.txt", files),
        units_per_metre=UNITS_PER_METRE,
        no_reading=(0,),
        classes=classes,
        load_mesh=lambda: _read_mesh(path, classes),
        fit_colour_to_depth=True,
    )


class ScanNetWriter:
    """Writes this layout, one frame at a time."""

    def __init__(self, out: Path, intrinsics: Intrinsics, class_names: tuple[str, ...]) -> None:
        self._out = out
        for folder in (*FOLDERS, "label-filt"):
            (out / folder).mkdir()
        camera = np.eye(4)
        camera[0, 0], camera[1, 1] = intrinsics.fx, intrinsics.fy
        camera[0, 2], camera[1, 2] = intrinsics.cx, intrinsics.cy
        for sensor in ("color", "depth"):
            (out / "intrinsic" / f"intrinsic_{sensor}.txt").write_text(format_matrix(camera))
            (out / "intrinsic" / f"extrinsic_{sensor}.txt").write_text(format_matrix(np.eye(4)))
        if class_names:
            ClassTable.numbered(class_names).write(out / CLASSES_FILE)

    def add_frame(self, number: int, frame: RgbdFrame) -> None:
        """Write one frame's files."""
        write_colour(self._out / "color" / f"{number}.jpg", frame)
        write_depth(self._out / "depth" / f"{number}.png", frame, UNITS_PER_METRE)
        write_labels(self._out / "label-filt" / f"{number}.png", frame)
        (self._out / "pose" / f"{number}.txt").write_text(format_matrix(frame.pose.cpu().numpy()))

    def add_mesh(self, mesh: LabelledMesh) -> None:
        """Write the labelled surface under the scan's name."""
        vertices = np.empty(len(mesh.vertices), dtype=VERTEX_TYPE)
        vertices["x"], vertices["y"], vertices["z"] = mesh.vertices.T
        vertices["red"], vertices["green"], vertices["blue"] = mesh.colours.T
        vertices["alpha"], vertices["label"] = 255, mesh.labels
        write_binary_ply(self._out / f"{self._out.name}{MESH_SUFFIX}", vertices, mesh.triangles)


def _files_of(path: Path, number: int, colour: Path) -> FrameFiles:
    labels = path / "label-filt" / f"{number}.png"
    return FrameFiles(number, colour, path / "depth" / f"{number}.png", labels if labels.exists() else None)


def _read_mesh(path: Path, classes: ClassTable | None) -> LabelledMesh | None:
    mesh_file = next(iter(sorted(path.glob(f"*{MESH_SUFFIX}"))), None)
    if mesh_file is None:
        return None
    if classes is None:
        raise OvsegError(f"{mesh_file} has class ids but {path / CLASSES_FILE}, which names them, is missing")
    vertices, triangles, _ = read_binary_ply(mesh_file)
    if "label" not in (vertices.dtype.names or ()):
        raise OvsegError(f"{mesh_file} has no vertex property 'label': download ScanNet's labels.ply of this scan")
    return LabelledMesh(
        vertices=positions_of(vertices),
        triangles=triangles,
        colours=colours_of(vertices),
        labels=classes.labels_of(vertices["label"].astype(np.int64)),
        instances=np.zeros(len(vertices), dtype=np.int32),
        class_names=classes.names,
    )
