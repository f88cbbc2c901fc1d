"""Ground truth of ScanNet++: objects as sets of segments, their labels mapped to the benchmark's classes."""

from __future__ import annotations

from pathlib import Path

from ovseg_ros.datasets.class_table import ClassTable
from ovseg_ros.datasets.files import find_above, read_lines, read_table
from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.datasets.ply import read_binary_ply
from ovseg_ros.datasets.published_layout import PublishedLayout
from ovseg_ros.datasets.segments import vertex_classes
from ovseg_ros.errors import OvsegError

MESH, SEGMENTS, OBJECTS = "mesh_aligned_0.05.ply", "segments.json", "segments_anno.json"
CLASS_FILE = "metadata/semantic_benchmark/top100.txt"
MAPPING_FILE = "metadata/semantic_benchmark/map_benchmark.csv"


def read_classes(layout: PublishedLayout, scene: Path) -> ClassTable | None:
    """The benchmark's classes, label id = line of ``top100.txt``; None where the scene has no annotation.

    Raises:
        OvsegError: the scene is annotated, but the class list is missing or damaged.
    """
    if not (scene / "scans" / OBJECTS).is_file():
        return None
    path = find_above(scene, CLASS_FILE)
    if path is None:
        raise layout.incomplete(scene, f"{OBJECTS} is there but {CLASS_FILE}, which lists the classes, isn't")
    names = read_lines(path)
    if not names or len(set(names)) < len(names):
        raise OvsegError(f"{path} must name a class in each line, each once: download it again")
    return ClassTable.numbered(names)


def read_truth(layout: PublishedLayout, scene: Path, classes: ClassTable | None) -> LabelledMesh | None:
    """The labelled surface; None if the scene has no annotation.

    Raises:
        OvsegError: a part of it is missing or damaged.
    """
    if classes is None:
        return None
    scans, mapping = scene / "scans", find_above(scene, MAPPING_FILE)
    for name in (MESH, SEGMENTS):
        if not (scans / name).is_file():
            raise layout.incomplete(scene, f"scans/{OBJECTS} is there but scans/{name} isn't")
    if mapping is None:
        raise layout.incomplete(
            scene, f"{MAPPING_FILE}, which says which class each object's label counts as, is missing"
        )
    ply = read_binary_ply(scans / MESH)
    labels = _labels(mapping, classes)
    of_vertices, instances = vertex_classes(scans / SEGMENTS, scans / OBJECTS, labels, len(ply.vertices))
    return LabelledMesh.of_ply(ply, of_vertices, classes.names, instances)


def _labels(mapping: Path, classes: ClassTable) -> dict[str, int]:
    """Name of an object -> label id. An empty target keeps the name; "None" and rare ones are no class."""
    ids = {name: label for label, name in enumerate(classes.names, 1)}
    targets = {name: target or name for name, target in read_table(mapping, ("class", "semantic_map_to"), ",")}
    return {name: ids[target] for name, target in targets.items() if target in ids}
