"""Maps a recording (rosbag2): `ros2 launch ovseg_ros bag.launch.py bag:=PATH`. mapping.launch.py, set up for that."""

from __future__ import annotations

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from ovseg_ros.ros.launching import BAG_DEFAULTS, MAPPING_ARGUMENTS


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` calls."""
    names = [argument.name for argument in MAPPING_ARGUMENTS if argument.name != "demo"]
    arguments = [
        DeclareLaunchArgument(
            argument.name,
            default_value=None if argument.name == "bag" else BAG_DEFAULTS.get(argument.name, argument.default),
            description=argument.sentence,
            choices=list(argument.choices) or None,
        )
        for argument in MAPPING_ARGUMENTS
        if argument.name in names
    ]
    mapping = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(Path(__file__).with_name("mapping.launch.py"))),
        launch_arguments=[(name, LaunchConfiguration(name)) for name in names],
    )
    return LaunchDescription([*arguments, mapping])
