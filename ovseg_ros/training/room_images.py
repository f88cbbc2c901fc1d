"""Views of generated rooms on disk, for training.

    python -m ovseg_ros.training.room_images OUT --rooms 2400

Each view is ``SEED-VIEW`` in the layout of `ovseg_ros.training.views`, so that rendering can be interrupted,
continued, and run beside training. Training rooms have seeds from FIRST_TRAINING_SEED on; seeds below
100,000 are for validation and evaluation and never trained on.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ovseg_ros.simulation import DepthNoise, RoomRenderer, default_intrinsics, generate_room, random_views
from ovseg_ros.training.views import encode_view, write_view

FIRST_TRAINING_SEED = 1_000_000


def render_room(folder: Path, seed: int, views: int, size: tuple[int, int]) -> None:
    """Generate the room of ``seed`` and write ``views`` images of it."""
    rng = np.random.default_rng(seed)
    room = generate_room(seed)
    renderer = RoomRenderer(room, default_intrinsics(*size), DepthNoise())
    for index, pose in enumerate(random_views(room, views, rng)):
        view = renderer.render(pose, rng)
        encoded = encode_view(view.rgb, view.labels, view.instances, depth=view.depth)
        write_view(folder / f"{seed:08d}-{index:02d}.jpg", encoded)


def render_rooms(folder: Path, rooms: int, views: int, seed: int, size: tuple[int, int], workers: int) -> int:
    """Render what is missing of ``rooms`` rooms with seeds from ``seed`` on; returns how many were rendered."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(seed, seed + rooms)
    missing = [entry for entry in seeds if not (folder / f"{entry:08d}-{views - 1:02d}.jpg").exists()]
    # One thread per process: the processes are the parallelism.
    os.environ["OMP_NUM_THREADS"] = "1"
    with (
        ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool,
        tqdm(total=rooms, initial=rooms - len(missing), unit="room") as progress,
    ):
        jobs = [pool.submit(render_room, folder, entry, views, size) for entry in missing]
        for job in as_completed(jobs):
            job.result()
            progress.update()
    return len(missing)


def parse_size(text: str) -> tuple[int, int]:
    """``"320x240"`` -> (320, 240)."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 320x240, got {text!r}") from None
    return width, height


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="Render views of generated rooms to train on.")
    parser.add_argument("out", type=Path, help="folder to write to; rooms already there are kept")
    parser.add_argument("--rooms", type=int, default=2400)
    parser.add_argument("--views", type=int, default=5, help="images per room")
    parser.add_argument("--seed", type=int, default=FIRST_TRAINING_SEED, help="of the first room")
    parser.add_argument("--size", type=parse_size, default=(320, 240), help="of an image, such as 320x240")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    render_rooms(arguments.out, arguments.rooms, arguments.views, arguments.seed, arguments.size, arguments.workers)


if __name__ == "__main__":
    main()
