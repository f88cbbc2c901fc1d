#!/usr/bin/env python3
"""Objects of a map beside the things of generated rooms, whose true instance masks stand in for a model.

Each room is walked through once, and then the first half of the walk again with other depth noise: ids must stay.
Masks are at a quarter of the image's resolution. With --noise the model errs: a third of the masks is eroded by a cell
and a third dilated, one in ten is missing, one in twenty has a wrong name.

    python benchmarks/objects.py --rooms 10 --seed 9000
    python benchmarks/objects.py --rooms 10 --seed 9000 --noise --json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ovseg_ros.geometry import pack_keys, transform_points, unproject, voxel_indices
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.simulation.classes import CLASS_NAMES
from ovseg_ros.simulation.depth_noise import DepthNoise
from ovseg_ros.simulation.renderer import RoomRenderer
from ovseg_ros.types import InstanceMask, RgbdFrame, Segmentation

STUFF = ("wall", "floor", "ceiling")
CELL = 4
"""Pixels of a mask's cell along each axis."""
VISIBLE_SHARE = 1 / 768
"""Of an image's pixels, with depth in range: 100 of 320x240."""
VISIBLE_FRAMES = 20
MERGED_SHARE = 0.5
"""Of a thing's voxels, in the object of another."""
MAX_THINGS = 256
"""In one room, walls included."""
MISSING, MISNAMED = 0.1, 0.05


@dataclass(frozen=True)
class Step:
    """A frame, what the model says of it, and the true (H, W) instances."""

    frame: RgbdFrame
    segmentation: Segmentation
    instances: torch.Tensor


def steps(sequence: RoomSequence, numbers: Sequence[int], seed: int, noise: bool) -> Iterator[Step]:
    """Frames of a walk by number, with depth noise and a model's errors from a seed."""
    renderer = RoomRenderer(sequence.room, sequence.intrinsics, DepthNoise())
    for place, number in enumerate(numbers):
        rng = np.random.default_rng((seed, place))
        view = renderer.render(sequence.poses[number], rng)
        pose, stamp = torch.from_numpy(sequence.poses[number]), (seed * len(sequence) + place + 1) * 100_000_000
        frame = RgbdFrame(torch.from_numpy(view.rgb), torch.from_numpy(view.depth), sequence.intrinsics, pose, stamp)
        cells = view.instances[CELL // 2 :: CELL, CELL // 2 :: CELL]
        masks = tuple(
            instance
            for thing in sequence.room.objects
            if thing.label not in STUFF and (cells == thing.instance_id).any()
            for instance in _mask(torch.from_numpy(cells == thing.instance_id), thing.label, noise, rng)
        )
        yield Step(frame, Segmentation(torch.ones(1, *cells.shape), "none", masks), torch.from_numpy(view.instances))


def _mask(mask: torch.Tensor, label: str, noise: bool, rng: np.random.Generator) -> list[InstanceMask]:
    """What the model makes of a true mask."""
    if not noise:
        return [InstanceMask(mask, 0.9, label)]
    if rng.random() < MISSING:
        return []
    if rng.random() < MISNAMED:
        label = str(rng.choice(CLASS_NAMES))
    change = rng.integers(3)
    if change:
        grown = mask if change == 1 else ~mask
        grown = torch.nn.functional.max_pool2d(grown[None, None].float(), 3, 1, 1)[0, 0] > 0
        mask = grown if change == 1 else ~grown
    return [InstanceMask(mask, float(rng.uniform(0.5, 1.0)), label)] if mask.any() else []


class Truth:
    """Which thing each voxel is of, and in how many frames each thing was visible."""

    def __init__(self, config: MappingConfig) -> None:
        self._config = config
        self._votes: list[torch.Tensor] = []
        self.frames: Counter[int] = Counter()

    def add(self, step: Step) -> None:
        frame, config = step.frame, self._config
        usable = (frame.depth >= config.min_depth) & (frame.depth <= config.max_depth)
        points = transform_points(frame.pose, unproject(frame.depth, frame.intrinsics).double()[usable])
        keys = pack_keys(voxel_indices(points, config.voxel_size))
        things = step.instances[usable].long()
        voxels, row = torch.unique(keys, return_inverse=True)
        pairs, counts = torch.unique(row * MAX_THINGS + things, return_counts=True)
        self._votes.append(torch.stack((voxels[pairs // MAX_THINGS], pairs % MAX_THINGS, counts)))
        pixels = torch.bincount(things)
        self.frames.update((pixels >= VISIBLE_SHARE * frame.depth.numel()).nonzero().flatten().tolist())

    def things(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(n,) ascending keys and the (n,) thing that most pixels in each were of."""
        keys, things, counts = torch.cat(self._votes, dim=1)
        voxels, row = torch.unique(keys, return_inverse=True)
        table = torch.bincount(row * MAX_THINGS + things, counts.double(), minlength=len(voxels) * MAX_THINGS)
        return voxels, table.view(-1, MAX_THINGS).argmax(dim=1)


def owners(semantic_map: SemanticMap, truth: Truth) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Thing -> the objects that are mostly it; and thing -> the objects that are mostly another and swallow it."""
    keys, things = truth.things()
    sizes = torch.bincount(things)
    found: dict[int, list[int]] = {}
    swallowed: dict[int, list[int]] = {}
    for entry in semantic_map.objects:
        of_voxels = things[torch.searchsorted(keys, entry.keys).clamp(max=len(keys) - 1)]
        counts = torch.bincount(of_voxels, minlength=len(sizes))
        main = int(counts.argmax())
        found.setdefault(main, []).append(entry.id)
        for thing in (counts >= MERGED_SHARE * sizes).nonzero().flatten().tolist():
            if thing != main and counts[thing]:
                swallowed.setdefault(thing, []).append(entry.id)
    return found, swallowed


def measure(seed: int, frames: int, width: int, height: int, noise: bool) -> dict[str, Any]:
    """One room: how many things were visible, and what became of them."""
    sequence = RoomSequence(seed, frames, width, height)
    config = MappingConfig()
    semantic_map, truth = SemanticMap(config), Truth(config)
    stuff = {0} | {thing.instance_id for thing in sequence.room.objects if thing.label in STUFF}
    for step in steps(sequence, range(frames), seed, noise):
        semantic_map.integrate(step.frame, step.segmentation)
        truth.add(step)
    visible = sorted(thing for thing, count in truth.frames.items() if count >= VISIBLE_FRAMES and thing not in stuff)
    found, swallowed = owners(semantic_map, truth)
    for step in steps(sequence, range(frames // 2), seed + 1_000_000, noise):
        semantic_map.integrate(step.frame, step.segmentation)
        truth.add(step)
    again, _ = owners(semantic_map, truth)
    missing = [thing for thing in visible if thing not in found]
    return {
        "seed": seed,
        "visible": len(visible),
        "once": sum(len(found.get(thing, ())) == 1 for thing in visible),
        "duplicates": sum(len(found.get(thing, ())) - 1 for thing in visible if thing in found),
        "merges": sum(thing in swallowed for thing in missing),
        "missed": sum(thing not in swallowed for thing in missing),
        "objects": len(semantic_map.objects),
        "ids_kept": sum(thing in found and found[thing] == again.get(thing) for thing in visible),
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=int, default=10)
    parser.add_argument("--seed", type=int, default=9000, help="of the first room")
    parser.add_argument("--frames", type=int, default=120, help="of the walk through each")
    parser.add_argument("--width", type=int, default=320, help="of images; the height is three quarters of it")
    parser.add_argument("--noise", action="store_true", help="masks with errors")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure rooms and print what was found."""
    options = parse(arguments)
    torch.set_num_threads(1)
    rooms = []
    for seed in tqdm(range(options.seed, options.seed + options.rooms), unit="room", disable=None):
        rooms.append(measure(seed, options.frames, options.width, 3 * options.width // 4, noise=options.noise))
        if not options.json:
            _print(rooms[-1])
    totals = {name: sum(room[name] for room in rooms) for name in rooms[0] if name != "seed"}
    if options.json:
        print(json.dumps({"noise": options.noise, "frames": options.frames, "total": totals, "rooms": rooms}))
    else:
        _print({"seed": "all", **totals})


def _print(room: dict[str, Any]) -> None:
    print("  ".join(f"{name} {value}" for name, value in room.items()), flush=True)


if __name__ == "__main__":
    main()
