"""Camera paths through the free space of a room."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from ovseg_ros.simulation.room import GRID_STEP, Room

CLEARANCE = 0.3
"""Metres that a robot or a person keeps from things, where the room allows."""


def look(position: NDArray[np.float64], yaw: float, pitch: float, roll: float = 0.0) -> NDArray[np.float64]:
    """(4, 4) camera -> world for a camera at ``position`` that looks along ``yaw``, up by ``pitch`` (radians)."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    pose = np.eye(4)
    pose[:3, 0] = np.cos(roll) * right + np.sin(roll) * down
    pose[:3, 1] = np.cos(roll) * down - np.sin(roll) * right
    pose[:3, 2] = forward
    pose[:3, 3] = position
    return pose


def walk(room: Room, frames: int, rng: Generator) -> NDArray[np.float64]:
    """A round through the room that a person with a camera could walk, looking about.

    Args:
        room: to walk through.
        frames: poses wanted, evenly spaced along the way.
        rng: decides the way, the height of the camera and where it looks.

    Returns:
        (frames, 4, 4) camera -> world.
    """
    way = _round_trip(room, rng)
    length = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))))
    at = np.linspace(0.0, length[-1], frames)
    x, y = np.interp(at, length, way[:, 0]), np.interp(at, length, way[:, 1])
    height = rng.uniform(1.1, 1.6)
    progress = np.linspace(0.0, 1.0, frames)
    turns = max(2, round(frames / 25)) * (1 if rng.random() < 0.5 else -1)
    yaw = rng.uniform(-np.pi, np.pi) + 2 * np.pi * turns * progress
    pitch = np.deg2rad(-14 + 18 * np.sin(2 * np.pi * (abs(turns) * 1.618) * progress + rng.uniform(0, 6)))
    bob = 0.03 * np.sin(2 * np.pi * 7 * progress)
    positions = np.stack((x, y, height + bob), axis=1)
    return np.stack([look(positions[i], yaw[i], pitch[i]) for i in range(frames)])


def random_views(room: Room, count: int, rng: Generator) -> NDArray[np.float64]:
    """Unrelated views from free space for training: half look at a random thing, half anywhere.

    Returns:
        (count, 4, 4) camera -> world.
    """
    cells, origin = _free_cells(room)
    things = [entry for entry in room.objects if entry.label not in ("wall", "floor", "ceiling")]
    poses = []
    for _ in range(count):
        cell = cells[int(rng.integers(len(cells)))]
        ground = origin + (cell + rng.uniform(-0.5, 0.5, size=2)) * GRID_STEP
        position = np.append(ground, rng.uniform(0.7, 1.8))
        if things and rng.random() < 0.6:
            towards = things[int(rng.integers(len(things)))].centre - position
            yaw = np.arctan2(towards[1], towards[0]) + rng.normal(0, 0.25)
            pitch = np.arctan2(towards[2], np.hypot(towards[0], towards[1])) + rng.normal(0, 0.15)
        else:
            yaw, pitch = rng.uniform(-np.pi, np.pi), rng.normal(-0.2, 0.25)
        poses.append(look(position, float(yaw), float(np.clip(pitch, -1.2, 0.7)), float(rng.normal(0, 0.04))))
    return np.stack(poses)


def _free_cells(room: Room) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N, 2) cells of the largest connected free area, with as much clearance as leaves one, and the grid's origin."""
    for clearance in (CLEARANCE, 0.2, 0.1, 0.0):
        free, origin = room.free_space(clearance)
        areas, count = ndimage.label(free)
        if count:
            sizes = np.bincount(areas.ravel())[1:]
            if sizes.max() >= 20:
                return np.argwhere(areas == sizes.argmax() + 1), origin
    return np.argwhere(np.ones((1, 1), dtype=bool)), np.zeros(2)


def _round_trip(room: Room, rng: Generator) -> NDArray[np.float64]:
    """(N, 2) metres: shortest ways between far-apart places of the free space, smoothed."""
    cells, origin = _free_cells(room)
    if len(cells) < 2:
        return np.repeat(origin[None, :] + cells[:1] * GRID_STEP, 2, axis=0)
    graph = _neighbour_graph(cells)
    stops = [int(rng.integers(len(cells)))]
    for _ in range(4):
        apart = np.min([np.linalg.norm(cells - cells[stop], axis=1) for stop in stops], axis=0)
        stops.append(int(apart.argmax()))
    order = np.array([stops[0], *sorted(stops[1:], key=lambda stop: float(_bearing(cells, stop))), stops[0]])
    way: list[int] = [int(order[0])]
    for start, goal in pairwise(order):
        _, previous = dijkstra(graph, directed=False, indices=np.array([start]), return_predecessors=True)
        leg = [int(goal)]
        while leg[-1] != start:
            leg.append(int(previous[0, leg[-1]]))
        way += leg[-2::-1]
    metres = origin + cells[way] * GRID_STEP
    return np.asarray(ndimage.uniform_filter1d(metres, size=5, axis=0, mode="nearest"))


def _bearing(cells: NDArray[np.int64], cell: int) -> float:
    """Angle of a cell around the middle of the free space."""
    offset = cells[cell] - cells.mean(axis=0)
    return float(np.arctan2(offset[1], offset[0]))


def _neighbour_graph(cells: NDArray[np.int64]) -> coo_array:
    """Adjacency of (N, 2) cells to their eight neighbours, weighted by distance."""
    shape = cells.max(axis=0) + 2
    index = np.full(shape, -1)
    index[cells[:, 0], cells[:, 1]] = np.arange(len(cells))
    rows, columns, weights = [], [], []
    for step in ((1, 0), (0, 1), (1, 1), (1, -1)):
        other = index[cells[:, 0] + step[0], cells[:, 1] + step[1]]
        joined = np.flatnonzero(other >= 0)
        rows.append(joined)
        columns.append(other[joined])
        weights.append(np.full(len(joined), np.hypot(*step)))
    return coo_array(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=(len(cells), len(cells))
    )
