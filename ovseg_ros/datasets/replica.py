"""`replica`: the Replica scenes as NICE-SLAM renders them, plus labels.

The files:

    cam_params.json                    image size, focal lengths, depth scale (6553.5 units per metre)
    <scene>_mesh.ply                   the surface
    <scene>.txt                        one class id per vertex of the mesh (as OpenNeRF and OVO publish them)
    <scene>/traj.txt                   a row-major 4x4 camera -> world per line, optical axes
    <scene>/results/frame000000.jpg    colour
    <scene>/results/depth000000.png    16 bit; 0 = no reading
    <scene>/habitat/                   mesh_semantic.ply and info_semantic.json of the original Replica, where there is
                                       no <scene>.txt
    <scene>/labels/label000000.png     16 bit class ids (ours, optional)
    classes.json                       what the ids mean (ours); without it they are Replica's

Scenes may be spelt office0 or office_0, each file for itself.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ovseg_ros.datasets.class_table import CLASSES_FILE, ClassTable, published_classes
from ovseg_ros.datasets.files import (
    format_row,
    numbered_files,
    parse_pose,
    read_json,
    trajectory_lines,
    write_colour,
    write_depth,
    write_json,
    write_labels,
)
from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.datasets.published_layout import PublishedLayout
from ovseg_ros.datasets.replica_truth import habitat_mesh, read_truth, vertex_labels
from ovseg_ros.datasets.sequence import FrameFiles, RgbdSequence
from ovseg_ros.errors import OvsegError
from ovseg_ros.types import Intrinsics, InvalidFrameError, RgbdFrame

LAYOUT = PublishedLayout(
    name="replica",
    tree="cam_params.json beside <scene>/traj.txt and <scene>/results/frame000000.jpg + depth000000.png",
    source="scripts/download_replica.sh of github.com/cvg/nice-slam",
)
CAMERA_FILE = "cam_params.json"
TRAJECTORY_FILE = "traj.txt"
LABELS = "labels"
UNITS_PER_METRE = 6553.5
WRITTEN_SCENE = "room0"


def looks_like(path: Path) -> bool:
    """Whether anything in the folder, of one scene or of all scenes, suggests this layout."""
    return any((path / name).exists() for name in (TRAJECTORY_FILE, "results", CAMERA_FILE)) or bool(_scenes(path))


def open_replica(path: Path, class_list: str | None = None) -> RgbdSequence:
    """Open a scene's folder, or the folder above if it holds a single scene.

    Raises:
        OvsegError: something that all frames need is missing, or the folder holds several scenes.
    """
    scene = _scene_folder(path)
    root = scene.parent
    for required in (scene / TRAJECTORY_FILE, scene / "results", root / CAMERA_FILE):
        if not required.exists():
            raise LAYOUT.incomplete(path, f"{required} is missing")
    colours = numbered_files(scene / "results", "frame*.*")
    if not colours:
        raise LAYOUT.incomplete(path, f"{scene / 'results'} has no frame*.jpg")
    lines = trajectory_lines(scene / TRAJECTORY_FILE)
    if colours[-1][0] >= len(lines):
        missing = f"{TRAJECTORY_FILE} has {len(lines)} poses but the last image is number {colours[-1][0]} (from 0)"
        raise LAYOUT.incomplete(path, missing)
    intrinsics, units_per_metre = _read_camera(root / CAMERA_FILE)
    classes = _classes(root, scene, class_list)
    return RgbdSequence(
        root=scene,
        layout=LAYOUT.name,
        files=tuple(
            FrameFiles(
                number,
                colour,
                colour.with_name(f"depth{number:06d}.png"),
                scene / LABELS / f"label{number:06d}.png",
            )
            for number, colour in colours
        ),
        poses=torch.stack([parse_pose(lines[number]) for number, _ in colours]),
        intrinsics=intrinsics,
        units_per_metre=units_per_metre,
        no_reading=(0,),
        classes=classes,
        load_mesh=lambda: read_truth(LAYOUT, root, scene.name, classes),
    )


class ReplicaWriter:
    """Writes this layout with one scene in it, one frame at a time."""

    def __init__(self, out: Path, intrinsics: Intrinsics, class_names: tuple[str, ...]) -> None:
        self._out = out
        self._scene = out / WRITTEN_SCENE
        (self._scene / "results").mkdir(parents=True)
        (self._scene / LABELS).mkdir()
        camera = {
            "w": intrinsics.width, "h": intrinsics.height, "fx": intrinsics.fx, "fy": intrinsics.fy,
            "cx": intrinsics.cx, "cy": intrinsics.cy, "scale": UNITS_PER_METRE,
        }  # fmt: skip
        write_json(out / CAMERA_FILE, {"camera": camera})
        if class_names:
            ClassTable.numbered(class_names).write(out / CLASSES_FILE)

    def add_frame(self, number: int, frame: RgbdFrame) -> None:
        """Write one frame's images and add its pose to the trajectory."""
        write_colour(self._scene / "results" / f"frame{number:06d}.jpg", frame)
        write_depth(self._scene / "results" / f"depth{number:06d}.png", frame, UNITS_PER_METRE)
        write_labels(self._scene / LABELS / f"label{number:06d}.png", frame)
        with open(self._scene / TRAJECTORY_FILE, "a") as trajectory:
            trajectory.write(format_row(frame.pose.flatten().tolist()) + "\n")

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
    return LAYOUT.only_one(path, scenes)


def _classes(root: Path, scene: Path, class_list: str | None) -> ClassTable | None:
    own_labels = any((scene / LABELS).glob("*.png"))
    if own_labels and not (root / CLASSES_FILE).exists():
        raise OvsegError(f"{scene / LABELS} has class ids but {root / CLASSES_FILE}, which names them, is missing")
    truth = own_labels or (root / CLASSES_FILE).exists() or class_list is not None
    if truth or vertex_labels(root, scene.name) or habitat_mesh(root, scene.name):
        return published_classes(root, class_list, "replica51", ("Replica",))
    return None


def _read_camera(path: Path) -> tuple[Intrinsics, float]:
    data = read_json(path)
    try:
        camera = data.get("camera", data)
        fx, fy, cx, cy, scale = (float(camera[name]) for name in ("fx", "fy", "cx", "cy", "scale"))
        intrinsics = Intrinsics(fx, fy, cx, cy, int(camera["w"]), int(camera["h"]))
        intrinsics.validate()
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, InvalidFrameError) as error:
        raise OvsegError(
            f"{path} must hold the numbers w, h, fx, fy, cx, cy and scale under 'camera': copy it again"
        ) from error
    if not 0 < scale < float("inf"):
        raise OvsegError(f"{path} has the depth scale {scale}: it must be positive, Replica's is {UNITS_PER_METRE}")
    return intrinsics, scale
