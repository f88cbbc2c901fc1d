"""Writes the layout of ScanNet++ with one scene in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ovseg_ros.datasets.colmap_cameras import nerfstudio_pose
from ovseg_ros.datasets.files import format_row, write_colour, write_depth, write_json
from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.datasets.scannetpp import (
    COLMAP_CAMERAS,
    COLMAP_IMAGES,
    IMAGES,
    RENDERED_DEPTH,
    TRANSFORMS,
    UNITS_PER_METRE,
)
from ovseg_ros.datasets.scannetpp_truth import CLASS_FILE, MAPPING_FILE, MESH, OBJECTS, SEGMENTS
from ovseg_ros.types import Intrinsics, RgbdFrame

END = "]}\n"
WRITTEN = Path("data") / "room0"


class ScanNetPPWriter:
    """Writes this layout, one frame at a time; label images are not part of it."""

    def __init__(self, out: Path, intrinsics: Intrinsics, class_names: tuple[str, ...]) -> None:
        self._scans, self._dslr = out / WRITTEN / "scans", out / WRITTEN / "dslr"
        for folder in (self._dslr / IMAGES[0], self._dslr / RENDERED_DEPTH, self._scans):
            folder.mkdir(parents=True)
        for file in (self._dslr / TRANSFORMS, self._dslr / COLMAP_IMAGES, out / CLASS_FILE):
            file.parent.mkdir(parents=True)
        camera = (intrinsics.width, intrinsics.height, intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy)
        (self._dslr / COLMAP_CAMERAS).write_text(f"1 PINHOLE {format_row(camera)}\n")
        names = ("w", "h", "fl_x", "fl_y", "cx", "cy")
        head = json.dumps({"camera_model": "PINHOLE", **dict(zip(names, camera, strict=True))}).removesuffix("}")
        (self._dslr / TRANSFORMS).write_text(f'{head}, "frames": [{END}')
        (out / CLASS_FILE).write_text("".join(f"{name}\n" for name in class_names))
        rows = "".join(f"{name},1,,\n" for name in class_names)
        (out / MAPPING_FILE).write_text(f"class,count,semantic_map_to,instance_map_to\n{rows}")
        self._class_names = class_names

    def add_frame(self, number: int, frame: RgbdFrame) -> None:
        """Write one frame's images and its pose, in both lists."""
        name = f"DSC{number:05d}"
        write_colour(self._dslr / IMAGES[0] / f"{name}.JPG", frame)
        write_depth(self._dslr / RENDERED_DEPTH / f"{name}.png", frame, UNITS_PER_METRE)
        pose = frame.pose.cpu().numpy()
        there = np.linalg.inv(pose)
        qx, qy, qz, qw = Rotation.from_matrix(there[:3, :3]).as_quat()
        with open(self._dslr / COLMAP_IMAGES, "a") as images:
            images.write(f"{number + 1} {format_row([qw, qx, qy, qz, *there[:3, 3]])} 1 {name}.JPG\n\n")
        entry = json.dumps({"file_path": f"{name}.JPG", "transform_matrix": nerfstudio_pose(pose).tolist()})
        with open(self._dslr / TRANSFORMS, "r+") as transforms:
            transforms.seek(transforms.seek(0, os.SEEK_END) - len(END))
            transforms.write(f"{',' if number else ''}\n{entry}{END}")

    def add_mesh(self, mesh: LabelledMesh) -> None:
        """Write the surface, and its objects as segments."""
        mesh.write_ply(self._scans / MESH)
        objects = np.stack((mesh.instances, mesh.labels), axis=1)
        found, segments = np.unique(objects, axis=0, return_inverse=True)
        write_json(self._scans / SEGMENTS, {"segIndices": segments.reshape(-1).tolist()})
        groups = [
            {"id": segment, "objectId": segment, "label": self._class_names[label - 1], "segments": [segment]}
            for segment, (_, label) in enumerate(found.tolist())
            if label
        ]
        write_json(self._scans / OBJECTS, {"segGroups": groups})
