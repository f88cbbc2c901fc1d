"""Views of generated rooms on disk, for training; and their reader.

    python -m ovseg_ros.training.room_images OUT --rooms 600 --views 16

One file per room, so that rendering can be interrupted, continued, and run beside training. Rooms
have seeds of FIRST_TRAINING_SEED and up: seeds below 100,000 are for evaluation and never trained on.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ovseg_ros.errors import OvsegError
from ovseg_ros.simulation import RoomRenderer, default_intrinsics, generate_room

FIRST_TRAINING_SEED = 1_000_000
VALIDATION_EVERY = 25
"""Of every so many rooms one is never trained on."""

JPEG_QUALITY = 95


@dataclass(frozen=True)
class View:
    """One rendered image, still encoded.

    Attributes:
        rgb: JPEG bytes.
        segments: PNG bytes, uint16; an id per visible segment of the room.
        labels: (S,) int64 label id of each segment of the room, 0 = unlabelled.
    """

    rgb: NDArray[np.uint8]
    segments: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def decode(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Colour (H, W, 3) uint8, segment ids (H, W) int64 and label ids (H, W) int64."""
        rgb = cv2.cvtColor(cv2.imdecode(self.rgb, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        segments = cv2.imdecode(self.segments, cv2.IMREAD_UNCHANGED).astype(np.int64)
        return torch.from_numpy(rgb), torch.from_numpy(segments), torch.from_numpy(self.labels[segments])


class RoomImages:
    """All views under a folder, kept encoded in memory; `rescan` picks up rooms rendered since."""

    def __init__(self, folder: Path) -> None:
        """Read the rooms in ``folder``.

        Raises:
            OvsegError: if there is none.
        """
        self._folder = folder
        self._rooms: dict[Path, list[View]] = {}
        self.rescan()
        if not self.training or not self.validation:
            raise OvsegError(
                f"{folder} holds {len(self._rooms)} rooms, too few to train and to validate on: render at least "
                f"{VALIDATION_EVERY} with python -m ovseg_ros.training.room_images {folder}"
            )

    def rescan(self) -> None:
        """Read the rooms that were not there before."""
        for path in sorted(self._folder.glob("room_*.npz")):
            if path not in self._rooms:
                self._rooms[path] = read_room(path)

    @property
    def training(self) -> list[View]:
        """Views of the rooms to train on, by rising seed."""
        return self._select(False)

    @property
    def validation(self) -> list[View]:
        """Views of the rooms kept apart, by rising seed."""
        return self._select(True)

    def _select(self, validation: bool) -> list[View]:
        rooms = sorted(path for path in self._rooms if is_validation(path) == validation)
        return [view for path in rooms for view in self._rooms[path]]


def is_validation(path: Path) -> bool:
    """Whether this room's file is kept apart from training."""
    return int(path.stem.removeprefix("room_")) % VALIDATION_EVERY == 0


def write_room(
    path: Path, images: list[NDArray[np.uint8]], labels: list[NDArray[np.int32]], instances: list[NDArray[np.int32]]
) -> None:
    """Encode a room's views into one file; the file appears at once and whole.

    Args:
        path: file to write.
        images: (H, W, 3) uint8 RGB each.
        labels: (H, W) label ids each, 0 = unlabelled.
        instances: (H, W) instance ids each, the same thing having the same id in all views.
    """
    pairs = np.stack((np.stack(labels), np.stack(instances)), axis=-1)
    segments, flat = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    ids = flat.reshape(pairs.shape[:-1]).astype(np.uint16)
    jpegs = [cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1] for image in images]
    pngs = [cv2.imencode(".png", view)[1] for view in ids]
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(
            file,
            rgb=np.concatenate(jpegs),
            rgb_ends=np.cumsum([len(data) for data in jpegs]),
            segments=np.concatenate(pngs),
            segment_ends=np.cumsum([len(data) for data in pngs]),
            labels=segments[:, 0].astype(np.int64),
        )
    temporary.replace(path)


def read_room(path: Path) -> list[View]:
    """Views of a file written by `write_room`."""
    with np.load(path) as file:
        images = np.split(file["rgb"], file["rgb_ends"][:-1])
        segments = np.split(file["segments"], file["segment_ends"][:-1])
        labels = file["labels"]
    return [View(image, ids, labels) for image, ids in zip(images, segments, strict=True)]


def render_room(path: Path, seed: int, views: int, width: int, height: int) -> None:
    """Generate the room of ``seed`` and write ``views`` of it to ``path``."""
    room = generate_room(seed)
    renderer = RoomRenderer(room, default_intrinsics(width, height), noise=None)
    poses = room.training_poses(views, np.random.default_rng(seed))
    rendered = [renderer.render(pose) for pose in poses]
    write_room(path, [v.rgb for v in rendered], [v.labels for v in rendered], [v.instances for v in rendered])


def render_rooms(folder: Path, rooms: int, views: int, seed: int, size: tuple[int, int], workers: int) -> int:
    """Render what is missing of ``rooms`` rooms with seeds from ``seed`` on; returns how many were rendered."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {room: folder / f"room_{room}.npz" for room in range(seed, seed + rooms)}
    missing = {room: path for room, path in paths.items() if not path.exists()}
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(workers, mp_context=context) as pool,
        tqdm(total=rooms, initial=rooms - len(missing), unit="room") as progress,
    ):
        jobs = [pool.submit(render_room, path, room, views, *size) for room, path in missing.items()]
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
    parser.add_argument("--rooms", type=int, default=600)
    parser.add_argument("--views", type=int, default=16, help="images per room")
    parser.add_argument("--seed", type=int, default=FIRST_TRAINING_SEED, help="of the first room")
    parser.add_argument("--size", type=parse_size, default=(320, 240), help="of an image, such as 320x240")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    if arguments.seed < FIRST_TRAINING_SEED:
        parser.error(f"--seed must be at least {FIRST_TRAINING_SEED}: lower seeds are for evaluation")
    render_rooms(arguments.out, arguments.rooms, arguments.views, arguments.seed, arguments.size, arguments.workers)


if __name__ == "__main__":
    main()
