"""True things as a `Scene`: what the parser and the geometry alone make of a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ovseg_ros.evaluation.referring.polygons import Floats, smallest_rectangle
from ovseg_ros.evaluation.referring.things import STRUCTURE, Thing
from ovseg_ros.query.colours import split_colour
from ovseg_ros.referring import Boxes
from ovseg_ros.referring.lexicon import THING
from ovseg_ros.simulation import CLASSES
from ovseg_ros.vocabulary import normalise, singular

NAMES: dict[str, str] = {
    word: entry.name for entry in CLASSES for word in (entry.name, *entry.synonyms, *entry.held_out)
}
"""Every word for a class -> its name."""


class TrueScene:
    """A `Scene` whose boxes, names and colours are right.

    Args:
        things: N of them.
        regions: name of a part of the room -> (4, 2) its outline, along the axes.
    """

    def __init__(self, things: Sequence[Thing], regions: Mapping[str, Floats]) -> None:
        self.boxes = upright_boxes(things)
        height = max(thing.top for thing in things)
        self.regions: Mapping[str, Boxes] = {
            name: Boxes.axis_aligned(np.append(outline.min(axis=0), 0.0), np.append(outline.max(axis=0), height))
            for name, outline in regions.items()
        }
        self._labels = np.array([thing.label for thing in things])
        self._colours = np.array([thing.colour for thing in things])
        self._movable = ~np.isin(self._labels, STRUCTURE)

    def fit(self, noun: str) -> Floats:
        """(N,) 1 for what the noun names, else 0."""
        colour, words = split_colour(normalise(noun).split())
        name = " ".join(words)
        fits = self._movable if name in ("", THING) else self._labels == NAMES.get(name, NAMES.get(singular(name), ""))
        return (fits & (self._colours == colour.term) if colour else fits).astype(np.float64)


def upright_boxes(things: Sequence[Thing]) -> Boxes:
    """The smallest upright box around each thing."""
    rectangles = [smallest_rectangle(thing.footprint) for thing in things]
    heights = np.array([[(thing.top + thing.bottom) / 2, thing.top - thing.bottom] for thing in things])
    return Boxes(
        np.column_stack((np.array([centre for centre, _, _ in rectangles]), heights[:, 0])),
        np.column_stack((np.array([size for _, size, _ in rectangles]), heights[:, 1])),
        np.array([yaw for _, _, yaw in rectangles]),
    )
