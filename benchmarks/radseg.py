#!/usr/bin/env python3
"""How long RADSeg takes for an image, and what it needs: ours beside the unmodified reference.

Both get the same image and the same random weights of C-RADIOv3-B's size, in one process, in turn.

    python benchmarks/radseg.py --threads 2 --radseg ~/RADSeg --radio ~/RADIO
    python benchmarks/radseg.py --crop 0 --json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import PeakMemory, milliseconds
from radseg_peer import PeerEncoder, check_checkouts
from radseg_weights import Sizes, write_random_checkpoint
from torch.nn.functional import cosine_similarity, interpolate

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.radseg.checkpoint import read_checkpoint
from ovseg_ros.segmentation.radseg.encoder import RadsegEncoder
from ovseg_ros.segmentation.radseg.model import SUMMARY, build_backbone, build_head, language_teacher
from ovseg_ros.segmentation.radseg.windows import Windows

CLASSES = 20


@dataclass(frozen=True)
class Setting:
    """One measurement, as the command line describes it."""

    size: int
    crop: int
    stride: int
    threads: int
    rounds: int
    dtype: str
    radseg: Path | None
    radio: Path | None
    sizes: Sizes = field(default_factory=Sizes)


class Clock:
    """Best wall and processor time of a job, in milliseconds; on a shared machine the second says more."""

    def __init__(self, job: Callable[[], object]) -> None:
        self._job = job
        self.wall = self.processor = float("inf")

    def tick(self) -> None:
        begin = time.process_time()
        self.wall = min(self.wall, milliseconds(self._job))
        self.processor = min(self.processor, 1e3 * (time.process_time() - begin))


def measure(setting: Setting) -> dict[str, Any]:
    """Everything about one setting, under the keys that `--json` prints; None for what needs a peer."""
    torch.set_num_threads(setting.threads)
    image = blotches(setting.size)
    with tempfile.TemporaryDirectory() as folder:
        path = write_random_checkpoint(Path(folder) / "random.pth.tar", setting.sizes)
        checkpoint = read_checkpoint(path)
        windows = Windows(setting.crop, setting.stride, 16)
        encoder = RadsegEncoder(build_backbone(checkpoint), windows, getattr(torch, setting.dtype))
        head = build_head(checkpoint, language_teacher(checkpoint), SUMMARY)
        peer = None
        if setting.radseg and setting.radio:
            peer = PeerEncoder(setting.radseg, setting.radio, path, setting.crop, setting.stride)
        ours_features = encoder(image)
        ours, theirs = Clock(partial(encoder, image)), Clock(partial(peer.features, image)) if peer else None
        for _ in range(setting.rounds):
            for clock in filter(None, (ours, theirs)):
                clock.tick()
        memory = peak_bytes(partial(encoder, image))
        result: dict[str, Any] = {"ours_ms": ours.wall, "ours_cpu_ms": ours.processor, "ours_bytes": memory}
        result |= dict.fromkeys(("peer_ms", "peer_cpu_ms", "peer_bytes", "ratio", "cpu_ratio", "max_error"))
        result |= {"labels_equal": None}
        if peer and theirs:
            features = peer.features(image)
            aligned = cells(peer.aligned(features))
            texts = aligned[:: len(aligned) // CLASSES]
            same = label(head.align(cells(ours_features)), texts) == label(aligned, texts)
            result |= {
                "peer_ms": theirs.wall,
                "peer_cpu_ms": theirs.processor,
                "peer_bytes": peak_bytes(partial(peer.features, image)),
                "ratio": theirs.wall / ours.wall,
                "cpu_ratio": theirs.processor / ours.processor,
                "max_error": float((ours_features - features).abs().max() / features.abs().max()),
                "labels_equal": float(same.float().mean()),
            }
    names = {name: getattr(setting, name) for name in ("size", "crop", "stride", "threads", "dtype")}
    return names | result


def blotches(size: int) -> torch.Tensor:
    """(1, 3, size, size) in 0..1: coarse colours and fine noise, so that patches differ as those of photographs do."""
    seed = torch.Generator().manual_seed(0)
    coarse = interpolate(torch.rand(1, 3, 12, 12, generator=seed), (size, size), mode="nearest")
    return 0.8 * coarse + 0.2 * torch.rand(1, 3, size, size, generator=seed)


def cells(features: torch.Tensor) -> torch.Tensor:
    """(1, C, h, w) -> (h * w, C)."""
    return features[0].flatten(1).T


def label(aligned: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """(N, D) cells and (K, D) texts -> (N,) best text of each."""
    return cosine_similarity(aligned[:, None], texts[None], dim=-1).argmax(dim=1)


def peak_bytes(job: Callable[[], object]) -> int:
    """Resident memory that the job needs above what the process held."""
    memory = PeakMemory()
    memory.during(job)
    return memory.bytes_above_base


def table(result: dict[str, Any]) -> str:
    """What was measured, for people."""
    how = f"windows of {result['crop']} every {result['stride']}" if result["crop"] > 0 else "no windows"
    size, dtype, threads = result["size"], result["dtype"], result["threads"]
    lines = [
        f"{size}x{size}, {how}, {dtype}, {threads} thread{'s' if threads > 1 else ''}",
        "",
        f"{'best of the rounds':<22}{'ms':>9}{'CPU ms':>9}{'peak MB':>9}",
    ]
    for name in ("ours", "peer"):
        wall, processor, memory = (result[f"{name}_{what}"] for what in ("ms", "cpu_ms", "bytes"))
        if wall is not None:
            lines.append(f"{name:<22}{wall:>9.0f}{processor:>9.0f}{memory / 1e6:>9.0f}")
    if result["ratio"] is not None:
        lines += [
            "",
            f"peer over ours: {result['ratio']:.2f} (CPU time {result['cpu_ratio']:.2f})",
            f"largest error over largest feature {result['max_error']:.1e}, equal labels {result['labels_equal']:.2%}",
        ]
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None) -> tuple[Setting, bool]:
    """Command line -> what to measure, and whether to print JSON."""
    summary, _, examples = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512, help="pixels on a side of the image (default %(default)s)")
    parser.add_argument("--crop", type=int, default=336, help="side of the windows, 0 for none (default %(default)s)")
    parser.add_argument("--stride", type=int, default=224, help="of the windows (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, metavar="T", help="CPU threads (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, metavar="R", help="timed images (default %(default)s)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of our backbone")
    parser.add_argument("--radseg", type=Path, metavar="PATH", help="a checkout of RADSeg, to have it as the peer")
    parser.add_argument("--radio", type=Path, metavar="PATH", help="a checkout of RADIO, on which RADSeg stands")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)

    if (options.radseg is None) != (options.radio is None):
        parser.error("--radseg PATH and --radio PATH go together: name both checkouts, or none")
    for name in ("threads", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be 1 or more, got {getattr(options, name)}")
    if options.size < 16 or options.size % 16:
        parser.error(f"--size must be a multiple of 16, got {options.size}: the reference takes whole patches only")
    try:
        Windows(options.crop, options.stride, 16)
        if options.radseg is not None:
            check_checkouts(options.radseg, options.radio)
    except OvsegError as error:
        parser.error(str(error))
    as_json = options.json
    del options.json
    return Setting(**vars(options)), as_json


def main(arguments: Sequence[str] | None = None) -> None:
    setting, as_json = parse(arguments)
    result = measure(setting)
    print(json.dumps(result) if as_json else table(result))


if __name__ == "__main__":
    main()
