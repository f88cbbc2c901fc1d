"""A recording on disk <-> RgbdFrames."""

from ovseg_ros.datasets.class_table import ClassTable, class_list
from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.datasets.layouts import LAYOUTS, open_sequence, write_sequence
from ovseg_ros.datasets.rosbag import BagOptions, write_rosbag
from ovseg_ros.datasets.sequence import Recording, RgbdSequence

__all__ = [
    "LAYOUTS",
    "BagOptions",
    "ClassTable",
    "LabelledMesh",
    "Recording",
    "RgbdSequence",
    "class_list",
    "open_sequence",
    "write_rosbag",
    "write_sequence",
]
