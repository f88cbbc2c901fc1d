"""Every parameter of the nodes, declared once: name, default, limits and one sentence.

``python -m ovseg_ros.ros.parameters`` prints the tables of the README.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovseg_ros.errors import OvsegError
from ovseg_ros.keyframes import KeyframeConfig
from ovseg_ros.mapping import LAYERS, MappingConfig
from ovseg_ros.query import GoalConfig, calibration

if TYPE_CHECKING:
    from rclpy.node import Node

Value = bool | int | float | str | list[str]

MAX_PATH_LENGTH = 4096
MAX_MATCHES = 1000
"""Per query; the answer travels in one message."""


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter.

    Attributes:
        name: snake_case, dotted groups.
        default: its type is the parameter's type.
        sentence: what it is for.
        minimum: smallest value of a number, included.
        maximum: largest value of a number, included.
        choices: the only values of a text, where they are few.
        live: may be set while the node is configured; the others take effect at the next configure.
    """

    name: str
    default: Value
    sentence: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    @property
    def type_name(self) -> str:
        """The type as ROS calls it."""
        return {bool: "bool", int: "integer", float: "double", str: "string", list: "string array"}[type(self.default)]

    @property
    def limits(self) -> str:
        """The values allowed, for people; empty where everything is."""
        if self.choices:
            return ", ".join(self.choices)
        return f"{self.minimum:g} to {self.maximum:g}" if self.minimum is not None and self.maximum is not None else ""

    def problem(self, value: Any) -> str | None:
        """What is wrong with ``value``, in one sentence, or None."""
        if type(value) is not type(self.default):
            mend = f": write {float(value)}" if isinstance(self.default, float) and type(value) is int else ""
            return f"{self.name} must be of type {self.type_name}, got {value!r}{mend}"
        if isinstance(value, list):
            texts = all(isinstance(item, str) for item in value) and len("".join(value)) <= MAX_PATH_LENGTH
            return None if texts else f"{self.name} must be texts of {MAX_PATH_LENGTH} characters in all, got {value!r}"
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {self.limits}, got {value!r}"
        if isinstance(value, str):
            too_long = len(value) > MAX_PATH_LENGTH
            return f"{self.name} has {len(value)} characters, the limit is {MAX_PATH_LENGTH}" if too_long else None
        outside = (self.minimum is not None and value < self.minimum) or (
            self.maximum is not None and value > self.maximum
        )
        if outside or not math.isfinite(value):
            return f"{self.name} must be {self.limits}, got {value}"
        return None


MAPPING_PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec("backend", "openseg", "Model that turns images into language features."),
    ParameterSpec(
        "device", "auto", "Where model and map live; auto takes a GPU if there is one.", choices=("auto", "cuda", "cpu")
    ),
    ParameterSpec("autostart", True, "Configure and activate on its own, without a lifecycle manager."),
    ParameterSpec(
        "cameras",
        [""],
        "Cameras of the map; camera NAME listens on NAME/rgb/image and so on, the one without a name on rgb/image.",
    ),
    ParameterSpec("frames.map", "map", "Frame in which the map is kept and published, z up."),
    ParameterSpec(
        "pose_source",
        "auto",
        "Where camera poses come from: TF, or the topic odom or camera_pose; auto: tf where tf2_ros is, else pose.",
        choices=("auto", "tf", "odometry", "pose"),
    ),
    ParameterSpec(
        "odometry.camera_offset",
        "",
        "Pose of the camera's optical frame in the odometry's child_frame_id, as 'x y z qx qy qz qw', one for each "
        "camera apart by semicolons; empty: they are the same frame.",
    ),
    ParameterSpec(
        "inputs.transport",
        "raw",
        "How images come; compressed: rgb/image/compressed and depth/image/compressedDepth (png or rvl).",
        choices=("raw", "compressed"),
    ),
    ParameterSpec(
        "inputs.reliability",
        "best_effort",
        "Quality of service of the subscriptions; reliable needs reliable publishers.",
        choices=("best_effort", "reliable"),
    ),
    ParameterSpec(
        "inputs.rectified", False, "The images are rectified already: use camera_info's P and ignore its distortion."
    ),
    ParameterSpec("sync.slop", 0.05, "How far the stamp of depth may be from the colour image's, seconds.", 0.0, 10.0),
    ParameterSpec(
        "sync.pose_gap",
        0.25,
        "How far apart two poses on a topic may be to interpolate the camera's between them, seconds.",
        0.0,
        10.0,
    ),
    ParameterSpec(
        "sync.tf_timeout", 0.5, "How long an image may wait for the transform at its stamp, seconds.", 0.0, 10.0
    ),
    ParameterSpec(
        "sync.matcher",
        "own",
        "What pairs colour and depth; message_filters comes with a ROS distribution, and why own is better is in "
        "docs/architecture.md.",
        choices=("own", "message_filters"),
    ),
    ParameterSpec("sync.queue_size", 10, "Images that may wait for a partner, and messages kept by DDS.", 1, 1000),
    ParameterSpec("mapping.voxel_size", MappingConfig.voxel_size, "Edge of a voxel, metres.", 0.005, 1.0),
    ParameterSpec("mapping.min_depth", MappingConfig.min_depth, "Nearer readings are ignored, metres.", 0.0, 100.0),
    ParameterSpec("mapping.max_depth", MappingConfig.max_depth, "Farther readings are ignored, metres.", 0.1, 1000.0),
    ParameterSpec(
        "mapping.feature_dtype",
        MappingConfig.feature_dtype,
        "Precision of the features in the map; float16 takes 3 bytes a number instead of 4.",
        choices=("float32", "float16"),
    ),
    ParameterSpec(
        "mapping.feature_voxel_size",
        MappingConfig.feature_voxel_size,
        "Edge of the voxels that share a feature, a multiple of voxel_size; 0: each has its own, metres.",
        0.0,
        10.0,
    ),
    ParameterSpec(
        "mapping.feature_components",
        MappingConfig.feature_components,
        "Compress features to so many numbers, by what the first frames are like; 0: don't.",
        0,
        4096,
    ),
    ParameterSpec(
        "mapping.max_weight",
        MappingConfig.max_weight,
        "Pixels that a voxel's mean counts for at most, so that old views fade; 0: no limit.",
        0.0,
        1e9,
    ),
    ParameterSpec(
        "mapping.layers",
        MappingConfig.layers,
        "What the map holds, each including those before; from occupancy on, what is gone is forgotten.",
        choices=LAYERS,
    ),
    ParameterSpec(
        "mapping.decay_seconds",
        MappingConfig.decay_seconds,
        "Seconds in which evidence of free and occupied space fades by one of 20 steps; 0: never.",
        0.0,
        1e6,
    ),
    ParameterSpec(
        "mapping.region",
        "",
        "Box to map: lowest x y z and highest x y z, metres in frames.map, as '-5 -5 -1 5 5 3'; empty: everything.",
    ),
    ParameterSpec(
        "mapping.memory_limit",
        MappingConfig.memory_limit,
        "Megabytes of the map in memory; what wasn't seen for longest waits on disk (TMPDIR) beyond that; 0: no limit.",
        0.0,
        1e6,
    ),
    ParameterSpec(
        "mapping.queue_size",
        5,
        "Matched frames of a camera that may wait for the model; then its oldest is dropped.",
        1,
        10000,
    ),
    ParameterSpec(
        "keyframes.distance",
        KeyframeConfig.distance,
        "Only keyframes reach the model: the camera moved farther than this since its last one, metres; 0: off.",
        0.0,
        100.0,
    ),
    ParameterSpec(
        "keyframes.angle",
        KeyframeConfig.angle,
        "A frame is one, too, when it turned further than this since, degrees; 0: off; all three 0: all are.",
        0.0,
        179.0,
    ),
    ParameterSpec("keyframes.period", KeyframeConfig.period, "And when so many seconds passed; 0: off.", 0.0, 3600.0),
    ParameterSpec("publish_period", 2.0, "Seconds between two outputs of a topic, when someone listens.", 0.1, 3600.0),
    ParameterSpec(
        "occupancy.min_height", 0.1, "What is lower doesn't show in ~/occupancy, metres.", -1000.0, 1000.0, live=True
    ),
    ParameterSpec(
        "occupancy.max_height", 1.5, "What is higher doesn't show in ~/occupancy, metres.", -1000.0, 1000.0, live=True
    ),
    ParameterSpec(
        "query.min_score",
        calibration.MIN_SCORE,
        "Smallest score of a match, unless the request names one.",
        0.0,
        1.0,
        live=True,
    ),
    ParameterSpec(
        "query.max_matches",
        calibration.MAX_MATCHES,
        "Most matches per query, unless the request names it.",
        1,
        MAX_MATCHES,
        live=True,
    ),
    ParameterSpec(
        "locate.clearance",
        GoalConfig.clearance,
        "From the middle of the robot to whatever isn't known to be free, where it stands and on the way, metres.",
        0.0,
        5.0,
        live=True,
    ),
    ParameterSpec(
        "locate.min_distance",
        GoalConfig.min_distance,
        "Smallest distance on the ground between the robot and the thing it faces, metres.",
        0.0,
        20.0,
        live=True,
    ),
    ParameterSpec(
        "locate.max_distance",
        GoalConfig.max_distance,
        "Largest distance on the ground between the robot and the thing it faces, metres.",
        0.1,
        20.0,
        live=True,
    ),
    ParameterSpec(
        "locate.camera_height",
        GoalConfig.camera_height,
        "Height above the floor from which the robot must see the thing, metres.",
        0.05,
        5.0,
        live=True,
    ),
    ParameterSpec(
        "locate.robot_height",
        GoalConfig.robot_height,
        "Height above the floor that must be free for the robot, at least locate.camera_height, metres.",
        0.2,
        5.0,
        live=True,
    ),
)

_OF_MAPPING = {spec.name: spec for spec in MAPPING_PARAMETERS}

SEGMENTATION_PARAMETERS: tuple[ParameterSpec, ...] = (
    _OF_MAPPING["backend"],
    ParameterSpec(
        "device", "auto", "Where the model lives; auto takes a GPU if there is one.", choices=("auto", "cuda", "cpu")
    ),
    _OF_MAPPING["autostart"],
    _OF_MAPPING["inputs.reliability"],
    ParameterSpec("concepts", "", "Names of the labels 1, 2, ... apart by commas, at most 255; empty: the model's."),
    ParameterSpec("queue_size", 1, "Images that may wait for the model; then the oldest is dropped.", 1, 10000),
)

PLAYER_PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec("sequence", "", "Folder of a recording; empty plays a generated room."),
    ParameterSpec("layout", "auto", "Layout of the recording; auto looks at its files."),
    ParameterSpec("room_seed", 0, "Seed of the generated room.", 0, 2**31 - 1),
    ParameterSpec("room_frames", 60, "Frames along the path through the generated room.", 1, 100000),
    ParameterSpec("room_size", "320x240", "Size of the generated images, WIDTHxHEIGHT pixels."),
    ParameterSpec("rate", 10.0, "Frames per second.", 0.01, 1000.0),
    ParameterSpec("loop", False, "Begin again at the end."),
    ParameterSpec(
        "wait_for_subscribers", 10.0, "Longest wait for listeners on all topics before playing, s.", 0.0, 3600.0
    ),
    ParameterSpec("depth_encoding", "32FC1", "Depth in metres or in millimetres.", choices=("32FC1", "16UC1")),
    ParameterSpec(
        "pose_output",
        "pose",
        "How poses are published: on camera_pose, on odom, or on /tf (needs tf2_ros).",
        choices=("pose", "odometry", "tf"),
    ),
    ParameterSpec("map_frame", "map", "Frame of the camera poses."),
    ParameterSpec("camera_frame", "camera_optical_frame", "Frame of the images."),
    ParameterSpec(
        "stamps", "clock", "Stamps of now, as a camera has, or those of the recording.", choices=("clock", "recording")
    ),
    ParameterSpec("publish_clock", False, "Publish the stamp of each frame on /clock too, for use_sim_time."),
)


class Parameters:
    """The parameters of one node: declared, validated and read by name.

    A value out of its limits is refused when it is set, with a message that names the limit; a name
    nobody declared (a typo in a YAML file) is reported with the closest one that exists.

    Args:
        node: the node to declare them on.
        specs: what to declare.
        locked: says why a value that isn't live can't be set now, or None when it can.

    Raises:
        OvsegError: when a value given at the start is refused.
    """

    def __init__(
        self, node: Node, specs: Sequence[ParameterSpec], *, locked: Callable[[], str | None] = lambda: None
    ) -> None:
        self._node = node
        self._specs = {spec.name: spec for spec in specs}
        self._locked = locked
        self._declare()
        for sentence in unknown_names(self._overrides(), self._specs, node.has_parameter):
            node.get_logger().warning(sentence)
        node.add_on_set_parameters_callback(self._validate)

    def __getitem__(self, name: str) -> Any:
        return self._node.get_parameter(name).value

    def _declare(self) -> None:
        from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

        for spec in self._specs.values():
            given = self._overrides().get(spec.name)
            problem = spec.problem(given) if given is not None else None
            if problem is not None:
                raise OvsegError(problem)
            try:
                self._node.declare_parameter(spec.name, spec.default, descriptor(spec))
            except (InvalidParameterTypeException, InvalidParameterValueException) as error:
                raise OvsegError(f"the parameter {spec.name} was refused: {error}") from error

    def _overrides(self) -> dict[str, Any]:
        # rclpy keeps what YAML and the command line gave nowhere else, in every distribution since Humble.
        return {name: parameter.value for name, parameter in self._node._parameter_overrides.items()}

    def _validate(self, parameters: Iterable[Any]) -> Any:
        from rcl_interfaces.msg import SetParametersResult

        for parameter in parameters:
            spec = self._specs.get(parameter.name)
            if spec is None:
                continue
            problem = spec.problem(parameter.value)
            reason = self._locked()
            if problem is None and not spec.live and reason is not None:
                problem = f"{spec.name} can't be set now: {reason}"
            if problem is not None:
                return SetParametersResult(successful=False, reason=problem)
        return SetParametersResult(successful=True)


def numbers(text: str, name: str, *, example: str) -> tuple[float, ...]:
    """The numbers in a text parameter, apart by spaces or commas; OvsegError if anything else is in it."""
    try:
        return tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError as error:
        raise OvsegError(
            f"{name} must be numbers apart by spaces, got {text!r}: write for example '{example}'"
        ) from error


def descriptor(spec: ParameterSpec) -> Any:
    """The rcl_interfaces/ParameterDescriptor of ``spec``, so that tools show its sentence and limits."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    message = ParameterDescriptor(description=spec.sentence, additional_constraints=", ".join(spec.choices))
    if spec.minimum is not None and spec.maximum is not None:
        if isinstance(spec.default, float):
            message.floating_point_range = [
                FloatingPointRange(from_value=float(spec.minimum), to_value=float(spec.maximum), step=0.0)
            ]
        else:
            message.integer_range = [IntegerRange(from_value=int(spec.minimum), to_value=int(spec.maximum), step=1)]
    return message


def unknown_names(
    given: Iterable[str], specs: Iterable[str], declared: Callable[[str], bool] = lambda _name: False
) -> list[str]:
    """One sentence for each given name that no spec has, with the closest one.

    Args:
        given: names from YAML and the command line.
        specs: names that exist.
        declared: whether ROS itself knows a name (use_sim_time and the like).
    """
    known = list(specs)
    sentences = []
    for name in given:
        if name in known or declared(name) or name.startswith("qos_overrides."):
            continue
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        sentences.append(f"the parameter {name} is unknown and has no effect: {hint}")
    return sentences


def markdown(specs: Sequence[ParameterSpec]) -> str:
    """The table of the README."""
    lines = ["| parameter | type | default | values | what it is |", "|---|---|---|---|---|"]
    for spec in specs:
        default = f"`{str(spec.default).lower() if isinstance(spec.default, bool) else spec.default}`"
        default = "" if spec.default == "" else default
        lines.append(f"| `{spec.name}` | {spec.type_name} | {default} | {spec.limits} | {spec.sentence} |")
    return "\n".join(lines)


def main() -> None:
    """Print the parameter tables of the README."""
    print(f"### mapping_node\n\n{markdown(MAPPING_PARAMETERS)}\n")
    print(f"### segmentation_node\n\n{markdown(SEGMENTATION_PARAMETERS)}\n")
    print(f"### rgbd_player_node\n\n{markdown(PLAYER_PARAMETERS)}")


if __name__ == "__main__":
    main()
