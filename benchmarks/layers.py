#!/usr/bin/env python3
"""What all layers of a map cost, occupancy, frontiers and rays: beside voxels alone, and beside RayFronts.

All mappers get the same frames in one process, in turn, on one thread; times are CPU times. With --rayfronts the peer
is RayFronts' mapper with all layers, set up by its own configuration file but for 5 cm voxels and 1000 rays a frame;
--set changes more of it. It needs its C++ extension: rayfronts_extension/CMakeLists.txt builds it, and --extension
names it. As configured, it isn't told the camera's range, and is up to date after every eighth frame; the last
command makes it do what ours does.

    python benchmarks/layers.py --case room320
    python benchmarks/layers.py --case corridor320 --rayfronts ~/RayFronts --extension BUILD
    python benchmarks/layers.py --case corridor320 --rayfronts ~/RayFronts --extension BUILD \\
        --set max_depth_sensing=5 vox_accum_period=1 ray_accum_period=1 ray_accum_phase=0 \\
        occ_pruning_period=1 sem_pruning_period=1
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import yaml
from fusion import positive
from measure import cpu_milliseconds, first_and_last, window_of
from rayfronts_peer import RayFrontiersMap
from scenes import CASES, RANGE, SPACE, VOXEL_SIZE, random_features, walk
from tqdm import tqdm

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.types import RgbdFrame, Segmentation

GROUP = 8
"""Frames whose times are averaged. As configured, RayFronts saves up its work and does all of it once in so many."""

MIN_REACH = 2.0
"""Metres: with less, some frames have nothing in range, which a map of voxels alone refuses."""


@dataclass(frozen=True)
class Setting:
    """One measurement, as the command line describes it; ``reach`` is the range of the depth camera in metres."""

    case: str
    features: int
    frames: int
    reach: float
    rayfronts: Path | None
    peer_settings: dict[str, object]

    def empty_mappers(self) -> dict[str, SemanticMap | RayFrontiersMap]:
        """Who is timed, by the key of the times."""
        ours = MappingConfig(voxel_size=VOXEL_SIZE, max_depth=self.reach, layers="rays")
        mappers: dict[str, SemanticMap | RayFrontiersMap] = {
            "ours_ms": SemanticMap(ours, space=SPACE),
            "voxels_ms": SemanticMap(replace(ours, layers="voxels"), space=SPACE),
        }
        if self.rayfronts is not None:
            camera = CASES[self.case].camera
            mappers["peer_ms"] = RayFrontiersMap(self.rayfronts, camera, VOXEL_SIZE, self.peer_settings)
        return mappers

    def sequence(self) -> Iterator[tuple[RgbdFrame, Segmentation]]:
        """Frames, in which what is out of reach reads +inf, and their features."""
        case = CASES[self.case]
        for i, (frame, _) in enumerate(walk(case, self.frames, 0, lambda: 0)):
            depth = frame.depth.masked_fill(frame.depth > self.reach, math.inf)
            yield replace(frame, depth=depth), random_features(self.features, case.camera, seed=i)


def measure(setting: Setting) -> dict[str, Any]:
    """All layers, voxels alone and the peer frame by frame, under the keys that `--json` prints."""
    torch.set_num_threads(1)
    # What libraries make when they are first used belongs to no frame.
    for mapper in setting.empty_mappers().values():
        _integrate(mapper, *next(setting.sequence()))

    mappers = setting.empty_mappers()
    times: dict[str, list[float]] = {name: [] for name in mappers}
    frames = tqdm(setting.sequence(), desc=setting.case, total=setting.frames, unit="frame", disable=None)
    for frame, segmentation in frames:
        for name, mapper in mappers.items():
            times[name].append(cpu_milliseconds(partial(_integrate, mapper, frame, segmentation)))
    peer = mappers.get("peer_ms")
    names = {name: getattr(setting, name) for name in ("case", "features", "frames", "reach")}
    return {
        **names,
        "peer_settings": setting.peer_settings,
        "peer_ms": None,
        **{name: first_and_last(_group_means(taken)) for name, taken in times.items()},
        "voxels": _counts(mappers["ours_ms"])["voxels"],
        "layers": _counts(mappers["ours_ms"]),
        "peer_layers": _counts(peer) if peer else None,
        "ratio": mean(times["peer_ms"]) / mean(times["ours_ms"]) if peer else None,
    }


def _integrate(mapper: SemanticMap | RayFrontiersMap, frame: RgbdFrame, segmentation: Segmentation) -> None:
    if isinstance(mapper, SemanticMap):
        mapper.integrate(frame, segmentation)
    else:
        mapper.integrate(frame, segmentation.features)


def _group_means(times: Sequence[float]) -> list[float]:
    return [mean(times[start : start + GROUP]) for start in range(0, len(times), GROUP)]


def _counts(mapper: SemanticMap | RayFrontiersMap) -> dict[str, int]:
    if isinstance(mapper, RayFrontiersMap):
        return mapper.counts()
    frontiers, rays = mapper.layers.frontiers, mapper.layers.rays
    assert frontiers is not None and rays is not None
    return {"voxels": mapper.voxel_count, "frontiers": len(frontiers), "rays": len(rays)}


def table(result: dict[str, Any]) -> str:
    """What was measured, for people."""
    window = GROUP * window_of(result["frames"] // GROUP)
    who = {"ours_ms": "all layers", "voxels_ms": "voxels alone", "peer_ms": "rayfronts"}
    rows = [
        f"{name:<22}{result[key]['first']:>12.1f}{result[key]['last']:>12.1f}"
        for key, name in who.items()
        if result[key]
    ]
    lines = [
        f"{result['case']}: {result['features']} features, range {result['reach']:g} m, "
        f"{result['frames']} frames, 1 thread",
        "",
        f"{'CPU ms per frame':<22}{f'first {window}':>12}{f'last {window}':>12}",
        *rows,
        "",
        f"{'ours holds':<22}{_listed(result['layers'])}",
    ]
    if result["ratio"]:
        changed = ", ".join(f"{name}={value}" for name, value in result["peer_settings"].items()) or "none"
        lines += [
            f"{'rayfronts holds':<22}{_listed(result['peer_layers'])}",
            f"{'settings changed':<22}{changed}",
            "",
            f"rayfronts over all layers, all frames: {result['ratio']:.1f} times",
        ]
    return "\n".join(lines)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def parse(arguments: Sequence[str] | None) -> tuple[Setting, bool]:
    """Command line -> what to measure, and whether to print JSON."""
    summary, _, more = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=CASES, default="room320", help="scene and image width (default %(default)s)")
    parser.add_argument("--features", type=positive, default=64, metavar="D", help="channels (default %(default)s)")
    parser.add_argument(
        "--frames", type=positive, default=6 * GROUP, metavar="F",
        help=f"a multiple of {GROUP}, {2 * GROUP} or more (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--range", type=float, default=RANGE, dest="reach", metavar="M",
        help="of the depth camera, metres: what is farther reads +inf (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--rayfronts", type=Path, metavar="PATH", help="a checkout of RayFronts, to be timed too")
    parser.add_argument("--extension", type=Path, metavar="PATH", help="folder of its built C++ extension")
    parser.add_argument(
        "--set", nargs="+", type=_assignment, default=[], dest="peer_settings", metavar="NAME=VALUE",
        help="settings of RayFronts that differ from its configuration file",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)

    if options.frames < 2 * GROUP or options.frames % GROUP:
        parser.error(
            f"--frames must be a multiple of {GROUP}, {2 * GROUP} or more, got {options.frames}: "
            "times are means over so many"
        )
    if not MIN_REACH <= options.reach <= RANGE:
        parser.error(f"--range must be {MIN_REACH} to {RANGE} m, got {options.reach}: the scenes are drawn no farther")
    if options.rayfronts is None and (options.extension or options.peer_settings):
        parser.error("--extension and --set say how RayFronts is run: name its checkout with --rayfronts PATH")
    if options.extension is not None:
        sys.path.insert(0, str(options.extension))
    setting = Setting(
        case=options.case, features=options.features, frames=options.frames, reach=options.reach,
        rayfronts=options.rayfronts, peer_settings=dict(options.peer_settings),
    )  # fmt: skip
    try:
        setting.empty_mappers()
    except OvsegError as error:
        parser.error(str(error))
    return setting, options.json


def _assignment(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}")
    return name, yaml.safe_load(value)


def main(arguments: Sequence[str] | None = None) -> None:
    setting, as_json = parse(arguments)
    result = measure(setting)
    print(json.dumps(result) if as_json else table(result))


if __name__ == "__main__":
    main()
