"""How well a map's voxels lie on the surfaces that the depth camera measured.

Run as ``python -m ovseg_ros.evaluation.surface RECORDING MAP``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from tqdm import tqdm

from ovseg_ros.datasets import LAYOUTS, Recording, open_sequence
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.results import show
from ovseg_ros.geometry import transform_points, unproject
from ovseg_ros.mapping import SemanticMap, storage
from ovseg_ros.types import InvalidFrameError, RgbdFrame

PIXEL_STEP = 4
"""Every so many pixels along both axes are measured."""


def surface_distances(semantic_map: SemanticMap, frames: Iterable[RgbdFrame]) -> NDArray[np.float64]:
    """Metres from depth points within the map's range to the nearest voxel centre, of every PIXEL_STEP-th pixel."""
    tree = cKDTree(semantic_map.centres.cpu().numpy())
    config = semantic_map.config
    distances: list[NDArray[np.float64]] = [np.empty(0)]
    for frame in frames:
        points = unproject(frame.depth.double(), frame.intrinsics)[::PIXEL_STEP, ::PIXEL_STEP].reshape(-1, 3)
        used = (points[:, 2] >= config.min_depth) & (points[:, 2] <= config.max_depth)
        world = transform_points(frame.pose, points[used])
        distances.append(np.asarray(tree.query(world.numpy())[0]))
    return np.concatenate(distances)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m ovseg_ros.evaluation.surface", description=__doc__.splitlines()[0])
    parser.add_argument("recording", help="the frames that the map was built from")
    parser.add_argument("map", help="the map, NAME.ovmap")
    parser.add_argument(
        "--dataset", choices=("auto", *LAYOUTS, "rosbag"), default="auto", help="layout of the recording"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return show(_score, parser.parse_args(arguments), _as_text)


def _score(options: argparse.Namespace) -> dict[str, Any]:
    semantic_map = storage.load(options.map)
    distances = surface_distances(semantic_map, _readable(open_sequence(options.recording, options.dataset)))
    if not len(distances):
        raise OvsegError(f"{options.recording} has no depth within the map's range")
    median = float(np.median(distances))
    voxels = median / semantic_map.config.voxel_size
    return {"points": len(distances), "median_metres": median, "median_voxels": voxels}


def _as_text(results: dict[str, Any]) -> str:
    return f"median distance {results['median_voxels']:.3f} voxels over {results['points']} points"


def _readable(sequence: Recording) -> Iterable[RgbdFrame]:
    """The frames that aren't damaged: the others are not in the map either."""
    for index in tqdm(range(len(sequence)), unit="frame", disable=None, file=sys.stderr):
        try:
            yield sequence[index]
        except InvalidFrameError:
            continue


if __name__ == "__main__":
    sys.exit(main())
