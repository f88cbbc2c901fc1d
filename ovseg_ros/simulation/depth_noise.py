"""Errors of a structured-light depth camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray


@dataclass(frozen=True)
class DepthNoise:
    """Range noise, quantisation, drop-outs at edges and a range limit.

    The range noise is Nguyen, Izadi and Lovell's fit for the Kinect ("Modeling Kinect Sensor Noise", 3DIMPVT 2012,
    axial part): sigma = 0.0012 + 0.0019 (z - 0.4)^2 metres.

    Attributes:
        scale: factor on the range noise; 0 turns it off.
        disparity_step: quantum of the reading at 1 m, metres; it grows with the square of the depth.
        edge_jump: relative depth step between neighbours that counts as an edge.
        edge_drop: share of edge pixels without a reading.
        min_range, max_range: metres; outside there is no reading.
    """

    scale: float = 1.0
    disparity_step: float = 0.0015
    edge_jump: float = 0.04
    edge_drop: float = 0.7
    min_range: float = 0.3
    max_range: float = 8.0

    def apply(self, depth: NDArray[np.float32], rng: Generator) -> NDArray[np.float32]:
        """(H, W) exact metres -> (H, W) readings, NaN where there is none."""
        sigma = self.scale * (0.0012 + 0.0019 * (depth - 0.4) ** 2)
        noisy = depth + sigma * rng.standard_normal(depth.shape, dtype=np.float32)
        step = self.disparity_step * noisy**2
        noisy = np.round(noisy / step) * step
        dropped = self._edges(depth) & (rng.random(depth.shape, dtype=np.float32) < self.edge_drop)
        out_of_range = ~((noisy >= self.min_range) & (noisy <= self.max_range))
        return np.where(dropped | out_of_range, np.nan, noisy).astype(np.float32)

    def _edges(self, depth: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Pixels beside a depth step."""
        edges = np.zeros(depth.shape, dtype=bool)
        for axis in (0, 1):
            step = np.abs(np.diff(depth, axis=axis)) > self.edge_jump * np.minimum(
                np.take(depth, range(1, depth.shape[axis]), axis), np.take(depth, range(depth.shape[axis] - 1), axis)
            )
            first = [slice(None)] * 2
            second = [slice(None)] * 2
            first[axis], second[axis] = slice(None, -1), slice(1, None)
            edges[tuple(first)] |= step
            edges[tuple(second)] |= step
        return edges
