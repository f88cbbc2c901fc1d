"""Binary PLY files as numpy structured arrays: every vertex property is kept, whatever its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError

MAX_HEADER_LINES = 1000
MAX_ELEMENTS = 1 << 31

PLY_TO_NUMPY = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
NUMPY_TO_PLY = {
    "i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float", "f8": "double"
}  # fmt: skip

StructuredArray = NDArray[np.void]


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


def read_binary_ply(path: Path) -> tuple[StructuredArray, NDArray[np.int32], tuple[str, ...]]:
    """Read the vertices, faces and comments of a binary PLY file; other elements after them are not read.

    Returns:
        (V,) structured array with one field per property, (T, 3) int32 triangles (polygons are cut
        into fans; none if the file has no faces), and the comment lines.

    Raises:
        OvsegError: the file is missing, truncated, text PLY, or mixes polygons of different sizes.
    """
    try:
        with open(path, "rb") as file:
            order, elements, comments = _read_header(file, path)
            vertices: StructuredArray | None = None
            triangles = np.empty((0, 3), dtype=np.int32)
            for name, count, properties in elements:
                if name == "vertex":
                    vertices = _read_records(file, path, count, _vertex_type(path, properties, order))
                elif name == "face" and vertices is not None:
                    triangles = _read_faces(file, path, count, properties, order, len(vertices))
                    break
                else:
                    break
    except OSError as error:
        raise OvsegError(f"cannot read {path}: {error.strerror}") from error
    if vertices is None:
        raise OvsegError(f"{path} does not begin with a vertex element: it is not a mesh or point cloud")
    return vertices, triangles, comments


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
    return np.dtype([(name, order + PLY_TO_NUMPY[kind]) for kind, name, *_ in properties])


def _read_records(file: BinaryIO, path: Path, count: int, dtype: np.dtype[Any]) -> StructuredArray:
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise OvsegError(f"{path} is cut short: {len(data)} of {count * dtype.itemsize} bytes of an element are there")
    return np.frombuffer(data, dtype=dtype)


def _read_faces(
    file: BinaryIO, path: Path, count: int, properties: list[list[str]], order: str, vertex_count: int
) -> NDArray[np.int32]:
    """Faces of one polygon size, after or before plain properties, as (T, 3) triangles."""
    if count == 0:
        return np.empty((0, 3), dtype=np.int32)
    lists = [position for position, rest in enumerate(properties) if rest[0] == "list"]
    kinds = [kind for rest in properties for kind in rest[:-1] if kind != "list"]
    if len(lists) != 1 or len(properties[lists[0]]) != 4 or not PLY_TO_NUMPY.keys() >= set(kinds):
        raise OvsegError(f"{path} must have one list property per face, got {len(lists)}: export plain polygons")
    _, size_kind, index_kind, _ = properties[lists[0]]
    size_type = np.dtype(order + PLY_TO_NUMPY[size_kind])
    before = [order + PLY_TO_NUMPY[kind] for kind, *_ in properties[: lists[0]]]
    after = [order + PLY_TO_NUMPY[kind] for kind, *_ in properties[lists[0] + 1 :]]
    start = file.tell()
    file.seek(sum(np.dtype(kind).itemsize for kind in before), 1)
    corners = int(_read_records(file, path, 1, size_type)[0])
    file.seek(start)
    fields: list[Any] = [(f"before{i}", kind) for i, kind in enumerate(before)]
    fields += [("size", size_type), ("indices", order + PLY_TO_NUMPY[index_kind], (corners,))]
    fields += [(f"after{i}", kind) for i, kind in enumerate(after)]
    faces = _read_records(file, path, count, np.dtype(fields))
    if corners < 3 or (faces["size"] != corners).any():
        raise OvsegError(f"{path} mixes polygons of different sizes: triangulate the mesh and save it again")
    polygons = faces["indices"].astype(np.int64)
    if polygons.min() < 0 or polygons.max() >= vertex_count:
        raise OvsegError(f"{path} has a face that points outside its {vertex_count} vertices: the file is damaged")
    fan = np.stack([polygons[:, [0, i, i + 1]] for i in range(1, corners - 1)], axis=1)
    return fan.reshape(-1, 3).astype(np.int32)
