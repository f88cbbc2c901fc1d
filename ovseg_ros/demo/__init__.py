"""The main job end to end, over real ROS 2 nodes: see a room, map it, answer questions about it."""

from ovseg_ros.demo.report import summary, table
from ovseg_ros.demo.run import DemoOptions, demo_recording, demo_rooms

__all__ = ["DemoOptions", "demo_recording", "demo_rooms", "summary", "table"]
