"""Colours with names and the materials of generated things."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from ovseg_ros.simulation.classes import ObjectClass

IMPLAUSIBLE_SHARE = 0.25
"""Share of things whose colour is drawn from all colours, so that colour alone never gives the class away."""

NAMED_COLOURS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-0.02, 0.02), (0.7, 0.95), (0.5, 0.85)),
    "orange": ((0.06, 0.085), (0.75, 0.95), (0.75, 0.95)),
    "yellow": ((0.13, 0.16), (0.65, 0.9), (0.8, 0.95)),
    "green": ((0.27, 0.40), (0.5, 0.85), (0.3, 0.7)),
    "blue": ((0.56, 0.64), (0.55, 0.9), (0.35, 0.8)),
    "purple": ((0.75, 0.80), (0.45, 0.75), (0.35, 0.7)),
    "pink": ((0.90, 0.95), (0.3, 0.5), (0.85, 0.95)),
    "brown": ((0.055, 0.085), (0.5, 0.75), (0.25, 0.5)),
    "beige": ((0.09, 0.12), (0.15, 0.3), (0.75, 0.9)),
    "white": ((0.0, 1.0), (0.0, 0.05), (0.86, 0.97)),
    "grey": ((0.0, 1.0), (0.0, 0.06), (0.35, 0.65)),
    "black": ((0.0, 1.0), (0.0, 0.1), (0.05, 0.14)),
}
"""Ranges of hue, saturation and value (each 0..1; red's hue wraps below 0) that a person gives the name."""


@dataclass(frozen=True)
class Material:
    """How a surface looks. Colours are linear-light RGB in 0..1; ``scale`` is the texture's period in metres."""

    colour: tuple[float, float, float]
    second: tuple[float, float, float] = (0.0, 0.0, 0.0)
    texture: str = "plain"
    scale: float = 0.2
    gloss: float = 0.05
    emission: float = 0.0


@dataclass(frozen=True)
class Finish:
    """The materials of one object: ``main`` carries the colour that a person would name."""

    main: Material
    accent: Material
    wood: Material
    metal: Material
    dark: Material
    light: Material
    colour_name: str


def sample_colour(rng: Generator, name: str) -> tuple[float, float, float]:
    """A colour that a person would call ``name``, as linear-light RGB."""
    hue, saturation, value = (rng.uniform(*bounds) for bounds in NAMED_COLOURS[name])
    encoded = np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))
    return to_linear(encoded)


def to_linear(encoded: np.ndarray) -> tuple[float, float, float]:
    """Display RGB (0..1) -> linear-light RGB."""
    linear = encoded**2.2
    return float(linear[0]), float(linear[1]), float(linear[2])


def choose(rng: Generator, weights: dict[str, float]) -> str:
    """One key, drawn by weight."""
    names = list(weights)
    probabilities = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=probabilities / probabilities.sum()))]


def plain(rng: Generator, name: str, gloss: float = 0.05) -> Material:
    """An untextured material in a named colour."""
    return Material(sample_colour(rng, name), gloss=gloss)


def sample_finish(rng: Generator, entry: ObjectClass) -> Finish:
    """Materials for one object of a class: mostly what a person expects, sometimes any colour at all."""
    any_colour = rng.random() < IMPLAUSIBLE_SHARE
    name = str(rng.choice(list(NAMED_COLOURS))) if any_colour else choose(rng, entry.colours)
    main = Material(
        colour=sample_colour(rng, name),
        texture=str(rng.choice(entry.textures)),
        scale=float(rng.uniform(0.06, 0.3)),
        gloss=float(rng.choice([0.0, 0.05, 0.25])),
    )
    main = replace(main, second=_second_colour(rng, main))
    wood = Material(
        sample_colour(rng, str(rng.choice(["brown", "beige"]))), texture="wood", scale=float(rng.uniform(0.03, 0.1))
    )
    wood = replace(wood, second=_darker(wood.colour, 0.6))
    return Finish(
        main=main,
        accent=plain(rng, str(rng.choice(list(NAMED_COLOURS)))),
        wood=wood,
        metal=plain(rng, "grey", gloss=0.5),
        dark=plain(rng, "black", gloss=0.2),
        light=plain(rng, "white", gloss=0.1),
        colour_name=name,
    )


def _second_colour(rng: Generator, main: Material) -> tuple[float, float, float]:
    """Patterns keep the named colour dominant: their second colour is a darker or lighter shade of it, mostly."""
    if main.texture in ("wood", "planks", "tiles", "bricks", "fabric", "speckle"):
        return _darker(main.colour, float(rng.uniform(0.4, 0.75)))
    if rng.random() < 0.6:
        return _darker(main.colour, float(rng.uniform(0.3, 0.6)))
    return sample_colour(rng, str(rng.choice(["white", "grey", "black"])))


def _darker(colour: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor
