"""Things of maps without masks: clusters of a label, their boxes, and identities that stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from ovseg_ros.geometry import pack_keys, unpack_keys
from ovseg_ros.mapping import MapObject
from ovseg_ros.query import ClusteredObjects, LabelledVoxels, upright_box
from ovseg_ros.query.calibration import FRINGE
from ovseg_ros.query.surfaces import on_surface
from ovseg_ros.vocabulary import Vocabulary

WORDS = Vocabulary.from_names(["chair", "table", "wall", "floor", "picture"])
CHAIR_LABEL, TABLE_LABEL, WALL, FLOOR, PICTURE = range(1, 6)
VOXEL = 0.1


def block(corner: tuple[int, int, int], size: tuple[int, int, int]) -> torch.Tensor:
    steps = [torch.arange(start, start + length) for start, length in zip(corner, size, strict=True)]
    return pack_keys(torch.cartesian_prod(*steps))


def labelled(*things: tuple[int, torch.Tensor], weights: Sequence[float] = ()) -> LabelledVoxels:
    """Things of so many readings in each of their voxels; the voxels seen one after the other."""
    keys = torch.cat([keys for _, keys in things])
    labels = torch.cat([torch.full((len(keys),), label) for label, keys in things])
    seen = torch.cat(
        [torch.full((len(k),), w) for (_, k), w in zip(things, weights or [1.0] * len(things), strict=True)]
    )
    keys, order = keys.sort()
    assert len(keys.unique()) == len(keys)
    confidence = np.full(len(keys), 0.75, np.float32)
    return LabelledVoxels(
        keys.numpy(), seen[order].numpy(), labels[order].numpy(), confidence, order.numpy(), WORDS, VOXEL
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


def things_of(voxels: LabelledVoxels) -> list[MapObject]:
    return list(ClusteredObjects().update(voxels))


def test_readings_before_and_behind_a_surface_make_it_no_thicker() -> None:
    plate, before, behind = (block((x, 0, 0), (1, 8, 8)) for x in (0, -1, 1))
    noisy = labelled((1, plate), (1, before), (2, behind), weights=(100.0, 2.0, 3.0))
    (thing,) = things_of(noisy)
    assert (thing.label, thing.size) == ("chair", pytest.approx((0.1, 0.8, 0.8)))
    thick = labelled((1, plate), (1, before), (1, behind), weights=(100.0, 20.0, 30.0))
    assert things_of(thick)[0].size == pytest.approx((0.3, 0.8, 0.8))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.floats(0.02, 1.0))
def test_a_voxel_is_compared_with_its_26_neighbours(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    present = rng.random((7, 8, 9)) < density
    present[3, 3, 3] = True
    weights = np.where(present, rng.random(present.shape) ** 8, 0.0).astype(np.float32)
    keys = pack_keys(torch.from_numpy(np.argwhere(present)) - 4).numpy()
    expected = (weights >= FRINGE * maximum_filter(weights, 3, mode="constant"))[present]
    assert (on_surface(keys, weights[present]) == expected).all()


def test_what_is_over_the_rest_of_a_thing_belongs_to_it() -> None:
    top, legs = block((0, 0, 8), (8, 6, 1)), [block((x, y, 0), (1, 1, 4)) for x in (0, 7) for y in (0, 5)]
    (table,) = things_of(labelled((2, top), *((2, leg) for leg in legs)))
    assert (table.voxel_count, table.size) == (64, pytest.approx((0.8, 0.6, 0.9)))
    high = block((0, 0, 13), (8, 6, 1))
    assert len(things_of(labelled((2, high), *((2, leg) for leg in legs)))) == 1, "legs of 4 voxels are nothing alone"
    beside = things_of(labelled((2, top), (2, block((9, 0, 8), (8, 6, 1)))))
    assert [thing.voxel_count for thing in beside] == [48, 48]


def room(yaw: float) -> list[tuple[int, torch.Tensor]]:
    """Four walls 4 by 3 m and 2 m high, and two floors, turned."""
    x, y, z = torch.arange(-20, 20.5, 0.5), torch.arange(-15, 15.5, 0.5), torch.arange(1.0, 21.0)
    sides = [torch.cartesian_prod(torch.tensor([end]), y, z) for end in (-20.0, 20.0)]
    sides += [torch.cartesian_prod(x[2:-2], torch.tensor([end]), z) for end in (-15.0, 15.0)]
    floors = [torch.cartesian_prod(x, y, torch.tensor([level])) for level in (0.0, -30.0)]
    cosine, sine = np.cos(yaw), np.sin(yaw)
    turn = torch.tensor([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float32)
    walls, ground = (torch.unique(pack_keys((torch.cat(part) @ turn).round().long())) for part in (sides, floors))
    return [(WALL, walls), (FLOOR, ground)]


@pytest.mark.parametrize("yaw", [0.0, 0.4])
def test_walls_come_one_by_one_and_floors_by_their_height(yaw: float) -> None:
    # The corner of two walls is the larger one's.
    things = things_of(labelled(*room(yaw), (1, block((0, 0, 1), (4, 4, 4)))))
    assert [thing.label for thing in things] == ["chair", *["wall"] * 4, *["floor"] * 2]
    boxes = [upright_box(thing.keys, VOXEL) for thing in things[1:]]
    assert sorted(max(box.size[:2]) for box in boxes[:4]) == pytest.approx([2.5, 2.5, 4.0, 4.0], abs=0.3)
    assert all(min(box.size[:2]) < 0.4 for box in boxes[:4])
    assert sorted(box.centre[2] for box in boxes[4:]) == pytest.approx([-3.0, 0.0])


def test_walls_in_one_plane_with_nothing_between_are_two_and_scraps_are_none() -> None:
    left, right, scrap = (block((start, 0, 0), (length, 1, 20)) for start, length in ((0, 20), (31, 20), (-60, 4)))
    walls = things_of(labelled((WALL, left), (WALL, right), (WALL, scrap)))
    assert sorted(wall.voxel_count for wall in walls) == [400, 400]
    (one,) = things_of(labelled((WALL, left), (WALL, block((28, 0, 0), (20, 1, 20)))))
    assert one.voxel_count == 800


def test_a_label_that_reaches_onto_the_wall_beside_a_thing_makes_it_no_wider() -> None:
    wall, spilt = block((0, 0, 0), (40, 1, 25)), block((5, 1, 0), (24, 1, 10))
    chair = block((10, 2, 0), (10, 6, 10))
    (thing,) = [thing for thing in things_of(labelled((WALL, wall), (1, spilt), (1, chair))) if thing.label == "chair"]
    assert thing.size == pytest.approx((1.2, 0.7, 1.0))


def test_what_is_flat_on_a_wall_is_whole() -> None:
    wall, picture = block((0, 0, 0), (40, 1, 25)), block((5, 1, 10), (24, 1, 10))
    things = things_of(labelled((WALL, wall), (PICTURE, picture)))
    assert [(thing.label, thing.voxel_count) for thing in things] == [("picture", 240), ("wall", 1000)]


@settings(deadline=None, max_examples=30)
@given(st.floats(-np.pi, np.pi), st.floats(0.1, 3.0), st.floats(0.1, 3.0), st.integers(0, 2**31))
def test_a_box_holds_its_voxels_middles_and_is_no_larger_than_the_straight_one(
    yaw: float, width: float, depth: float, seed: int
) -> None:
    points = np.random.default_rng(seed).uniform(-0.5, 0.5, (500, 3)) * [width, depth, 1.0]
    cosine, sine = np.cos(yaw), np.sin(yaw)
    points[:, :2] = points[:, :2] @ np.array([[cosine, sine], [-sine, cosine]]) + [3.0, -7.0]
    keys = torch.unique(pack_keys(torch.from_numpy(np.round(points / VOXEL)).long()))
    box = upright_box(keys, VOXEL)
    centres = unpack_keys(keys).double().numpy() * VOXEL
    cosine, sine = np.cos(box.yaw), np.sin(box.yaw)
    local = (centres[:, :2] - box.centre[:2]) @ np.array([[cosine, -sine], [sine, cosine]])
    assert (np.abs(local) <= np.array(box.size[:2]) / 2 + 1e-4).all()
    straight = np.maximum(np.ptp(centres, axis=0), VOXEL / 2)
    assert box.size[0] * box.size[1] <= straight[0] * straight[1] + 1e-6
    assert box.size[2] == pytest.approx(straight[2])
    assert abs(box.yaw) <= np.pi / 4 + 1e-6


def test_a_turned_thing_has_a_turned_box_and_a_single_voxel_half_its_own() -> None:
    along = torch.arange(-20, 21)
    keys = torch.unique(torch.cat([pack_keys(torch.stack((along, along + shift, along * 0), 1)) for shift in (0, 1)]))
    box = upright_box(keys, VOXEL)
    assert abs(box.yaw) == pytest.approx(np.pi / 4, abs=0.02)
    assert max(box.size[:2]) > 6 * min(box.size[:2])
    single = upright_box(keys[:1], VOXEL)
    assert single.centre == pytest.approx((unpack_keys(keys[:1]).double()[0] * VOXEL).tolist())
    assert (single.size, single.yaw) == (pytest.approx((VOXEL / 2,) * 3), 0.0)
