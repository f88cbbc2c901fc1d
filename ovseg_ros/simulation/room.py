"""A furnished room: what stands where, exactly, and the triangles it is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.datasets.labelled_mesh import LabelledMesh
from ovseg_ros.simulation.classes import CLASS_NAMES, LABEL_IDS
from ovseg_ros.simulation.materials import Material
from ovseg_ros.simulation.shapes import Model, rotation

GRID_STEP = 0.1
"""Metres per cell of the free-space grid."""


@dataclass(frozen=True)
class RoomObject:
    """One thing in a room, exactly.

    Attributes:
        instance_id: 1 and up; the value in instance images and the mesh.
        label: class name; ``label_id`` its id (1 and up).
        lower, upper: (3,) corners of its box along the world's axes, metres.
        colour: the colour a person would name, or "" where a pattern leaves none.
    """

    instance_id: int
    label: str
    label_id: int
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    colour: str = ""

    @property
    def centre(self) -> NDArray[np.float64]:
        """(3,) metres."""
        return (self.lower + self.upper) / 2

    @property
    def size(self) -> NDArray[np.float64]:
        """(3,) metres."""
        return self.upper - self.lower


@dataclass(frozen=True)
class Light:
    """A point light: position (3,) metres, linear-light RGB power (3,)."""

    position: NDArray[np.float64]
    power: NDArray[np.float64]


@dataclass(frozen=True)
class Room:
    """Triangles with materials, the things they make up, and lights. World frame: z up, floor at z = 0.

    Attributes:
        seed: generate_room(seed) makes this very room again.
        kind: "bedroom", "kitchen", ...
        size: (3,) metres: x, y, height; the origin is the middle of the floor.
        objects: things with identity; walls, floor and ceiling included.
        vertices: (V, 3) float32 world coordinates; ``local`` the same in each object's own frame (for textures).
        triangles: (T, 3) int32; no vertex is shared between objects.
        triangle_objects: (T,) int32 index into ``objects``; ``triangle_materials`` into ``materials``.
    """

    seed: int
    kind: str
    size: NDArray[np.float64]
    objects: tuple[RoomObject, ...]
    vertices: NDArray[np.float32]
    local: NDArray[np.float32]
    triangles: NDArray[np.int32]
    triangle_objects: NDArray[np.int32]
    triangle_materials: NDArray[np.int32]
    materials: tuple[Material, ...]
    lights: tuple[Light, ...]
    ambient: NDArray[np.float64]

    def mesh(self) -> LabelledMesh:
        """The room as a labelled triangle mesh; vertex colours are the materials' own, unlit."""
        owner = np.zeros(len(self.vertices), dtype=np.int64)
        owner[self.triangles.ravel()] = np.repeat(self.triangle_objects, 3)
        material = np.zeros(len(self.vertices), dtype=np.int64)
        material[self.triangles.ravel()] = np.repeat(self.triangle_materials, 3)
        linear = np.array([entry.colour for entry in self.materials])
        colours = (255 * np.clip(linear, 0, 1) ** (1 / 2.2)).astype(np.uint8)
        return LabelledMesh(
            vertices=self.vertices,
            triangles=self.triangles,
            colours=colours[material],
            labels=np.array([entry.label_id for entry in self.objects], dtype=np.int32)[owner],
            instances=np.array([entry.instance_id for entry in self.objects], dtype=np.int32)[owner],
            class_names=CLASS_NAMES,
        )

    def free_space(self, clearance: float) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Where something with the given radius can stand.

        Args:
            clearance: metres to keep from walls and things.

        Returns:
            (X, Y) bool grid with cells of GRID_STEP, and the (2,) world position of the centre of cell (0, 0).
        """
        shape = np.maximum(np.floor(self.size[:2] / GRID_STEP).astype(int), 1)
        origin = -(shape - 1) / 2 * GRID_STEP
        x = origin[0] + np.arange(shape[0]) * GRID_STEP
        y = origin[1] + np.arange(shape[1]) * GRID_STEP
        half = self.size[:2] / 2 - clearance
        free = (np.abs(x) <= half[0])[:, None] & (np.abs(y) <= half[1])[None, :]
        for entry in self.objects:
            if entry.label in ("wall", "floor", "ceiling", "rug") or entry.lower[2] > 1.9:
                continue
            low, high = entry.lower[:2] - clearance, entry.upper[:2] + clearance
            free &= ~(((x > low[0]) & (x < high[0]))[:, None] & ((y > low[1]) & (y < high[1]))[None, :])
        return free, origin


class RoomBuilder:
    """Collects placed models, refuses those that would stand inside another; `build` joins them."""

    def __init__(self, seed: int, kind: str, size: NDArray[np.float64]) -> None:
        self.size = size
        self._seed, self._kind = seed, kind
        self._objects: list[RoomObject] = []
        self._keep_free: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        self._vertices: list[NDArray[np.float32]] = []
        self._local: list[NDArray[np.float32]] = []
        self._triangles: list[NDArray[np.int32]] = []
        self._owners: list[NDArray[np.int32]] = []
        self._materials: list[Material] = []
        self._material_ids: list[NDArray[np.int32]] = []
        self._offset = 0

    def place(
        self,
        label: str,
        model: Model,
        position: NDArray[np.float64],
        yaw: float,
        *,
        colour: str = "",
        margin: float = 0.02,
        ignore: int | None = None,
    ) -> RoomObject | None:
        """Put a model at ``position`` (3,) turned by ``yaw``; None where it doesn't fit.

        ``margin`` is the gap to keep in metres; ``ignore`` the instance id that it may touch (what it stands on).
        """
        world = model.vertices @ rotation(yaw).T.astype(np.float32) + position.astype(np.float32)
        lower, upper = world.min(axis=0).astype(np.float64), world.max(axis=0).astype(np.float64)
        if not self._fits(lower, upper, margin, ignore):
            return None
        return self.add(label, model, world, colour)

    def add(self, label: str, model: Model, world: NDArray[np.float32], colour: str = "") -> RoomObject:
        """Take a model with its vertices already in the world, whatever stands there."""
        entry = RoomObject(
            instance_id=len(self._objects) + 1,
            label=label,
            label_id=LABEL_IDS[label],
            lower=world.min(axis=0).astype(np.float64),
            upper=world.max(axis=0).astype(np.float64),
            colour=colour,
        )
        self._vertices.append(world.astype(np.float32))
        self._local.append(model.vertices)
        self._triangles.append(model.triangles + np.int32(self._offset))
        self._owners.append(np.full(len(model.triangles), len(self._objects), dtype=np.int32))
        self._material_ids.append(model.triangle_materials + np.int32(len(self._materials)))
        self._materials.extend(model.materials)
        self._offset += len(world)
        self._objects.append(entry)
        return entry

    def keep_free(self, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> None:
        """Nothing is placed in this box from now on."""
        self._keep_free.append((lower, upper))

    def _fits(self, lower: NDArray[np.float64], upper: NDArray[np.float64], margin: float, ignore: int | None) -> bool:
        half = self.size[:2] / 2 + 1e-3
        if (lower[:2] < -half).any() or (upper[:2] > half).any() or upper[2] > self.size[2] - 0.02:
            return False
        boxes = [
            (entry.lower, entry.upper)
            for entry in self._objects
            if entry.label not in ("wall", "floor", "ceiling", "rug") and entry.instance_id != ignore
        ]
        for low, high in (*boxes, *self._keep_free):
            gap = np.array([margin, margin, 0.0])
            if ((lower < high + gap - 1e-4) & (upper > low - gap + 1e-4)).all():
                return False
        return True

    def build(self, lights: tuple[Light, ...], ambient: NDArray[np.float64]) -> Room:
        """The finished room."""
        return Room(
            seed=self._seed,
            kind=self._kind,
            size=self.size,
            objects=tuple(self._objects),
            vertices=np.concatenate(self._vertices),
            local=np.concatenate(self._local),
            triangles=np.concatenate(self._triangles),
            triangle_objects=np.concatenate(self._owners),
            triangle_materials=np.concatenate(self._material_ids),
            materials=tuple(self._materials),
            lights=lights,
            ambient=ambient,
        )
