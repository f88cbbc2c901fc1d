"""Text, markers, scale bars and legends on RGB images."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

INK: Colour = (38, 40, 46)
FAINT: Colour = (128, 132, 140)
WHITE: Colour = (255, 255, 255)
X_AXIS: Colour = (214, 60, 60)
Y_AXIS: Colour = (46, 160, 67)

Image = NDArray[np.uint8]


def draw_text(image: Image, text: str, position: tuple[float, float], size: float, colour: Colour = INK,
              *, bold: bool = False, centred: bool = False) -> None:  # fmt: skip
    """Write a line; ``position`` is the left (or centre) of its middle line, ``size`` about the capitals' pixels."""
    font = cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX
    scale = size / 22.0
    (width, height), _ = cv2.getTextSize(text, font, scale, 1)
    x = position[0] - (width / 2 if centred else 0)
    cv2.putText(image, text, (round(x), round(position[1] + height / 2)), font, scale, colour, 1, cv2.LINE_AA)


def text_width(text: str, size: float) -> int:
    """Pixels that `draw_text` needs."""
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size / 22.0, 1)
    return width


def shorten(text: str, size: float, width: int) -> str:
    """The text, cut with dots if it needs more than ``width`` pixels."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "...", size) > width:
        text = text[:-1]
    return text.rstrip() + "..."


def draw_disc(image: Image, centre: tuple[float, float], radius: int, colour: Colour, text: str) -> None:
    """A numbered disc with a white rim."""
    middle = (round(centre[0]), round(centre[1]))
    cv2.circle(image, middle, radius + 3, WHITE, -1, cv2.LINE_AA)
    cv2.circle(image, middle, radius, colour, -1, cv2.LINE_AA)
    draw_text(image, text, (centre[0], centre[1]), radius * 1.05, WHITE, bold=True, centred=True)


def draw_ring(image: Image, centre: tuple[float, float], radius: int, colour: Colour) -> None:
    """An open circle on a white one, so that it is seen on any ground."""
    middle = (round(centre[0]), round(centre[1]))
    cv2.circle(image, middle, radius, WHITE, 6, cv2.LINE_AA)
    cv2.circle(image, middle, radius, colour, 3, cv2.LINE_AA)


def draw_line(
    image: Image, start: tuple[float, float], end: tuple[float, float], colour: Colour, thickness: int = 2
) -> None:
    """A line between two points."""
    cv2.line(image, (round(start[0]), round(start[1])), (round(end[0]), round(end[1])), colour, thickness, cv2.LINE_AA)


def draw_scale_bar(image: Image, corner: tuple[int, int], pixels_per_metre: float) -> None:
    """One metre, with the axes of the map beside it; ``corner`` is bottom left."""
    x, y = corner
    end = x + round(pixels_per_metre)
    draw_line(image, (x, y), (end, y), INK, 3)
    for tick in (x, end):
        draw_line(image, (tick, y - 7), (tick, y + 7), INK, 3)
    draw_text(image, "1 m", ((x + end) / 2, y - 18), 16, INK, centred=True)
    origin = (end + 60, y + 4)
    for name, colour, tip in (("x", X_AXIS, (origin[0] + 44, origin[1])), ("y", Y_AXIS, (origin[0], origin[1] - 44))):
        cv2.arrowedLine(image, origin, tip, colour, 3, cv2.LINE_AA, tipLength=0.25)
        away = (tip[0] + 12, tip[1]) if name == "x" else (tip[0], tip[1] - 14)
        draw_text(image, name, away, 16, colour, centred=True)
