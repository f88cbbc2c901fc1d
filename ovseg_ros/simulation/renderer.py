"""Ray casting: a room and a pose to colour, depth, label and instance images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import open3d as o3d
from numpy.random import Generator
from numpy.typing import NDArray

from ovseg_ros.simulation.depth_noise import DepthNoise
from ovseg_ros.simulation.room import Room
from ovseg_ros.simulation.textures import TEXTURES, albedo
from ovseg_ros.types import Intrinsics

MIDDLE_GREY = 0.22
"""Linear-light mean that the automatic exposure aims at."""


@dataclass(frozen=True)
class RoomView:
    """One rendered image.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32 metres along the optical axis, with the noise model's errors; NaN = no reading.
        clean_depth: (H, W) float32 metres, exact; NaN where nothing was hit.
        labels: (H, W) int32 label ids, exact; 0 where nothing was hit.
        instances: (H, W) int32 instance ids, likewise.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    clean_depth: NDArray[np.float32]
    labels: NDArray[np.int32]
    instances: NDArray[np.int32]


class RoomRenderer:
    """Renders views of one room with one camera.

    Args:
        room: what to render.
        intrinsics: of the camera.
        noise: depth errors; None gives exact depth.
    """

    def __init__(self, room: Room, intrinsics: Intrinsics, noise: DepthNoise | None = None) -> None:
        self._room, self._intrinsics, self._noise = room, intrinsics, noise
        self._scene = o3d.t.geometry.RaycastingScene()
        self._scene.add_triangles(
            o3d.core.Tensor.from_numpy(room.vertices), o3d.core.Tensor.from_numpy(room.triangles.astype(np.uint32))
        )
        v, u = np.mgrid[: intrinsics.height, : intrinsics.width]
        x = (u - intrinsics.cx) / intrinsics.fx
        y = (v - intrinsics.cy) / intrinsics.fy
        self._directions = np.stack((x, y, np.ones_like(x)), axis=-1).reshape(-1, 3).astype(np.float32)
        self._labels = np.array([entry.label_id for entry in room.objects], dtype=np.int32)
        self._instances = np.array([entry.instance_id for entry in room.objects], dtype=np.int32)
        self._colour = np.array([entry.colour for entry in room.materials], dtype=np.float32)
        self._second = np.array([entry.second for entry in room.materials], dtype=np.float32)
        self._scale = np.array([entry.scale for entry in room.materials], dtype=np.float32)
        self._gloss = np.array([entry.gloss for entry in room.materials], dtype=np.float32)
        self._emission = np.array([entry.emission for entry in room.materials], dtype=np.float32)
        self._texture = np.array([TEXTURES.index(entry.texture) for entry in room.materials], dtype=np.int64)

    def render(self, pose: NDArray[np.floating], rng: Generator | None = None) -> RoomView:
        """One view.

        Args:
            pose: (4, 4) camera -> world, optical axes.
            rng: source of sensor noise; None repeats the same noise for the same room.
        """
        rng = np.random.default_rng(self._room.seed) if rng is None else rng
        shape = (self._intrinsics.height, self._intrinsics.width)
        origin, directions = self._rays(pose)
        hits = self._cast(origin, directions)
        distance = hits["t_hit"].numpy()
        hit = np.flatnonzero(np.isfinite(distance))
        triangle = hits["primitive_ids"].numpy()[hit].astype(np.int64)
        normals = hits["primitive_normals"].numpy()[hit]
        uv = hits["primitive_uvs"].numpy()[hit]

        radiance = np.zeros((len(distance), 3), dtype=np.float32)
        radiance[hit] = self._shade(
            origin + directions[hit] * distance[hit, None], directions[hit], normals, triangle, uv
        )
        owner = self._room.triangle_objects[triangle]
        labels = np.zeros(len(distance), dtype=np.int32)
        labels[hit] = self._labels[owner]
        instances = np.zeros(len(distance), dtype=np.int32)
        instances[hit] = self._instances[owner]
        clean = np.full(len(distance), np.nan, dtype=np.float32)
        clean[hit] = distance[hit]
        clean = clean.reshape(shape)
        depth = clean if self._noise is None else self._noise.apply(clean, rng)
        return RoomView(
            _develop(radiance, rng).reshape(*shape, 3), depth, clean, labels.reshape(shape), instances.reshape(shape)
        )

    def cast_depth(self, pose: NDArray[np.floating]) -> NDArray[np.float32]:
        """The (H, W) exact depth of a view alone, metres; NaN where nothing was hit."""
        distance = self._cast(*self._rays(pose))["t_hit"].numpy()
        depth: NDArray[np.float32] = np.where(np.isfinite(distance), distance, np.nan).astype(np.float32)
        return depth.reshape(self._intrinsics.height, self._intrinsics.width)

    def _rays(self, pose: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Camera centre (3,) and a world direction (N, 3) per pixel, of length 1 along the optical axis."""
        return pose[:3, 3].astype(np.float32), self._directions @ pose[:3, :3].T.astype(np.float32)

    def _cast(self, origin: NDArray[np.float32], directions: NDArray[np.float32]) -> Any:
        rays = np.concatenate((np.broadcast_to(origin, directions.shape), directions), axis=1)
        return self._scene.cast_rays(o3d.core.Tensor.from_numpy(rays))

    def _shade(
        self,
        points: NDArray[np.float32],
        directions: NDArray[np.float32],
        normals: NDArray[np.float32],
        triangle: NDArray[np.int64],
        uv: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Light from (N, 3) surface points to the camera: Lambert and Blinn-Phong, point lights, shadows."""
        corners = self._room.triangles[triangle]
        u, v = uv[:, :1], uv[:, 1:]
        local = self._room.local[corners[:, 0]] * (1 - u - v)
        local += self._room.local[corners[:, 1]] * u
        local += self._room.local[corners[:, 2]] * v
        material = self._room.triangle_materials[triangle]
        colour = albedo(
            local, self._texture[material], self._scale[material], self._colour[material], self._second[material]
        )

        view = -directions / _length(directions)
        normals = np.where(_dot(normals, view) < 0, -normals, normals)
        light_sum = np.float32(self._room.ambient) * (0.75 + 0.25 * normals[:, 2:3])
        shine = np.zeros((len(points), 1), dtype=np.float32)
        start = points + np.float32(2e-3) * normals
        for light in self._room.lights:
            towards = np.float32(light.position) - start
            shadow_rays = np.concatenate((start, towards), axis=1)
            blocked = self._scene.test_occlusions(
                o3d.core.Tensor.from_numpy(shadow_rays), tnear=0.0, tfar=0.999
            ).numpy()
            reach = _length(towards)
            direction = towards / reach
            arriving = (~blocked)[:, None] / (1.0 + np.float32(0.25) * reach**2)
            light_sum += np.float32(light.power) * (np.maximum(_dot(normals, direction), 0.0) * arriving)
            half = direction + view
            mirrored = np.maximum(_dot(normals, half) / (_length(half) + np.float32(1e-6)), 0.0)
            for _ in range(5):
                mirrored *= mirrored
            shine += mirrored * arriving
        light_sum += self._emission[material][:, None]
        result: NDArray[np.float32] = colour * light_sum + self._gloss[material][:, None] * shine
        return result


def _dot(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 3) times (N, 3) -> (N, 1)."""
    result: NDArray[np.float32] = np.einsum("ij,ij->i", first, second)[:, None]
    return result


def _length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 3) -> (N, 1)."""
    result: NDArray[np.float32] = np.sqrt(_dot(vectors, vectors))
    return result


def _develop(radiance: NDArray[np.float32], rng: Generator) -> NDArray[np.uint8]:
    """A camera's automatic exposure, tone curve and sensor noise: (N, 3) linear light -> (N, 3) uint8."""
    exposure = MIDDLE_GREY / max(float(radiance.mean()), 1e-3)
    encoded = np.clip(radiance * exposure, 0.0, 1.0) ** np.float32(1 / 2.2)
    encoded += rng.standard_normal(encoded.shape, dtype=np.float32) * np.float32(0.012)
    return (np.clip(encoded, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
