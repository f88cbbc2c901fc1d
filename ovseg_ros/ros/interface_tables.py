"""README's tables of topics, services, frames and parameters, made of what the code declares.

``python -m ovseg_ros.ros.interface_tables --write README.md`` puts them between their marks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros import labeller, player, publishers, segmenter
from ovseg_ros.ros.camera import CAMERA_INFO_TOPIC, COLOUR_TOPIC, DEPTH_TOPIC
from ovseg_ros.ros.declarations import Service, Topic
from ovseg_ros.ros.node_parameters import ParameterSpec, markdown
from ovseg_ros.ros.parameters import MAPPING_PARAMETERS, PLAYER_PARAMETERS, SEGMENTATION_PARAMETERS
from ovseg_ros.ros.pose_sources import ODOMETRY_TOPIC, POSE_TOPIC
from ovseg_ros.ros.services import SERVICES

BEGIN = "<!-- interface: python -m ovseg_ros.ros.interface_tables --write README.md -->"
END = "<!-- end of interface -->"

_FROM_CAMERA = "`inputs.reliability`, last `sync.queue_size`"
_TO_MAPPER = player.QUALITY
_TRANSFORMS = "that of tf2"


@dataclass(frozen=True)
class NodeInterface:
    """What one executable subscribes to, publishes, offers, and which frames it knows; names as they resolve."""

    name: str
    purpose: str
    parameters: Sequence[ParameterSpec]
    subscribed: Mapping[str, Topic] = field(default_factory=dict)
    published: Mapping[str, Topic] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    frames: Mapping[str, str] = field(default_factory=dict)


def _private(topics: Mapping[str, Topic]) -> dict[str, Topic]:
    return {f"~/{name}": topic for name, topic in topics.items()}


_DIAGNOSTICS = {
    "/diagnostics": Topic(
        DiagnosticArray,
        QoSProfile(depth=10),
        "Every second: frames mapped and dropped by cause, rate, milliseconds per stage (mean, p50, p95, p99), memory.",
    )
}

MAPPING_NODE = NodeInterface(
    "mapping_node",
    "RGB-D and poses in, a map that answers questions out. A lifecycle node. With `cameras` it subscribes to "
    f"`NAME/{COLOUR_TOPIC}` and so on for each of them.",
    MAPPING_PARAMETERS,
    subscribed={
        COLOUR_TOPIC: Topic(
            Image,
            _FROM_CAMERA,
            "rgb8, bgr8, rgba8, bgra8, mono8, 8UC3, 8UC4, rgb16, bgr16, bayer_*, yuv422, yuv422_yuy2; "
            "with `inputs.transport: compressed` sensor_msgs/CompressedImage "
            f"on `{COLOUR_TOPIC}/compressed`.",
        ),
        DEPTH_TOPIC: Topic(
            Image,
            _FROM_CAMERA,
            "Registered to colour; 16UC1 millimetres or 32FC1 metres; 0 and NaN are no reading, +inf is beyond range; "
            f"compressed: `{DEPTH_TOPIC}/compressedDepth`, png or rvl.",
        ),
        CAMERA_INFO_TOPIC: Topic(CameraInfo, _FROM_CAMERA, "Read again when it changes; distortion is removed."),
        "/tf": Topic(
            "tf2_msgs/TFMessage",
            _TRANSFORMS,
            "With `pose_source: tf`: the pose of the images' frame, at the stamp of each image.",
        ),
        "/tf_static": Topic(
            "tf2_msgs/TFMessage", _TRANSFORMS, "With `pose_source: tf`: frames that are bolted together."
        ),
        ODOMETRY_TOPIC: Topic(
            Odometry,
            _FROM_CAMERA,
            "With `pose_source: odometry`: pose of its `child_frame_id`, on which the camera sits at "
            "`odometry.camera_offset`.",
        ),
        POSE_TOPIC: Topic(PoseStamped, _FROM_CAMERA, "With `pose_source: pose`: pose of the camera's optical frame."),
    },
    published=_private(publishers.OUTPUTS) | _DIAGNOSTICS,
    services={f"~/{name}": service for name, service in SERVICES.items()},
    frames={
        "`frames.map`": "Poses must be given in it, and everything is published in it; z up.",
        "`header.frame_id` of `rgb/image`": "The camera's optical frame: x right, y down, z forward. "
        "`pose_source: tf` looks it up in `frames.map`.",
        "`child_frame_id` of `odom`": "Where `odometry.camera_offset` starts; the optical frame itself where that is "
        "empty.",
    },
)

SEGMENTATION_NODE = NodeInterface(
    "segmentation_node",
    "Colour images in, labels in the image out: no depth, pose or map. Its topics have the names that Nav2's semantic "
    "segmentation costmap layer takes, its messages the header of their image. A lifecycle node.",
    SEGMENTATION_PARAMETERS,
    subscribed={COLOUR_TOPIC: Topic(Image, "`inputs.reliability`, last `queue_size`", "Encodings as above.")},
    published=_private(labeller.OUTPUTS) | _private(segmenter.LABEL_INFO) | _DIAGNOSTICS,
)

PLAYER_NODE = NodeInterface(
    "rgbd_player_node",
    "Plays a recording or a generated room as a depth camera with known poses would.",
    PLAYER_PARAMETERS,
    published={
        COLOUR_TOPIC: Topic(Image, _TO_MAPPER, "rgb8."),
        DEPTH_TOPIC: Topic(Image, _TO_MAPPER, "In `depth_encoding`."),
        CAMERA_INFO_TOPIC: Topic(CameraInfo, _TO_MAPPER, "Before each image."),
        POSE_TOPIC: Topic(PoseStamped, _TO_MAPPER, "With `pose_output: pose`."),
        ODOMETRY_TOPIC: Topic(Odometry, _TO_MAPPER, "With `pose_output: odometry`."),
        "/tf": Topic("tf2_msgs/TFMessage", _TRANSFORMS, "With `pose_output: tf`: `map_frame` → `camera_frame`."),
        "/clock": Topic(Clock, _TO_MAPPER, "With `publish_clock`."),
    },
)

NODES = (MAPPING_NODE, SEGMENTATION_NODE, PLAYER_NODE)


def type_name(kind: Any) -> str:
    """A message or service class as ROS writes it, "package/Type"; text stays as it is."""
    return kind if isinstance(kind, str) else f"{kind.__module__.partition('.')[0]}/{kind.__name__}"


def quality_text(quality: QoSProfile | str) -> str:
    """A quality of service in a few words."""
    if isinstance(quality, str):
        return quality
    words = ["best effort" if quality.reliability == QoSReliabilityPolicy.BEST_EFFORT else "reliable"]
    if quality.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL:
        words.append("latched")
    return ", ".join([*words, f"last {quality.depth}"])


def node_section(node: NodeInterface) -> str:
    """All tables of one node."""
    parts = [f"#### {node.name}", node.purpose]
    for verb, topics in (("subscribes to", node.subscribed), ("publishes", node.published)):
        rows = [
            (f"`{name}`", type_name(topic.kind), quality_text(topic.quality), topic.sentence)
            for name, topic in topics.items()
        ]
        if rows:
            parts.append(_table((verb, "type", "quality of service", ""), rows))
    if node.services:
        offered = [(f"`{name}`", type_name(service.kind), service.sentence) for name, service in node.services.items()]
        parts.append(_table(("service", "type", ""), offered))
    if node.frames:
        parts.append(_table(("frame", ""), list(node.frames.items())))
    return "\n\n".join([*parts, markdown(node.parameters)])


def tables() -> str:
    """What stands in the README between `BEGIN` and `END`, both included."""
    return "\n\n".join([BEGIN, *map(node_section, NODES), END])


def with_tables(text: str) -> str:
    """``text`` with the tables put between its marks.

    Raises:
        OvsegError: it doesn't have each mark once, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after:
        raise OvsegError(f"the text must have {BEGIN!r} and then {END!r}, once each: put them where the tables belong")
    return before + tables() + after


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables, or write them into a file; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ovseg_ros.ros.interface_tables", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="put them between the marks of this file")
    path: Path | None = parser.parse_args(arguments).write
    if path is None:
        print(tables())
        return 0
    try:
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
    except OvsegError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
