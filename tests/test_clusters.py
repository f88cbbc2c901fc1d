"""Things of maps without masks: clusters of a label, their boxes, and identities that stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_ros.geometry import pack_keys, unpack_keys
from ovseg_ros.query import ClusteredObjects, LabelledVoxels, upright_box

NAMES = ("chair", "table")
VOXEL = 0.1


def block(corner: tuple[int, int, int], size: tuple[int, int, int]) -> torch.Tensor:
    steps = [torch.arange(start, start + length) for start, length in zip(corner, size, strict=True)]
    return pack_keys(torch.cartesian_prod(*steps))


def labelled(*things: tuple[int, torch.Tensor]) -> LabelledVoxels:
    keys = torch.cat([keys for _, keys in things]).numpy()
    labels = np.concatenate([np.full(len(keys), label) for label, keys in things])
    return LabelledVoxels(
        keys, labels, np.full(len(keys), 0.75, np.float32), np.arange(len(keys), dtype=np.int64), NAMES, VOXEL
    )


CHAIR, OTHER_CHAIR, TABLE = block((0, 0, 0), (4, 4, 4)), block((20, 0, 0), (4, 4, 4)), block((4, 0, 0), (5, 5, 3))


def test_voxels_of_a_name_that_hang_together_are_a_thing() -> None:
    things = ClusteredObjects().update(
        labelled((1, CHAIR), (1, OTHER_CHAIR), (2, TABLE), (2, block((0, 50, 0), (2, 2, 2))))
    )
    assert [thing.label for thing in things] == ["chair", "chair", "table"]
    assert [thing.voxel_count for thing in things] == [64, 64, 75]
    assert [thing.id for thing in things] == [0, 1, 2]
    assert things[0].centre == pytest.approx((0.15, 0.15, 0.15))
    assert things[0].size == pytest.approx((0.4, 0.4, 0.4))
    assert things[0].score == pytest.approx(0.75)


def test_ids_stay_while_things_grow_and_are_never_used_again() -> None:
    clusters = ClusteredObjects()
    clusters.update(labelled((1, CHAIR), (1, OTHER_CHAIR)))
    grown = block((20, 0, 0), (5, 4, 4))
    (left,) = clusters.update(labelled((1, grown)))
    assert (left.id, left.view_count, left.first_seen_ns, left.last_seen_ns) == (1, 2, 127, 79)
    again = clusters.update(labelled((1, CHAIR), (2, grown), (2, TABLE)))
    assert {thing.id: thing.label for thing in again} == {1: "table", 2: "chair", 3: "table"}
    assert clusters.update(labelled((1, block((0, 0, 0), (1, 1, 1))))) == ()


def test_two_things_never_take_one_id() -> None:
    clusters = ClusteredObjects()
    clusters.update(labelled((1, block((0, 0, 0), (12, 4, 4)))))
    halves = clusters.update(labelled((1, block((0, 0, 0), (5, 4, 4))), (1, block((7, 0, 0), (5, 4, 4)))))
    assert sorted(thing.id for thing in halves) == [0, 1]


@settings(deadline=None, max_examples=30)
@given(st.floats(-np.pi, np.pi), st.floats(0.1, 3.0), st.floats(0.1, 3.0), st.integers(0, 2**31))
def test_a_box_holds_its_voxels_and_is_no_larger_than_the_straight_one(
    yaw: float, width: float, depth: float, seed: int
) -> None:
    points = np.random.default_rng(seed).uniform(-0.5, 0.5, (500, 3)) * [width, depth, 1.0]
    cosine, sine = np.cos(yaw), np.sin(yaw)
    points[:, :2] = points[:, :2] @ np.array([[cosine, sine], [-sine, cosine]]) + [3.0, -7.0]
    keys = torch.unique(pack_keys(torch.from_numpy(np.round(points / VOXEL)).long()))
    box = upright_box(keys, VOXEL)
    centres = unpack_keys(keys).double().numpy() * VOXEL
    corners = (centres[:, None, :2] + np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)]) * VOXEL).reshape(
        -1, 2
    )
    cosine, sine = np.cos(box.yaw), np.sin(box.yaw)
    local = (corners - box.centre[:2]) @ np.array([[cosine, -sine], [sine, cosine]])
    assert (np.abs(local) <= np.array(box.size[:2]) / 2 + 1e-4).all()
    straight = np.ptp(centres, axis=0) + VOXEL
    assert box.size[0] * box.size[1] <= straight[0] * straight[1] + 1e-6
    assert box.size[2] == pytest.approx(straight[2])
    assert abs(box.yaw) <= np.pi / 4 + 1e-6


def test_a_turned_thing_has_a_turned_box_and_a_single_voxel_its_own() -> None:
    along = torch.arange(-20, 21)
    keys = torch.unique(torch.cat([pack_keys(torch.stack((along, along + shift, along * 0), 1)) for shift in (0, 1)]))
    box = upright_box(keys, VOXEL)
    assert abs(box.yaw) == pytest.approx(np.pi / 4, abs=0.02)
    assert max(box.size[:2]) > 6 * min(box.size[:2])
    single = upright_box(keys[:1], VOXEL)
    assert single.centre == pytest.approx((unpack_keys(keys[:1]).double()[0] * VOXEL).tolist())
    assert (single.size, single.yaw) == (pytest.approx((VOXEL,) * 3), 0.0)
