"""Furnishing: from a seed to a room that a person would find plausible."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ovseg_ros.simulation.classes import BY_NAME
from ovseg_ros.simulation.furniture import BUILDERS
from ovseg_ros.simulation.materials import sample_finish
from ovseg_ros.simulation.room import Light, Room, RoomBuilder, RoomObject
from ovseg_ros.simulation.shapes import Model, ModelBuilder, Support, rotation

ATTEMPTS = 12
HUE_KEEPING = ("plain", "wood", "fabric", "speckle")
"""Textures under which a person still names the main colour."""

WALL_YAWS = (0.0, np.pi / 2, np.pi, -np.pi / 2)
"""Yaw that turns a model's back to the wall at +y, -x, -y, +x."""


@dataclass(frozen=True)
class Wishes:
    """What a kind of room likes to have: class -> expected count (a fraction is a probability)."""

    at_wall: dict[str, float]
    in_middle: dict[str, float]
    on_wall: dict[str, float]
    on_floor: dict[str, float]
    on_top: dict[str, float]


_ON_WALL = {"picture": 1.2, "clock": 0.4, "radiator": 0.4, "fire extinguisher": 0.35}
KINDS: dict[str, Wishes] = {
    "bedroom": Wishes(
        {"bed": 1.0, "cabinet": 1.4, "desk": 0.4, "bookshelf": 0.4},
        {},
        {**_ON_WALL, "television": 0.3},
        {
            "chair": 0.5,
            "lamp": 0.5,
            "plant": 0.4,
            "suitcase": 0.5,
            "backpack": 0.5,
            "trash can": 0.3,
            "teddy bear": 0.3,
            "stool": 0.3,
            "ball": 0.2,
        },
        {"pillow": 1.6, "teddy bear": 0.6, "lamp": 0.6, "book": 0.7, "vase": 0.3, "laptop": 0.3},
    ),
    "living room": Wishes(
        {"sofa": 1.3, "cabinet": 0.8, "bookshelf": 0.8},
        {"table": 0.9},
        {**_ON_WALL, "television": 0.8},
        {"lamp": 0.7, "plant": 0.9, "stool": 0.4, "ball": 0.4, "chair": 0.5, "box": 0.2},
        {"pillow": 1.7, "book": 0.9, "vase": 0.8, "bottle": 0.5, "laptop": 0.4, "teddy bear": 0.3},
    ),
    "kitchen": Wishes(
        {"refrigerator": 1.0, "oven": 1.0, "sink": 0.9, "cabinet": 1.2, "washing machine": 0.4},
        {"table": 0.9},
        _ON_WALL,
        {"trash can": 0.8, "stool": 0.8, "chair": 0.5, "plant": 0.3, "box": 0.4},
        {"bottle": 1.6, "vase": 0.5, "book": 0.4, "box": 0.2},
    ),
    "bathroom": Wishes(
        {"bathtub": 0.9, "toilet": 1.0, "sink": 1.0, "washing machine": 0.7, "cabinet": 0.5},
        {},
        {"picture": 0.4, "clock": 0.2, "radiator": 0.7},
        {"trash can": 0.7, "stool": 0.4, "plant": 0.3, "box": 0.2},
        {"bottle": 1.0, "vase": 0.4},
    ),
    "office": Wishes(
        {"desk": 1.7, "bookshelf": 0.9, "cabinet": 0.7},
        {"table": 0.4},
        {**_ON_WALL, "television": 0.3},
        {"chair": 0.6, "trash can": 0.8, "plant": 0.6, "backpack": 0.7, "box": 0.7, "lamp": 0.3, "suitcase": 0.2},
        {"monitor": 1.6, "laptop": 0.9, "book": 1.0, "bottle": 0.5, "lamp": 0.4},
    ),
    "studio": Wishes(
        {
            "bed": 0.8,
            "sofa": 0.6,
            "desk": 0.6,
            "refrigerator": 0.5,
            "oven": 0.4,
            "bookshelf": 0.5,
            "toilet": 0.25,
            "bathtub": 0.25,
            "sink": 0.4,
            "washing machine": 0.4,
        },
        {"table": 0.6},
        {**_ON_WALL, "television": 0.5},
        {
            "chair": 0.5,
            "stool": 0.4,
            "suitcase": 0.5,
            "box": 0.5,
            "ball": 0.5,
            "backpack": 0.5,
            "teddy bear": 0.4,
            "plant": 0.5,
            "lamp": 0.4,
            "trash can": 0.4,
        },
        {"pillow": 0.8, "book": 0.7, "bottle": 0.6, "vase": 0.6, "laptop": 0.5, "monitor": 0.5},
    ),
}


def generate_room(seed: int) -> Room:
    """A furnished room, the same for the same seed.

    Args:
        seed: any non-negative integer; seeds below 100,000 are never used in training.
    """
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(list(KINDS)))
    scale = 0.75 if kind == "bathroom" else 1.0
    size = np.array([rng.uniform(3.8, 6.2) * scale, rng.uniform(3.4, 5.2) * scale, rng.uniform(2.4, 2.9)])
    builder = RoomBuilder(seed, kind, size)
    furnisher = _Furnisher(rng, builder)
    furnisher.structure()
    furnisher.openings()
    furnisher.furnish(KINDS[kind])
    lights, ambient = _lights(rng, size)
    return builder.build(lights, ambient)


class _Furnisher:
    """Places things one after another; what doesn't fit after a few attempts is left out."""

    def __init__(self, rng: Generator, builder: RoomBuilder) -> None:
        self.rng, self.builder = rng, builder
        self.supports: list[tuple[RoomObject, Support, float, NDArray[np.float64]]] = []

    def structure(self) -> None:
        """Walls, floor and ceiling, seen from inside."""
        x, y, height = self.builder.size / 2 * [1, 1, 2]
        corners = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
        finish = sample_finish(self.rng, BY_NAME["wall"])
        walls = ModelBuilder()
        feature_wall = int(self.rng.integers(4)) if self.rng.random() < 0.35 else -1
        for index in range(4):
            a, b = corners[index], corners[(index + 1) % 4]
            grid = np.array([[[*a, 0.0], [*b, 0.0]], [[*a, height], [*b, height]]])
            walls.sheet(grid, finish.accent if index == feature_wall else finish.main)
        self._structure("wall", walls)
        for label, z in (("floor", 0.0), ("ceiling", height)):
            finish = sample_finish(self.rng, BY_NAME[label])
            flat = ModelBuilder()
            grid = np.array([[[-x, -y, z], [x, -y, z]], [[-x, y, z], [x, y, z]]])
            flat.sheet(grid, replace(finish.main, scale=float(self.rng.uniform(0.1, 0.4))))
            self._structure(label, flat)

    def _structure(self, label: str, build: ModelBuilder) -> None:
        model = build.build()
        self.builder.add(label, model, model.vertices)

    def openings(self) -> None:
        """Doors, with the space before them kept free, and windows with curtains."""
        for _ in range(1 if self.rng.random() < 0.8 else 2):
            placed = self._at_wall("door")
            if placed is not None:
                reach = np.array([0.45, 0.45, 0.0])
                self.builder.keep_free(placed.lower - reach, placed.upper + reach)
        for _ in range(int(self.rng.choice([0, 1, 2], p=[0.15, 0.55, 0.3]))):
            placed = self._at_wall("window", margin=0.05)
            if placed is not None and self.rng.random() < 0.6:
                self._curtains(placed)

    def _curtains(self, window: RoomObject) -> None:
        """One curtain on each side of the window, of the same cloth."""
        along = 0 if window.size[0] > window.size[1] else 1
        side = np.sign(window.centre[1 - along])
        yaw = {(0, 1.0): 0.0, (1, -1.0): np.pi / 2, (0, -1.0): np.pi, (1, 1.0): -np.pi / 2}[(along, float(side))]
        model, colour = self._model("curtain")
        for end in (-1, 1):
            position = window.centre.copy()
            position[1 - along] = side * self.builder.size[1 - along] / 2
            edge = window.lower if end < 0 else window.upper
            position[along] = edge[along] + end * (model.upper[0] + 0.12)
            position[2] = 0.0
            self.builder.place("curtain", model, position, yaw, colour=colour, margin=0.0)

    def furnish(self, wishes: Wishes) -> None:
        """Large things first, small things on top of them last."""
        for label in self._wanted(wishes.at_wall):
            placed = self._at_wall(label, jitter=0.02)
            if placed is not None and label == "desk":
                self._chair_before(placed)
        for label in self._wanted(wishes.in_middle):
            self._in_middle(label)
        for label in self._wanted(wishes.on_wall):
            self._at_wall(label, margin=0.08)
        for label in self._wanted(wishes.on_floor):
            self._on_floor(label)
        if self.rng.random() < 0.45:
            self._on_floor("rug")
        for label in self._wanted(wishes.on_top):
            self._on_top(label)

    def _wanted(self, wishes: dict[str, float]) -> list[str]:
        """Draw counts; the order is random, so that no class always takes the best places."""
        labels: list[str] = []
        for label, expected in wishes.items():
            whole = int(expected)
            labels += [label] * (whole + int(self.rng.random() < expected - whole))
            if self.rng.random() < 0.1:
                labels.append(label)
        self.rng.shuffle(labels)
        return labels

    def _model(self, label: str) -> tuple[Model, str]:
        finish = sample_finish(self.rng, BY_NAME[label])
        colour = finish.colour_name if finish.main.texture in HUE_KEEPING else ""
        return BUILDERS[label](self.rng, finish), colour

    def _at_wall(self, label: str, *, margin: float = 0.04, jitter: float = 0.0) -> RoomObject | None:
        """Back to a wall, anywhere along it."""
        model, colour = self._model(label)
        for _ in range(ATTEMPTS):
            wall = int(self.rng.integers(4))
            yaw = WALL_YAWS[wall]
            axis = 1 if wall % 2 == 0 else 0
            sign = 1.0 if wall in (0, 3) else -1.0
            room = self.builder.size[1 - axis] / 2 - max(model.upper[0], -model.lower[0]) - 0.03
            if room <= 0:
                continue
            position = np.zeros(3)
            position[axis] = sign * (self.builder.size[axis] / 2 - model.upper[1] - self.rng.uniform(0, jitter + 1e-6))
            position[1 - axis] = self.rng.uniform(-room, room)
            placed = self._place(label, model, position, yaw, colour, margin)
            if placed is not None:
                return placed
        return None

    def _in_middle(self, label: str) -> None:
        """Away from the walls, with chairs around."""
        model, colour = self._model(label)
        for _ in range(ATTEMPTS):
            yaw = float(self.rng.choice(WALL_YAWS)) + self.rng.uniform(-0.1, 0.1)
            reach = np.maximum(self.builder.size[:2] / 2 - 1.3, 0.1)
            position = np.append(self.rng.uniform(-reach, reach), 0.0)
            placed = self._place(label, model, position, yaw, colour, 0.35)
            if placed is None:
                continue
            if placed.size[2] > 0.6:
                chair, paint = self._model("chair")
                for _ in range(int(self.rng.integers(1, 5))):
                    self._chair_around(placed, chair, paint)
            return

    def _chair_around(self, table: RoomObject, model: Model, colour: str) -> None:
        yaw = float(self.rng.choice(WALL_YAWS))
        facing = rotation(yaw) @ np.array([0.0, -1.0, 0.0])
        distance = abs(facing[:2]) @ table.size[:2] / 2 + self.rng.uniform(0.28, 0.4)
        along = abs(facing[[1, 0]]) @ table.size[:2] / 2 * self.rng.uniform(-0.6, 0.6)
        position = table.centre - facing * distance + rotation(yaw) @ np.array([along, 0.0, 0.0])
        position[2] = 0.0
        self.builder.place("chair", model, position, yaw + self.rng.uniform(-0.2, 0.2), colour=colour)

    def _chair_before(self, desk: RoomObject) -> None:
        """A chair on the desk's free side, facing it."""
        axis = 0 if desk.size[0] < desk.size[1] else 1
        inward = -np.sign(desk.centre[axis])
        facing = {(1, -1.0): np.pi, (1, 1.0): 0.0, (0, 1.0): -np.pi / 2, (0, -1.0): np.pi / 2}[(axis, float(inward))]
        model, colour = self._model("chair")
        position = desk.centre.copy()
        position[axis] += inward * (desk.size[axis] / 2 + self.rng.uniform(0.28, 0.45))
        position[2] = 0.0
        self.builder.place("chair", model, position, facing + self.rng.uniform(-0.4, 0.4), colour=colour)

    def _on_floor(self, label: str) -> None:
        """Anywhere on the floor, turned anyhow."""
        model, colour = self._model(label)
        for _ in range(ATTEMPTS):
            yaw = float(self.rng.uniform(-np.pi, np.pi)) if label != "rug" else float(self.rng.choice(WALL_YAWS))
            reach = self.builder.size[:2] / 2 - 0.25
            position = np.append(self.rng.uniform(-reach, reach), 0.0)
            if label == "rug":
                turned = model.vertices @ rotation(yaw).T
                inside = (np.abs(turned[:, :2] + position[:2]) < self.builder.size[:2] / 2).all()
                if inside:
                    world = (turned + position).astype(np.float32)
                    self.builder.add(label, model, world, colour)
                    return
            elif self._place(label, model, position, yaw, colour, 0.05) is not None:
                return

    def _on_top(self, label: str) -> None:
        """On a table, a desk, a low cabinet; pillows and toys on beds and sofas."""
        soft = label in ("pillow", "teddy bear")
        wanted = ("bed", "sofa") if soft else ("table", "desk", "cabinet")
        places = [place for place in self.supports if place[0].label in wanted]
        if not places:
            return
        model, colour = self._model(label)
        for _ in range(ATTEMPTS):
            owner, support, yaw, origin = places[int(self.rng.integers(len(places)))]
            if model.upper[2] > support.headroom:
                model, colour = self._model(label)
                continue
            offset = self.rng.uniform(-0.5, 0.5, size=2) * np.maximum(np.array(support.size) - 0.2, 0.02)
            local = np.array(support.centre) + np.append(offset, 0.002)
            turn = self.rng.uniform(-0.5, 0.5) if label != "bottle" else self.rng.uniform(-np.pi, np.pi)
            position = rotation(yaw) @ local + origin
            if self.builder.place(
                label, model, position, yaw + turn, colour=colour, margin=0.03, ignore=owner.instance_id
            ):
                return

    def _place(
        self, label: str, model: Model, position: NDArray[np.float64], yaw: float, colour: str, margin: float
    ) -> RoomObject | None:
        placed = self.builder.place(label, model, position, yaw, colour=colour, margin=margin)
        if placed is not None:
            self.supports += [(placed, support, yaw, position) for support in model.supports]
        return placed


def _lights(rng: Generator, size: NDArray[np.float64]) -> tuple[tuple[Light, ...], NDArray[np.float64]]:
    """One to three lamps below the ceiling, warm or cold, and light from everywhere."""
    lights = []
    for _ in range(int(rng.integers(1, 4))):
        position = np.append(rng.uniform(-0.35, 0.35, size=2) * size[:2], size[2] - rng.uniform(0.1, 0.5))
        warmth = rng.uniform(-0.12, 0.15)
        lights.append(Light(position, rng.uniform(0.6, 1.6) * np.array([1 + warmth, 1.0, 1 - warmth])))
    return tuple(lights), rng.uniform(0.18, 0.4) * np.array([1.0, 1.0, rng.uniform(0.95, 1.1)])
