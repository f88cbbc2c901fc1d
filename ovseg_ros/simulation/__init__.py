"""From a seed to a furnished room, and from a room to frames with exact truth."""

from ovseg_ros.simulation.classes import CLASS_NAMES, CLASSES, LABEL_IDS, ObjectClass
from ovseg_ros.simulation.depth_noise import DepthNoise
from ovseg_ros.simulation.layout import generate_room
from ovseg_ros.simulation.renderer import RoomRenderer, RoomView
from ovseg_ros.simulation.room import Room, RoomObject
from ovseg_ros.simulation.sequence import RoomSequence, default_intrinsics
from ovseg_ros.simulation.trajectory import random_views, walk

__all__ = [
    "CLASSES",
    "CLASS_NAMES",
    "LABEL_IDS",
    "DepthNoise",
    "ObjectClass",
    "Room",
    "RoomObject",
    "RoomRenderer",
    "RoomSequence",
    "RoomView",
    "default_intrinsics",
    "generate_room",
    "random_views",
    "walk",
]
