"""From pixels beyond range to rays matched with frontiers: bins of directions, choice of pixels, matching."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import TensorWork

from ovseg_ros.mapping import ray_casting
from ovseg_ros.mapping.ray_casting import DirectionBins, match_frontiers, pixels_beyond_range


def directions_at(azimuth: list[float], elevation: float) -> torch.Tensor:
    angle, up = np.radians(azimuth), np.radians(elevation)
    flat = np.stack((np.cos(angle), np.sin(angle)), axis=-1) * np.cos(up)
    return torch.from_numpy(np.column_stack((flat, np.full(len(azimuth), np.sin(up)))))


@given(degrees=st.floats(5.0, 90.0), elevation=st.floats(-90.0, 90.0))
@settings(deadline=None, derandomize=True)
def test_azimuth_wraps_around(degrees, elevation):
    east, west = DirectionBins(degrees).of(directions_at([179.9, -179.9], elevation)).tolist()
    assert east == west


def test_opposite_directions_and_neighbours_beyond_a_bin_are_told_apart():
    bins = DirectionBins(30.0)
    assert len(bins.of(directions_at([0.0, 90.0, 180.0, -90.0], 0.0)).unique()) == 4
    assert len(bins.of(directions_at([150.0, 180.0, -150.0], 0.0)).unique()) == 3
    assert len(torch.cat([bins.of(directions_at([10.0], up)) for up in range(-90, 91, 30)]).unique()) == 7


def test_each_pole_is_one_bin():
    caps = [
        DirectionBins(30.0).of(directions_at(list(range(-180, 180, 7)), up)).unique() for up in (-89.0, -80.0, 80.0)
    ]
    assert [len(cap) for cap in caps] == [1, 1, 1]
    assert torch.equal(caps[0], caps[1]) and not torch.equal(caps[1], caps[2])


@pytest.mark.parametrize("degrees", [10.0, 30.0, 45.0])
def test_bins_are_of_nearly_equal_area(degrees):
    directions = torch.from_numpy(np.random.default_rng(2).normal(size=(200_000, 3)))
    bins = DirectionBins(degrees)
    share = torch.bincount(bins.of(directions)).double() / len(directions) * bins.count
    assert len(share) == bins.count
    assert share.min() > 0.6 and share.max() < 1.4


def test_frontiers_are_matched_in_bounded_memory(monkeypatch):
    rng = np.random.default_rng(3)
    directions = torch.nn.functional.normalize(torch.from_numpy(rng.normal([0, 0, 3], 1, (400, 3))).abs(), dim=-1)
    offsets = torch.from_numpy(rng.uniform(0, 6, (5000, 3)))
    limits = {"min_distance": 0.5, "max_distance": 15.0, "max_ortho": 0.25}
    with TensorWork() as work:
        matches = match_frontiers(directions, offsets, **limits)
    assert work.largest <= ray_casting.PAIRS_AT_ONCE < 400 * 5000 / 4
    assert len(matches[0]) > 100
    monkeypatch.setattr(ray_casting, "PAIRS_AT_ONCE", 400 * 5000)
    for part, whole in zip(matches, match_frontiers(directions, offsets, **limits), strict=True):
        assert torch.equal(part, whole)


@pytest.mark.parametrize(("image", "limit"), [((48, 64), 192), ((48, 64), 500), ((30, 7), 200)])
def test_pixels_are_taken_evenly(image, limit):
    depth = torch.full(image, torch.inf)
    rows, columns = pixels_beyond_range(depth, 0, limit)
    pixels = rows * image[1] + columns
    assert len(pixels.unique()) == limit
    assert torch.equal(pixels, pixels.sort().values)
    for half in (rows < image[0] / 2, columns < image[1] / 2):
        assert half.double().mean().item() == pytest.approx(0.5, abs=0.1)
    assert len(columns.unique()) > 0.9 * min(image[1], limit)


def test_frontiers_behind_a_ray_are_not_met_by_it():
    """In a wide view a frontier may be ahead of one ray, here at 80 degrees, and straight behind another."""
    angle = np.radians(80.0)
    directions = torch.tensor([[np.sin(angle), 0.0, np.cos(angle)], [-np.sin(angle), 0.0, np.cos(angle)]])
    rays, _, _ = match_frontiers(directions, -0.5 * directions[:1], min_distance=0.4, max_distance=5.0, max_ortho=0.25)
    assert rays.tolist() == [1]
