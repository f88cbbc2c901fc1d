"""A judged scene as point clouds for people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.datasets.ply import write_binary_ply
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.semseg.scene_run import SceneRun
from ovseg_ros.visualization import label_colours

RIGHT, WRONG, SILENT, UNSCORED = (46, 160, 67), (214, 60, 60), (240, 180, 40), (176, 176, 176)


def write_clouds(folder: Path, run: SceneRun) -> None:
    """Write ``prediction.ply`` (the map's voxels), ``truth.ply`` and ``errors.ply`` (the protocol's places).

    Labels have the same colours in the first two. In the third green is right, red wrong, yellow unanswered, and grey
    not scored.

    Raises:
        OvsegError: the folder can't be written.
    """
    judged, names = run.judgement, run.result.class_names
    colours = label_colours(len(names))
    truth, answers = judged.truth, judged.answers
    scored = np.append(False, judged.scored)[truth.labels]
    kinds = np.select([~scored, answers == 0, answers == truth.labels], [3, 2, 0], 1)
    verdicts = np.array([RIGHT, WRONG, SILENT, UNSCORED], dtype=np.uint8)[kinds]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "prediction.ply", run.centres, colours[judged.labels], judged.labels)
        _write(folder / "truth.ply", truth.points, colours[truth.labels], truth.labels)
        _write(folder / "errors.ply", truth.points, verdicts, answers)
    except OSError as error:
        raise OvsegError(f"cannot write into {folder}: {error.strerror}, set out to another folder") from error


def _write(path: Path, points: NDArray[np.float64], colours: NDArray[np.uint8], labels: NDArray[np.int32]) -> None:
    kinds = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("label", "i4")]
    cloud = np.empty(len(points), dtype=kinds)
    cloud["x"], cloud["y"], cloud["z"] = points.T
    cloud["red"], cloud["green"], cloud["blue"] = colours.T
    cloud["label"] = labels
    write_binary_ply(path, cloud)
