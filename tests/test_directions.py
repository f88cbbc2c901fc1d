"""Questions to rays in a language of orthogonal words: directions in which something lies beyond depth range."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_scenes import camera
from word_space import SPACE, VOCABULARY, WordSpace, word

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import pack_keys
from ovseg_ros.mapping import MappingConfig, SemanticMap, storage
from ovseg_ros.mapping.online_compression import FIT_FRAMES
from ovseg_ros.mapping.ray_casting import DirectionBins
from ovseg_ros.mapping.rays import SemanticRays
from ovseg_ros.query import RayMatch, ask, ask_rays
from ovseg_ros.query.calibration import MIN_SCORE, RAY_DOUBT, RAY_REACH
from ovseg_ros.types import RgbdFrame, Segmentation

CELL = 0.25
CONFIG = MappingConfig(layers="rays")

Ray = tuple[tuple[int, int, int], tuple[float, float, float], float, torch.Tensor]
"""Frontier cell, direction, weight, feature."""


def map_with(*rays: Ray, length: float = 1.0) -> SemanticMap:
    """A map of nothing but rays, each in a bin of its own; ``length`` of their mean directions."""
    semantic_map = SemanticMap(CONFIG, space=SPACE.id, vocabulary=VOCABULARY)
    empty = semantic_map.layers.rays
    assert empty is not None and empty.cell_size == CELL
    cells = torch.tensor([cell for cell, _, _, _ in rays])
    directions = torch.nn.functional.normalize(torch.tensor([ray[1] for ray in rays], dtype=torch.float64), dim=1)
    columns = {
        "frontier_keys": pack_keys(cells),
        "bins": DirectionBins(empty.config.angle_bin_degrees).of(directions),
        "origins": cells.double() * CELL,
        "mean_directions": directions * length,
        "weights": torch.tensor([weight for _, _, weight, _ in rays], dtype=torch.float64),
        "features": torch.stack([feature for _, _, _, feature in rays]),
    }
    semantic_map.layers.rays = SemanticRays.from_columns(columns, empty.config, CELL)
    return semantic_map


def towards(azimuth: float, elevation: float = 0.0) -> tuple[float, float, float]:
    """A direction from angles in degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)


def angle(first: tuple[float, float, float], second: tuple[float, float, float]) -> float:
    return math.acos(min(1.0, sum(a * b for a, b in zip(first, second, strict=True))))


def room_with_opening(stamp: int) -> RgbdFrame:
    """A camera looks along x at a wall at 2 m; through an opening nothing is in range."""
    depth = torch.full((48, 64), 2.0)
    depth[8:40, 16:48] = math.inf
    pose = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1], [0, 0, 0, 1]], dtype=torch.float64)
    return RgbdFrame(torch.full((48, 64, 3), 99, dtype=torch.uint8), depth, camera(48, 64), pose, stamp)


@pytest.mark.parametrize("components", [0, 4])
def test_what_is_seen_beyond_range_is_a_direction_and_no_place(tmp_path: Path, components: int) -> None:
    config = MappingConfig(voxel_size=0.1, max_depth=3.0, layers="rays", feature_components=components)
    semantic_map = SemanticMap(config, vocabulary=VOCABULARY)
    grid = word("table").expand(6, 8, -1).clone()
    grid[1:5, 2:6] = word("chair")
    for stamp in range(FIT_FRAMES):
        semantic_map.integrate(room_with_opening(stamp), Segmentation(grid.permute(2, 0, 1), SPACE.id))
    assert (semantic_map.codec is not None) == bool(components)
    answers = ask_rays(semantic_map, SPACE, ["chair", "table", "piano"])
    assert {answer.query for answer in answers} == {"chair"}
    best = answers[0]
    assert best.score > 0.6
    assert best.direction[0] > 0.9
    frontiers = semantic_map.layers.frontiers
    assert frontiers is not None
    assert best.origin in [tuple(position) for position in frontiers.positions.tolist()]
    assert 0.0 < best.spread < math.radians(40)
    assert all(place.position[0] < 2.2 for place in ask(semantic_map, SPACE, ["chair", "table"]))
    storage.save(semantic_map, tmp_path / "a.ovmap")
    assert ask_rays(storage.load(tmp_path / "a.ovmap"), SPACE, ["chair", "table", "piano"]) == answers


def test_neighbouring_rays_are_one_answer_that_covers_them() -> None:
    first, second, third = towards(0), towards(20), towards(5, 10)
    semantic_map = map_with(
        ((0, 0, 0), first, 1.0, word("chair")),
        ((1, 0, 0), second, 3.0, word("chair")),
        ((0, 1, 0), third, 1.0, 5.0 * word("chair")),
        ((0, 0, 1), first, 9.0, word("table")),
        length=math.cos(math.radians(2.0)) ** 2,
    )
    (match,) = ask_rays(semantic_map, SPACE, "chair")
    assert (match.query, match.ray_count, match.weight) == ("chair", 3, pytest.approx(5.0))
    assert match.origin == pytest.approx((CELL, 0.0, 0.0))
    mean = np.array(first) + 3.0 * np.array(second) + np.array(third)
    assert match.direction == pytest.approx(mean / np.linalg.norm(mean))
    # Rays of this length scatter by a half angle of 4 degrees: (1 + cos 4°) / 2 = cos² 2°.
    widest = max(angle(match.direction, ray) for ray in (first, second, third))
    assert match.spread == pytest.approx(widest + math.radians(4.0), abs=1e-6)


def test_rays_that_are_apart_or_point_apart_are_answers_of_their_own() -> None:
    far = (math.ceil(RAY_REACH) + 1, 0, 0)
    for cell, direction in ((far, towards(0)), ((0, 0, 0), towards(40)), ((0, 0, 0), towards(180))):
        semantic_map = map_with(((0, 0, 0), towards(0), 1.0, word("chair")), (cell, direction, 2.0, word("chair")))
        first, second = ask_rays(semantic_map, SPACE, "chair")
        assert first.direction == pytest.approx(direction, abs=1e-6)
        assert first.origin == pytest.approx(tuple(CELL * i for i in cell))
        assert (first.weight, second.weight) == (2.0, 1.0)
        assert ask_rays(semantic_map, SPACE, "chair", max_matches=1) == (first,)


def test_the_score_is_how_well_rays_fit_and_how_much_they_weigh() -> None:
    half = torch.nn.functional.normalize(word("chair") + word("table"), dim=0)
    for weight in (0.001, 0.05, 1.0, 100.0):
        semantic_map = map_with(((0, 0, 0), towards(0), weight, half))
        # Chair and table are as likely, and nothing else is to speak of.
        evidence = 0.5 * weight
        expected = math.sqrt(0.5) * evidence / (evidence + RAY_DOUBT)
        (match,) = ask_rays(semantic_map, SPACE, "chair", min_score=0.0)
        assert match.score == pytest.approx(expected, rel=1e-3)
        assert len(ask_rays(semantic_map, SPACE, "chair")) == (expected >= MIN_SCORE)
        assert ask_rays(semantic_map, SPACE, "chair", min_score=match.score + 1e-6) == ()


def test_what_is_left_beside_an_answer_is_judged_by_itself() -> None:
    weights = (1.0, 1.0, 1.0, 0.001)
    rays = [((2 * i, 0, 0), towards(0), weight, word("chair")) for i, weight in enumerate(weights)]
    assert 2 < RAY_REACH < 4
    (match,) = ask_rays(map_with(*rays), SPACE, "chair")
    assert match.ray_count == 3
    _, left = ask_rays(map_with(*rays), SPACE, "chair", min_score=0.0)
    assert left.weight == 0.001


@pytest.mark.parametrize("query", ["piano", "violin", "stool"])
def test_what_no_ray_saw_is_not_found(query: str) -> None:
    semantic_map = map_with(((0, 0, 0), towards(0), 9.0, word("chair")), ((9, 0, 0), towards(90), 9.0, word("object")))
    assert ask_rays(semantic_map, SPACE, query) == ()


def test_other_names_of_the_same_thing_find_it() -> None:
    semantic_map = map_with(((0, 0, 0), towards(0), 1.0, word("sofa")), ((9, 0, 0), towards(90), 1.0, word("chair")))
    sofa, couch, armchair = ask_rays(semantic_map, SPACE, ["sofa", "the couch", "armchair"])
    assert (sofa.origin, sofa.score) == (couch.origin, couch.score)
    assert armchair.origin == pytest.approx((9 * CELL, 0.0, 0.0))
    assert [match.query for match in (sofa, couch, armchair)] == ["sofa", "the couch", "armchair"]


def test_a_colour_that_no_ray_can_have_gets_no_direction() -> None:
    semantic_map = map_with(((0, 0, 0), towards(0), 1.0, word("chair")))
    assert ask_rays(semantic_map, SPACE, ["red chair", "something red"]) == ()
    (match,) = ask_rays(semantic_map, SPACE, ["red chair", "chair"])
    assert match.query == "chair"


def test_maps_without_rays_give_no_answers() -> None:
    assert ask_rays(SemanticMap(vocabulary=VOCABULARY), SPACE, "chair") == ()
    assert ask_rays(SemanticMap(CONFIG, vocabulary=VOCABULARY), SPACE, ["chair", "red"]) == ()
    assert ask_rays(map_with(((0, 0, 0), towards(0), 1.0, torch.zeros(SPACE.size))), SPACE, "chair") == ()


def test_what_cannot_be_asked_is_refused_as_of_voxels() -> None:
    semantic_map = map_with(((0, 0, 0), towards(0), 1.0, word("chair")))
    other = WordSpace()
    other.id = "words/2"
    for space, queries, limits, message in (
        (other, "chair", {}, r"'words/1'.*'words/2'"),
        (SPACE, [], {}, "1 to 64 queries"),
        (SPACE, "chair", {"min_score": math.nan}, "min_score must be 0 to 1, got nan"),
        (SPACE, "chair", {"max_matches": 0}, "max_matches must be at least 1, got 0"),
    ):
        for question in (ask, ask_rays):
            with pytest.raises(OvsegError, match=message):
                question(semantic_map, space, queries, **limits)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 60), min_score=st.sampled_from([0.0, 0.1, 0.3]))
def test_answers_share_no_ray_and_cover_theirs(seed: int, count: int, min_score: float) -> None:
    rng = np.random.default_rng(seed)
    rays: dict[tuple[int, ...], Ray] = {}
    for _ in range(count):
        cell, direction = tuple(rng.integers(-3, 4, 3).tolist()), rng.normal(size=3).tolist()
        feature = word("chair") + float(rng.choice([0.0, 0.8, 3.0])) * word("table")
        place = (*cell, int(DirectionBins(30.0).of(torch.tensor([direction]))))
        rays[place] = (cell, direction, float(rng.choice([0.001, 0.1, 1.0]) * rng.uniform(0.5, 1.0)), feature)
    semantic_map = map_with(*rays.values())
    answers = ask_rays(semantic_map, SPACE, "chair", min_score=min_score, max_matches=1000)
    scores = [answer.score for answer in answers]
    assert scores == sorted(scores, reverse=True)
    assert all(min_score <= score <= 1.0 for score in scores)
    assert sum(answer.ray_count for answer in answers) <= len(rays)
    assert sum(answer.weight for answer in answers) <= sum(weight for _, _, weight, _ in rays.values()) + 1e-9
    if min_score == 0.0:
        assert sum(answer.ray_count for answer in answers) == len(rays)
    origins = {tuple(CELL * i for i in cell) for cell, _, _, _ in rays.values()}
    for answer in answers:
        assert math.hypot(*answer.direction) == pytest.approx(1.0)
        assert 0.0 <= answer.spread <= math.pi
        assert answer.origin in origins
    shuffled = map_with(*rng.permutation(np.array(list(rays.values()), dtype=object), axis=0).tolist())
    again = ask_rays(shuffled, SPACE, "chair", min_score=min_score, max_matches=1000)
    assert [_rounded(answer) for answer in again] == [_rounded(answer) for answer in answers]


def _rounded(answer: RayMatch) -> tuple[float, ...]:
    return tuple(round(value, 5) for value in (answer.score, *answer.origin, *answer.direction, answer.weight))
