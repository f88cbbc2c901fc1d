"""Parametric models of everything a generated room can hold."""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import Generator

from ovseg_ros.simulation.furniture import appliances, mounted, seating, small, tables
from ovseg_ros.simulation.materials import Finish
from ovseg_ros.simulation.shapes import Model

BUILDERS: dict[str, Callable[[Generator, Finish], Model]] = {
    "door": mounted.door,
    "window": mounted.window,
    "curtain": mounted.curtain,
    "picture": mounted.picture,
    "clock": mounted.clock,
    "television": mounted.television,
    "radiator": mounted.radiator,
    "fire extinguisher": mounted.fire_extinguisher,
    "bed": seating.bed,
    "sofa": seating.sofa,
    "chair": seating.chair,
    "stool": seating.stool,
    "table": tables.table,
    "desk": tables.desk,
    "cabinet": tables.cabinet,
    "bookshelf": tables.bookshelf,
    "refrigerator": appliances.refrigerator,
    "oven": appliances.oven,
    "sink": appliances.sink,
    "toilet": appliances.toilet,
    "bathtub": appliances.bathtub,
    "washing machine": appliances.washing_machine,
    "rug": mounted.rug,
    "plant": appliances.plant,
    "lamp": small.lamp,
    "trash can": small.trash_can,
    "box": small.box,
    "suitcase": small.suitcase,
    "ball": small.ball,
    "pillow": small.pillow,
    "book": small.book,
    "bottle": small.bottle,
    "vase": small.vase,
    "laptop": small.laptop,
    "monitor": small.monitor,
    "backpack": small.backpack,
    "teddy bear": small.teddy_bear,
}
"""Class name -> builder of one random instance, for every class but wall, floor and ceiling."""
