"""`tum`: recordings of the TUM RGB-D benchmark, and others in its layout.

The files:

    rgb.txt, depth.txt           a line for each image: time in seconds, file name
    groundtruth.txt              time tx ty tz qx qy qz qw: camera -> world, optical axes
    rgb/<time>.png               640x480, registered
    depth/<time>.png             16 bit, 5000 units per metre; 0 = no reading
    camera-intrinsics.txt        3x3 (ours, optional); else the camera that the benchmark's page recommends
    label/<time>.png             16 bit label ids, <time> of the colour image (ours, optional)
    classes.json, mesh.ply       what the ids mean, and the labelled surface (ours, optional)

Colour and depth are paired within 20 ms, as the benchmark's associate.py does; the pose is interpolated to the depth
image. Frames without a partner, or outside the trajectory, are left out.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from ovseg_ros.datasets.camera_files import INTRINSICS_FILE, published_intrinsics, write_camera_matrix
from ovseg_ros.datasets.class_table import CLASSES_FILE, ClassTable, own_classes
from ovseg_ros.datasets.files import (
    format_row,
    numbers_in,
    read_lines,
    stamp_of,
    with_progress,
    write_colour,
    write_depth,
    write_labels,
)
from ovseg_ros.datasets.labelled_mesh import MESH_FILE, LabelledMesh
from ovseg_ros.datasets.published_layout import PublishedLayout
from ovseg_ros.datasets.rosbag.reading import nearest_partners
from ovseg_ros.datasets.sequence import FrameFiles, RgbdSequence
from ovseg_ros.errors import OvsegError
from ovseg_ros.sensor_messages import Trajectory
from ovseg_ros.types import Intrinsics, InvalidFrameError, RgbdFrame

LAYOUT = PublishedLayout(
    name="tum",
    tree="rgb.txt, depth.txt, groundtruth.txt, rgb/<time>.png and depth/<time>.png",
    source="the tgz of a sequence on the page 'RGB-D SLAM Dataset and Benchmark' of TUM's Computer Vision Group",
)
TRAJECTORY_FILE = "groundtruth.txt"
LISTS = ("rgb.txt", "depth.txt")
UNITS_PER_METRE = 5000.0
SLOP_NS = 20_000_000
NS_PER_SECOND = 1_000_000_000
MAX_SECONDS = 9_000_000_000
# The benchmark's page, "Intrinsic camera calibration": the defaults of ROS for freiburg1 and freiburg2, whose depth is
# registered without undistortion; freiburg3 comes undistorted.
KINECT = Intrinsics(fx=525.0, fy=525.0, cx=319.5, cy=239.5, width=640, height=480)
FREIBURG3 = Intrinsics(fx=535.4, fy=539.2, cx=320.1, cy=247.6, width=640, height=480)


def looks_like(path: Path) -> bool:
    """Whether anything in the folder suggests this layout."""
    return any((path / name).is_file() for name in (*LISTS, TRAJECTORY_FILE))


def open_tum(path: Path, class_list: str | None = None) -> RgbdSequence:
    """Open a recording.

    Raises:
        OvsegError: something that all frames need is missing or unreadable.
    """
    for name in (*LISTS, TRAJECTORY_FILE):
        if not (path / name).is_file():
            raise LAYOUT.incomplete(path, f"{name} is missing")
    (colour_stamps, colours), (depth_stamps, depths) = (_read_list(path / name) for name in LISTS)
    for name, images in zip(LISTS, (colours, depths), strict=True):
        if not images:
            raise LAYOUT.incomplete(path, f"{name} names no image")
    partners = nearest_partners(colour_stamps, depth_stamps, SLOP_NS)
    trajectory = _read_trajectory(path / TRAJECTORY_FILE)
    files, poses = [], []
    for number, partner in enumerate(with_progress(partners.tolist(), "poses")):
        if partner < 0:
            continue
        try:
            poses.append(torch.from_numpy(trajectory.at(int(depth_stamps[partner]))))
        except InvalidFrameError:
            continue
        labels = path / "label" / Path(colours[number]).name
        stamp = int(depth_stamps[partner])
        files.append(FrameFiles(number, path / colours[number], path / depths[partner], labels, stamp))
    if not files:
        raise LAYOUT.incomplete(path, f"none of the {len(colours)} images has a depth image within 20 ms and a pose")
    frames = tuple(files)
    mesh_file = path / MESH_FILE
    return RgbdSequence(
        root=path,
        layout=LAYOUT.name,
        files=frames,
        poses=torch.stack(poses),
        intrinsics=published_intrinsics(path, frames, FREIBURG3 if "freiburg3" in path.name else KINECT),
        units_per_metre=UNITS_PER_METRE,
        no_reading=(0,),
        classes=own_classes(path, class_list),
        load_mesh=lambda: LabelledMesh.read_ply(mesh_file) if mesh_file.exists() else None,
    )


class TumWriter:
    """Writes this layout, one frame at a time."""

    def __init__(self, out: Path, intrinsics: Intrinsics, class_names: tuple[str, ...]) -> None:
        self._out = out
        for folder in ("rgb", "depth", "label"):
            (out / folder).mkdir()
        write_camera_matrix(out / INTRINSICS_FILE, intrinsics)
        if class_names:
            ClassTable.numbered(class_names).write(out / CLASSES_FILE)

    def add_frame(self, number: int, frame: RgbdFrame) -> None:
        """Write one frame's images and add its lines to the lists."""
        time = f"{Decimal(stamp_of(number)) / NS_PER_SECOND:.6f}"
        write_colour(self._out / "rgb" / f"{time}.png", frame)
        write_depth(self._out / "depth" / f"{time}.png", frame, UNITS_PER_METRE)
        write_labels(self._out / "label" / f"{time}.png", frame)
        pose = frame.pose.cpu().numpy()
        numbers = format_row([*pose[:3, 3], *Rotation.from_matrix(pose[:3, :3]).as_quat()])
        lines = {"rgb.txt": f"rgb/{time}.png", "depth.txt": f"depth/{time}.png", TRAJECTORY_FILE: numbers}
        for name, rest in lines.items():
            with open(self._out / name, "a") as file:
                file.write(f"{time} {rest}\n")

    def add_mesh(self, mesh: LabelledMesh) -> None:
        """Write the ground truth."""
        mesh.write_ply(self._out / MESH_FILE)


def _read_list(path: Path) -> tuple[np.ndarray, list[str]]:
    """Sorted (N,) int64 nanoseconds and the N file names."""
    entries = []
    for line in read_lines(path):
        time, _, name = line.partition(" ")
        stamp = _nanoseconds(time)
        if stamp is None or not name.strip():
            raise OvsegError(f"{path} has the line {line[:80]!r}, where a time in seconds and a file name belong")
        entries.append((stamp, name.strip()))
    entries.sort()
    return np.array([stamp for stamp, _ in entries], dtype=np.int64), [name for _, name in entries]


def _read_trajectory(path: Path) -> Trajectory:
    trajectory = Trajectory(path.name)
    for line in read_lines(path):
        stamp, values = _nanoseconds(line.split()[0]), numbers_in(line)
        if stamp is None or len(values) != 8:
            raise OvsegError(f"{path} has the line {line[:80]!r}, where time tx ty tz qx qy qz qw belong")
        position, orientation = (
            SimpleNamespace(**dict(zip(names, part, strict=True)))
            for names, part in (("xyz", values[1:4]), ("xyzw", values[4:]))
        )
        trajectory.add(stamp, position, orientation)
    return trajectory


def _nanoseconds(seconds: str) -> int | None:
    """Exactly, as a double would not; None where the text is no time."""
    try:
        value = Decimal(seconds)
        return int(value * NS_PER_SECOND) if 0 <= value < MAX_SECONDS else None
    except (InvalidOperation, ValueError, OverflowError):
        return None
