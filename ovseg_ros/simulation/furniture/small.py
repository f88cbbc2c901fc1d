"""Things that stand on other things, or lie about on the floor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from ovseg_ros.simulation.materials import Finish
from ovseg_ros.simulation.shapes import Model, ModelBuilder


def lamp(rng: Generator, finish: Finish) -> Model:
    """A floor or table lamp: foot, pole and a glowing conical shade."""
    tall = rng.uniform(1.35, 1.75) if rng.random() < 0.6 else rng.uniform(0.45, 0.6)
    shade = rng.uniform(0.16, 0.24) if tall > 1 else rng.uniform(0.12, 0.17)
    build = ModelBuilder()
    build.cylinder(shade * 0.8, 0.025, finish.metal)
    build.cylinder(0.015, tall - 0.1, finish.metal, (0, 0, 0.02), segments=8)
    glow = replace(finish.main, emission=float(rng.uniform(0.1, 0.6)))
    build.cylinder(shade, shade * 1.4, glow, (0, 0, tall - shade * 1.4), top=shade * rng.uniform(0.55, 0.8))
    return build.build()


def trash_can(rng: Generator, finish: Finish) -> Model:
    """An open bin that widens upwards, or one with a domed lid and a pedal."""
    radius, height = rng.uniform(0.12, 0.18), rng.uniform(0.3, 0.6)
    build = ModelBuilder()
    if rng.random() < 0.6:
        build.cylinder(radius * 0.78, height, finish.main, top=radius)
        build.cylinder(radius * 0.93, 0.006, finish.dark, (0, 0, height))
        build.lathe([(radius * 1.05, height - 0.03), (radius * 1.05, height - 0.005)], finish.main)
    else:
        build.cylinder(radius, height * 0.85, finish.main)
        build.cylinder(radius * 1.03, 0.03, finish.dark, (0, 0, height * 0.83))
        build.lathe([(radius, height * 0.86), (radius * 0.8, height * 0.95), (radius * 0.3, height)], finish.main)
        build.box((0.1, 0.06, 0.015), (0, -radius - 0.02, 0.02), finish.dark)
    return build.build()


def box(rng: Generator, finish: Finish) -> Model:
    """A cardboard box: closed with tape, or open with its flaps up."""
    width, depth, height = rng.uniform(0.3, 0.6), rng.uniform(0.25, 0.45), rng.uniform(0.2, 0.45)
    build = ModelBuilder()
    build.box((width, depth, height), (0, 0, height / 2), finish.main)
    tape = replace(finish.main, colour=finish.main.second, texture="plain", gloss=0.3)
    if rng.random() < 0.5:
        build.box((width + 0.004, 0.06, height + 0.004), (0, 0, height / 2), tape)
        return build.build()
    build.box((width * 0.96, depth * 0.96, 0.004), (0, 0, height + 0.002), finish.dark)
    for side in (-1, 1):
        edge = (0, side * depth / 2, height)
        build.box((width, 0.008, depth * 0.45), (0, side * depth / 2, height + depth * 0.22), finish.main)
        build.rotate_last(-side * rng.uniform(0.5, 1.2), 0, edge)
        build.box((0.008, depth, width * 0.3), (side * width / 2, 0, height + width * 0.15), finish.main)
        build.rotate_last(side * rng.uniform(0.5, 1.2), 1, (side * width / 2, 0, height))
    return build.build()


def suitcase(rng: Generator, finish: Finish) -> Model:
    """A ribbed upright shell on wheels with a pull-out handle."""
    width, depth, height = rng.uniform(0.38, 0.5), rng.uniform(0.22, 0.3), rng.uniform(0.5, 0.7)
    build = ModelBuilder()
    build.blob((width, depth, height), (0, 0, height / 2 + 0.05), finish.main, power=8)
    for x in (-0.3, -0.1, 0.1, 0.3):
        build.box((0.02, depth * 1.02, height * 0.8), (x * width, 0, height / 2 + 0.05), finish.main)
    build.box((width * 1.01, 0.015, height * 0.9), (0, 0, height / 2 + 0.05), finish.dark)
    pull = rng.uniform(0.15, 0.4)
    for side in (-1, 1):
        build.box((0.02, 0.02, pull), (side * width * 0.25, depth * 0.35, height + 0.04 + pull / 2), finish.metal)
        for end in (-1, 1):
            at = (side * width * 0.38, end * depth * 0.3, 0.0)
            build.cylinder(0.03, 0.05, finish.dark, at, segments=8)
    build.box((width * 0.5 + 0.04, 0.035, 0.035), (0, depth * 0.35, height + 0.05 + pull), finish.dark)
    return build.build()


def ball(rng: Generator, finish: Finish) -> Model:
    """A ball."""
    size = rng.uniform(0.2, 0.32)
    build = ModelBuilder()
    build.blob((size, size, size), (0, 0, size / 2), finish.main, segments=18)
    return build.build()


def pillow(rng: Generator, finish: Finish) -> Model:
    """A plump square or oblong cushion, lying or propped up."""
    width, depth = rng.uniform(0.4, 0.65), rng.uniform(0.35, 0.45)
    build = ModelBuilder()
    lean = rng.uniform(0.1, 1.2)
    build.blob((width, depth, 0.16), (0, 0, 0.08), finish.main, power=3.2)
    build.rotate_last(lean, 0, (0, 0, 0))
    lift = -float(build.build().lower[2])
    build = ModelBuilder()
    build.blob((width, depth, 0.16), (0, 0, 0.08 + lift), finish.main, power=3.2)
    build.rotate_last(lean, 0, (0, 0, lift))
    return build.build()


def book(rng: Generator, finish: Finish) -> Model:
    """A lying stack of one to five books, each turned a little."""
    build = ModelBuilder()
    z = 0.0
    for index in range(int(rng.integers(1, 6))):
        size = (rng.uniform(0.2, 0.3), rng.uniform(0.15, 0.22), rng.uniform(0.025, 0.05))
        cover = finish.main if index % 2 == 0 else finish.accent
        turn = rng.uniform(-0.3, 0.3)
        for low, thick, inset, material in (
            (0.0, 0.004, 0.0, cover),
            (0.004, size[2] - 0.008, 0.008, finish.light),
            (size[2] - 0.004, 0.004, 0.0, cover),
        ):
            build.box((size[0] - inset, size[1] - inset, thick), (0, 0, z + low + thick / 2), material)
            build.rotate_last(turn, 2, (0, 0, 0))
        z += size[2]
    return build.build()


def bottle(rng: Generator, finish: Finish) -> Model:
    """A body, a shoulder and a thin neck with a cap and a label."""
    radius, height = rng.uniform(0.04, 0.06), rng.uniform(0.26, 0.38)
    build = ModelBuilder()
    build.lathe(
        [(radius, 0), (radius, height * 0.55), (radius * 0.4, height * 0.75), (radius * 0.35, height * 0.95)],
        replace(finish.main, texture="plain", gloss=0.4),
        segments=12,
    )
    build.cylinder(radius * 1.01, height * 0.25, finish.light, (0, 0, height * 0.15), segments=12)
    build.cylinder(radius * 0.42, height * 0.06, finish.accent, (0, 0, height * 0.94), segments=10)
    return build.build()


def vase(rng: Generator, finish: Finish) -> Model:
    """A bellied vase, sometimes with flowers."""
    belly, height = rng.uniform(0.08, 0.13), rng.uniform(0.22, 0.4)
    build = ModelBuilder()
    neck = belly * rng.uniform(0.35, 0.6)
    build.lathe(
        [
            (belly * 0.5, 0),
            (belly * 0.9, height * 0.2),
            (belly, height * 0.42),
            (neck, height * 0.8),
            (neck * 1.5, height),
        ],
        finish.main,
    )
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(4, 8))):
            tip = np.array([rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), height + rng.uniform(0.12, 0.25)])
            stem = replace(finish.accent, colour=(0.05, 0.2, 0.04))
            build.blob(
                (0.012, 0.012, tip[2] - height + 0.05),
                (tip[0] / 2, tip[1] / 2, (tip[2] + height) / 2),
                stem,
                segments=6,
            )
            build.blob((0.07, 0.07, 0.06), tip, finish.accent, segments=8)
    return build.build()


def laptop(rng: Generator, finish: Finish) -> Model:
    """An open laptop: keyboard deck and a tilted screen."""
    width, depth = rng.uniform(0.31, 0.38), rng.uniform(0.22, 0.26)
    build = ModelBuilder()
    build.box((width, depth, 0.018), (0, 0, 0.009), finish.main)
    build.box((width * 0.88, depth * 0.5, 0.004), (0, depth * 0.12, 0.02), finish.dark)
    build.box((width * 0.3, depth * 0.25, 0.002), (0, -depth * 0.3, 0.019), finish.metal)
    hinge, tilt = (0, depth / 2, 0.018), -rng.uniform(0.15, 0.5)
    screen = replace(
        finish.dark, texture="painting", second=finish.accent.colour, scale=0.2, emission=float(rng.uniform(0, 0.6))
    )
    build.box((width, 0.012, depth), (0, depth / 2, depth / 2 + 0.018), finish.main)
    build.rotate_last(tilt, 0, hinge)
    build.box((width * 0.93, 0.004, depth * 0.88), (0, depth / 2 - 0.008, depth / 2 + 0.018), screen)
    build.rotate_last(tilt, 0, hinge)
    return build.build()


def monitor(rng: Generator, finish: Finish) -> Model:
    """A computer screen on a foot."""
    width = rng.uniform(0.48, 0.68)
    height = width * rng.uniform(0.55, 0.65)
    low = rng.uniform(0.1, 0.16)
    build = ModelBuilder()
    build.box((0.24, 0.18, 0.015), (0, 0, 0.008), finish.main)
    build.box((0.05, 0.03, low + 0.1), (0, 0.03, (low + 0.1) / 2), finish.main)
    build.box((width, 0.035, height), (0, 0, low + height / 2), finish.main)
    lit = rng.random() < 0.6
    screen = replace(
        finish.dark,
        texture="painting" if lit else "plain",
        second=finish.accent.colour,
        scale=0.3,
        emission=0.5 if lit else 0.0,
    )
    build.box((width * 0.94, 0.006, height * 0.9), (0, -0.02, low + height / 2), screen)
    return build.build()


def backpack(rng: Generator, finish: Finish) -> Model:
    """A rounded sack with a front pocket, a lid and two straps."""
    width, depth, height = rng.uniform(0.28, 0.36), rng.uniform(0.18, 0.24), rng.uniform(0.4, 0.52)
    build = ModelBuilder()
    build.blob((width, depth, height), (0, 0, height / 2), finish.main, power=4)
    build.blob((width * 0.75, depth * 0.6, height * 0.42), (0, -depth * 0.42, height * 0.28), finish.accent, power=4)
    build.blob((width * 1.02, depth * 1.1, height * 0.22), (0, -0.01, height * 0.92), finish.main, power=4)
    build.box((0.02, 0.03, 0.08), (0, 0.02, height + 0.04), finish.dark)
    for side in (-1, 1):
        build.box((0.05, 0.02, height * 0.7), (side * width * 0.27, depth * 0.53, height * 0.5), finish.dark)
    return build.build()


def teddy_bear(rng: Generator, finish: Finish) -> Model:
    """A sitting bear: body, head with ears and muzzle, four limbs."""
    size = rng.uniform(0.3, 0.5)
    build = ModelBuilder()
    build.blob((size * 0.55, size * 0.45, size * 0.6), (0, 0, size * 0.3), finish.main, segments=10)
    build.blob((size * 0.45, size * 0.4, size * 0.4), (0, -0.02, size * 0.75), finish.main, segments=10)
    build.blob((size * 0.2, size * 0.15, size * 0.15), (0, -size * 0.2, size * 0.7), finish.light, segments=8)
    for side in (-1, 1):
        build.blob(
            (size * 0.16, size * 0.08, size * 0.16), (side * size * 0.17, 0, size * 0.95), finish.main, segments=8
        )
        build.blob(
            (size * 0.2, size * 0.45, size * 0.2), (side * size * 0.2, -size * 0.3, size * 0.1), finish.main, segments=8
        )
        build.blob(
            (size * 0.35, size * 0.17, size * 0.17), (side * size * 0.36, -0.03, size * 0.45), finish.main, segments=8
        )
        build.blob((0.03, 0.02, 0.03), (side * size * 0.09, -size * 0.2, size * 0.82), finish.dark, segments=6)
    return build.build()
