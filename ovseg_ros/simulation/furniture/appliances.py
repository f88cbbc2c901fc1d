"""Kitchen and bathroom things."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ovseg_ros.simulation.materials import Finish
from ovseg_ros.simulation.shapes import Model, ModelBuilder


def refrigerator(rng: Generator, finish: Finish) -> Model:
    """A tall smooth box with a freezer door above or below and long handles."""
    width, depth, height = rng.uniform(0.58, 0.75), rng.uniform(0.6, 0.7), rng.uniform(1.6, 1.95)
    split = rng.choice([0.35, 0.68]) * height
    side = 1 if rng.random() < 0.5 else -1
    build = ModelBuilder()
    build.box((width, depth - 0.06, height), (0, 0.03, height / 2), finish.main)
    for low, high in ((0.05, split - 0.012), (split + 0.012, height)):
        build.box((width, 0.06, high - low), (0, -depth / 2 + 0.03, (low + high) / 2), finish.main)
        length = min(0.4, (high - low) * 0.7)
        z = high - length / 2 - 0.05 if low < 0.1 else low + length / 2 + 0.05
        build.box((0.03, 0.05, length), (side * width * 0.42, -depth / 2 - 0.03, z), finish.metal)
    build.box((width * 0.98, 0.03, 0.02), (0, -depth / 2 + 0.02, split), finish.dark)
    return build.build()


def oven(rng: Generator, finish: Finish) -> Model:
    """A cooker: dark glass door with a bar, knobs, and four rings on top."""
    width, depth, height = rng.uniform(0.55, 0.7), rng.uniform(0.55, 0.65), rng.uniform(0.85, 0.92)
    front = -depth / 2
    build = ModelBuilder()
    build.box((width, depth, height), (0, 0, height / 2), finish.main)
    build.box((width * 0.8, 0.02, height * 0.42), (0, front - 0.01, height * 0.45), finish.dark)
    build.box((width * 0.8, 0.04, 0.025), (0, front - 0.04, height * 0.73), finish.metal)
    for index in range(4):
        at = ((index - 1.5) * width * 0.2, front, height * 0.9)
        build.cylinder(0.022, 0.03, finish.dark, at, axis="y", segments=8)
    build.box((width, depth, 0.012), (0, 0, height + 0.006), finish.dark)
    for x in (-1, 1):
        for y in (-1, 1):
            build.cylinder(
                0.085, 0.012, finish.metal, (x * width * 0.23, y * depth * 0.23, height + 0.012), segments=14
            )
    return build.build()


def sink(rng: Generator, finish: Finish) -> Model:
    """A basin with a tap, on a vanity cupboard or a pedestal."""
    width, depth, height = rng.uniform(0.5, 0.9), rng.uniform(0.45, 0.55), rng.uniform(0.82, 0.9)
    build = ModelBuilder()
    if rng.random() < 0.5:
        build.box((width, depth, height - 0.15), (0, 0, (height - 0.15) / 2), finish.wood)
        for side in (-1, 1):
            build.box(
                (width * 0.45, 0.02, height * 0.65),
                (side * width * 0.24, -depth / 2 - 0.01, height * 0.42),
                finish.wood,
            )
            build.box((0.02, 0.03, 0.1), (side * 0.04, -depth / 2 - 0.03, height * 0.55), finish.metal)
    else:
        build.cylinder(0.1, height - 0.12, finish.main, top=0.08)
    wall = 0.05
    for side in (-1, 1):
        build.box((wall, depth, 0.16), (side * (width - wall) / 2, 0, height - 0.08), finish.main)
        build.box((width, wall, 0.16), (0, side * (depth - wall) / 2, height - 0.08), finish.main)
    build.box((width, depth, 0.04), (0, 0, height - 0.14), finish.main)
    build.box((width, 0.1, 0.03), (0, depth / 2 - 0.05, height), finish.main)
    build.cylinder(0.015, 0.2, finish.metal, (0, depth / 2 - 0.06, height), segments=8)
    build.box((0.025, 0.16, 0.025), (0, depth / 2 - 0.13, height + 0.19), finish.metal)
    return build.build()


def toilet(rng: Generator, finish: Finish) -> Model:
    """A bowl with a seat ring and lid, and a cistern at the wall."""
    build = ModelBuilder()
    seat = rng.uniform(0.4, 0.45)
    build.lathe([(0.13, 0.0), (0.12, 0.15), (0.18, seat - 0.08), (0.2, seat)], finish.main, (0, -0.1, 0))
    build.cylinder(0.205, 0.025, finish.light, (0, -0.1, seat))
    build.cylinder(0.14, 0.004, finish.dark, (0, -0.12, seat + 0.026))
    build.box((0.24, 0.22, seat), (0, 0.12, seat / 2), finish.main)
    build.box((0.4, 0.17, 0.36), (0, 0.25, seat + 0.18), finish.main)
    build.box((0.42, 0.19, 0.03), (0, 0.25, seat + 0.37), finish.main)
    build.blob((0.38, 0.05, 0.4), (0, 0.13, seat + 0.2), finish.light, power=3)
    build.rotate_last(-0.15, 0, (0, 0.13, seat))
    build.box((0.05, 0.03, 0.02), (0.1, 0.16, seat + 0.31), finish.metal)
    return build.build()


def bathtub(rng: Generator, finish: Finish) -> Model:
    """A long open tub with a thick rim and a tap at one end; the long side to the wall."""
    width, depth, height = rng.uniform(1.5, 1.75), rng.uniform(0.7, 0.8), rng.uniform(0.5, 0.6)
    wall = 0.07
    build = ModelBuilder()
    for side in (-1, 1):
        build.box((wall, depth, height), (side * (width - wall) / 2, 0, height / 2), finish.main)
        build.box((width, wall, height), (0, side * (depth - wall) / 2, height / 2), finish.main)
    build.box((width, depth, 0.15), (0, 0, 0.075), finish.main)
    build.box((0.12, 0.03, 0.03), (width / 2 - 0.1, 0, height + 0.1), finish.metal)
    build.cylinder(0.018, 0.12, finish.metal, (width / 2 - 0.05, 0, height), segments=8)
    return build.build()


def washing_machine(rng: Generator, finish: Finish) -> Model:
    """A box with a round glass door and a panel with a dial."""
    width, depth, height = rng.uniform(0.58, 0.63), rng.uniform(0.55, 0.62), rng.uniform(0.82, 0.88)
    front = -depth / 2
    build = ModelBuilder()
    build.box((width, depth, height), (0, 0, height / 2), finish.main)
    build.cylinder(0.2, 0.03, finish.metal, (0, front, height * 0.45), axis="y", segments=20)
    build.cylinder(0.155, 0.045, finish.dark, (0, front, height * 0.45), axis="y", segments=20)
    build.box((width * 0.95, 0.012, 0.11), (0, front - 0.004, height - 0.075), finish.light)
    build.cylinder(0.04, 0.03, finish.metal, (width * 0.1, front, height - 0.075), axis="y", segments=12)
    build.box((0.16, 0.012, 0.07), (-width * 0.32, front - 0.008, height - 0.075), finish.dark)
    return build.build()


def plant(rng: Generator, finish: Finish) -> Model:
    """A pot with a crown of leaves: round, bushy or of long blades."""
    pot, tall = rng.uniform(0.1, 0.18), rng.uniform(0.5, 1.2)
    pot_height = pot * rng.uniform(1.4, 2.0)
    build = ModelBuilder()
    build.cylinder(pot * 0.75, pot_height, finish.accent, top=pot)
    build.cylinder(pot * 0.9, 0.01, finish.dark, (0, 0, pot_height - 0.01))
    build.cylinder(0.015, tall - pot_height, finish.wood, (0, 0, pot_height - 0.02), segments=6)
    leaves = int(rng.integers(14, 26))
    blades = rng.random() < 0.5
    for _ in range(leaves):
        yaw, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.2)
        if blades:
            length = (tall - pot_height) * rng.uniform(0.7, 1.0)
            base = np.array([0, 0, pot_height])
            build.blob((0.06, 0.015, length), base + np.array([0, 0, length / 2]), finish.main, segments=6)
            build.rotate_last(lean * 0.7, 0, base)
            build.rotate_last(yaw, 2, base)
        else:
            z = rng.uniform(0.45, 1.0) * (tall - pot_height) + pot_height
            length = rng.uniform(0.18, 0.32)
            build.blob((0.14, length, 0.02), (0, length / 2 + 0.02, z), finish.main, segments=6)
            build.rotate_last(rng.uniform(-0.5, 0.6), 0, (0, 0, z))
            build.rotate_last(yaw, 2, (0, 0, z))
    return build.build()
