"""`seven_scenes`: Microsoft's 7-Scenes, the files of `posed_rgbd` without a camera file.

The files:

    <scene>/seq-01/frame-000000.color.png     640x480, of a Kinect, not registered to depth
    <scene>/seq-01/frame-000000.depth.png     16 bit, millimetres; 65535 = no reading
    <scene>/seq-01/frame-000000.pose.txt      4x4 camera -> world, optical axes
    <scene>/seq-01/camera-intrinsics.txt      3x3 (ours, optional); else the camera that the data set's page names
"""

from __future__ import annotations

import re
from pathlib import Path

from ovseg_ros.datasets.camera_files import published_intrinsics
from ovseg_ros.datasets.posed_rgbd import COLOURS, posed_files, posed_sequence
from ovseg_ros.datasets.published_layout import PublishedLayout
from ovseg_ros.datasets.sequence import RgbdSequence
from ovseg_ros.types import Intrinsics

LAYOUT = PublishedLayout(
    name="seven_scenes",
    tree="<scene>/seq-01/frame-000000.color.png + .depth.png + .pose.txt",
    source="the zips of the page 'RGB-D Dataset 7-Scenes' of Microsoft Research, that of the sequence unpacked too",
)
CAMERA = Intrinsics(fx=585.0, fy=585.0, cx=320.0, cy=240.0, width=640, height=480)


def looks_like(path: Path) -> bool:
    """Whether it is a sequence's folder, by name and files, or the folder of a scene."""
    return _is_sequence(path) or any(map(_is_sequence, _children(path)))


def open_seven_scenes(path: Path, class_list: str | None = None) -> RgbdSequence:
    """Open a sequence, or the folder above if it holds a single one.

    Raises:
        OvsegError: something that all frames need is missing, or the folder holds several.
    """
    sequences = [path] if any(path.glob(COLOURS)) else _children(path)
    if not sequences:
        raise LAYOUT.incomplete(path, "there is no seq-01")
    sequence = LAYOUT.only_one(path, sequences)
    files = posed_files(sequence, LAYOUT)
    return posed_sequence(sequence, LAYOUT, files, published_intrinsics(sequence, files, CAMERA), class_list)


def _children(path: Path) -> list[Path]:
    return sorted(child for child in path.glob("seq-*") if child.is_dir())


def _is_sequence(path: Path) -> bool:
    return re.fullmatch(r"seq-[0-9]+", path.name) is not None and any(path.glob(COLOURS))
