"""Starts mapping_node, and on request RViz, a recording or a generated room. `--show-args` lists the arguments."""

from __future__ import annotations

import re
from pathlib import Path

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, RegisterEventHandler, Shutdown
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition

from ovseg_ros.ros.launching import MAPPING_ARGUMENTS, pose_source, remappings

SHARE = Path(__file__).parents[1]
PACKAGE = "ovseg_ros"


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` calls."""
    arguments = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.sentence,
            choices=list(argument.choices) or None,
        )
        for argument in MAPPING_ARGUMENTS
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Action]:
    """The nodes that the arguments ask for."""
    given = {argument.name: context.launch_configurations[argument.name] for argument in MAPPING_ARGUMENTS}
    demo = given["demo"] == "true"
    sensor = given["sensor"] or ("simulation" if demo else "")
    names = ("rgb_topic", "depth_topic", "camera_info_topic", "pose_topic", "odom_topic")
    topics = remappings(sensor, *(given[name] for name in names))
    time = {"use_sim_time": given["use_sim_time"] == "true"}
    common = {"namespace": given["namespace"], "output": "screen"}
    logging = ["--ros-args", "--log-level", given["log_level"]]
    mapping = LifecycleNode(
        package=PACKAGE,
        executable="mapping_node",
        name="mapping_node",
        parameters=[
            *parameter_files(sensor, given["params_file"]),
            time
            | named("backend", given["backend"])
            | named("mapping.layers", given["layers"])
            | pose_source(given["pose_topic"], given["odom_topic"], demo=demo),
        ],
        remappings=topics,
        arguments=logging,
        on_exit=end,
        **common,
    )
    actions: list[Action] = [mapping]
    if given["bag"]:
        clock = ["--clock"] if time["use_sim_time"] else []
        play = ExecuteProcess(cmd=["ros2", "bag", "play", given["bag"], *clock], output="screen")
        # The model takes seconds to load: what is played before that is lost.
        ready = OnStateTransition(target_lifecycle_node=mapping, goal_state="active", entities=[play])
        actions.insert(0, RegisterEventHandler(ready))
    if demo:
        player = Node(
            package=PACKAGE,
            executable="rgbd_player_node",
            name="rgbd_player_node",
            # Longer than a model takes to load: it plays as soon as everyone listens.
            parameters=[{"wait_for_subscribers": 600.0}],
            remappings=topics,
            **common,
        )
        actions.append(player)
    if given["rviz"] == "true":
        rviz = Node(
            package="rviz2",
            executable="rviz2",
            name="rviz2",
            arguments=["-d", str(SHARE / "rviz" / "mapping.rviz")],
            parameters=[time],
            remappings=rviz_remappings(dict(topics)),
            **common,
        )
        actions.append(rviz)
    return actions


def end(_event: object, context: LaunchContext) -> list[Action]:
    """Without mapping_node the rest is of no use. A second shutdown after Ctrl-C would be an error of launch's."""
    return [] if context.is_shutdown else [Shutdown(reason="mapping_node ended")]


def parameter_files(sensor: str, params_file: str) -> list[str]:
    """The sensor's overlay, then the user's file."""
    overlay = [str(SHARE / "config" / f"{sensor}.yaml")] if sensor else []
    return overlay + ([params_file] if params_file else [])


def named(parameter: str, value: str) -> dict[str, str]:
    """The parameter, unless the files shall say it."""
    return {parameter: value} if value else {}


def rviz_remappings(topics: dict[str, str]) -> list[tuple[str, str]]:
    """The file names topics of the global namespace; here are those of this launch."""
    shown = re.findall(r"Value: /(\S+)", (SHARE / "rviz" / "mapping.rviz").read_text(encoding="utf-8"))
    return [(f"/{name}", topics.get(name, name)) for name in shown]
