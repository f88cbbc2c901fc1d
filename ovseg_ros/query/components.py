"""Voxels that hang together: connected components on sparse voxel indices."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ovseg_ros.geometry import KEY_BITS

Keys = npt.NDArray[np.int64]
Masks = npt.NDArray[np.uint64]

LARGEST_GAP = 2
"""Then a block has 4 voxels along each axis, which are the 64 bits of one number."""


def connected_voxels(keys: Keys, max_gap: int) -> npt.NDArray[np.int64]:
    """Group voxels that are neighbours or have at most ``max_gap`` empty voxels between them along each axis.

    With no gap these are the 26-connected components. In blocks so small that any two of their voxels are connected,
    only blocks have to be compared, each with its 26 neighbours, and there are far fewer of them.

    Args:
        keys: (n,) distinct packed voxel keys in any order.
        max_gap: empty voxels that a connection may bridge, 0 to 2.

    Returns:
        (n,) component numbers from 0.

    Raises:
        ValueError: a larger gap.
    """
    if not 0 <= max_gap <= LARGEST_GAP:
        raise ValueError(f"max_gap must be 0 to {LARGEST_GAP}, got {max_gap}")
    if not len(keys):
        return np.zeros(0, dtype=np.int64)
    edge = max_gap + 2
    voxel_blocks, bits = _blocks_of(keys, edge)
    # Stable, as this makes use of what is in order already: voxels come much as they were seen.
    order = np.argsort(voxel_blocks, kind="stable")
    ordered = voxel_blocks[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    blocks, masks = ordered[starts], np.bitwise_or.reduceat(bits[order], starts)
    first, second = np.concatenate([_edges(blocks, masks, edge, towards) for towards in _half_space()], axis=1)
    graph = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(len(blocks), len(blocks)))
    _, components = connected_components(graph, directed=False)
    result = np.empty(len(keys), dtype=np.int64)
    result[order] = np.repeat(components, np.diff(starts, append=len(keys)))
    return result


def _blocks_of(keys: Keys, edge: int) -> tuple[Keys, Masks]:
    """(n,) packed blocks of so many voxels along each axis that voxels are in, and (n,) which bit of it each is."""
    blocks, bits = np.zeros_like(keys), np.zeros(len(keys), dtype=np.int32)
    for axis in range(3):
        # Half as wide as keys are, they are divided several times as fast.
        coordinates = ((keys >> ((2 - axis) * KEY_BITS)) & ((1 << KEY_BITS) - 1)).astype(np.int32)
        block = coordinates // edge
        blocks = (blocks << KEY_BITS) | block
        bits = edge * bits + coordinates - edge * block
    return blocks, np.uint64(1) << bits.astype(np.uint64)


def _half_space() -> list[tuple[int, int, int]]:
    """Directions to the neighbours of a block, one of each opposite pair."""
    steps = (-1, 0, 1)
    return [(x, y, z) for x, y, z in product(steps, steps, steps) if (x, y, z) > (0, 0, 0)]


def _edges(blocks: Keys, masks: Masks, edge: int, towards: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    """(2, e) blocks and those neighbours in a direction that they are connected with."""
    x, y, z = towards
    wanted = blocks + (x << (2 * KEY_BITS)) + (y << KEY_BITS) + z
    found = np.searchsorted(blocks, wanted).clip(max=len(blocks) - 1)
    first = np.flatnonzero(blocks[found] == wanted)
    second = found[first]
    near = masks[first]
    for axis, step in enumerate(towards):
        near = _spread(near, edge, axis, step)
    connected = near & masks[second] != 0
    return np.stack((first[connected], second[connected]))


def _spread(masks: Masks, edge: int, axis: int, step: int) -> Masks:
    """Bits of a neighbour within reach of any bit of (n,) ``masks``, as far as one axis is concerned.

    Two voxels of different blocks are out of reach along an axis if the one in the farther block is not lower in its
    block than the other is in its own.
    """
    stride = edge ** (2 - axis)
    result = np.zeros_like(masks) if step else masks
    for shift in range(1, edge):
        by = np.uint64(shift * stride)
        if step >= 0:
            result = result | ((masks & _layers(edge, axis, range(shift, edge))) >> by)
        if step <= 0:
            result = result | ((masks & _layers(edge, axis, range(edge - shift))) << by)
    return result


@cache
def _layers(edge: int, axis: int, coordinates: range) -> np.uint64:
    """The bits with these coordinates along an axis."""
    voxels = np.arange(edge**3) // edge ** (2 - axis) % edge
    return np.uint64(sum(1 << int(bit) for bit in np.flatnonzero(np.isin(voxels, coordinates))))
