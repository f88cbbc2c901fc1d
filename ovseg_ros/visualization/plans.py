"""A place to stand, drawn into the free space around it as seen from above."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping.projection import FREE, OCCUPIED, ground_plan
from ovseg_ros.mapping.semantic_map import SemanticMap
from ovseg_ros.visualization.drawing import (
    INK,
    WHITE,
    Colour,
    draw_disc,
    draw_line,
    draw_ring,
    draw_scale_bar,
    draw_text,
)

SIDE = 1000
"""Pixels of the longer side of the plan."""
MARGIN = 40
HEADER, FOOTER = 70, 100
COLOURS: dict[int, Colour] = {FREE: (222, 236, 222), OCCUPIED: (70, 74, 84)}
UNSEEN: Colour = (178, 180, 186)
THING: Colour = (214, 60, 60)
GOAL: Colour = (34, 102, 204)
ROBOT: Colour = (120, 80, 160)
ARROW_METRES = 0.4


@dataclass(frozen=True)
class Stand:
    """What to draw.

    Attributes:
        title: written above.
        position: x, y of the place, metres in the map frame.
        yaw: radians: where the robot looks.
        clearance: metres around the place that are free; drawn as a circle.
        thing: x, y of what it faces.
        size: extent of that along x and y, metres.
        robot: x, y of the robot now, if that is known.
        heights: lowest and highest of the space that is drawn, metres.
    """

    title: str
    position: tuple[float, float]
    yaw: float
    clearance: float
    thing: tuple[float, float]
    size: tuple[float, float]
    robot: tuple[float, float] | None
    heights: tuple[float, float]


def render_stand(semantic_map: SemanticMap, stand: Stand) -> NDArray[np.uint8]:
    """Draw what is known of the space that a robot needs, the thing, and the place with an arrow; y is up.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        OvsegError: the map has no occupancy, none at these heights, or too much of it for a picture.
    """
    occupancy = semantic_map.layers.occupancy
    if occupancy is None:
        raise OvsegError("the map doesn't know what space is free: map with mapping.layers:=occupancy, or more")
    plan = ground_plan(occupancy, *stand.heights)
    cells = plan.cells.cpu().numpy()
    known = np.argwhere(cells >= FREE)
    if not len(known):
        lowest, highest = stand.heights
        raise OvsegError(f"nothing is known of the space from {lowest:g} to {highest:g} m: draw other heights")
    (top, left), (bottom, right) = known.min(axis=0), known.max(axis=0) + 1
    cells = cells[top:bottom, left:right]
    colours = np.full((*cells.shape, 3), UNSEEN, dtype=np.uint8)
    for state, colour in COLOURS.items():
        colours[cells == state] = colour
    scale = SIDE / max(cells.shape)
    height, width = (max(round(side * scale), 1) for side in cells.shape)
    image = np.full((HEADER + height + FOOTER, width + 2 * MARGIN, 3), 255, dtype=np.uint8)
    image[HEADER : HEADER + height, MARGIN : MARGIN + width] = cv2.resize(
        colours[::-1], (width, height), interpolation=cv2.INTER_NEAREST
    )
    pixels_per_metre = scale / plan.cell_size
    corner = plan.corner[0] + left * plan.cell_size, plan.corner[1] + top * plan.cell_size

    def pixel(x: float, y: float) -> tuple[float, float]:
        return MARGIN + (x - corner[0]) * pixels_per_metre, HEADER + height - (y - corner[1]) * pixels_per_metre

    (x, y), (dx, dy) = stand.thing, stand.size
    lower, upper = pixel(x - dx / 2, y - dy / 2), pixel(x + dx / 2, y + dy / 2)
    cv2.rectangle(image, _rounded(lower), _rounded(upper), THING, 3, cv2.LINE_AA)
    place = pixel(*stand.position)
    if stand.robot is not None:
        draw_ring(image, pixel(*stand.robot), 12, ROBOT)
    draw_line(image, place, pixel(x, y), THING, 1)
    cv2.circle(image, _rounded(place), round(stand.clearance * pixels_per_metre), GOAL, 2, cv2.LINE_AA)
    reach = ARROW_METRES * pixels_per_metre
    tip = place[0] + reach * math.cos(stand.yaw), place[1] - reach * math.sin(stand.yaw)
    for colour, thickness in ((WHITE, 9), (GOAL, 5)):
        cv2.arrowedLine(image, _rounded(place), _rounded(tip), colour, thickness, cv2.LINE_AA, tipLength=0.3)
    draw_disc(image, place, 10, GOAL, "")
    draw_text(image, stand.title, (MARGIN, HEADER / 2), 22, INK, bold=True)
    draw_scale_bar(image, (MARGIN, HEADER + height + 70), pixels_per_metre)
    return image


def _rounded(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0]), round(point[1])
