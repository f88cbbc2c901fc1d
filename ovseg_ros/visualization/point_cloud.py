"""A map as a coloured point cloud for viewers and other tools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.datasets.ply import write_binary_ply
from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.visualization.palette import heat_colours, label_colours


def write_point_cloud(
    path: str | Path,
    semantic_map: SemanticMap,
    *,
    labels: NDArray[np.int32] | None = None,
    scores: NDArray[np.float32] | None = None,
) -> None:
    """Write one point per voxel as binary PLY: position in metres, colour, weight, and what is given.

    Args:
        path: a ``.ply`` file in an existing folder.
        semantic_map: the map.
        labels: (N,) label ids, added as the property ``label``; the points take label colours.
        scores: (N,) answers to a query in 0..1, added as the property ``score``; the points take heat colours.

    Raises:
        OvsegError: the file can't be written, or labels or scores don't fit the map.
    """
    count = semantic_map.voxel_count
    for name, column in (("labels", labels), ("scores", scores)):
        if column is not None and column.shape != (count,):
            raise OvsegError(f"{name} of shape {column.shape} do not fit a map of {count} voxels: compute them again")
    fields = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("weight", "f4")]
    fields += [("label", "i4")] if labels is not None else []
    fields += [("score", "f4")] if scores is not None else []
    points = np.empty(count, dtype=fields)
    points["x"], points["y"], points["z"] = semantic_map.centres.cpu().numpy().T
    points["red"], points["green"], points["blue"] = _colours(semantic_map, labels, scores).T
    points["weight"] = semantic_map.weights.cpu().numpy()
    if labels is not None:
        points["label"] = labels
    if scores is not None:
        points["score"] = scores
    try:
        write_binary_ply(Path(path), points, comments=(f"frame {semantic_map.frame_id}",))
    except OSError as error:
        raise OvsegError(f"cannot write {path}: {error.strerror}") from error


def _colours(
    semantic_map: SemanticMap, labels: NDArray[np.int32] | None, scores: NDArray[np.float32] | None
) -> NDArray[np.uint8]:
    if scores is not None:
        return heat_colours(scores)
    if labels is not None:
        return label_colours(int(labels.max(initial=0)))[labels]
    return semantic_map.colours.cpu().numpy()
