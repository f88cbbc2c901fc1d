#!/usr/bin/env python3
"""How long asking a map takes beside the matrix product that no answer can do without.

    python benchmarks/query.py --voxels 650000 --features 64 --queries 5
    python benchmarks/query.py --voxels 650000 --features 64 --queries 5 --rayfronts ~/RayFronts

`ours` is a question to a map that hasn't changed since the last one; `first` is one after it changed, which compares
all voxels with the words that compete anew. `matmul` is the product of the questions' vectors alone with all voxels.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from fusion import positive
from measure import bandwidth, milliseconds
from rayfronts_peer import check_checkout, cosines
from tqdm import tqdm

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.query import score_voxels
from ovseg_ros.types import Intrinsics, RgbdFrame, Segmentation

MAX_QUERIES = 64
ROW = 1000
"""Voxels along x in the map that is asked."""


class RandomSpace:
    """A language space in which every text has a vector drawn at random, always the same."""

    id = "benchmark/1"
    logit_scale = 100.0
    same_meaning = 0.9
    compares_directly = True

    def __init__(self, channels: int) -> None:
        self._channels = channels

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        vectors = [
            torch.randn(self._channels, generator=torch.Generator().manual_seed(zlib.crc32(text.encode())))
            for text in texts
        ]
        return torch.nn.functional.normalize(torch.stack(vectors), dim=1)

    def align(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(features, dim=1)


def plane_map(voxels: int, channels: int) -> SemanticMap:
    """A map with exactly that many voxels, each with features of its own, made from one image.

    A camera one metre before a plane, whose pixels are a voxel apart, sees each voxel in one pixel.
    """
    voxel_size = MappingConfig().voxel_size
    height = -(-voxels // ROW)
    depth = torch.ones(height * ROW)
    depth[voxels:] = float("nan")
    frame = RgbdFrame(
        rgb=torch.zeros(height, ROW, 3, dtype=torch.uint8),
        depth=depth.view(height, ROW),
        intrinsics=Intrinsics(1 / voxel_size, 1 / voxel_size, 0.0, 0.0, ROW, height),
        pose=torch.eye(4, dtype=torch.float64),
        stamp_ns=0,
    )
    features = torch.randn(channels, height, ROW, generator=torch.Generator().manual_seed(0))
    semantic_map = SemanticMap()
    semantic_map.integrate(frame, Segmentation(features, RandomSpace.id))
    return semantic_map


def measure(
    voxels: int, channels: int, queries: int, threads: int, rounds: int, rayfronts: Path | None
) -> dict[str, Any]:
    """Medians of rounds in which all take turns, under the keys that `--json` prints."""
    torch.set_num_threads(threads)
    semantic_map, space = plane_map(voxels, channels), RandomSpace(channels)
    words = [f"word{i}" for i in range(queries)]
    texts = space.encode_text(words)
    features = semantic_map.features
    jobs = {
        "ours_ms": partial(score_voxels, semantic_map, space, words),
        "matmul_ms": partial(torch.matmul, texts, features.T),
    }
    if rayfronts is not None:
        jobs["peer_ms"] = partial(cosines, rayfronts, texts, features)
    first = milliseconds(jobs["ours_ms"])
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in tqdm(range(rounds), desc=f"{voxels:,} voxels, {channels} features", unit="round", disable=None):
        for name, job in jobs.items():
            times[name].append(milliseconds(job))
    medians = {name: median(values) for name, values in times.items()}
    return {
        "voxels": semantic_map.voxel_count,
        "features": channels,
        "queries": queries,
        "threads": threads,
        **medians,
        "first_ms": first,
        "floor_ms": 1e3 * (features.nbytes + 4 * queries * voxels) / bandwidth(),
        "ratio": medians["ours_ms"] / medians["matmul_ms"],
    }


def table(result: dict[str, Any]) -> str:
    """What was measured, for people."""
    unit = "threads" if result["threads"] > 1 else "thread"
    meanings = {
        "ours_ms": "ours",
        "first_ms": "ours, after the map changed",
        "matmul_ms": "matrix product",
        "peer_ms": "rayfronts",
        "floor_ms": "floor: features read, scores written",
    }
    rows = [f"{meaning:<40}{result[name]:>10.1f} ms" for name, meaning in meanings.items() if name in result]
    head = (
        f"{result['queries']} queries, {result['voxels']:,} voxels, {result['features']} features, "
        f"{result['threads']} {unit}"
    )
    return "\n".join([head, "", *rows, "", f"ours over the matrix product: {result['ratio']:.2f}"])


def main(arguments: Sequence[str] | None = None) -> None:
    summary, _, more = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voxels", type=positive, default=650_000, metavar="N", help="default %(default)s")
    parser.add_argument("--features", type=positive, default=64, metavar="D", help="channels (default %(default)s)")
    parser.add_argument("--queries", type=positive, default=5, metavar="Q", help="asked at once (default %(default)s)")
    parser.add_argument("--threads", type=positive, default=1, metavar="T", help="CPU threads (default %(default)s)")
    parser.add_argument("--rounds", type=positive, default=11, help="how often each is timed (default %(default)s)")
    parser.add_argument("--rayfronts", type=Path, metavar="PATH", help="a checkout of RayFronts, to be timed too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        if options.rayfronts is not None:
            check_checkout(options.rayfronts)
    except OvsegError as error:
        parser.error(str(error))
    if options.queries > MAX_QUERIES:
        parser.error(f"--queries must be 1 to {MAX_QUERIES}, got {options.queries}: that many can be asked at once")
    result = measure(
        options.voxels, options.features, options.queries, options.threads, options.rounds, options.rayfronts
    )
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
