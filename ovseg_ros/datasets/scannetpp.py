"""`scannetpp`: a ScanNet++ scene's DSLR images, undistorted, with depth rendered from its mesh.

The files:

    data/<scene>/dslr/undistorted_images/DSC00001.JPG             (also resized_undistorted_images, as newer downloads)
    data/<scene>/dslr/nerfstudio/transforms_undistorted.json      the camera; poses where colmap/ is missing
    data/<scene>/dslr/colmap/images.txt, cameras.txt              world -> camera; the camera that renders depth
    data/<scene>/dslr/render_depth/DSC00001.png                   16 bit, millimetres; 0 = no reading
    data/<scene>/scans/mesh_aligned_0.05.ply, segments.json, segments_anno.json      the surface and its objects
    metadata/semantic_benchmark/top100.txt, map_benchmark.csv     the benchmark's classes

Depth may also lie in ``depth/<scene>/dslr/render_depth`` beside the scenes, where RayFronts has it. The toolkit renders
it with the fisheye camera of ``cameras.txt``: it is undistorted here as the images are. Depth of the undistorted camera
belongs in ``dslr/undistorted_depths`` and is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ovseg_ros.datasets.class_table import own_classes
from ovseg_ros.datasets.colmap_cameras import (
    Poses,
    depth_rectifier,
    read_colmap_poses,
    read_nerfstudio_poses,
    read_pinhole,
)
from ovseg_ros.datasets.files import numbered_files
from ovseg_ros.datasets.published_layout import PublishedLayout
from ovseg_ros.datasets.scannetpp_truth import read_classes, read_truth
from ovseg_ros.datasets.sequence import FrameFiles, RgbdSequence
from ovseg_ros.types import Intrinsics

LAYOUT = PublishedLayout(
    name="scannetpp",
    tree="data/<scene>/dslr with undistorted_images/*.JPG, nerfstudio/transforms_undistorted.json, colmap/images.txt + "
    "cameras.txt and render_depth/*.png",
    source="the ScanNet++ download page, for its signed terms of use, then dslr.undistort and common.render of "
    "github.com/scannetpp/scannetpp",
)
IMAGES = ("undistorted_images", "resized_undistorted_images")
UNDISTORTED_DEPTH, RENDERED_DEPTH = "undistorted_depths", "render_depth"
TRANSFORMS = Path("nerfstudio") / "transforms_undistorted.json"
COLMAP_IMAGES, COLMAP_CAMERAS = Path("colmap") / "images.txt", Path("colmap") / "cameras.txt"
UNITS_PER_METRE = 1000.0


def looks_like(path: Path) -> bool:
    """Whether anything in the folder, of one scene or of all scenes, suggests this layout."""
    return bool(_scenes(path))


def open_scannetpp(path: Path, class_list: str | None = None) -> RgbdSequence:
    """Open a scene's folder, or a folder above it if that holds a single scene; images without a pose are left out.

    Raises:
        OvsegError: something that all frames need is missing.
    """
    scenes = _scenes(path)
    if not scenes:
        raise LAYOUT.incomplete(path, "the folder dslr/ is missing")
    scene = LAYOUT.only_one(path, scenes)
    dslr = scene / "dslr"
    images = next((dslr / name for name in IMAGES if (dslr / name).is_dir()), None)
    if images is None:
        raise LAYOUT.incomplete(path, f"{dslr / IMAGES[0]} is missing: run python -m dslr.undistort")
    if not (dslr / TRANSFORMS).is_file():
        raise LAYOUT.incomplete(path, f"{dslr / TRANSFORMS} is missing: run python -m dslr.undistort")
    depth, rectified = _depth_folder(path, scene)
    poses = _read_poses(dslr)
    files = tuple(
        FrameFiles(number, colour, depth / f"{colour.stem}.png")
        for number, colour in numbered_files(images, "*")
        if colour.name in poses
    )
    if not files:
        raise LAYOUT.incomplete(path, f"none of the images in {images} has a pose")
    camera = read_pinhole(dslr / TRANSFORMS)
    own_classes(scene, class_list)
    classes = read_classes(LAYOUT, scene)
    return RgbdSequence(
        root=scene,
        layout=LAYOUT.name,
        files=files,
        poses=torch.from_numpy(np.stack([poses[entry.colour.name] for entry in files])),
        intrinsics=camera,
        units_per_metre=UNITS_PER_METRE,
        no_reading=(0,),
        classes=classes,
        load_mesh=lambda: read_truth(LAYOUT, scene, classes),
        rectify_depth=None if rectified else _rectifier(path, dslr, camera),
    )


def _scenes(path: Path) -> list[Path]:
    for pattern in ("dslr", "*/dslr", "data/*/dslr"):
        if found := sorted(folder.parent for folder in path.glob(pattern) if folder.is_dir()):
            return found
    return []


def _depth_folder(path: Path, scene: Path) -> tuple[Path, bool]:
    """Where depth is, and whether it is of the undistorted camera."""
    undistorted = scene / "dslr" / UNDISTORTED_DEPTH
    if undistorted.is_dir():
        return undistorted, True
    beside = (above / "depth" / scene.name / "dslr" / RENDERED_DEPTH for above in (scene.parent, scene.parent.parent))
    for rendered in (scene / "dslr" / RENDERED_DEPTH, *beside):
        if rendered.is_dir():
            return rendered, False
    raise LAYOUT.incomplete(path, f"{scene / 'dslr' / RENDERED_DEPTH} is missing: run python -m common.render")


def _rectifier(
    path: Path, dslr: Path, camera: Intrinsics
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]] | None:
    if not (dslr / COLMAP_CAMERAS).is_file():
        raise LAYOUT.incomplete(path, f"{dslr / COLMAP_CAMERAS}, the camera that depth was rendered with, is missing")
    return depth_rectifier(dslr / COLMAP_CAMERAS, camera)


def _read_poses(dslr: Path) -> Poses:
    if (dslr / COLMAP_IMAGES).is_file():
        return read_colmap_poses(dslr / COLMAP_IMAGES)
    return read_nerfstudio_poses(dslr / TRANSFORMS)
