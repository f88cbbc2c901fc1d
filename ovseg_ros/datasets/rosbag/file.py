"""A bag as topics with messages; the rosbags library does the reading."""

from __future__ import annotations

import struct
import weakref
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ovseg_ros.errors import OvsegError
from ovseg_ros.types import InvalidFrameError

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader

IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POSE_STAMPED, ODOMETRY, TF = "geometry_msgs/msg/PoseStamped", "nav_msgs/msg/Odometry", "tf2_msgs/msg/TFMessage"

STAMP_OFFSET = 4
"""Bytes of a serialised message before its content; a header's stamp comes first in that."""


class Place(NamedTuple):
    """Where a message lies: its topic, when it was recorded (ns), and how many of that topic and time precede it."""

    topic: str
    time_ns: int
    number: int


class BagFile:
    """An open bag; it is closed when nobody holds it any more.

    Args:
        path: as the user named it.
        reader: open.
    """

    def __init__(self, path: Path, reader: Reader) -> None:
        from rosbags.typesys import Stores, get_typestore

        self.path = path
        self._reader = reader
        # The messages that are read here are the same in every distribution, so a bag without definitions will do.
        self._types = get_typestore(Stores.ROS2_HUMBLE)
        self._connections: dict[str, list[Connection]] = {}
        for connection in reader.connections:
            if connection.msgcount:
                self._connections.setdefault(connection.topic, []).append(connection)

    @cached_property
    def types(self) -> dict[str, str]:
        """Topic -> message type, of the topics that have messages, sorted."""
        return {topic: self._connections[topic][0].msgtype for topic in sorted(self._connections)}

    def of_type(self, *types: str) -> list[str]:
        """The topics of one of these types."""
        return [topic for topic, kind in self.types.items() if kind in types]

    def first(self, topic: str) -> Any:
        """The first message on ``topic``.

        Raises:
            OvsegError: it can't be read.
        """
        for place, raw in self.messages([topic]):
            return self.decode(place, raw)
        raise OvsegError(f"{self.path} counts messages on {topic} but holds none: `ros2 bag reindex` counts again")

    def messages(self, topics: Iterable[str]) -> Iterator[tuple[Place, bytes]]:
        """All messages on these topics, as recorded; decode those of interest.

        Raises:
            OvsegError: the bag is damaged.
        """
        connections = [part for topic in topics for part in self._connections[topic]]
        last: dict[str, Place] = {}
        try:
            for connection, time_ns, raw in self._reader.messages(connections):
                topic = connection.topic
                before = last.get(topic)
                number = before.number + 1 if before is not None and before.time_ns == time_ns else 0
                last[topic] = Place(topic, time_ns, number)
                yield last[topic], raw
        except Exception as error:  # what the library raises on damaged bytes is not its contract
            raise _damaged(self.path, error) from error

    def stamp(self, raw: bytes) -> int:
        """Nanoseconds in the header of a message that begins with one, without decoding the rest.

        Raises:
            OvsegError: the message is too short.
        """
        try:
            seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, STAMP_OFFSET)
        except (struct.error, IndexError) as error:
            raise _damaged(self.path, error) from error
        return int(seconds) * 1_000_000_000 + int(nanoseconds)

    def decode(self, place: Place, raw: bytes) -> Any:
        """A message from its bytes.

        Raises:
            InvalidFrameError: "file": the bytes are damaged.
        """
        try:
            return self._types.deserialize_cdr(raw, self.types[place.topic])
        except Exception as error:  # as above
            raise InvalidFrameError(
                "file", f"a message on {place.topic} in {self.path} is damaged ({error!r}): copy the bag again"
            ) from error

    def read(self, place: Place) -> Any:
        """One message, looked up.

        Raises:
            InvalidFrameError: "file": it can't be read any more.
        """
        connections = self._connections[place.topic]
        try:
            found = self._reader.messages(connections, start=place.time_ns, stop=place.time_ns + 1)
            _, _, raw = next(islice(found, place.number, None))
        except Exception as error:  # as above
            raise InvalidFrameError("file", str(_damaged(self.path, error))) from error
        return self.decode(place, raw)


def open_bag(path: Path) -> BagFile:
    """Open a bag's folder, or a single .mcap or .db3 file.

    Raises:
        OvsegError: it is no bag, damaged, or the rosbags library is missing.
    """
    try:
        from rosbags.rosbag2 import Reader
    except ImportError as error:
        raise OvsegError(f"{path} is a bag, which needs the rosbags library: pip install rosbags") from error
    if path.suffix == ".bag" and path.is_file():
        raise OvsegError(
            f"{path} is a ROS 1 bag: convert it, `rosbags-convert --src {path.name} --dst {path.stem}`, and open that"
        )
    if path.is_dir() and not (path / "metadata.yaml").exists():
        raise OvsegError(
            f"{path} has no metadata.yaml, so the recording was interrupted: `ros2 bag reindex {path.name}` writes it, "
            "or give the .mcap or .db3 file itself"
        )
    try:
        reader = Reader(path)
        reader.open()
    except Exception as error:  # what the library raises on damaged bytes is not its contract
        raise _damaged(path, error) from error
    bag = BagFile(path, reader)
    weakref.finalize(bag, reader.close)
    return bag


def _damaged(path: Path, error: Exception) -> OvsegError:
    reason = str(error).strip().rstrip(".").splitlines()[0] if str(error).strip() else repr(error)
    return OvsegError(
        f"the bag {path} is damaged or incomplete ({reason}): copy it again, "
        "or mend an interrupted recording with `ros2 bag reindex` or `mcap recover`"
    )
