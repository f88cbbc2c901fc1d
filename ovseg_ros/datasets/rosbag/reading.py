"""A bag as a recording: frames are looked up and decoded when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.datasets.rosbag.file import BagFile, Place, open_bag
from ovseg_ros.datasets.rosbag.poses import PoseCollector, PoseSource
from ovseg_ros.datasets.rosbag.topics import BagOptions, choose_topics
from ovseg_ros.sensor_messages import FrameBuilder
from ovseg_ros.types import InvalidFrameError, RgbdFrame

LAYOUT = "rosbag"
TREE = "metadata.yaml beside *.mcap or *.db3, or such a file alone"
STORAGE_SUFFIXES = (".mcap", ".db3")
ROS1_SUFFIX = ".bag"


def looks_like(path: Path) -> bool:
    """Whether this file or folder suggests a bag."""
    if path.is_file():
        return path.suffix in (*STORAGE_SUFFIXES, ROS1_SUFFIX)
    return (path / "metadata.yaml").exists() or any(file.suffix in STORAGE_SUFFIXES for file in path.glob("*.*"))


class RosbagSequence:
    """The RGB-D frames of a bag: one for each colour image, in order of their stamps.

    Args:
        bag: where the images lie.
        colours: stamp and place of each colour image.
        depths: stamp and place of each depth image.
        camera_infos: stamp and message, of each that differs from the one before.
        poses: of the camera.
        slop_ns: how far a depth image may be from its colour image.
        rectified: the images have no distortion any more; see `FrameBuilder`.
    """

    layout = LAYOUT
    class_names: tuple[str, ...] = ()

    def __init__(
        self,
        bag: BagFile,
        colours: Sequence[tuple[int, Place]],
        depths: Sequence[tuple[int, Place]],
        camera_infos: Sequence[tuple[int, Any]],
        poses: PoseSource,
        *,
        slop_ns: int,
        rectified: bool,
    ) -> None:
        self.root = bag.path
        self._bag = bag
        self._colours, self._depths = sorted(colours), sorted(depths)
        self._partners = nearest_partners(_stamps(self._colours), _stamps(self._depths), slop_ns)
        self._camera_infos = sorted(camera_infos, key=lambda entry: entry[0])
        self._info_stamps = _stamps(self._camera_infos)
        self._poses = poses
        self._slop_ns = slop_ns
        self._frames = FrameBuilder(rectified=rectified)

    def __len__(self) -> int:
        return len(self._colours)

    def __getitem__(self, index: int) -> RgbdFrame:
        """Decode frame ``index``.

        Raises:
            InvalidFrameError: no depth image or no pose belongs to it ("unmatched", "pose"), or it is damaged.
            IndexError: there is no such frame.
        """
        stamp_ns, place = self._colours[index]
        partner = int(self._partners[index])
        if partner < 0:
            raise InvalidFrameError(
                "unmatched",
                f"no depth image lies within {self._slop_ns / 1e9:g} s of the colour image, or it belongs to one that "
                "is nearer: raise --slop if the cameras aren't synchronised",
            )
        colour = self._bag.read(place)
        pose = self._poses.pose(colour.header.frame_id, stamp_ns)
        return self._frames.build(colour, self._bag.read(self._depths[partner][1]), self._info_at(stamp_ns), pose)

    def __iter__(self) -> Iterator[RgbdFrame]:
        return (self[index] for index in range(len(self)))

    def pose_at(self, index: int) -> tuple[NDArray[np.float64], int]:
        """(4, 4) camera -> world and stamp in nanoseconds of frame ``index``; its images aren't decoded.

        Raises:
            InvalidFrameError: "pose": not known at this moment.
        """
        stamp_ns, place = self._colours[index]
        return self._poses.pose(self._bag.read(place).header.frame_id, stamp_ns), stamp_ns

    def mesh(self) -> LabelledMesh | None:
        """None: a bag holds no ground truth."""
        return None

    def _info_at(self, stamp_ns: int) -> Any:
        """The camera info that holds: the last one until then, else the first."""
        return self._camera_infos[max(int(np.searchsorted(self._info_stamps, stamp_ns, side="right")) - 1, 0)][1]


def open_rosbag(path: Path, options: BagOptions | None = None) -> RosbagSequence:
    """Open a bag: its folder, or a single file of it. Reads through it once, for stamps and poses.

    Raises:
        OvsegError: the bag is damaged, or which topics to use isn't clear.
    """
    options = options or BagOptions()
    bag = open_bag(path)
    topics = choose_topics(bag, options.topics)
    collector = PoseCollector(bag, options.topics.get("pose"))
    images: dict[str, list[tuple[int, Place]]] = {topics.rgb: [], topics.depth: []}
    camera_infos: list[tuple[int, Any]] = []
    for place, raw in bag.messages([*images, topics.camera_info, *collector.topics]):
        if place.topic in images:
            images[place.topic].append((bag.stamp(raw), place))
        elif place.topic == topics.camera_info:
            message = bag.decode(place, raw)
            if not camera_infos or not _same_camera(camera_infos[-1][1], message):
                camera_infos.append((bag.stamp(raw), message))
        else:
            collector.add(place.topic, bag.decode(place, raw))
    source = collector.source(bag.first(topics.rgb).header.frame_id)
    return RosbagSequence(
        bag,
        images[topics.rgb],
        images[topics.depth],
        camera_infos,
        source,
        slop_ns=round(options.slop * 1e9),
        rectified=topics.rectified,
    )


def nearest_partners(stamps: NDArray[np.int64], others: NDArray[np.int64], slop_ns: int) -> NDArray[np.int64]:
    """For each of (N,) sorted stamps the index of the nearest of (M,) sorted others, each used once; -1 for none."""
    after = np.searchsorted(others, stamps).clip(1, max(len(others) - 1, 1))
    before = after - 1
    after = after.clip(max=len(others) - 1)
    nearest = np.where(np.abs(others[after] - stamps) < np.abs(others[before] - stamps), after, before)
    distance = np.abs(others[nearest] - stamps)
    partners = np.full(len(stamps), -1, dtype=np.int64)
    order = np.lexsort((distance, nearest))
    first = order[np.unique(nearest[order], return_index=True)[1]]
    kept = first[distance[first] <= slop_ns]
    partners[kept] = nearest[kept]
    return partners


def _stamps(entries: Sequence[tuple[int, Any]]) -> NDArray[np.int64]:
    return np.array([stamp for stamp, _ in entries], dtype=np.int64)


def _same_camera(first: Any, second: Any) -> bool:
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("width", "height", "distortion_model", "d", "k", "p")
    )
