"""The layouts we know by name: opening, detecting, writing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ovseg_ros.datasets import posed_rgbd, replica, rosbag, scannet, scannetpp, semantic_nerf, seven_scenes, tum
from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.datasets.published_layout import PublishedLayout
from ovseg_ros.datasets.replica_truth import spellings
from ovseg_ros.datasets.rosbag import BagOptions
from ovseg_ros.datasets.scannetpp_writer import ScanNetPPWriter
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
    """How recordings of one kind are recognised, read and written; without a writer they are only read."""

    published: PublishedLayout
    looks_like: Callable[[Path], bool]
    open: Callable[[Path, str | None], RgbdSequence]
    writer: Callable[[Path, Intrinsics, tuple[str, ...]], SequenceWriter] | None


# In the order in which a folder is looked at: those with names of their own before those with common ones; a camera
# file, by which the last is known, may lie in others too.
# A bag is not among them: it holds no ground truth, and is written by `write_rosbag`.
_LAYOUTS = (
    Layout(seven_scenes.LAYOUT, seven_scenes.looks_like, seven_scenes.open_seven_scenes, None),
    Layout(
        semantic_nerf.LAYOUT,
        semantic_nerf.looks_like,
        semantic_nerf.open_semantic_nerf,
        semantic_nerf.SemanticNerfWriter,
    ),
    Layout(tum.LAYOUT, tum.looks_like, tum.open_tum, tum.TumWriter),
    Layout(scannetpp.LAYOUT, scannetpp.looks_like, scannetpp.open_scannetpp, ScanNetPPWriter),
    Layout(scannet.LAYOUT, scannet.looks_like, scannet.open_scannet, scannet.ScanNetWriter),
    Layout(replica.LAYOUT, replica.looks_like, replica.open_replica, replica.ReplicaWriter),
    Layout(posed_rgbd.LAYOUT, posed_rgbd.looks_like, posed_rgbd.open_posed_rgbd, posed_rgbd.PosedRgbdWriter),
)
LAYOUTS: dict[str, Layout] = {layout.published.name: layout for layout in _LAYOUTS}


def open_sequence(
    path: str | Path, layout: str = "auto", bag: BagOptions | None = None, class_list: str | None = None
) -> Recording:
    """Open a recording.

    Args:
        path: its folder; of a bag also a single file. Replica's scenes may be spelt office0 or office_0.
        layout: a name in `LAYOUTS`, "rosbag", or "auto" to look at what the folder holds.
        bag: what a bag doesn't say itself.
        class_list: in which classes ground truth is read, a name that `class_list` knows; the data set's usual if None.

    Raises:
        OvsegError: the folder is missing, of no known layout, or not whole; says what is missing.
    """
    folder = Path(path).expanduser().absolute()
    if folder.exists() and (layout == rosbag.LAYOUT or (layout == "auto" and rosbag.looks_like(folder))):
        return rosbag.open_rosbag(folder, bag)
    folder = next((spelt for name in spellings(folder.name) if (spelt := folder.with_name(name)).is_dir()), folder)
    if not folder.is_dir():
        raise OvsegError(f"{folder} is not a folder: give the folder of a recording")
    if bag is not None:
        raise OvsegError(
            f"{folder} is not a bag, so it has no topics to choose and no stamps to match: drop these options"
        )
    if layout != "auto":
        return _layout(layout).open(folder, class_list)
    for candidate in _LAYOUTS:
        if candidate.looks_like(folder):
            return candidate.open(folder, class_list)
    trees = {name: candidate.published.tree for name, candidate in LAYOUTS.items()} | {rosbag.LAYOUT: rosbag.TREE}
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
        layout: a name in `LAYOUTS`, of one that is written.
        class_names: names behind the label ids of frames and mesh; without them label images are left out.

    Returns:
        The number of frames written.

    Raises:
        OvsegError: the folder is not empty, there are no frames, or their intrinsics differ.
    """
    make_writer, names = _layout(layout).writer, tuple(class_names)
    if make_writer is None:
        written = ", ".join(name for name, candidate in LAYOUTS.items() if candidate.writer)
        raise OvsegError(f"the layout {layout} is only read: choose one of {written}")
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
            writer = make_writer(folder, intrinsics, names)
        if frame.intrinsics != intrinsics:
            raise OvsegError(
                f"frame {count} has another camera than frame 0: a {layout} recording has one for all frames"
            )
        writer.add_frame(count, frame if names else replace(frame, semantics=None))
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
