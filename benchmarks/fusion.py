#!/usr/bin/env python3
"""How long fusing a frame takes, how that grows with the map, and what it needs: ours beside a peer.

Both mappers get the same frames in one process, in turn, and their maps are compared at the end. Memory is measured
in a process of its own, where only ours runs.

    python benchmarks/fusion.py --case room640 --features 512 --threads 1
    python benchmarks/fusion.py --case corridor320 --features 512 --voxels 513000 --rayfronts ~/RayFronts
    python benchmarks/fusion.py --case corridor320 --features 64 --voxels 2000000 --peer none
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import PeakMemory, bandwidth, first_and_last, milliseconds, window_of
from peers import Baseline, Peer, Voxels, compare
from rayfronts_peer import RayFrontsMap, check_checkout
from scenes import CASES, SPACE, VOXEL_SIZE, random_features, room_frame, walk
from tqdm import tqdm

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.types import RgbdFrame, Segmentation


@dataclass(frozen=True)
class Setting:
    """One measurement, as the command line describes it."""

    case: str
    features: int
    voxels: int
    frames: int
    threads: int
    feature_dtype: str
    peer: str
    rayfronts: Path | None

    def empty_map(self) -> SemanticMap:
        config = MappingConfig(voxel_size=VOXEL_SIZE, feature_dtype=self.feature_dtype)
        return SemanticMap(config, space=SPACE)

    def empty_peer(self) -> Peer | None:
        if self.rayfronts is not None:
            return RayFrontsMap(self.rayfronts, CASES[self.case].camera, VOXEL_SIZE)
        return Baseline(VOXEL_SIZE) if self.peer == "baseline" else None

    def sequence(self, semantic_map: SemanticMap) -> Iterator[tuple[RgbdFrame, Segmentation, bool]]:
        """Frames, their features, and whether to time them, until ``semantic_map`` is as large as asked."""
        case = CASES[self.case]
        steps = walk(case, self.frames, self.voxels, lambda: semantic_map.voxel_count)
        with tqdm(desc=f"{self.case}, {self.features} features", unit="frame", disable=None) as progress:
            for i, (frame, timed) in enumerate(steps):
                yield frame, random_features(self.features, case.camera, seed=i), timed
                progress.update()
                progress.set_postfix(voxels=semantic_map.voxel_count)


def measure_time(setting: Setting) -> dict[str, Any]:
    """Ours and the peer frame by frame, and how their maps differ."""
    torch.set_num_threads(setting.threads)
    semantic_map, peer = setting.empty_map(), setting.empty_peer()
    ours_times: list[float] = []
    peer_times: list[float] = []
    for frame, segmentation, timed in setting.sequence(semantic_map):
        ours = milliseconds(partial(semantic_map.integrate, frame, segmentation))
        if timed:
            ours_times.append(ours)
        if peer:
            theirs = milliseconds(partial(peer.integrate, frame, segmentation.features))
            if timed:
                peer_times.append(theirs)
    ours_ms = first_and_last(ours_times)
    peer_ms = first_and_last(peer_times) if peer else None
    same, difference = compare(_voxels(semantic_map), peer.voxels()) if peer else (None, None)
    touched = int((semantic_map.last_seen == frame.stamp_ns).sum())
    touched_bytes = touched * semantic_map.column_bytes / semantic_map.voxel_count
    return {
        "voxels": semantic_map.voxel_count,
        "ours_ms": ours_ms,
        "peer_ms": peer_ms,
        "floor_ms": 1e3 * 2 * touched_bytes / bandwidth(),
        "ratio": peer_ms["last"] / ours_ms["last"] if peer_ms else None,
        "growth": ours_ms["last"] / ours_ms["first"],
        "frame_voxels": touched,
        "same_voxels": same,
        "max_feature_difference": difference,
    }


def measure_memory(setting: Setting) -> dict[str, Any]:
    """Ours alone; nothing else may have run in this process."""
    torch.set_num_threads(setting.threads)
    # Libraries make their thread pools and workspaces when they are first used: that belongs to the base.
    camera = CASES[setting.case].camera
    setting.empty_map().integrate(room_frame(camera, 0.0), random_features(1, camera, seed=0))
    semantic_map, memory = setting.empty_map(), PeakMemory()
    for frame, segmentation, _ in setting.sequence(semantic_map):
        memory.during(partial(semantic_map.integrate, frame, segmentation))
    return {"peak_bytes": memory.bytes_above_base, "map_bytes": semantic_map.column_bytes}


def measure(setting: Setting) -> dict[str, Any]:
    """Everything about one setting, under the keys that `--json` prints."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as alone:
        memory = alone.submit(measure_memory, setting).result()
    names = {
        name: getattr(setting, name) for name in ("case", "features", "frames", "threads", "feature_dtype", "peer")
    }
    return names | measure_time(setting) | memory


def _voxels(semantic_map: SemanticMap) -> Voxels:
    return Voxels(semantic_map.keys, semantic_map.weights, semantic_map.features)


def table(result: dict[str, Any]) -> str:
    """What was measured, for people."""
    unit, peer = "threads" if result["threads"] > 1 else "thread", result["peer"]
    window = window_of(result["frames"])
    lines = [
        f"{result['case']}: {result['features']} features ({result['feature_dtype']}), "
        f"{result['voxels']:,} voxels, {result['threads']} {unit}",
        "",
        f"{'ms per frame, median':<22}{f'first {window}':>12}{f'last {window}':>12}",
        _row("ours", result["ours_ms"]),
        *([_row(peer, result["peer_ms"])] if result["peer_ms"] else []),
        f"{'floor':<22}{'':>12}{result['floor_ms']:>12.2f}   to read and write {result['frame_voxels']:,} voxels once",
        "",
        f"growth with the map: {result['growth']:.2f}",
        f"peak memory: {result['peak_bytes'] / 1e6:.1f} MB above base, "
        f"the map {result['map_bytes'] / 1e6:.1f} MB: {result['peak_bytes'] / result['map_bytes']:.2f} times",
    ]
    if result["peer_ms"]:
        lines += [
            f"{peer} over ours: {result['ratio']:.1f} times",
            f"same voxels and counts: {'yes' if result['same_voxels'] else 'NO'}, "
            f"largest difference of features: {result['max_feature_difference']:.1e}",
        ]
    return "\n".join(lines)


def _row(name: str, times: dict[str, float]) -> str:
    return f"{name:<22}{times['first']:>12.2f}{times['last']:>12.2f}"


def parse(arguments: Sequence[str] | None) -> tuple[Setting, bool]:
    """Command line -> what to measure, and whether to print JSON."""
    summary, _, examples = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=CASES, default="room320", help="scene and image width (default %(default)s)")
    parser.add_argument("--features", type=positive, default=64, metavar="D", help="channels (default %(default)s)")
    parser.add_argument(
        "--voxels", type=positive, metavar="N",
        help="size of the map when the last frames are timed (default: what the room has, 513000 in the corridor)",
    )  # fmt: skip
    parser.add_argument(
        "--frames", type=positive, metavar="F",
        help="timed frames, 2 or more; in the corridor one half of them before the map grows to N, one after "
        "(default: 75 in room640, 120 in room320, 20 in corridor320)",
    )  # fmt: skip
    parser.add_argument("--threads", type=positive, default=1, metavar="T", help="CPU threads (default %(default)s)")
    parser.add_argument("--feature-dtype", choices=("float32", "float16"), default="float32", help="in our map")
    parser.add_argument("--peer", choices=("baseline", "rayfronts", "none"), help="who to compare with")
    parser.add_argument(
        "--rayfronts", type=Path, metavar="PATH", help="a checkout of RayFronts, to have it as the peer"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)

    case = CASES[options.case]
    peer = options.peer or ("rayfronts" if options.rayfronts else "baseline")
    if (peer == "rayfronts") != (options.rayfronts is not None):
        parser.error("--peer rayfronts and --rayfronts PATH go together: name the checkout, or take another peer")
    if options.frames is not None and options.frames < 2:
        parser.error(f"--frames must be 2 or more, got {options.frames}: growth needs a first and a last one")
    try:
        if options.rayfronts is not None:
            check_checkout(options.rayfronts)
    except OvsegError as error:
        parser.error(str(error))
    setting = Setting(
        case=options.case, features=options.features, voxels=options.voxels or case.voxels,
        frames=options.frames or case.frames, threads=options.threads, feature_dtype=options.feature_dtype,
        peer=peer, rayfronts=options.rayfronts,
    )  # fmt: skip
    return setting, options.json


def positive(text: str) -> int:
    """An argument that is a whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {value}")
    return value


def main(arguments: Sequence[str] | None = None) -> None:
    setting, as_json = parse(arguments)
    result = measure(setting)
    print(json.dumps(result) if as_json else table(result))


if __name__ == "__main__":
    main()
