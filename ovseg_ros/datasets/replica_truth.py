"""Ground truth of Replica: a class id per vertex, as OpenNeRF and OVO publish it, or Replica's own objects per face."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.datasets.class_table import ClassTable
from ovseg_ros.datasets.files import read_json
from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.datasets.ply import PlyMesh, read_binary_ply
from ovseg_ros.datasets.published_layout import PublishedLayout
from ovseg_ros.errors import OvsegError

HABITAT_MESH = Path("habitat") / "mesh_semantic.ply"
HABITAT_OBJECTS = "info_semantic.json"
OBJECT_ID = "object_id"


def spellings(scene: str) -> tuple[str, ...]:
    """A scene's name as it is, then as the others write it: office0 and office_0.

    Example:
        >>> spellings("office_0")
        ('office_0', 'office0')
    """
    match = re.fullmatch(r"(.*?)(_?)([0-9]+)", scene)
    if match is None:
        return (scene,)
    return scene, f"{match[1]}{'' if match[2] else '_'}{match[3]}"


def vertex_labels(root: Path, scene: str) -> Path | None:
    """The file with a class id per vertex, if there is one beside the scenes."""
    return _first(root / f"{name}.txt" for name in spellings(scene))


def habitat_mesh(root: Path, scene: str) -> Path | None:
    """Replica's own mesh with an object id per face, if the scene of the original download lies there too."""
    return _first(root / name / HABITAT_MESH for name in spellings(scene))


def read_truth(layout: PublishedLayout, root: Path, scene: str, classes: ClassTable | None) -> LabelledMesh | None:
    """The labelled surface of a scene; None if the recording has none.

    Raises:
        OvsegError: it has a part of it, or a file is damaged.
    """
    labels = vertex_labels(root, scene)
    if labels is not None and classes is not None:
        return _from_vertices(layout, root, scene, labels, classes)
    habitat = habitat_mesh(root, scene)
    if habitat is not None and classes is not None:
        return _from_habitat(layout, root, habitat, classes)
    return None


def _first(files: Iterable[Path]) -> Path | None:
    return next((file for file in files if file.is_file()), None)


def _from_vertices(
    layout: PublishedLayout, root: Path, scene: str, label_file: Path, classes: ClassTable
) -> LabelledMesh:
    mesh_file = _first(root / f"{name}_mesh.ply" for name in spellings(scene))
    if mesh_file is None:
        raise layout.incomplete(
            root, f"{label_file.name} is there but {scene}_mesh.ply, whose vertices it labels, isn't"
        )
    ply = read_binary_ply(mesh_file)
    try:
        ids = np.array(label_file.read_text().split(), dtype=np.int64)
    except (OSError, ValueError, OverflowError) as error:
        raise OvsegError(f"{label_file} must hold one whole number per vertex of {mesh_file.name}") from error
    if len(ids) != len(ply.vertices):
        raise OvsegError(f"{label_file} has {len(ids)} ids but {mesh_file.name} has {len(ply.vertices)} vertices")
    return LabelledMesh.of_ply(ply, classes.labels_of(ids), classes.names)


def _from_habitat(layout: PublishedLayout, root: Path, mesh_file: Path, classes: ClassTable) -> LabelledMesh:
    info_file = mesh_file.with_name(HABITAT_OBJECTS)
    if not info_file.is_file():
        raise layout.incomplete(root, f"{info_file}, which says what the objects of {mesh_file.name} are, is missing")
    ply = read_binary_ply(mesh_file)
    if OBJECT_ID not in ply.face_properties:
        raise OvsegError(f"{mesh_file} has no face property {OBJECT_ID!r}: take habitat/{mesh_file.name} of Replica")
    objects = ply.face_properties[OBJECT_ID].astype(np.int64)
    labels = ClassTable(classes.names, _labels_of_objects(info_file, classes)).labels_of(objects)
    return _labelled_by_face(ply, labels, objects, classes.names)


def _labels_of_objects(info_file: Path, classes: ClassTable) -> dict[int, int]:
    """Object id -> label id; objects of unknown class (a negative id) are left out."""
    info = read_json(info_file)
    try:
        pairs = [(int(entry["id"]), int(entry["class_id"])) for entry in info["objects"]]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise OvsegError(f"{info_file} must list 'objects', each with an id and a class_id: copy it again") from error
    return {number: classes.labels[kind] for number, kind in pairs if kind in classes.labels and 0 <= number < 1 << 16}


def _labelled_by_face(
    ply: PlyMesh, labels: NDArray[np.int32], objects: NDArray[np.int64], names: tuple[str, ...]
) -> LabelledMesh:
    """(T,) labels and objects of triangles -> a mesh in which a vertex that several objects share is there for each."""
    corners = ply.triangles.reshape(-1).astype(np.int64)
    numbers, number_of_face = np.unique(objects, return_inverse=True)
    pairs = corners * len(numbers) + np.repeat(number_of_face, 3)
    _, first, triangles = np.unique(pairs, return_index=True, return_inverse=True)
    split = PlyMesh(ply.vertices[corners[first]], triangles.reshape(-1, 3).astype(np.int32), (), {})
    instances = np.where((objects >= 0) & (objects < np.iinfo(np.int32).max), objects, 0).astype(np.int32)
    faces = first // 3
    return LabelledMesh.of_ply(split, labels[faces], names, instances[faces])
