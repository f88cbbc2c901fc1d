"""`rosbag`: what `ros2 bag record` writes, sqlite3 or mcap, read and written without ROS."""

from ovseg_ros.datasets.rosbag.reading import LAYOUT, TREE, RosbagSequence, looks_like, open_rosbag
from ovseg_ros.datasets.rosbag.topics import ROLES, BagOptions
from ovseg_ros.datasets.rosbag.writing import DEPTH_ENCODINGS, STORAGES, write_rosbag

__all__ = [
    "DEPTH_ENCODINGS",
    "LAYOUT",
    "ROLES",
    "STORAGES",
    "TREE",
    "BagOptions",
    "RosbagSequence",
    "looks_like",
    "open_rosbag",
    "write_rosbag",
]
