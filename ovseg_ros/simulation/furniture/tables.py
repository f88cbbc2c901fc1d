"""Things to put other things on or into."""

from __future__ import annotations

from dataclasses import replace

from numpy.random import Generator

from ovseg_ros.simulation.materials import Finish
from ovseg_ros.simulation.shapes import Model, ModelBuilder


def table(rng: Generator, finish: Finish) -> Model:
    """A rectangular top on four legs, or a round top on a column."""
    height = rng.uniform(0.68, 0.78) if rng.random() < 0.7 else rng.uniform(0.38, 0.48)
    build = ModelBuilder()
    if rng.random() < 0.3:
        radius = rng.uniform(0.4, 0.6)
        build.cylinder(radius, 0.04, finish.main, (0, 0, height - 0.04), segments=24)
        build.cylinder(0.05, height - 0.04, finish.metal)
        build.cylinder(radius * 0.55, 0.03, finish.metal)
        build.support((0, 0, height), (radius * 1.2, radius * 1.2))
        return build.build()
    width, depth = rng.uniform(0.9, 1.7), rng.uniform(0.65, 0.9)
    leg = rng.uniform(0.05, 0.08)
    build.box((width, depth, 0.04), (0, 0, height - 0.02), finish.main)
    build.legs(width * 0.94, depth * 0.92, height - 0.04, leg, finish.main if rng.random() < 0.6 else finish.metal)
    if rng.random() < 0.5:
        for side in (-1, 1):
            build.box((width * 0.86, 0.025, 0.08), (0, side * depth * 0.42, height - 0.08), finish.main)
    build.support((0, 0, height), (width * 0.9, depth * 0.85))
    return build.build()


def desk(rng: Generator, finish: Finish) -> Model:
    """A top with a drawer pedestal on one side, a panel or legs on the other, and a modesty panel."""
    width, depth, height = rng.uniform(1.1, 1.6), rng.uniform(0.6, 0.75), rng.uniform(0.71, 0.77)
    side = 1 if rng.random() < 0.5 else -1
    build = ModelBuilder()
    build.box((width, depth, 0.04), (0, 0, height - 0.02), finish.main)
    pedestal = 0.42
    x = side * (width - pedestal) / 2
    build.box((pedestal, depth * 0.9, height - 0.08), (x, 0, (height - 0.04) / 2), finish.main)
    for index in range(3):
        z = 0.13 + index * (height - 0.12) / 3
        build.box((pedestal * 0.9, 0.02, (height - 0.2) / 3.4), (x, -depth * 0.45 - 0.01, z), finish.main)
        build.box((0.12, 0.03, 0.02), (x, -depth * 0.45 - 0.03, z + 0.03), finish.metal)
    build.box((0.04, depth * 0.9, height - 0.04), (-side * (width - 0.06) / 2, 0, (height - 0.04) / 2), finish.main)
    build.box((width - 0.1, 0.03, height * 0.5), (0, depth * 0.42, height * 0.7), finish.main)
    build.support((0, 0.03, height), (width * 0.9, depth * 0.7))
    return build.build()


def cabinet(rng: Generator, finish: Finish) -> Model:
    """A closed box with doors or drawers and handles, low or tall."""
    tall = rng.random() < 0.35
    width = rng.uniform(0.6, 1.3)
    depth = rng.uniform(0.38, 0.58)
    height = rng.uniform(1.7, 2.05) if tall else rng.uniform(0.55, 1.0)
    build = ModelBuilder()
    build.box((width, depth, height - 0.06), (0, 0, (height - 0.06) / 2 + 0.06), finish.main)
    build.box((width * 0.94, depth * 0.9, 0.06), (0, 0.01, 0.03), finish.dark)
    front = -depth / 2
    panel = replace(finish.main, texture="plain")
    if tall or rng.random() < 0.5:
        doors = 2
        for index in range(doors):
            x = (index - 0.5) * width / doors
            build.box((width / doors - 0.03, 0.02, height - 0.14), (x, front - 0.01, height / 2 + 0.03), panel)
            knob = x + (0.5 - index) * (width / doors) * 0.75
            build.box((0.02, 0.03, 0.16), (knob, front - 0.03, height * 0.55), finish.metal)
    else:
        rows, columns = int(rng.integers(2, 5)), 1 if width < 0.9 else 2
        for row in range(rows):
            for column in range(columns):
                x = (column - (columns - 1) / 2) * width / columns
                z = 0.06 + (row + 0.5) * (height - 0.06) / rows
                build.box((width / columns - 0.04, 0.02, (height - 0.06) / rows - 0.03), (x, front - 0.01, z), panel)
                build.cylinder(0.018, 0.03, finish.metal, (x, front - 0.02, z), axis="y", segments=8)
    if not tall:
        build.support((0, 0, height), (width * 0.9, depth * 0.8))
    return build.build()


def bookshelf(rng: Generator, finish: Finish) -> Model:
    """Open shelves, mostly full of upright books."""
    width, depth, height = rng.uniform(0.7, 1.2), rng.uniform(0.26, 0.36), rng.uniform(1.3, 2.0)
    shelves = int(rng.integers(3, 6))
    build = ModelBuilder()
    build.box((width, 0.02, height), (0, depth / 2 - 0.01, height / 2), finish.main)
    for side in (-1, 1):
        build.box((0.03, depth, height), (side * (width - 0.03) / 2, 0, height / 2), finish.main)
    spacing = (height - 0.03) / shelves
    for index in range(shelves + 1):
        build.box((width, depth, 0.03), (0, 0, 0.015 + index * spacing), finish.main)
    spines = replace(finish.main, texture="book_spines", scale=float(rng.uniform(0.025, 0.05)), gloss=0.05)
    for index in range(shelves):
        filled = rng.uniform(0.5, 1.0) if rng.random() < 0.85 else 0.0
        x, end = -width / 2 + 0.03, -width / 2 + 0.03 + filled * (width - 0.06)
        while x + 0.06 < end:
            block = min(rng.uniform(0.08, 0.3), end - x)
            tall = spacing * rng.uniform(0.55, 0.85)
            build.box((block, depth * 0.75, tall), (x + block / 2, 0.02, 0.03 + index * spacing + tall / 2), spines)
            x += block
    return build.build()
