"""Binary PLY files as numpy structured arrays: every vertex property is kept, whatever its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError

MAX_HEADER_LINES = 1000
MAX_ELEMENTS = 1 << 31
MAX_CORNERS = 64

PLY_TO_NUMPY = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
NUMPY_TO_PLY = {
    "i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float", "f8": "double"
}  # fmt: skip

StructuredArray = NDArray[np.void]


class PlyMesh(NamedTuple):
    """What a PLY file holds.

    Attributes:
        vertices: (V,) structured array with one field per property.
        triangles: (T, 3) int32; polygons are cut into fans, and a file without faces has none.
        comments: lines.
        face_properties: name -> (T,) values of a plain property of the faces, a polygon's for all its triangles.
    """

    vertices: StructuredArray
    triangles: NDArray[np.int32]
    comments: tuple[str, ...]
    face_properties: dict[str, NDArray[Any]]


def write_binary_ply(
    path: Path, vertices: StructuredArray, triangles: NDArray[np.int32] | None = None, comments: tuple[str, ...] = ()
) -> None:
    """Write vertices, and triangles if given, as binary little-endian PLY.

    Args:
        path: file to write.
        vertices: (V,) structured array; its field names become the properties.
        triangles: (T, 3) vertex indices.
        comments: one header line each.
    """
    names = vertices.dtype.names or ()
    header = ["ply", "format binary_little_endian 1.0", *(f"comment {line}" for line in comments)]
    header.append(f"element vertex {len(vertices)}")
    header += [f"property {NUMPY_TO_PLY[vertices.dtype[name].str[1:]]} {name}" for name in names]
    if triangles is not None:
        header += [f"element face {len(triangles)}", "property list uchar int vertex_indices"]
    with open(path, "wb") as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode())
        file.write(vertices.astype(vertices.dtype.newbyteorder("<"), copy=False).tobytes())
        if triangles is not None:
            faces = np.empty(len(triangles), dtype=[("count", "u1"), ("indices", "<i4", 3)])
            faces["count"], faces["indices"] = 3, triangles
            file.write(faces.tobytes())


def read_binary_ply(path: Path) -> PlyMesh:
    """Read the vertices, faces and comments of a binary PLY file; other elements after them are not read.

    Raises:
        OvsegError: the file is missing, truncated, text PLY, or mixes polygons of different sizes.
    """
    try:
        with open(path, "rb") as file:
            order, elements, comments = _read_header(file, path)
            vertices: StructuredArray | None = None
            triangles = np.empty((0, 3), dtype=np.int32)
            face_properties: dict[str, NDArray[Any]] = {}
            for name, count, properties in elements:
                if name == "vertex":
                    vertices = _read_records(file, path, count, _vertex_type(path, properties, order))
                elif name == "face" and vertices is not None and count > 0:
                    triangles, face_properties = _read_faces(file, path, count, properties, order, len(vertices))
                    break
                else:
                    break
    except OSError as error:
        raise OvsegError(f"cannot read {path}: {error.strerror}") from error
    if vertices is None:
        raise OvsegError(f"{path} does not begin with a vertex element: it is not a mesh or point cloud")
    return PlyMesh(vertices, triangles, comments, face_properties)


Element = tuple[str, int, list[list[str]]]


def _read_header(file: BinaryIO, path: Path) -> tuple[str, list[Element], tuple[str, ...]]:
    if file.readline(16).strip() != b"ply":
        raise OvsegError(f"{path} is not a PLY file: its first line must be 'ply'")
    order = ""
    elements: list[Element] = []
    comments: list[str] = []
    for _ in range(MAX_HEADER_LINES):
        line = file.readline(1 << 20).decode("utf-8", "replace").rstrip("\r\n")
        match line.split():
            case ["end_header"] if order:
                return order, elements, tuple(comments)
            case ["format", "binary_little_endian", *_]:
                order = "<"
            case ["format", "binary_big_endian", *_]:
                order = ">"
            case ["comment" | "obj_info" as kind, *_]:
                comments.append(line.removeprefix(kind).strip())
            case ["element", name, count] if count.isdigit() and int(count) < MAX_ELEMENTS:
                elements.append((name, int(count), []))
            case ["property", *rest] if elements and len(rest) >= 2:
                elements[-1][2].append(rest)
            case _:
                break
    raise OvsegError(f"{path} has no readable binary PLY header: convert it to binary PLY")


def _vertex_type(path: Path, properties: list[list[str]], order: str) -> np.dtype[Any]:
    if any(kind not in PLY_TO_NUMPY for kind, *_ in properties):
        raise OvsegError(f"{path} has a vertex property that is not a plain number: export it without lists")
    return _record_type(path, [(name, order + PLY_TO_NUMPY[kind]) for kind, name, *_ in properties])


def _record_type(path: Path, fields: list[Any]) -> np.dtype[Any]:
    if not fields or len({name for name, *_ in fields}) < len(fields):
        raise OvsegError(f"{path} has an element without properties, or with two of one name: the file is damaged")
    return np.dtype(fields)


def _read_records(file: BinaryIO, path: Path, count: int, dtype: np.dtype[Any]) -> StructuredArray:
    wanted, there = count * dtype.itemsize, os.fstat(file.fileno()).st_size - file.tell()
    if wanted > there:
        raise OvsegError(f"{path} is cut short: {there} of {wanted} bytes of an element are there")
    return np.frombuffer(file.read(wanted), dtype=dtype)


def _read_faces(
    file: BinaryIO, path: Path, count: int, properties: list[list[str]], order: str, vertex_count: int
) -> tuple[NDArray[np.int32], dict[str, NDArray[Any]]]:
    """Faces of one polygon size, after or before plain properties, as (T, 3) triangles, and those properties."""
    lists = [position for position, rest in enumerate(properties) if rest[0] == "list"]
    kinds = [kind for rest in properties for kind in rest[:-1] if kind != "list"]
    if len(lists) != 1 or len(properties[lists[0]]) != 4 or not PLY_TO_NUMPY.keys() >= set(kinds):
        raise OvsegError(f"{path} must have one list property per face, got {len(lists)}: export plain polygons")
    _, size_kind, index_kind, list_name = properties[lists[0]]
    size_type, index_type = (np.dtype(order + PLY_TO_NUMPY[kind]) for kind in (size_kind, index_kind))
    if size_type.kind == "f" or index_type.kind == "f":
        raise OvsegError(f"{path} counts corners in {size_kind} and {index_kind}: they must be whole numbers")
    plain = [(rest[-1], order + PLY_TO_NUMPY[rest[0]]) for rest in properties if rest[0] != "list"]
    start = file.tell()
    file.seek(sum(np.dtype(kind).itemsize for _, kind in plain[: lists[0]]), 1)
    corners = int(_read_records(file, path, 1, np.dtype([("size", size_type)]))["size"][0])
    file.seek(start)
    if not 3 <= corners <= MAX_CORNERS:
        raise OvsegError(
            f"{path} has a polygon of {corners} corners, where 3 to {MAX_CORNERS} are read: triangulate it"
        )
    fields: list[Any] = list(plain)
    fields[lists[0] : lists[0]] = [(f"{list_name} size", size_type), (list_name, index_type, (corners,))]
    faces = _read_records(file, path, count, _record_type(path, fields))
    if (faces[f"{list_name} size"] != corners).any():
        raise OvsegError(f"{path} mixes polygons of different sizes: triangulate the mesh and save it again")
    polygons = faces[list_name].astype(np.int64)
    if polygons.min() < 0 or polygons.max() >= vertex_count:
        raise OvsegError(f"{path} has a face that points outside its {vertex_count} vertices: the file is damaged")
    fan = np.stack([polygons[:, [0, i, i + 1]] for i in range(1, corners - 1)], axis=1)
    of_triangles = {name: np.repeat(faces[name], corners - 2) for name, _ in plain}
    return fan.reshape(-1, 3).astype(np.int32), of_triangles
