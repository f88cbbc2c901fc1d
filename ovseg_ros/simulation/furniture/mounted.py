"""Things on walls, and the rug. Wall things have their back (+y) on the wall and z at mounting height zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from ovseg_ros.simulation.materials import Finish, sample_colour
from ovseg_ros.simulation.shapes import Model, ModelBuilder


def door(rng: Generator, finish: Finish) -> Model:
    """A closed door: leaf with panels, frame, handle."""
    width, height = rng.uniform(0.8, 0.95), rng.uniform(1.98, 2.1)
    frame = finish.wood if rng.random() < 0.5 else finish.light
    build = ModelBuilder()
    build.box((width, 0.05, height), (0, -0.025, height / 2), finish.main)
    for side in (-1, 1):
        build.box((0.08, 0.08, height), (side * (width + 0.08) / 2, -0.04, height / 2), frame)
    build.box((width + 0.16, 0.08, 0.08), (0, -0.04, height + 0.04), frame)
    raised = replace(finish.main, colour=finish.main.second if rng.random() < 0.3 else finish.main.colour)
    if rng.random() < 0.6:
        for low, high in ((0.15, 0.85), (1.1, height - 0.15)):
            for side in (-1, 1):
                at = (side * width * 0.22, -0.055, (low + high) / 2)
                build.box((width * 0.34, 0.02, high - low), at, raised)
    side = 1 if rng.random() < 0.5 else -1
    build.cylinder(0.025, 0.05, finish.metal, (side * width * 0.42, -0.05, 1.0), axis="y", segments=8)
    build.box((0.12, 0.02, 0.025), (side * width * 0.37, -0.1, 1.0), finish.metal)
    return build.build()


def window(rng: Generator, finish: Finish) -> Model:
    """A bright pane in a frame with a cross bar and a sill; z from the sill's height."""
    width, height, sill = rng.uniform(0.8, 1.6), rng.uniform(0.9, 1.3), rng.uniform(0.8, 1.0)
    build = ModelBuilder()
    sky = replace(
        finish.light,
        colour=(0.6, 0.75, 0.95),
        second=(0.25, 0.35, 0.2) if rng.random() < 0.6 else (0.5, 0.55, 0.6),
        texture="sky",
        scale=height,
        emission=float(rng.uniform(0.3, 0.8)),
    )
    centre = sill + height / 2
    pane = ModelBuilder()
    pane.box((width, 0.02, height), (0, -0.01, 0), sky)
    glass = pane.build()
    build.add(glass.vertices + np.array([0, 0, centre]), glass.triangles, sky)
    bar = 0.06
    for side in (-1, 1):
        build.box((bar, 0.06, height), (side * (width - bar) / 2, -0.03, centre), finish.main)
        build.box((width, 0.06, bar), (0, -0.03, centre + side * (height - bar) / 2), finish.main)
    build.box((bar * 0.8, 0.05, height), (0, -0.025, centre), finish.main)
    if rng.random() < 0.5:
        build.box((width, 0.05, bar * 0.8), (0, -0.025, centre + height * 0.1), finish.main)
    build.box((width + 0.1, 0.14, 0.03), (0, -0.07, sill - 0.02), finish.main)
    return build.build()


def curtain(rng: Generator, finish: Finish) -> Model:
    """A hanging, wavy cloth with a rail above it."""
    width, height, low = rng.uniform(0.45, 0.9), rng.uniform(1.5, 2.1), rng.uniform(0.05, 0.3)
    x = np.linspace(-width / 2, width / 2, 25)
    z = np.linspace(low, low + height, 2)
    wave = 0.035 * np.sin(x / width * 2 * np.pi * rng.integers(4, 8)) - 0.13
    grid = np.stack(np.broadcast_arrays(x[None, :], wave[None, :], z[:, None]), axis=-1)
    build = ModelBuilder()
    build.sheet(grid, finish.main)
    build.cylinder(
        0.015, width + 0.2, finish.metal, (-(width + 0.2) / 2, -0.13, low + height + 0.01), axis="x", segments=8
    )
    return build.build()


def picture(rng: Generator, finish: Finish) -> Model:
    """An abstract painting in a frame."""
    width, height = rng.uniform(0.4, 1.1), rng.uniform(0.35, 0.8)
    middle = rng.uniform(1.45, 1.65)
    build = ModelBuilder()
    canvas = replace(
        finish.accent,
        texture=str(rng.choice(["painting", "painting", "stripes", "speckle"])),
        second=sample_colour(rng, str(rng.choice(["white", "yellow", "blue", "red", "black", "green"]))),
        scale=float(rng.uniform(0.2, 0.5)),
    )
    build.box((width, 0.025, height), (0, -0.0125, middle), canvas)
    for side in (-1, 1):
        build.box((0.05, 0.04, height + 0.05), (side * width / 2, -0.02, middle), finish.main)
        build.box((width, 0.04, 0.05), (0, -0.02, middle + side * height / 2), finish.main)
    return build.build()


def clock(rng: Generator, finish: Finish) -> Model:
    """A round wall clock with a rim, marks and two hands."""
    radius, z = rng.uniform(0.16, 0.24), rng.uniform(1.75, 2.0)
    build = ModelBuilder()
    build.cylinder(radius, 0.05, finish.main, (0, 0, z), axis="y", segments=24)
    build.cylinder(radius * 0.86, 0.055, finish.light, (0, 0, z), axis="y", segments=24)
    for index in range(12):
        build.box((0.012, 0.006, 0.035), (0, -0.056, z + radius * 0.72), finish.dark)
        build.rotate_last(index * np.pi / 6, 1, (0, -0.056, z))
    for length, thick in ((0.7, 0.014), (0.45, 0.02)):
        build.box((thick, 0.008, radius * length), (0, -0.06, z + radius * length / 2), finish.dark)
        build.rotate_last(rng.uniform(0, 2 * np.pi), 1, (0, -0.06, z))
    return build.build()


def television(rng: Generator, finish: Finish) -> Model:
    """A wide flat screen on the wall."""
    width = rng.uniform(0.9, 1.4)
    height, middle = width * 0.56, rng.uniform(1.15, 1.4)
    build = ModelBuilder()
    build.box((width, 0.06, height), (0, -0.05, middle), finish.main)
    lit = rng.random() < 0.3
    screen = replace(
        finish.dark,
        texture="painting" if lit else "plain",
        second=finish.accent.colour,
        scale=0.5,
        emission=0.4 if lit else 0.0,
        gloss=0.4,
    )
    build.box((width * 0.96, 0.006, height * 0.93), (0, -0.083, middle), screen)
    return build.build()


def radiator(rng: Generator, finish: Finish) -> Model:
    """A row of upright ribs low on the wall."""
    width, height, low = rng.uniform(0.7, 1.3), rng.uniform(0.45, 0.6), rng.uniform(0.1, 0.18)
    ribs = int(width / 0.08)
    build = ModelBuilder()
    for index in range(ribs):
        x = (index - (ribs - 1) / 2) * width / ribs
        build.box((width / ribs * 0.6, 0.1, height), (x, -0.08, low + height / 2), finish.main)
    for z in (low + 0.06, low + height - 0.06):
        build.box((width, 0.05, 0.05), (0, -0.07, z), finish.main)
    build.cylinder(0.015, low + 0.06, finish.metal, (width / 2 + 0.02, -0.07, 0), segments=8)
    return build.build()


def fire_extinguisher(rng: Generator, finish: Finish) -> Model:
    """A cylinder with a round shoulder, valve, hose and label, held on the wall."""
    radius, height, low = rng.uniform(0.075, 0.095), rng.uniform(0.45, 0.6), rng.uniform(0.3, 0.8)
    y = -radius - 0.03
    build = ModelBuilder()
    body = [
        (radius, 0),
        (radius, height * 0.72),
        (radius * 0.75, height * 0.82),
        (0.025, height * 0.86),
        (0.025, height * 0.92),
    ]
    build.lathe(body, finish.main, (0, y, low), segments=14)
    build.cylinder(radius * 1.02, height * 0.25, finish.light, (0, y, low + height * 0.3), segments=14)
    build.box((0.03, 0.14, 0.02), (0, y - 0.03, low + height * 0.95), finish.dark)
    build.box((0.03, 0.12, 0.02), (0, y - 0.03, low + height), finish.dark)
    build.rotate_last(0.25, 0, (0, y, low + height))
    build.cylinder(0.015, height * 0.7, finish.dark, (radius + 0.015, y, low + height * 0.2), segments=8)
    build.box((radius, 0.02, 0.02), (radius * 0.5, y, low + height * 0.9), finish.dark)
    build.box((0.06, 0.04, 0.2), (0, -0.02, low + height * 0.5), finish.metal)
    return build.build()


def rug(rng: Generator, finish: Finish) -> Model:
    """A flat rectangle or disc on the floor, with a border."""
    build = ModelBuilder()
    if rng.random() < 0.3:
        radius = rng.uniform(0.6, 1.0)
        build.cylinder(radius, 0.012, finish.accent, segments=28)
        build.cylinder(radius * 0.9, 0.015, finish.main, segments=28)
        return build.build()
    width, depth = rng.uniform(1.2, 2.2), rng.uniform(0.9, 1.5)
    build.box((width, depth, 0.012), (0, 0, 0.006), finish.accent)
    build.box((width * 0.92, depth * 0.9, 0.015), (0, 0, 0.0075), finish.main)
    return build.build()
