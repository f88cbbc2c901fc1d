"""The layouts we know by name: opening, detecting, writing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ovseg_ros.datasets import posed_rgbd, replica, rosbag, scannet
from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.datasets.rosbag import BagOptions
from ovseg_ros.datasets.sequence import Recording, RgbdSequence
from ovseg_ros.errors import OvsegError
from ovseg_ros.types import Intrinsics, RgbdFrame


class SequenceWriter(Protocol):
    """Writes one recording, a frame at a time."""

    def add_frame(self, number: int, frame: RgbdFrame) -> None:
        """Write one frame."""

    def add_mesh(self, mesh: LabelledMesh) -> None:
        """Write the ground truth."""


@dataclass(frozen=True)
class Layout:
    """How recordings of one kind are recognised, read and written."""

    tree: str
    looks_like: Callable[[Path], bool]
    open: Callable[[Path], RgbdSequence]
    writer: Callable[[Path, Intrinsics, tuple[str, ...]], SequenceWriter]


# A bag is not among them: it holds no ground truth, and is written by `write_rosbag`.
LAYOUTS: dict[str, Layout] = {
    posed_rgbd.LAYOUT: Layout(
        posed_rgbd.TREE, posed_rgbd.looks_like, posed_rgbd.open_posed_rgbd, posed_rgbd.PosedRgbdWriter
    ),
    scannet.LAYOUT: Layout(scannet.TREE, scannet.looks_like, scannet.open_scannet, scannet.ScanNetWriter),
    replica.LAYOUT: Layout(replica.TREE, replica.looks_like, replica.open_replica, replica.ReplicaWriter),
}


def open_sequence(path: str | Path, layout: str = "auto", bag: BagOptions | None = None) -> Recording:
    """Open a recording.

    Args:
        path: its folder; of a bag also a single file.
        layout: a name in `LAYOUTS`, "rosbag", or "auto" to look at what the folder holds.
        bag: what a bag doesn't say itself.

    Raises:
        OvsegError: the folder is missing, of no known layout, or not whole; says what is missing.
    """
    folder = Path(path).expanduser().absolute()
    if folder.exists() and (layout == rosbag.LAYOUT or (layout == "auto" and rosbag.looks_like(folder))):
        return rosbag.open_rosbag(folder, bag)
    if not folder.is_dir():
        raise OvsegError(f"{folder} is not a folder: give the folder of a recording")
    if bag is not None:
        raise OvsegError(
            f"{folder} is not a bag, so it has no topics to choose and no stamps to match: drop these options"
        )
    if layout != "auto":
        return _layout(layout).open(folder)
    for candidate in LAYOUTS.values():
        if candidate.looks_like(folder):
            return candidate.open(folder)
    trees = {name: candidate.tree for name, candidate in LAYOUTS.items()} | {rosbag.LAYOUT: rosbag.TREE}
    known = "; ".join(f"{name}: {tree}" for name, tree in trees.items())
    raise OvsegError(f"{folder} holds no recording of a known layout ({known})")


def write_sequence(
    frames: Iterable[RgbdFrame],
    mesh: LabelledMesh | None,
    out: str | Path,
    layout: str,
    class_names: Iterable[str] = (),
) -> int:
    """Write a recording; only one frame is in memory at a time.

    Args:
        frames: all with the same intrinsics. Wrap them in tqdm to show progress.
        mesh: ground truth, if there is one.
        out: a new or empty folder.
        layout: a name in `LAYOUTS`.
        class_names: names behind the label ids of frames and mesh.

    Returns:
        The number of frames written.

    Raises:
        OvsegError: the folder is not empty, there are no frames, or their intrinsics differ.
    """
    make_writer = _layout(layout).writer
    folder = Path(out).expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OvsegError(f"{folder} is not empty: give a new folder, nothing is overwritten")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OvsegError(f"cannot make the folder {folder}: {error.strerror}") from error
    writer: SequenceWriter | None = None
    intrinsics: Intrinsics | None = None
    count = 0
    for frame in frames:
        if writer is None:
            intrinsics = frame.intrinsics
            writer = make_writer(folder, intrinsics, tuple(class_names))
        if frame.intrinsics != intrinsics:
            raise OvsegError(
                f"frame {count} has another camera than frame 0: a {layout} recording has one for all frames"
            )
        writer.add_frame(count, frame)
        count += 1
    if writer is None:
        raise OvsegError("there are no frames to write: ask for at least one")
    if mesh is not None:
        writer.add_mesh(mesh)
    return count


def _layout(name: str) -> Layout:
    if name not in LAYOUTS:
        raise OvsegError(f"there is no layout {name!r}: choose one of {', '.join(sorted(LAYOUTS))}")
    return LAYOUTS[name]
