"""Starts segmentation_node: colour images in, labels in the image out. `--show-args` lists the arguments."""

from __future__ import annotations

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import LifecycleNode

from ovseg_ros.ros.launching import SEGMENTATION_ARGUMENTS, remappings


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` calls."""
    arguments = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.sentence,
            choices=list(argument.choices) or None,
        )
        for argument in SEGMENTATION_ARGUMENTS
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Action]:
    """The node that the arguments ask for. Overlays of sensors are about maps: only their topics matter here."""
    given = {argument.name: context.launch_configurations[argument.name] for argument in SEGMENTATION_ARGUMENTS}
    parameters: dict[str, object] = {"use_sim_time": given["use_sim_time"] == "true"}
    if given["backend"]:
        parameters["backend"] = given["backend"]
    topics = [pair for pair in remappings(given["sensor"], given["rgb_topic"]) if pair[0] == "rgb/image"]
    node = LifecycleNode(
        package="ovseg_ros",
        executable="segmentation_node",
        name="segmentation_node",
        namespace=given["namespace"],
        parameters=[*([given["params_file"]] if given["params_file"] else []), parameters],
        remappings=topics,
        arguments=["--ros-args", "--log-level", given["log_level"]],
        output="screen",
    )
    return [node]
