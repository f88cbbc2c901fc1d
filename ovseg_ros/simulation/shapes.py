"""Triangle meshes of simple solids, and the builder that joins them into one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.simulation.materials import Material

Vec = Sequence[float] | NDArray[np.floating]


@dataclass(frozen=True)
class Support:
    """A level rectangle that small things can stand on, in the object's frame.

    Attributes:
        centre: (x, y, z) metres; z is the surface.
        size: (x, y) metres.
        headroom: metres of free height above.
    """

    centre: tuple[float, float, float]
    size: tuple[float, float]
    headroom: float = 0.6


@dataclass(frozen=True)
class Model:
    """One object in its own frame: base centre at the origin, z up, front towards -y, back towards +y.

    Attributes:
        vertices: (V, 3) float32 metres.
        triangles: (T, 3) int32.
        triangle_materials: (T,) int32 index into ``materials``.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    triangle_materials: NDArray[np.int32]
    materials: tuple[Material, ...]
    supports: tuple[Support, ...] = ()

    @property
    def lower(self) -> NDArray[np.float32]:
        """(3,) smallest coordinates."""
        return self.vertices.min(axis=0)

    @property
    def upper(self) -> NDArray[np.float32]:
        """(3,) largest coordinates."""
        return self.vertices.max(axis=0)


@dataclass
class ModelBuilder:
    """Collects solids; `build` joins them."""

    _vertices: list[NDArray[np.float32]] = field(default_factory=list)
    _triangles: list[NDArray[np.int32]] = field(default_factory=list)
    _materials: list[Material] = field(default_factory=list)
    _counts: list[int] = field(default_factory=list)
    _offset: int = 0
    supports: list[Support] = field(default_factory=list)

    def add(self, vertices: NDArray[np.floating], triangles: NDArray[np.integer], material: Material) -> None:
        """Add any triangle mesh."""
        self._vertices.append(np.asarray(vertices, dtype=np.float32))
        self._triangles.append(np.asarray(triangles, dtype=np.int32) + self._offset)
        self._materials.append(material)
        self._counts.append(len(triangles))
        self._offset += len(vertices)

    def box(self, size: Vec, centre: Vec, material: Material) -> None:
        """An axis-aligned box."""
        corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
        self.add(corners * np.asarray(size) + np.asarray(centre), _BOX_TRIANGLES, material)

    def legs(self, width: float, depth: float, height: float, thickness: float, material: Material) -> None:
        """Four legs on the floor at the corners of a width x depth rectangle."""
        for x in (-1, 1):
            for y in (-1, 1):
                at = (x * (width - thickness) / 2, y * (depth - thickness) / 2, height / 2)
                self.box((thickness, thickness, height), at, material)

    def lathe(
        self,
        profile: Sequence[tuple[float, float]],
        material: Material,
        at: Vec = (0, 0, 0),
        segments: int = 16,
        axis: str = "z",
    ) -> None:
        """A solid of revolution: ``profile`` lists (radius, height) from bottom to top; closed at both ends."""
        angles = np.linspace(0, 2 * np.pi, segments, endpoint=False)
        rings = [[r * np.cos(angles), r * np.sin(angles), np.full(segments, h)] for r, h in profile]
        vertices = np.concatenate([np.stack(ring, axis=1) for ring in rings])
        caps = np.array([[0, 0, profile[0][1]], [0, 0, profile[-1][1]]])
        triangles = _strip_triangles(len(profile), segments)
        last = len(profile) * segments
        around = np.arange(segments)
        following = (around + 1) % segments
        bottom = np.stack((np.full(segments, last), following, around), axis=1)
        top_ring = (len(profile) - 1) * segments
        top = np.stack((np.full(segments, last + 1), top_ring + around, top_ring + following), axis=1)
        vertices = np.concatenate((vertices, caps))
        if axis == "y":
            vertices = vertices[:, [0, 2, 1]] * np.array([1, -1, 1])
        elif axis == "x":
            vertices = vertices[:, [2, 1, 0]] * np.array([1, 1, -1])
        self.add(vertices + np.asarray(at), np.concatenate((triangles, bottom, top)), material)

    def cylinder(
        self,
        radius: float,
        height: float,
        material: Material,
        at: Vec = (0, 0, 0),
        top: float | None = None,
        axis: str = "z",
        segments: int = 16,
    ) -> None:
        """A cylinder or cone frustum standing on ``at`` (lying along ``axis`` otherwise)."""
        self.lathe([(radius, 0.0), (radius if top is None else top, height)], material, at, segments, axis)

    def blob(self, size: Vec, centre: Vec, material: Material, power: float = 2.0, segments: int = 14) -> None:
        """A superellipsoid with the given extents: power 2 is an ellipsoid, 4 and more a soft box."""
        polar = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
        around = np.linspace(0, 2 * np.pi, segments, endpoint=False)
        exponent = 2.0 / power
        cos_polar, sin_polar = _signed_power(np.cos(polar), exponent), _signed_power(np.sin(polar), exponent)
        cos_around, sin_around = _signed_power(np.cos(around), exponent), _signed_power(np.sin(around), exponent)
        x = cos_polar[:, None] * cos_around
        y = cos_polar[:, None] * sin_around
        z = np.broadcast_to(sin_polar[:, None], x.shape)
        vertices = np.stack((x, y, z), axis=-1).reshape(-1, 3) * (np.asarray(size) / 2) + np.asarray(centre)
        self.add(vertices, _strip_triangles(len(polar), segments), material)

    def sheet(self, grid: NDArray[np.floating], material: Material) -> None:
        """A surface through an (M, N, 3) grid of points."""
        rows, columns = grid.shape[:2]
        index = np.arange(rows * columns).reshape(rows, columns)
        a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
        triangles = np.concatenate((np.stack((a, b, c), 1), np.stack((a, c, d), 1)))
        self.add(grid.reshape(-1, 3), triangles, material)

    def rotate_last(self, angle: float, axis: int, pivot: Vec) -> None:
        """Turn the solid added last by ``angle`` radians about an axis (0 x, 1 y, 2 z) through ``pivot``."""
        self._vertices[-1] = (
            (self._vertices[-1] - np.asarray(pivot)) @ rotation(angle, axis).T + np.asarray(pivot)
        ).astype(np.float32)

    def support(self, centre: Vec, size: tuple[float, float], headroom: float = 0.6) -> None:
        """Declare a rectangle that small things can stand on."""
        self.supports.append(Support((float(centre[0]), float(centre[1]), float(centre[2])), size, headroom))

    def build(self) -> Model:
        """Join everything added so far."""
        unique = list(dict.fromkeys(self._materials))
        indices = [unique.index(material) for material in self._materials]
        return Model(
            vertices=np.concatenate(self._vertices),
            triangles=np.concatenate(self._triangles),
            triangle_materials=np.repeat(np.array(indices, dtype=np.int32), self._counts),
            materials=tuple(unique),
            supports=tuple(self.supports),
        )


def rotation(angle: float, axis: int = 2) -> NDArray[np.float64]:
    """(3, 3) rotation by ``angle`` radians about axis 0, 1 or 2."""
    matrix = np.eye(3)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix[[i, j], [i, j]] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def _signed_power(values: NDArray[np.floating], exponent: float) -> NDArray[np.floating]:
    return np.sign(values) * np.abs(values) ** exponent


def _strip_triangles(rings: int, segments: int) -> NDArray[np.int64]:
    """Triangles between consecutive rings of ``segments`` vertices each."""
    around = np.arange(segments)
    following = (around + 1) % segments
    base = (np.arange(rings - 1) * segments)[:, None]
    a, b = (base + around).ravel(), (base + following).ravel()
    c, d = a + segments, b + segments
    return np.concatenate((np.stack((a, b, d), 1), np.stack((a, d, c), 1)))


_BOX_TRIANGLES = np.array(
    [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
        [1, 5, 7],
        [1, 7, 3],
    ]
)
