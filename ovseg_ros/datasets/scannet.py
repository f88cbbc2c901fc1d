"""`scannet`: a scan as ScanNet's exporter unpacks it, plus its ground truth.

The files:

    color/0.jpg                          any size; resized to the depth image
    depth/0.png                          16 bit, millimetres; 0 = no reading
    pose/0.txt                           4x4 camera -> world; -inf where tracking was lost
    intrinsic/intrinsic_depth.txt        4x4; also intrinsic_color, extrinsic_depth, extrinsic_color
    label-filt/0.png                     16 bit class ids (optional; also in <scan>_2d-label-filt/label-filt)
    <scan>_vh_clean_2.labels.ply         the surface with NYU40's id per vertex (optional)
    <scan>.aggregation.json, <scan>_vh_clean_2.0.010000.segs.json, <scan>_vh_clean_2.ply     for ScanNet200 (optional)
    scannetv2-labels.combined.tsv        what raw ids mean; here or up to three folders above
    classes.json                         what the ids mean instead (ours)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ovseg_ros.datasets.camera_files import read_intrinsics
from ovseg_ros.datasets.class_table import CLASSES_FILE, ClassTable
from ovseg_ros.datasets.files import (
    format_matrix,
    numbered_files,
    read_pose,
    with_progress,
    write_colour,
    write_depth,
    write_labels,
)
from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.datasets.ply import write_binary_ply
from ovseg_ros.datasets.published_layout import PublishedLayout
from ovseg_ros.datasets.scannet_truth import LABELLED_MESH, label_folder, read_classes, read_truth
from ovseg_ros.datasets.sequence import FrameFiles, RgbdSequence
from ovseg_ros.types import Intrinsics, RgbdFrame

LAYOUT = PublishedLayout(
    name="scannet",
    tree="color/0.jpg, depth/0.png, pose/0.txt and intrinsic/intrinsic_depth.txt",
    source="download-scannet.py, which you get for ScanNet's signed terms of use, then SensReader/python/reader.py of "
    "github.com/ScanNet/ScanNet with all four --export options",
)
FOLDERS = ("color", "depth", "pose", "intrinsic")
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


def open_scannet(path: Path, class_list: str | None = None) -> RgbdSequence:
    """Open a scan; frames whose pose is -inf (tracking lost) are left out.

    Raises:
        OvsegError: something that all frames need is missing.
    """
    for folder in FOLDERS:
        if not (path / folder).is_dir():
            raise LAYOUT.incomplete(path, f"the folder {folder}/ is missing")
    numbered = numbered_files(path / "color", "*")
    poses = {number: read_pose(path / "pose" / f"{number}.txt") for number, _ in with_progress(numbered, "poses")}
    labels = label_folder(path)
    files = tuple(
        FrameFiles(number, colour, path / "depth" / f"{number}.png", labels / f"{number}.png")
        for number, colour in numbered
        if not torch.isneginf(poses[number]).any()
    )
    if not files:
        raise LAYOUT.incomplete(path, f"none of the {len(numbered)} images in color/ has a pose")
    of_images, of_vertices = read_classes(LAYOUT, path, class_list)
    return RgbdSequence(
        root=path,
        layout=LAYOUT.name,
        files=files,
        poses=torch.stack([poses[entry.number] for entry in files]),
        intrinsics=read_intrinsics(path / "intrinsic" / "intrinsic_depth.txt", files),
        units_per_metre=UNITS_PER_METRE,
        no_reading=(0,),
        classes=of_images,
        load_mesh=lambda: read_truth(LAYOUT, path, of_vertices),
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
        write_binary_ply(self._out / f"{self._out.name}{LABELLED_MESH}", vertices, mesh.triangles)
