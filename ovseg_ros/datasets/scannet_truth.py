"""Ground truth of ScanNet: label images, NYU40 ids on vertices, and objects as sets of segments.

Benchmarks of NYU40's classes take the label of each vertex of `_vh_clean_2.labels.ply`, and raw ids of label images
through `scannetv2-labels.combined.tsv`. ScanNet200 counts in raw ids: those of label images as they are, and those of
vertices by the names of the objects, from `.aggregation.json`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ovseg_ros.datasets.class_table import CLASSES_FILE, ClassTable, published_classes
from ovseg_ros.datasets.files import find_above, read_table
from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.datasets.ply import read_binary_ply
from ovseg_ros.datasets.published_layout import PublishedLayout
from ovseg_ros.datasets.segments import vertex_classes
from ovseg_ros.errors import OvsegError

LABELLED_MESH, MESH = "_vh_clean_2.labels.ply", "_vh_clean_2.ply"
SEGMENTS = "_vh_clean_2.0.010000.segs.json"
OBJECTS = ".aggregation.json"
TABLE = "scannetv2-labels.combined.tsv"
NYU40, RAW = "NYU40", "ScanNet"


def label_folder(scan: Path) -> Path:
    """Where the label images are: in the scan itself, or as their zip unpacks."""
    unpacked = next(iter(sorted(scan.glob("*_2d-label-filt/label-filt"))), None)
    return unpacked or scan / "label-filt"


def read_classes(
    layout: PublishedLayout, scan: Path, class_list: str | None
) -> tuple[ClassTable | None, ClassTable | None]:
    """What the ids mean in label images, and on vertices; None where the scan has no ground truth.

    Raises:
        OvsegError: there are label images, but nothing that says what they mean.
    """
    images = any(label_folder(scan).glob("*.png"))
    own = (scan / CLASSES_FILE).exists()
    if not (images or own or class_list is not None or any(_file(scan, suffix) for suffix in (LABELLED_MESH, OBJECTS))):
        return None, None
    classes = published_classes(scan, class_list, "scannet20", (NYU40, RAW))
    if own or classes.ids == RAW or not images:
        return classes, classes
    table = find_above(scan, TABLE)
    if table is None:
        raise layout.incomplete(
            scan, f"{label_folder(scan)} has raw class ids but {TABLE}, which names them, is missing"
        )
    return classes.through(_translation(table)), classes


def read_truth(layout: PublishedLayout, scan: Path, classes: ClassTable | None) -> LabelledMesh | None:
    """The labelled surface; None if the scan has none.

    Raises:
        OvsegError: it has a part of it, or a file is damaged.
    """
    if classes is None:
        return None
    if classes.ids == RAW:
        return _from_objects(layout, scan, classes)
    mesh_file = _file(scan, LABELLED_MESH)
    if mesh_file is None:
        return None
    ply = read_binary_ply(mesh_file)
    if "label" not in (ply.vertices.dtype.names or ()):
        raise OvsegError(f"{mesh_file} has no vertex property 'label': download ScanNet's labels.ply of this scan")
    return LabelledMesh.of_ply(ply, classes.labels_of(ply.vertices["label"].astype(np.int64)), classes.names)


def _from_objects(layout: PublishedLayout, scan: Path, classes: ClassTable) -> LabelledMesh | None:
    objects = _file(scan, OBJECTS)
    if objects is None:
        return None

    def needed(file: Path | None, name: str) -> Path:
        if file is None:
            raise layout.incomplete(scan, f"{objects.name} is there but {name.lstrip('_')} isn't")
        return file

    mesh_file = needed(_file(scan, LABELLED_MESH) or _file(scan, MESH), MESH)
    segments, table = needed(_file(scan, SEGMENTS), SEGMENTS), needed(find_above(scan, TABLE), TABLE)
    ply = read_binary_ply(mesh_file)
    rows = ((name, _whole(number)) for name, number in read_table(table, ("raw_category", "id"), "\t"))
    labels = {name: classes.labels[number] for name, number in rows if number is not None and number in classes.labels}
    of_vertices, instances = vertex_classes(segments, objects, labels, len(ply.vertices))
    return LabelledMesh.of_ply(ply, of_vertices, classes.names, instances)


def _translation(table: Path) -> dict[int, int]:
    """Raw id -> NYU40 id."""
    rows = ((_whole(raw), _whole(nyu40)) for raw, nyu40 in read_table(table, ("id", "nyu40id"), "\t"))
    return {raw: nyu40 for raw, nyu40 in rows if raw is not None and nyu40 is not None and 0 < raw < 1 << 16}


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _file(scan: Path, suffix: str) -> Path | None:
    # <scan>_vh_clean.aggregation.json is of the full mesh, which has other segments.
    files = (file for file in sorted(scan.glob(f"*{suffix}")) if not file.name.endswith(f"_vh_clean{suffix}"))
    return next(files, None)
