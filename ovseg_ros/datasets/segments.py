"""Annotations of ScanNet and ScanNet++: a mesh cut into segments, and objects that are sets of segments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.datasets.files import read_json
from ovseg_ros.errors import OvsegError


def vertex_classes(
    segments_file: Path, objects_file: Path, labels: Mapping[str, int], vertices: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """What each vertex is; where objects overlap the smallest wins, as in ScanNet++'s own preparation.

    Args:
        segments_file: JSON with ``segIndices``, the segment of each vertex.
        objects_file: JSON with ``segGroups``, each an object with its ``label`` and ``segments``.
        labels: name of an object -> label id; other objects are left out.
        vertices: how many the mesh has.

    Returns:
        (V,) label ids and (V,) object numbers in the order of the file, from 1; 0 where there is none.

    Raises:
        OvsegError: a file is damaged, or of another mesh.
    """
    try:
        of_vertices = np.array(read_json(segments_file)["segIndices"], dtype=np.int64)
        groups = [
            (str(group["label"]), np.array(group["segments"], dtype=np.int64).reshape(-1))
            for group in read_json(objects_file)["segGroups"]
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise OvsegError(
            f"{segments_file} must hold 'segIndices' and {objects_file.name} 'segGroups', each with a label and "
            "segments: download them again"
        ) from error
    if of_vertices.shape != (vertices,):
        raise OvsegError(
            f"{segments_file} has {of_vertices.size} vertices but the mesh {vertices}: download both again"
        )
    segments, segment_of_vertex, sizes = np.unique(of_vertices, return_inverse=True, return_counts=True)
    members = [np.flatnonzero(np.isin(segments, group)) for _, group in groups]
    counts = [int(sizes[member].sum()) for member in members]
    label_of, object_of = np.zeros((2, len(segments)), dtype=np.int32)
    for position in sorted(range(len(groups)), key=lambda place: (-counts[place], -place)):
        label = labels.get(groups[position][0])
        if label is not None:
            label_of[members[position]], object_of[members[position]] = label, position + 1
    return label_of[segment_of_vertex], object_of[segment_of_vertex]
