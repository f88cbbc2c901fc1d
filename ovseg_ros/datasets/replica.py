"""`replica`: the Replica scenes as NICE-SLAM renders them, plus labels.

The files:

    cam_params.json                    image size, focal lengths, depth scale (6553.5 units per metre)
    <scene>_mesh.ply                   the surface
    <scene>.txt                        one class id per vertex of the mesh (as OpenNeRF and OVO publish them)
    classes.json                       what the ids mean (ours)
    <scene>/traj.txt                   a row-major 4x4 camera -> world per line, optical axes
    <scene>/results/frame000000.jpg    colour
    <scene>/results/depth000000.png    16 bit; 0 = no reading
    <scene>/labels/label000000.png     16 bit class ids (ours, optional)
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from ovseg_ros.datasets.files import CLASSES_FILE, ClassTable, parse_pose, write_colour, write_depth, write_labels
from ovseg_ros.datasets.labelled_mesh import LabelledMesh, colours_of, positions_of
from ovseg_ros.datasets.ply import read_binary_ply
from ovseg_ros.datasets.sequence import FrameFiles, RgbdSequence, incomplete, number_in
from ovseg_ros.errors import OvsegError
from ovseg_ros.types import Intrinsics, RgbdFrame

LAYOUT = "replica"
TREE = "cam_params.json beside <scene>/traj.txt and <scene>/results/frame000000.jpg + depth000000.png"
CAMERA_FILE = "cam_params.json"
TRAJECTORY_FILE = "traj.txt"
UNITS_PER_METRE = 6553.5
WRITTEN_SCENE = "room0"


def looks_like(path: Path) -> bool:
    """Whether anything in the folder, of one scene or of all scenes, suggests this layout."""
    return any((path / name).exists() for name in (TRAJECTORY_FILE, "results", CAMERA_FILE)) or bool(_scenes(path))


def open_replica(path: Path) -> RgbdSequence:
    """Open a scene's folder, or the folder above if it holds a single scene.

    Raises:
        OvsegError: something that all frames need is missing, or the folder holds several scenes.
    """
    scene = _scene_folder(path)
    root = scene.parent
    for required in (scene / TRAJECTORY_FILE, scene / "results", root / CAMERA_FILE):
        if not required.exists():
            raise incomplete(path, LAYOUT, f"{required} is missing", TREE)
    colours = sorted(
        (number, file) for file in (scene / "results").glob("frame*.*") if (number := number_in(file)) is not None
    )
    if not colours:
        raise incomplete(path, LAYOUT, f"{scene / 'results'} has no frame*.jpg", TREE)
    lines = (scene / TRAJECTORY_FILE).read_text(errors="replace").strip().splitlines()
    if colours[-1][0] >= len(lines):
        missing = f"{TRAJECTORY_FILE} has {len(lines)} poses but the last image is number {colours[-1][0]} (from 0)"
        raise incomplete(path, LAYOUT, missing, TREE)
    intrinsics, units_per_metre = _read_camera(root / CAMERA_FILE)
    classes = ClassTable.read(root / CLASSES_FILE)
    return RgbdSequence(
        root=scene,
        layout=LAYOUT,
        files=tuple(_files_of(scene, number, colour) for number, colour in colours),
        poses=torch.stack([parse_pose(lines[number]) for number, _ in colours]),
        intrinsics=intrinsics,
        units_per_metre=units_per_metre,
        no_reading=(0,),
        classes=classes,
        load_mesh=lambda: _read_mesh(root, scene.name, classes),
    )


class ReplicaWriter:
    """Writes this layout with one scene in it, one frame at a time."""

    def __init__(self, out: Path, intrinsics: Intrinsics, class_names: tuple[str, ...]) -> None:
        self._out = out
        self._scene = out / WRITTEN_SCENE
        (self._scene / "results").mkdir(parents=True)
        (self._scene / "labels").mkdir()
        camera = {
            "w": intrinsics.width, "h": intrinsics.height, "fx": intrinsics.fx, "fy": intrinsics.fy,
            "cx": intrinsics.cx, "cy": intrinsics.cy, "scale": UNITS_PER_METRE,
        }  # fmt: skip
        (out / CAMERA_FILE).write_text(json.dumps({"camera": camera}, indent=1) + "\n")
        if class_names:
            ClassTable.numbered(class_names).write(out / CLASSES_FILE)

    def add_frame(self, number: int, frame: RgbdFrame) -> None:
        """Write one frame's images and add its pose to the trajectory."""
        write_colour(self._scene / "results" / f"frame{number:06d}.jpg", frame)
        write_depth(self._scene / "results" / f"depth{number:06d}.png", frame, UNITS_PER_METRE)
        write_labels(self._scene / "labels" / f"label{number:06d}.png", frame)
        with open(self._scene / TRAJECTORY_FILE, "a") as trajectory:
            trajectory.write(" ".join(f"{value:.17g}" for value in frame.pose.flatten().tolist()) + "\n")

    def add_mesh(self, mesh: LabelledMesh) -> None:
        """Write the surface and one class id per vertex."""
        mesh.write_ply(self._out / f"{WRITTEN_SCENE}_mesh.ply")
        (self._out / f"{WRITTEN_SCENE}.txt").write_text("".join(f"{label}\n" for label in mesh.labels.tolist()))


def _scenes(path: Path) -> list[Path]:
    return sorted(child.parent for child in path.glob(f"*/{TRAJECTORY_FILE}"))


def _scene_folder(path: Path) -> Path:
    scenes = _scenes(path)
    if (path / TRAJECTORY_FILE).exists() or (path / "results").exists() or not scenes:
        return path
    if len(scenes) > 1:
        names = ", ".join(scene.name for scene in scenes)
        raise OvsegError(f"{path} holds {len(scenes)} scenes ({names}): give the folder of one of them")
    return scenes[0]


def _files_of(scene: Path, number: int, colour: Path) -> FrameFiles:
    labels = scene / "labels" / f"label{number:06d}.png"
    return FrameFiles(number, colour, colour.with_name(f"depth{number:06d}.png"), labels if labels.exists() else None)


def _read_camera(path: Path) -> tuple[Intrinsics, float]:
    try:
        data = json.loads(path.read_text())
        camera = data.get("camera", data)
        fx, fy, cx, cy, scale = (float(camera[name]) for name in ("fx", "fy", "cx", "cy", "scale"))
        intrinsics = Intrinsics(fx, fy, cx, cy, int(camera["w"]), int(camera["h"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OvsegError(f"{path} must hold the numbers w, h, fx, fy, cx, cy and scale under 'camera'") from error
    if not scale > 0:
        raise OvsegError(f"{path} has the depth scale {scale}: it must be positive, Replica's is {UNITS_PER_METRE}")
    return intrinsics, scale


def _read_mesh(root: Path, scene: str, classes: ClassTable | None) -> LabelledMesh | None:
    mesh_file, label_file = root / f"{scene}_mesh.ply", root / f"{scene}.txt"
    if not mesh_file.exists() or not label_file.exists():
        return None
    if classes is None:
        raise OvsegError(f"{label_file} has class ids but {root / CLASSES_FILE}, which names them, is missing")
    vertices, triangles, _ = read_binary_ply(mesh_file)
    try:
        ids = np.array(label_file.read_text().split(), dtype=np.int64)
    except ValueError as error:
        raise OvsegError(f"{label_file} must hold one whole number per vertex of {mesh_file.name}") from error
    if len(ids) != len(vertices):
        raise OvsegError(f"{label_file} has {len(ids)} ids but {mesh_file.name} has {len(vertices)} vertices")
    return LabelledMesh(
        vertices=positions_of(vertices),
        triangles=triangles,
        colours=colours_of(vertices),
        labels=classes.labels_of(ids),
        instances=np.zeros(len(vertices), dtype=np.int32),
        class_names=classes.names,
    )
