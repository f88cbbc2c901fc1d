"""One camera of a map: its names, its calibration, and which of its messages belong together. No ROS in here."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.filter_synchronizer import FilterSynchronizer
from ovseg_ros.ros.synchronizer import Matched, RgbdSynchronizer, Stream, valid_at
from ovseg_ros.sensor_messages import FrameBuilder, stamp_to_ns
from ovseg_ros.types import Segmenter

COLOUR_TOPIC = "rgb/image"
DEPTH_TOPIC = "depth/image"
CAMERA_INFO_TOPIC = "rgb/camera_info"

MAX_CAMERAS = 16

MATCHERS: dict[str, type[RgbdSynchronizer] | type[FilterSynchronizer]] = {
    "own": RgbdSynchronizer,
    "message_filters": FilterSynchronizer,
}
"""Choices of the parameter sync.matcher."""

_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*_?")


def camera_names(names: Sequence[str]) -> tuple[str, ...]:
    """The parameter cameras, checked.

    Raises:
        OvsegError: no cameras or too many, two of one name, or a name that can't begin a topic.
    """
    if not 0 < len(names) <= MAX_CAMERAS or len(set(names)) < len(names):
        raise OvsegError(f"cameras must be 1 to {MAX_CAMERAS} different names, got {list(names)}: write [front, rear]")
    for name in names:
        if name and not _NAME.fullmatch(name):
            raise OvsegError(
                f"a camera can't be called {name!r}: take letters, digits and single _, a letter first, "
                "and remap its topics if they are called otherwise"
            )
    return tuple(names)


def check_backend(backend: Segmenter, names: Sequence[str]) -> None:
    """Raise an OvsegError if a model that follows the images of one camera were to get those of several."""
    if len(names) > 1 and getattr(backend, "follows_one_camera", False):
        raise OvsegError(
            f"the model follows things through the images of one camera, but cameras names {len(names)}: name one, or "
            "have each image looked at by itself (of sam3: mode: image)"
        )


def topic_of(camera: str, topic: str) -> str:
    """The name of a camera's topic; a camera without a name has no prefix."""
    return f"{camera}/{topic}" if camera else topic


@dataclass(frozen=True)
class Matching:
    """How messages of one camera are matched; see RgbdSynchronizer.

    Attributes:
        slop_ns: how far depth may be from colour, nanoseconds.
        pose_gap_ns: how far apart poses may be, nanoseconds; None: no stream of poses.
        queue_size: images that may wait, and calibrations that are remembered.
        matcher: what pairs colour and depth, one of MATCHERS.
    """

    slop_ns: int
    pose_gap_ns: int | None
    queue_size: int
    matcher: str = "own"


class Camera:
    """Takes the messages of one camera and gives those that belong together. Call it from one thread.

    Args:
        name: of the camera; may be empty.
        matching: how messages are matched.
        rectified: the images are rectified already; see `FrameBuilder`.
        on_drop: called with a cause and a sentence, once per loss.
    """

    def __init__(self, name: str, matching: Matching, *, rectified: bool, on_drop: Callable[[str, str], None]) -> None:
        self.name = name
        self.frames = FrameBuilder(rectified=rectified)
        self._camera_infos: deque[tuple[int, Any]] = deque(maxlen=matching.queue_size)
        self._synchronizer = MATCHERS[matching.matcher](
            slop_ns=matching.slop_ns,
            pose_gap_ns=matching.pose_gap_ns,
            queue_size=matching.queue_size,
            on_drop=on_drop,
        )

    def calibrate(self, camera_info: Any) -> None:
        """Take a CameraInfo, which holds from its stamp on."""
        self._camera_infos.append((stamp_to_ns(camera_info.header.stamp), camera_info))

    def add(self, stream: Stream, message: Any) -> list[tuple[Matched, Any]]:
        """Take one message; return what is now complete, each with its CameraInfo or None, oldest first."""
        complete = self._synchronizer.add(stream, stamp_to_ns(message.header.stamp), message)
        return [(matched, valid_at(self._camera_infos, matched.stamp_ns)) for matched in complete]
