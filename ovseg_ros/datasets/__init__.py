"""A recording on disk <-> RgbdFrames."""

from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.datasets.layouts import LAYOUTS, open_sequence, write_sequence
from ovseg_ros.datasets.sequence import RgbdSequence

__all__ = ["LAYOUTS", "LabelledMesh", "RgbdSequence", "open_sequence", "write_sequence"]
