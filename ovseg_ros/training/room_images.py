"""Views of generated rooms on disk, for training; and their reader.

    python -m ovseg_ros.training.room_images OUT --rooms 2400

Each view is two files, ``SEED-VIEW.jpg`` (colour) and ``SEED-VIEW.png`` (label and instance ids), so
that rendering can be interrupted, continued, and run beside training. Training rooms have seeds from
FIRST_TRAINING_SEED on; seeds below 100,000 are for validation and evaluation and never trained on.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ovseg_ros.errors import OvsegError
from ovseg_ros.simulation import RoomRenderer, default_intrinsics, generate_room, random_views

FIRST_TRAINING_SEED = 1_000_000
JPEG_QUALITY = 95
JPEG_END = b"\xff\xd9"


@dataclass(frozen=True)
class View:
    """One rendered image, still encoded: ``rgb`` JPEG bytes, ``truth`` PNG bytes (label, instance low, high)."""

    rgb: bytes
    truth: bytes

    def decode(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Colour (3, H, W) uint8, instance ids (H, W) int64 and label ids (H, W) int64, 0 = unlabelled."""
        rgb = cv2.cvtColor(_decode(self.rgb), cv2.COLOR_BGR2RGB)
        truth = torch.from_numpy(_decode(self.truth)).long()
        return torch.from_numpy(rgb).permute(2, 0, 1), truth[..., 1] + 256 * truth[..., 2], truth[..., 0]

    def label_pixels(self, classes: int) -> torch.Tensor:
        """(classes + 1,) int64, how many pixels bear each label id; the colour image stays encoded."""
        return torch.from_numpy(np.bincount(_decode(self.truth)[..., 0].ravel(), minlength=classes + 1))


def _decode(data: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise OvsegError("a rendered view is damaged: delete the folder's newest files and render them again")
    return image.astype(np.uint8, copy=False)


def read_views(folder: Path) -> list[View]:
    """The complete views in a folder written by this module, by rising seed.

    Raises:
        OvsegError: if no view is in it.
    """
    views = []
    for path in sorted(folder.glob("*.jpg")):
        truth = path.with_suffix(".png")
        if truth.exists():
            view = View(path.read_bytes(), truth.read_bytes())
            if view.rgb.endswith(JPEG_END):
                views.append(view)
    if not views:
        raise OvsegError(
            f"{folder} holds no rendered views: run python -m ovseg_ros.training.room_images {folder} first"
        )
    return views


def write_view(path: Path, rgb: NDArray[np.uint8], labels: NDArray[np.int32], instances: NDArray[np.int32]) -> None:
    """Encode one view; its colour image appears last and whole, so that readers never see half a view.

    Args:
        path: of the colour image, ``*.jpg``.
        rgb: (H, W, 3) uint8.
        labels: (H, W) label ids up to 255, 0 = unlabelled.
        instances: (H, W) instance ids up to 65535.
    """
    truth = np.stack((labels, instances & 255, instances >> 8), axis=-1).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", rgb[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1]
    path.with_suffix(".png").write_bytes(cv2.imencode(".png", truth)[1].tobytes())
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(jpeg.tobytes())
    temporary.replace(path)


def render_room(folder: Path, seed: int, views: int, size: tuple[int, int]) -> None:
    """Generate the room of ``seed`` and write ``views`` images of it."""
    rng = np.random.default_rng(seed)
    room = generate_room(seed)
    renderer = RoomRenderer(room, default_intrinsics(*size))
    for index, pose in enumerate(random_views(room, views, rng)):
        view = renderer.render(pose, rng)
        write_view(folder / f"{seed:08d}-{index:02d}.jpg", view.rgb, view.labels, view.instances)


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
