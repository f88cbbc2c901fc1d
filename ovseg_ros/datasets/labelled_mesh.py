"""A triangle mesh whose vertices know their class and object: the ground truth of a scene."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.datasets.ply import PlyMesh, StructuredArray, read_binary_ply, write_binary_ply
from ovseg_ros.errors import OvsegError

CLASS_NAMES_COMMENT = "class_names"
MESH_FILE = "mesh.ply"
"""What our own layouts call it."""

VERTEX_TYPE = np.dtype(
    [
        ("x", "f4"), ("y", "f4"), ("z", "f4"),
        ("red", "u1"), ("green", "u1"), ("blue", "u1"),
        ("label", "i4"), ("instance", "i4"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class LabelledMesh:
    """A surface with a class and an object id on each vertex.

    Attributes:
        vertices: (V, 3) float32 metres, world frame, z up.
        triangles: (T, 3) int32 vertex indices.
        colours: (V, 3) uint8 RGB.
        labels: (V,) int32; 0 = unlabelled, id i + 1 = ``class_names[i]``.
        instances: (V,) int32; 0 = no object.
        class_names: the names behind the labels.

    Raises:
        OvsegError: sizes disagree, or an index or label points outside its range.

    Example:
        >>> corner = np.eye(3, dtype=np.float32)
        >>> mesh = LabelledMesh(
        ...     corner, np.array([[0, 1, 2]], np.int32), np.zeros((3, 3), np.uint8),
        ...     np.ones(3, np.int32), np.ones(3, np.int32), ("chair",))
        >>> mesh.class_names[mesh.labels[0] - 1]
        'chair'
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    colours: NDArray[np.uint8]
    labels: NDArray[np.int32]
    instances: NDArray[np.int32]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        count = len(self.vertices)
        shapes = (self.vertices.shape, self.colours.shape, self.labels.shape, self.instances.shape)
        if shapes != ((count, 3), (count, 3), (count,), (count,)) or self.triangles.shape[1:] != (3,):
            raise OvsegError(
                f"a mesh needs one position, colour, label and instance per vertex and three corners per triangle, "
                f"got shapes {shapes} and {self.triangles.shape}"
            )
        if self.triangles.size and (self.triangles.min() < 0 or self.triangles.max() >= count):
            raise OvsegError(f"a triangle points outside the mesh's {count} vertices")
        if not np.isfinite(self.vertices).all():
            raise OvsegError("a vertex of the mesh is not finite: the file is damaged, download or write it again")
        if count and (self.labels.min() < 0 or self.labels.max() > len(self.class_names)):
            raise OvsegError(
                f"labels {self.labels.min()} to {self.labels.max()} do not fit {len(self.class_names)} class names: "
                "0 is unlabelled, id i + 1 is the i-th name"
            )

    def write_ply(self, path: Path) -> None:
        """Write binary PLY; the class names travel in a comment, so that one file is the whole truth."""
        vertices = np.empty(len(self.vertices), dtype=VERTEX_TYPE)
        vertices["x"], vertices["y"], vertices["z"] = self.vertices.T
        vertices["red"], vertices["green"], vertices["blue"] = self.colours.T
        vertices["label"], vertices["instance"] = self.labels, self.instances
        comment = f"{CLASS_NAMES_COMMENT} {json.dumps(list(self.class_names))}"
        write_binary_ply(path, vertices, self.triangles, (comment,))

    @classmethod
    def of_ply(
        cls,
        ply: PlyMesh,
        labels: NDArray[np.int32],
        class_names: tuple[str, ...],
        instances: NDArray[np.int32] | None = None,
    ) -> LabelledMesh:
        """A mesh of a file that keeps its labels, one per vertex, elsewhere; without instances all are 0."""
        return cls(
            vertices=positions_of(ply.vertices),
            triangles=ply.triangles,
            colours=colours_of(ply.vertices),
            labels=labels,
            instances=np.zeros(len(labels), dtype=np.int32) if instances is None else instances,
            class_names=class_names,
        )

    @classmethod
    def read_ply(cls, path: Path) -> LabelledMesh:
        """Read what `write_ply` wrote.

        Raises:
            OvsegError: the file is missing, damaged, or has no labels and class names.
        """
        ply = read_binary_ply(path)
        vertices = ply.vertices
        names = next((line for line in ply.comments if line.startswith(CLASS_NAMES_COMMENT)), None)
        missing = [name for name in VERTEX_TYPE.names or () if name not in (vertices.dtype.names or ())]
        if missing or names is None:
            raise OvsegError(
                f"{path} is not a labelled mesh: it lacks {', '.join(missing) or 'its class names'}; "
                "`ovseg rooms` writes such files"
            )
        try:
            class_names = tuple(str(name) for name in json.loads(names.removeprefix(CLASS_NAMES_COMMENT)))
        except (json.JSONDecodeError, TypeError, RecursionError) as error:
            raise OvsegError(f"{path} has unreadable class names in its header: write the file again") from error
        labels, instances = (vertices[name].astype(np.int32) for name in ("label", "instance"))
        return cls.of_ply(ply, labels, class_names, instances)


def positions_of(vertices: StructuredArray) -> NDArray[np.float32]:
    """(V,) PLY vertices -> (V, 3) float32 positions."""
    return _columns(vertices, ("x", "y", "z")).astype(np.float32)


def colours_of(vertices: StructuredArray) -> NDArray[np.uint8]:
    """(V,) PLY vertices -> (V, 3) uint8 colours; mid grey where the file has none."""
    if "red" not in (vertices.dtype.names or ()):
        return np.full((len(vertices), 3), 128, dtype=np.uint8)
    return _columns(vertices, ("red", "green", "blue")).astype(np.uint8)


def _columns(vertices: StructuredArray, names: tuple[str, ...]) -> NDArray[np.generic]:
    missing = [name for name in names if name not in (vertices.dtype.names or ())]
    if missing:
        raise OvsegError(f"the PLY file lacks the vertex properties {', '.join(missing)}")
    return np.stack([vertices[name] for name in names], axis=1)
