"""Things to sit or lie on."""

from __future__ import annotations

from numpy.random import Generator

from ovseg_ros.simulation.materials import Finish
from ovseg_ros.simulation.shapes import Model, ModelBuilder


def bed(rng: Generator, finish: Finish) -> Model:
    """Frame, mattress, blanket and a headboard at the wall."""
    width, length, height = rng.uniform(0.9, 1.8), rng.uniform(1.9, 2.15), rng.uniform(0.4, 0.6)
    build = ModelBuilder()
    build.box((width, length, 0.18), (0, 0, 0.2), finish.wood)
    build.legs(width, length, 0.12, 0.08, finish.wood)
    build.blob((width - 0.04, length - 0.06, height - 0.2), (0, 0, height - 0.1), finish.light, power=8)
    cover = rng.uniform(0.55, 0.75) * length
    build.blob((width + 0.02, cover, height - 0.16), (0, -(length - cover) / 2, height - 0.09), finish.main, power=7)
    build.box((width + 0.04, 0.06, height + rng.uniform(0.3, 0.6)), (0, length / 2, (height + 0.5) / 2), finish.wood)
    build.support((0, length * 0.3, height), (width * 0.8, length * 0.25), 0.5)
    return build.build()


def sofa(rng: Generator, finish: Finish) -> Model:
    """Seat cushions, a back and two arms."""
    width, depth, seat = rng.uniform(1.3, 2.3), rng.uniform(0.8, 0.95), rng.uniform(0.38, 0.46)
    back, arm = rng.uniform(0.75, 0.95), rng.uniform(0.14, 0.24)
    build = ModelBuilder()
    build.box((width, depth, seat - 0.18), (0, 0, (seat - 0.18) / 2 + 0.06), finish.main)
    build.legs(width * 0.95, depth * 0.9, 0.07, 0.05, finish.dark)
    build.blob((width, 0.24, back - 0.1), (0, depth / 2 - 0.12, (back + 0.1) / 2), finish.main, power=7)
    for side in (-1, 1):
        build.blob((arm, depth, seat + 0.1), (side * (width - arm) / 2, 0, (seat + 0.22) / 2), finish.main, power=7)
    count = 2 if width < 1.8 else 3
    cushion = (width - 2 * arm) / count
    for index in range(count):
        x = (index - (count - 1) / 2) * cushion
        build.blob((cushion * 0.98, depth - 0.26, 0.2), (x, -0.1, seat - 0.08), finish.main, power=6)
        build.blob((cushion * 0.95, 0.2, back - seat), (x, depth / 2 - 0.27, (back + seat) / 2), finish.main, power=5)
    build.support((0, -0.02, seat + 0.01), (width - 2 * arm - 0.3, depth * 0.35), 0.5)
    return build.build()


def chair(rng: Generator, finish: Finish) -> Model:
    """A seat on legs with a back: a solid panel, or slats."""
    width, depth, seat = rng.uniform(0.4, 0.5), rng.uniform(0.4, 0.5), rng.uniform(0.42, 0.48)
    back, leg = rng.uniform(0.8, 1.0), rng.uniform(0.03, 0.05)
    build = ModelBuilder()
    build.legs(width, depth, seat, leg, finish.main if rng.random() < 0.6 else finish.metal)
    if rng.random() < 0.4:
        build.blob((width, depth, 0.09), (0, 0, seat), finish.accent, power=6)
    else:
        build.box((width, depth, 0.045), (0, 0, seat), finish.main)
    y = depth / 2 - leg / 2
    for side in (-1, 1):
        build.box((leg, leg, back - seat), (side * (width - leg) / 2, y, (back + seat) / 2), finish.main)
    style = rng.integers(3)
    if style == 0:
        build.box((width, 0.03, (back - seat) * 0.6), (0, y, back - (back - seat) * 0.3), finish.main)
    elif style == 1:
        for part in (0.35, 0.65, 0.95):
            build.box((width, 0.03, 0.06), (0, y, seat + part * (back - seat)), finish.main)
    else:
        build.box((width, 0.04, 0.07), (0, y, back), finish.main)
        for part in (-0.3, -0.1, 0.1, 0.3):
            build.box((0.025, 0.025, back - seat), (part * width, y, (back + seat) / 2), finish.main)
    return build.build()


def stool(rng: Generator, finish: Finish) -> Model:
    """A round seat without a back, on legs or a column."""
    radius, height = rng.uniform(0.16, 0.22), rng.uniform(0.42, 0.75)
    build = ModelBuilder()
    build.cylinder(radius, rng.uniform(0.04, 0.09), finish.main, (0, 0, height - 0.05))
    if rng.random() < 0.5:
        build.cylinder(0.03, height - 0.05, finish.metal)
        build.cylinder(radius * 1.1, 0.025, finish.metal)
    else:
        spread = radius * 1.3
        build.legs(spread, spread, height - 0.04, 0.035, finish.main)
        for side in (-1, 1):
            build.box((spread, 0.025, 0.025), (0, side * spread * 0.43, height * 0.35), finish.main)
    return build.build()
