"""Where to stand: rooms painted by hand, in which the right answer is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from mapping_scenes import camera, depth_frame, random_map
from painted_rooms import CELL, FREE, Painting
from word_space import SPACE, word

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping.occupancy import UNOBSERVED
from ovseg_ros.query import GoalConfig, Located, Match, NoGoalError, RayMatch, locate
from ovseg_ros.query.visibility import first_obstacles
from ovseg_ros.types import Segmentation

CONFIG = GoalConfig()
CHAIR = ((3.0, 2.0, 0.1), (3.5, 2.5, 0.8))
WEST, EAST = (1.0, 2.5), (5.0, 2.5)


def room_with_chair() -> Painting:
    return Painting().room().box(*CHAIR, name="chair")


def check(world: Painting, located: Located, name: str, config: GoalConfig = CONFIG) -> None:
    """By the paint alone: the place is free and clear, the thing is in range, ahead, and in sight."""
    x, y, floor = located.position
    heights = np.arange(floor + 0.2, floor + config.robot_height + 1e-9, CELL)
    angles, radii = np.meshgrid(np.linspace(0, 2 * math.pi, 60), np.arange(0, config.clearance + 1e-9, 0.05))
    disc = np.stack((x + radii * np.cos(angles), y + radii * np.sin(angles)), axis=-1).reshape(-1, 2)
    column = np.concatenate([np.column_stack((disc, np.full(len(disc), z))) for z in heights])
    assert not (world.at(column) > 0).any()
    assert located.clearance >= config.clearance
    assert config.min_distance <= located.distance <= config.max_distance
    assert sees(world, located, name, config)


def sees(world: Painting, located: Located, name: str, config: GoalConfig) -> bool:
    """Whether some line along the robot's heading meets the thing before anything that isn't free."""
    eye = np.array(located.position) + np.array([0, 0, config.camera_height])
    steps = np.arange(0, config.max_distance + 2, CELL / 20)
    for turn in np.linspace(-0.3, 0.3, 13):
        for pitch in np.linspace(-1.2, 0.8, 41):
            heading = np.array([math.cos(located.yaw + turn), math.sin(located.yaw + turn), math.tan(pitch)])
            points = eye + steps[:, None] * heading
            first = int((world.at(points) != FREE).argmax())
            if world.is_named(name, points[first : first + 1])[0]:
                return True
    return False


def test_a_thing_in_the_open_is_faced_from_where_the_robot_is_near() -> None:
    world = room_with_chair()
    for robot in (WEST, EAST):
        located = locate(world.map(), SPACE, "chair", robot)
        check(world, located, "chair")
        assert isinstance(located.found, Match) and located.found.query == "chair"
        assert math.copysign(1, located.position[0] - 3.25) == math.copysign(1, robot[0] - 3.25)
        towards = np.array(located.found.position[:2]) - located.position[:2]
        assert abs(math.remainder(math.atan2(towards[1], towards[0]) - located.yaw, math.tau)) < 0.3
        assert located.path is not None
        straight = math.dist(robot, located.position[:2])
        assert straight - 0.01 <= located.path <= 1.1 * straight + CELL
        np.testing.assert_allclose(located.pose[:3, 0], [math.cos(located.yaw), math.sin(located.yaw), 0])
        np.testing.assert_allclose(located.pose[:3, 3], located.position)
        assert "m to go" in located.sentence


def test_without_a_robot_nobody_looked_for_a_way() -> None:
    world = room_with_chair()
    located = locate(world.map(), SPACE, "chair")
    check(world, located, "chair")
    assert located.path is None
    assert "no robot" in located.sentence


@pytest.mark.parametrize(
    ("wall", "words"),
    [
        (2.5, r"'chair' isn't in sight from where the robot could stand \(\d+ cells"),
        (1.0, r"'chair' is cut off from the robot at \(0.50"),
    ],
)
def test_nobody_stands_behind_a_wall(wall: float, words: str) -> None:
    world = room_with_chair().box((wall, 0, 0), (wall + 0.1, 5, 2.5))
    with pytest.raises(NoGoalError, match=words):
        locate(world.map(), SPACE, "chair", (0.5, 2.5))
    for robot in (None, EAST):
        located = locate(world.map(), SPACE, "chair", robot)
        check(world, located, "chair")
        assert located.position[0] > wall + 0.1


@pytest.mark.parametrize(("clearance", "fits"), [(0.15, True), (0.3, False)])
def test_a_doorway_narrower_than_twice_the_clearance_is_no_way(clearance: float, fits: bool) -> None:
    world = room_with_chair().box((1.2, 0, 0), (1.3, 5, 2.5)).box((1.2, 2.3, 0.1), (1.3, 2.7, 2.0), FREE)
    config = GoalConfig(clearance=clearance)
    if fits:
        check(world, locate(world.map(), SPACE, "chair", (0.6, 2.5), config), "chair", config)
    else:
        with pytest.raises(NoGoalError, match="cut off"):
            locate(world.map(), SPACE, "chair", (0.6, 2.5), config)


def test_a_thing_on_a_table_is_faced_from_beside_the_table() -> None:
    world = (
        Painting()
        .room()
        .box((2.5, 2, 0.6), (3.5, 3, 0.7), name="table")
        .box((2.9, 2.4, 0.8), (3.1, 2.6, 1.1), name="plant")
    )
    located = locate(world.map(), SPACE, "plant", WEST)
    check(world, located, "plant")
    assert located.found.position[2] > 0.7
    low = locate(world.map(), SPACE, "plant", WEST, replace(CONFIG, camera_height=0.9))
    assert low.distance >= 0.4 + CONFIG.clearance


def test_a_thing_in_a_niche_is_faced_from_its_open_side() -> None:
    world = Painting().room().box((2.9, 2.0, 0.1), (3.1, 2.2, 1.2), name="plant")
    world.box((2.6, 1.8, 0.1), (2.7, 2.4, 2.4)).box((3.3, 1.8, 0.1), (3.4, 2.4, 2.4)).box(
        (2.6, 1.7, 0.1), (3.4, 1.8, 2.4)
    )
    located = locate(world.map(), SPACE, "plant", (1.0, 0.7))
    check(world, located, "plant")
    assert located.position[1] > 2.4
    assert located.path is not None and located.path > 2.0


def test_enclosed_free_space_is_no_place_but_may_be_looked_into() -> None:
    world = Painting().room((0, 0), (6, 5))
    world.box((1.5, 1.0, 0.1), (4.5, 4.0, 0.7)).box((1.6, 1.1, 0.1), (4.4, 3.9, 0.7), FREE).box(*CHAIR, name="chair")
    located = locate(world.map(), SPACE, "chair", (0.8, 2.5))
    check(world, located, "chair")
    x, y, _ = located.position
    assert not (1.5 <= x <= 4.5 and 1.0 <= y <= 4.0)


def test_what_nobody_has_seen_hides_things_and_is_no_place() -> None:
    world = room_with_chair().box((0.1, 0.1, 0.9), (5.9, 4.9, 1.1), UNOBSERVED)
    with pytest.raises(
        NoGoalError, match=r"'chair' isn't in sight from where the robot could stand \(\d+ cells"
    ) as refused:
        locate(world.map(), SPACE, "chair", WEST)
    assert isinstance(refused.value.found, Match)
    half_seen = room_with_chair().box((3.6, 0.1, 0.1), (5.9, 4.9, 0.7), UNOBSERVED)
    assert locate(half_seen.map(), SPACE, "chair", EAST).position[0] < 3.6 - CONFIG.clearance


def test_stairs_that_lead_down_are_no_place() -> None:
    world = room_with_chair().box((3.6, 0.1, -0.4), (5.9, 4.9, 0.0), FREE)
    located = locate(world.map(), SPACE, "chair")
    assert located.position[0] < 3.6 - CONFIG.clearance


def test_each_thing_has_the_floor_of_its_storey() -> None:
    world = Painting(high=(7, 6, 6)).room().room(floor=2.6)
    world.box((4.0, 2.0, 0.1), (4.5, 2.5, 0.8), name="chair").box((1.0, 2.0, 2.7), (2.0, 2.5, 3.2), name="sofa")
    semantic_map = world.map()
    below, above = (locate(semantic_map, SPACE, name) for name in ("chair", "sofa"))
    assert (below.position[2], above.position[2]) == (pytest.approx(0.0), pytest.approx(2.6))
    check(world, above, "sofa")
    with pytest.raises(NoGoalError, match=r"at a height of 0.0 m but 'sofa' is above a floor at 2.6 m"):
        locate(semantic_map, SPACE, "sofa", (3.0, 4.0, 0.0))
    assert locate(semantic_map, SPACE, "sofa", (3.0, 4.0, 2.9)).path is not None


def test_the_robot_says_where_the_floor_is_when_nobody_saw_it() -> None:
    world = room_with_chair().box((0, 0, 0), (6, 5, 0), UNOBSERVED)
    with pytest.raises(NoGoalError, match="no floor was seen within 3 m of 'chair'"):
        locate(world.map(), SPACE, "chair", WEST)
    assert locate(world.map(), SPACE, "chair", (*WEST, 0.0)).position[2] == 0.0


def test_a_large_bed_is_no_floor() -> None:
    world = (
        Painting()
        .room((0, 0), (4, 3))
        .box((0.1, 0.1, 0.1), (2.4, 2.9, 0.5))
        .box((1.0, 1.0, 0.6), (1.4, 1.4, 0.7), name="plant")
    )
    located = locate(world.map(), SPACE, "plant", (3.2, 1.5))
    assert located.position[2] == 0.0
    check(world, located, "plant")


def test_a_robot_that_nothing_free_is_near_is_told_so() -> None:
    with pytest.raises(NoGoalError, match=r"no free floor was seen around the robot at \(20.00, 2.50\)"):
        locate(room_with_chair().map(), SPACE, "chair", (20.0, 2.5))


def test_a_robot_too_near_to_a_thing_may_move_away_but_not_through_it() -> None:
    world = room_with_chair().box((0, 1.0, 0), (6, 1.1, 2.5)).box((0, 1.5, 0), (6, 1.6, 2.5))
    assert locate(world.map(), SPACE, "chair", (1.0, 1.75)).path is not None
    with pytest.raises(NoGoalError, match=r"no free floor was seen around the robot at \(1.00, 1.30\)"):
        locate(world.map(), SPACE, "chair", (1.0, 1.3))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_distance": 0.6}, "is 0.3 m clear of everything, the best is"),
        ({"clearance": 3.0}, "is 3 m clear of everything, the best is"),
        ({"min_distance": 8.0, "max_distance": 9.0}, "no free floor was seen 8 to 9 m from 'chair'"),
    ],
)
def test_there_must_be_room(changes: dict[str, float], words: str) -> None:
    world = room_with_chair()
    if "clearance" not in changes:
        world.box((2.3, 1.3, 0.1), (4.2, 3.2, 0.3)).box((2.4, 1.4, 0.1), (4.1, 3.1, 0.3), FREE)
    with pytest.raises(NoGoalError, match=words):
        locate(world.map(), SPACE, "chair", None, replace(CONFIG, **changes))


def test_what_isnt_there_is_not_faced() -> None:
    with pytest.raises(NoGoalError, match="nothing in the map fits 'sofa'") as refused:
        locate(room_with_chair().map(), SPACE, "sofa", WEST)
    assert refused.value.found is None


def test_a_map_without_occupancy_says_which_layer_it_needs() -> None:
    with pytest.raises(OvsegError, match=r"mapping\.layers:=occupancy"):
        locate(random_map(), SPACE, "chair")


@pytest.mark.parametrize("robot", [(1.0,), (1.0, float("nan")), (1, 2, 3, 4)])
def test_a_robot_that_is_nowhere_is_refused(robot: tuple[float, ...]) -> None:
    with pytest.raises(OvsegError, match="the robot must be at x, y or x, y, z"):
        locate(room_with_chair().map(), SPACE, "chair", robot)


def test_what_was_only_seen_from_afar_gives_a_direction() -> None:
    world = Painting().room((0, 0), (6, 5)).box((6, 2, 0.1), (6, 3, 2.0), FREE)
    world.rays.append(((6.0, 2.5, 1.0), (0.6, 0.8, 0.1), "piano"))
    located = locate(world.map(), SPACE, "piano", WEST)
    assert isinstance(located.found, RayMatch)
    assert located.yaw == pytest.approx(math.atan2(0.8, 0.6))
    assert located.distance <= 0.7
    assert located.path is not None
    assert "seen only from afar" in located.sentence
    world.box((4.0, 0, 0), (4.1, 5, 2.5))
    with pytest.raises(NoGoalError, match="cut off") as refused:
        locate(world.map(), SPACE, "piano", WEST)
    assert isinstance(refused.value.found, RayMatch)


def test_a_place_found_before_comes_before_a_direction() -> None:
    world = room_with_chair()
    world.rays.append(((5.5, 2.5, 1.0), (1.0, 0.0, 0.0), "chair"))
    assert isinstance(locate(world.map(), SPACE, "chair", WEST).found, Match)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clearance": -0.1}, "clearance must be 0 to 5 m, got -0.1"),
        ({"clearance": float("nan")}, "clearance must be 0 to 5 m, got nan"),
        ({"min_distance": 2.0}, "min_distance must be below max_distance, 2 m, got 2: raise max_distance"),
        ({"camera_height": 2.0}, "camera_height must be at most robot_height, 1.5 m, got 2"),
        ({"robot_height": 0.1}, "robot_height must be 0.2 to 5 m, got 0.1"),
    ],
)
def test_needs_that_make_no_sense_are_named(changes: dict[str, float], words: str) -> None:
    with pytest.raises(OvsegError, match=words):
        GoalConfig(**changes)


def test_what_waits_on_disk_is_free_space_too() -> None:
    # Of tiles 6.4 m wide, the frame at the far end sends all but its own to disk; the sofa fills a megabyte.
    world = Painting(high=(30, 6, 3)).room((0, 0), (29, 5)).box(*CHAIR, name="chair")
    world.box((8, 1, 0.1), (14, 4, 2.0), name="sofa")
    semantic_map = world.map("occupancy")
    before = locate(semantic_map, SPACE, "chair", WEST)
    semantic_map.limit_memory(1.0)
    depth, pose = torch.full((8, 8), 1.0), torch.eye(4, dtype=torch.float64)
    pose[:3, 3] = torch.tensor([27.0, 2.5, 1.0])
    features = word("wall")[:, None, None].repeat(1, 2, 2)
    semantic_map.integrate(depth_frame(depth, camera(8, 8), pose, stamp_ns=5), Segmentation(features, SPACE.id))
    assert semantic_map.evicted_voxel_count > 0
    assert semantic_map.voxel_count == 0
    assert locate(semantic_map, SPACE, "chair", WEST) == before


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=15)
def test_in_any_room_an_answer_keeps_its_promises(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = Painting().room()
    for _ in range(int(rng.integers(2, 7))):
        corner, size = rng.uniform([0.2, 0.2], [5, 4]), rng.uniform(0.1, 1.5, 2)
        low = float(rng.choice([0.1, 0.1, 0.7]))
        top = np.minimum(corner + size, [5.9, 4.9])
        world.box((*corner, low), (*top, low + rng.uniform(0.2, 1.5)))
    spot = rng.uniform([0.3, 0.3], [5.4, 4.4])
    base = float(rng.choice([0.1, 0.8]))
    world.box((*spot, base), (*(spot + 0.3), base + 0.3), name="plant")
    robot = rng.uniform([0.3, 0.3], [5.7, 4.7]).tolist() if rng.random() < 0.5 else None
    config = replace(CONFIG, clearance=float(rng.uniform(0.2, 0.7)))
    try:
        located = locate(world.map("occupancy"), SPACE, "plant", robot, config)
    except NoGoalError:
        reject()
    check(world, located, "plant", config)


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=25)
def test_lines_stop_at_the_first_cell_that_isnt_free(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(3, 12, 3)
    free = torch.from_numpy(rng.random(shape) > 0.1)
    starts, ends = (torch.from_numpy(rng.uniform(-0.5, shape - 0.5, (40, 3))) for _ in range(2))
    starts[:20], ends[:20] = starts[:20].round(), ends[:20].round()
    starts, ends = (torch.minimum(points, torch.from_numpy(shape) - 1.0).clamp(min=0) for points in (starts, ends))
    met, cells = first_obstacles(free, starts, ends)
    shares = torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None]
    for start, end, is_met, cell in zip(starts, ends, met, cells, strict=True):
        points = start + shares * (end - start)
        inside = ((points - points.round()).abs() < 0.499).all(dim=1)
        walked = points.round().long()[inside]
        blocked = ~free[walked.unbind(dim=1)]
        if blocked.any():
            assert is_met
            # Cells that the line only grazes may stop it before.
            reached = (walked[blocked][0] - start).norm()
            assert (cell - start).norm() <= reached + 1e-6 or cell.tolist() == walked[blocked][0].tolist()
        elif is_met:
            assert not free[tuple(cell.tolist())]
            assert ((points - cell).abs() <= 0.501).all(dim=1).any()
        else:
            assert cell.tolist() == end.round().long().tolist()


def test_a_line_that_leaves_the_known_cells_is_stopped() -> None:
    free = torch.ones(3, 3, 3, dtype=torch.bool)
    line = torch.tensor([[1.0, 1, 1]], dtype=torch.float64), torch.tensor([[5.0, 1, 1]], dtype=torch.float64)
    met, cells = first_obstacles(free, *line)
    assert met.tolist() == [True]
    assert cells.tolist() == [[3, 1, 1]]
