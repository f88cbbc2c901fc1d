"""What the launch files offer: their arguments, and the topics of known sensors. Plain data, no ROS."""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_ros.errors import OvsegError


@dataclass(frozen=True)
class LaunchArgument:
    """One argument of a launch file; ``choices`` are the only values, where there are few."""

    name: str
    default: str
    sentence: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class SensorTopics:
    """What a driver publishes with its default names, aligned depth turned on."""

    rgb: str
    depth: str
    camera_info: str


SENSORS: dict[str, SensorTopics] = {
    "realsense": SensorTopics(
        "/camera/camera/color/image_raw",
        "/camera/camera/aligned_depth_to_color/image_raw",
        "/camera/camera/color/camera_info",
    ),
    "kinect": SensorTopics("/rgb/image_raw", "/depth_to_rgb/image_raw", "/rgb/camera_info"),
    "zed": SensorTopics(
        "/zed/zed_node/rgb/color/rect/image",
        "/zed/zed_node/depth/depth_registered",
        "/zed/zed_node/rgb/color/rect/camera_info",
    ),
    "oak": SensorTopics("/oak/rgb/image_raw", "/oak/stereo/image_raw", "/oak/rgb/camera_info"),
    "simulation": SensorTopics("rgb/image", "depth/image", "rgb/camera_info"),
}
"""Name of an overlay in config/ -> its topics; those of the simulation are the nodes' own names."""

LAYERS = ("voxels", "occupancy", "frontiers", "rays")
"""Those of `ovseg_ros.mapping`, which takes seconds to import: `ros2 launch --show-args` shall answer at once."""

_SWITCH = ("true", "false")

_COMMON = (
    LaunchArgument("params_file", "", "YAML file of parameters, on top of the sensor's; empty: none."),
    LaunchArgument("backend", "", "Model; empty: what the parameters say."),
    LaunchArgument("sensor", "", "Camera whose topics and parameters to take; empty: none.", ("", *SENSORS)),
    LaunchArgument("rgb_topic", "", "Colour images; empty: the sensor's, or rgb/image."),
)

_ENDING = (
    LaunchArgument("use_sim_time", "false", "Take the time from /clock.", _SWITCH),
    LaunchArgument("namespace", "", "Namespace of all nodes."),
    LaunchArgument("log_level", "info", "Least severity that is logged.", ("debug", "info", "warn", "error", "fatal")),
)

SEGMENTATION_ARGUMENTS: tuple[LaunchArgument, ...] = (*_COMMON, *_ENDING)

MAPPING_ARGUMENTS: tuple[LaunchArgument, ...] = (
    *_COMMON,
    LaunchArgument("depth_topic", "", "Registered depth images; empty: the sensor's, or depth/image."),
    LaunchArgument("camera_info_topic", "", "Calibration; empty: the sensor's, or rgb/camera_info."),
    LaunchArgument(
        "pose_topic", "", "Camera poses (PoseStamped), with pose_source pose; empty: what the parameters say."
    ),
    LaunchArgument("odom_topic", "", "Odometry, with pose_source odometry; empty: what the parameters say."),
    LaunchArgument("layers", "", "What the map holds (mapping.layers); empty: what the parameters say.", ("", *LAYERS)),
    LaunchArgument("rviz", "false", "Open RViz with rviz/mapping.rviz.", _SWITCH),
    LaunchArgument("bag", "", "Recording (rosbag2) to play once the node is active; empty: none."),
    LaunchArgument("demo", "false", "Play a generated room.", _SWITCH),
    *_ENDING,
)

BAG_DEFAULTS = {"use_sim_time": "true", "rviz": "true"}
"""What bag.launch.py changes of `MAPPING_ARGUMENTS`; its ``bag`` has no default."""


def remappings(
    sensor: str, rgb: str = "", depth: str = "", camera_info: str = "", pose: str = "", odometry: str = ""
) -> list[tuple[str, str]]:
    """What to remap: each topic as given, else the sensor's; nothing where neither says anything.

    Raises:
        OvsegError: for a sensor that isn't in `SENSORS`.
    """
    if sensor and sensor not in SENSORS:
        raise OvsegError(f"the sensor {sensor!r} is unknown: take one of {', '.join(SENSORS)}, or name the topics")
    known = SENSORS.get(sensor, SensorTopics("", "", ""))
    wanted = {
        "rgb/image": rgb or known.rgb,
        "depth/image": depth or known.depth,
        "rgb/camera_info": camera_info or known.camera_info,
        "camera_pose": pose,
        "odom": odometry,
    }
    return [(name, topic) for name, topic in wanted.items() if topic and topic != name]


def pose_source(pose_topic: str, odom_topic: str, *, demo: bool) -> dict[str, str]:
    """The parameter, where the arguments say it: a topic was named, or the player publishes on camera_pose.

    Raises:
        OvsegError: two sources.
    """
    wanted = [name for name, given in (("pose", pose_topic or demo), ("odometry", odom_topic)) if given]
    if len(wanted) > 1:
        raise OvsegError("poses can't come from odom_topic and from pose_topic or the demo at once: name one of them")
    return {"pose_source": wanted[0]} if wanted else {}
