"""SemanticMap -> pictures and point clouds for people."""

from ovseg_ros.visualization.palette import heat_colours, label_colours
from ovseg_ros.visualization.pictures import Mark, overlay, read_picture, render_map, write_picture
from ovseg_ros.visualization.plans import Stand, render_stand
from ovseg_ros.visualization.point_cloud import write_point_cloud

__all__ = [
    "Mark",
    "Stand",
    "heat_colours",
    "label_colours",
    "overlay",
    "read_picture",
    "render_map",
    "render_stand",
    "write_picture",
    "write_point_cloud",
]
