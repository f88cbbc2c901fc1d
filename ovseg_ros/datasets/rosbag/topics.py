"""Which topics of a bag are the camera's: by message type, encoding and name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ovseg_ros.datasets.rosbag.file import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    ODOMETRY,
    POSE_STAMPED,
    TF,
    BagFile,
)
from ovseg_ros.errors import OvsegError
from ovseg_ros.sensor_messages import COLOUR_ENCODINGS, DEPTH_ENCODINGS

ROLE_TYPES = {
    "rgb": (IMAGE, COMPRESSED_IMAGE),
    "depth": (IMAGE, COMPRESSED_IMAGE),
    "camera_info": (CAMERA_INFO,),
    "pose": (POSE_STAMPED, ODOMETRY, TF),
}
ROLES = tuple(ROLE_TYPES)

Preference = Callable[[str], bool]


@dataclass(frozen=True)
class BagOptions:
    """What a bag doesn't say itself.

    Attributes:
        topics: role, one of `ROLES` -> topic, for what should not be found automatically.
        slop: how far the stamp of a depth image may be from its colour image's, seconds.
    """

    topics: Mapping[str, str] = field(default_factory=dict)
    slop: float = 0.05

    def __post_init__(self) -> None:
        unknown = [role for role in self.topics if role not in ROLES]
        if unknown:
            raise OvsegError(f"{unknown[0]!r} is no role of a topic: choose one of {', '.join(ROLES)}")
        if not 0 <= self.slop <= 10:
            raise OvsegError(f"slop must be 0 to 10 s, got {self.slop}")


@dataclass(frozen=True)
class CameraTopics:
    """Where the images are; ``rectified`` says that they have no distortion any more."""

    rgb: str
    depth: str
    camera_info: str

    @property
    def rectified(self) -> bool:
        """Whether the name says so, as image_proc names its outputs."""
        return any(part.startswith("image_rect") for part in self.rgb.split("/"))


def choose_topics(bag: BagFile, named: Mapping[str, str]) -> CameraTopics:
    """The camera's topics; ``named`` ones are taken as they are.

    Raises:
        OvsegError: a named topic is missing or of another type; or nothing, or several, could be meant.
    """
    for role, topic in named.items():
        _check(bag, role, topic)
    firsts = {topic: bag.first(topic) for topic in bag.of_type(IMAGE, COMPRESSED_IMAGE)}
    depths = [topic for topic, message in firsts.items() if _is_depth(topic, message)]
    colours = [topic for topic, message in firsts.items() if topic not in depths and _is_colour(message)]
    rgb = named.get("rgb") or _only(
        bag,
        "rgb",
        colours,
        _says("rgb", "color", "colour"),
        lambda topic: bag.types[topic] == IMAGE,
        _says("image_rect"),
    )
    depth = named.get("depth") or _only(
        bag, "depth", depths, _says("aligned", "regist"), lambda topic: bag.types[topic] == IMAGE, _beside(rgb)
    )
    infos = bag.of_type(CAMERA_INFO)
    camera_info = named.get("camera_info") or _only(bag, "camera_info", infos, _beside(rgb))
    return CameraTopics(rgb, depth, camera_info)


def ambiguous(bag: BagFile, role: str, candidates: Sequence[str]) -> OvsegError:
    """The sentence about nothing, or several topics, for a role."""
    if candidates:
        return OvsegError(
            f"{bag.path} has several topics for {role}: choose one with --topic {role}=NAME, of {_list(candidates)}"
        )
    kinds = ", ".join(kind.split("/")[-1] for kind in ROLE_TYPES[role])
    held = _list([f"{topic} ({kind})" for topic, kind in bag.types.items()]) or "nothing"
    return OvsegError(
        f"{bag.path} has no topic for {role} ({kinds}): record one, or name it with --topic {role}=NAME, of {held}"
    )


def _check(bag: BagFile, role: str, topic: str) -> None:
    kind = bag.types.get(topic)
    if kind is None:
        raise OvsegError(f"{bag.path} has no messages on {topic}: choose for {role} one of {_list(list(bag.types))}")
    if kind not in ROLE_TYPES[role]:
        raise OvsegError(f"{topic} is of type {kind}, but {role} must be {' or '.join(ROLE_TYPES[role])}: name another")


def _only(bag: BagFile, role: str, candidates: list[str], *preferences: Preference) -> str:
    for prefer in preferences:
        candidates = [topic for topic in candidates if prefer(topic)] or candidates
    if len(candidates) != 1:
        raise ambiguous(bag, role, candidates)
    return candidates[0]


def _says(*words: str) -> Preference:
    return lambda topic: any(word in topic.lower() for word in words)


def _beside(image: str) -> Preference:
    """Topics in the namespace of an image, which image_transport may have extended by a /compressed."""
    camera = image.removesuffix("/compressed").rsplit("/", 1)[0]
    return lambda topic: topic.rsplit("/", 1)[0] == camera


def _is_depth(topic: str, message: Any) -> bool:
    if hasattr(message, "format"):
        return "compressedDepth" in message.format or "depth" in topic.lower()
    return message.encoding in DEPTH_ENCODINGS


def _is_colour(message: Any) -> bool:
    return hasattr(message, "format") or message.encoding in COLOUR_ENCODINGS


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
