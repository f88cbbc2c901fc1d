"""Solid procedural textures: the albedo of surface points from their coordinates in the object's own frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

_WAVES = np.array([[1.0, 1.7, 0.6], [-1.3, 0.8, 1.9], [0.7, -2.1, 1.1], [2.3, 0.5, -1.4]], dtype=np.float32)


_ALONG_GRAIN = np.array([0.3, 0.1, 0.3], dtype=np.float32)


def albedo(points: Array, texture: NDArray[np.int64], scale: Array, first: Array, second: Array) -> Array:
    """Colour of N surface points.

    Args:
        points: (N, 3) metres in the object's frame.
        texture: (N,) index into TEXTURES.
        scale: (N,) period in metres.
        first: (N, 3) linear-light RGB of the main colour.
        second: (N, 3) linear-light RGB that the pattern mixes in.

    Returns:
        (N, 3) float32 linear-light RGB.
    """
    mix = np.zeros(len(points), dtype=np.float32)
    colour = first.copy()
    for index in np.unique(texture):
        chosen = np.flatnonzero(texture == index)
        name = TEXTURES[index]
        if name == "plain":
            continue
        where = points[chosen] / scale[chosen, None]
        if name in _COLOURED:
            colour[chosen] = _COLOURED[name](where, first[chosen], second[chosen])
        else:
            mix[chosen] = _PATTERNS[name](where)
    return colour + mix[:, None] * (second - colour)


def waves(where: Array) -> Array:
    """Smooth pseudo-noise in about -1..1: a sum of sines of unrelated directions."""
    total: Array = np.sin(where @ _WAVES.T * 2.0).sum(axis=1) / 2.5
    return total


def hashed(cells: Array) -> Array:
    """(N, ...) integer-valued coordinates -> (N,) repeatable random numbers in 0..1."""
    mixed = np.sin(
        cells.reshape(len(cells), -1)
        @ np.array([12.9898, 78.233, 37.719], dtype=np.float32)[: cells.reshape(len(cells), -1).shape[1]]
    )
    result: Array = np.modf(np.abs(mixed) * 43758.547)[0].astype(np.float32)
    return result


def _wood(where: Array) -> Array:
    return 0.5 + 0.5 * np.sin(6.3 * where[:, 0] + 2.0 * waves(where * _ALONG_GRAIN))


def _stripes(where: Array) -> Array:
    return ((where[:, 0] + 0.5 * where[:, 1]) % 1.0 < 0.5).astype(np.float32)


def _checker(where: Array) -> Array:
    return (np.floor(where + 0.25).sum(axis=1) % 2.0).astype(np.float32)


def _fabric(where: Array) -> Array:
    return np.clip(0.5 + 0.5 * waves(where * 9.0), 0.0, 1.0)


def _speckle(where: Array) -> Array:
    return (hashed(np.floor(where * 12.0)) > 0.75).astype(np.float32) * 0.7


def _joints(where: Array, width: float) -> Array:
    """Lines of a grid; shifted by half a cell so that a face at a whole coordinate isn't one big line."""
    return (np.abs((where + 0.5) % 1.0 - 0.5).min(axis=1) < width).astype(np.float32)


def _tiles(where: Array) -> Array:
    cells = where * 0.6 + 0.31
    return np.maximum(_joints(cells, 0.02), 0.25 * hashed(np.floor(cells + 0.5)))


def _bricks(where: Array) -> Array:
    rows = where[:, 2] * 2.0
    along = where[:, 0] + where[:, 1] + 0.5 * (np.floor(rows) % 2.0)
    lines = (rows % 1.0 < 0.1) | (along % 1.0 < 0.05)
    return np.maximum(lines.astype(np.float32), 0.4 * hashed(np.stack((np.floor(along), np.floor(rows)), axis=1)))


def _planks(where: Array) -> Array:
    strip = np.floor(where[:, 0])
    piece = np.floor(where[:, 1] / 6.0 + 0.37 * strip)
    grain = 0.25 + 0.25 * np.sin(9.0 * where[:, 0] + waves(where * 0.4))
    joint = (where[:, 0] % 1.0 < 0.04).astype(np.float32)
    return np.clip(grain + 0.5 * hashed(np.stack((strip, piece), axis=1)) + joint, 0.0, 1.0)


def _painting(where: Array, first: Array, second: Array) -> Array:
    """Large soft shapes in three colours, as of an abstract picture."""
    shape = waves(where * 0.8)[:, None]
    other = waves(where[:, ::-1] * 1.1 + 3.0)[:, None]
    third = 1.0 - first
    result: Array = np.where(shape > 0.3, first, np.where(other > 0.0, second, third))
    return result


def _book_spines(where: Array, first: Array, second: Array) -> Array:
    """Upright books side by side along x, each in its own colour."""
    book = np.floor(where[:, 0])
    colours = np.stack([hashed(np.stack((book, book * 0.0 + channel), axis=1)) for channel in range(3)], axis=1)
    seam = (where[:, 0] % 1.0 < 0.12)[:, None]
    result: Array = np.where(seam, 0.02, 0.05 + 0.7 * colours**1.5).astype(np.float32)
    return result


def _sky(where: Array, first: Array, second: Array) -> Array:
    """Bright above, darker below, as the view through a window."""
    blend = np.clip(0.5 + where[:, 2:3] + 0.15 * waves(where)[:, None], 0.0, 1.0)
    return second + blend * (first - second)


_PATTERNS: dict[str, Callable[[Array], Array]] = {
    "wood": _wood,
    "stripes": _stripes,
    "checker": _checker,
    "fabric": _fabric,
    "speckle": _speckle,
    "tiles": _tiles,
    "bricks": _bricks,
    "planks": _planks,
}
_COLOURED: dict[str, Callable[[Array, Array, Array], Array]] = {
    "painting": _painting,
    "book_spines": _book_spines,
    "sky": _sky,
}
TEXTURES: tuple[str, ...] = ("plain", *_PATTERNS, *_COLOURED)
"""Names of the textures; a material names one of them."""
