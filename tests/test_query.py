"""Questions to small maps in a language of orthogonal words, where the right answer is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from scipy.spatial.distance import cdist
from word_space import MIXED, SPACE, VOCABULARY, WordSpace, word

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import pack_keys
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.query import ask, score_voxels
from ovseg_ros.query.calibration import MAX_GAP, MIN_VOXELS
from ovseg_ros.query.colours import BASIC_TERMS, Colour, lch, split_colour
from ovseg_ros.query.components import connected_voxels
from ovseg_ros.query.phrases import parse_queries
from ovseg_ros.types import Intrinsics, RgbdFrame, Segmentation
from ovseg_ros.vocabulary import GENERIC_NEGATIVES, Vocabulary

VOXEL = 0.1
RED, BLUE, GREY = (190, 30, 35), (40, 70, 170), (128, 128, 128)


def block(start: tuple[int, int, int], size: tuple[int, int, int]) -> torch.Tensor:
    return torch.cartesian_prod(*(torch.arange(s, s + n) for s, n in zip(start, size, strict=True)))


def map_of(
    *things: tuple[torch.Tensor, torch.Tensor, tuple[int, int, int]], vocabulary: Vocabulary = VOCABULARY
) -> SemanticMap:
    """A map of things, each with its (n, 3) voxels, its feature and its colour; thing i last seen at 100 + i."""
    columns = {
        "keys": torch.cat([pack_keys(voxels) for voxels, _, _ in things]),
        "weights": torch.cat([torch.ones(len(voxels)) for voxels, _, _ in things]),
        "colours": torch.cat([torch.tensor(colour).float().expand(len(voxels), 3) for voxels, _, colour in things]),
        "features": torch.cat([feature.expand(len(voxels), -1) for voxels, feature, _ in things]),
        "last_seen": torch.cat([torch.full((len(voxels),), 100 + i) for i, (voxels, _, _) in enumerate(things)]),
    }
    return SemanticMap.from_columns(
        columns, config=MappingConfig(voxel_size=VOXEL), space=SPACE.id, vocabulary=vocabulary, revision=1
    )


@pytest.fixture
def room() -> SemanticMap:
    """A red chair, a smaller blue chair, a table, a sofa, and something that is just an object."""
    return map_of(
        (block((0, 0, 0), (5, 3, 7)), word("chair"), RED),
        (block((20, 0, 0), (3, 3, 3)), word("chair"), BLUE),
        (block((0, 20, 0), (9, 5, 1)), word("table"), RED),
        (block((-30, 20, 4), (4, 4, 4)), word("sofa"), GREY),
        (block((40, 40, 0), (4, 4, 4)), word("object"), RED),
    )


def test_finds_every_instance_with_place_size_and_time(room):
    first, second = ask(room, SPACE, "chair")
    assert (first.query, first.voxel_count, first.last_seen_ns, first.object_id) == ("chair", 105, 100, -1)
    assert first.position == pytest.approx((0.2, 0.1, 0.3))
    assert first.size == pytest.approx((0.5, 0.3, 0.7))
    assert (second.voxel_count, second.last_seen_ns) == (27, 101)
    assert second.position == pytest.approx((2.1, 0.1, 0.1))
    assert 1.0 >= first.score > second.score >= 0.5


def test_position_is_a_voxel_of_the_thing_even_when_its_middle_is_empty():
    ring = torch.cat([block((0, 0, 0), (9, 1, 1)), block((0, 8, 0), (9, 1, 1)), block((0, 1, 0), (1, 7, 1))])
    (match,) = ask(map_of((ring, word("table"), GREY)), SPACE, "table")
    voxel = torch.tensor(match.position) / VOXEL
    assert (voxel.round() == ring).all(dim=1).any()


def test_several_queries_are_answered_in_their_order(room):
    assert [match.query for match in ask(room, SPACE, ["sofa", "piano", "chair"])] == ["sofa", "chair", "chair"]


def test_max_matches_keeps_the_best_of_each_query(room):
    matches = ask(room, SPACE, ["chair", "table"], max_matches=1)
    assert [(match.query, match.voxel_count) for match in matches] == [("chair", 105), ("table", 45)]


@pytest.mark.parametrize("query", ["piano", "violin", "plant", "stool"])
def test_what_is_not_there_is_not_found(room, query):
    assert ask(room, SPACE, query) == ()


def test_min_score_decides(room):
    (best, *_) = ask(room, SPACE, "table")
    assert ask(room, SPACE, "table", min_score=best.score + 1e-4) == ()
    assert ask(room, SPACE, "table", min_score=best.score - 1e-4) == (best,)


def test_case_spaces_and_articles_do_not_matter(room):
    plain = ask(room, SPACE, "chair")
    for query in ("  The  CHAIR ", "a chair"):
        assert [match.position for match in ask(room, SPACE, query)] == [match.position for match in plain]


def test_names_of_one_group_are_worth_the_same(room):
    sofa, couch = score_voxels(room, SPACE, ["sofa", "couch"])
    assert torch.equal(sofa, couch)
    assert couch[room.last_seen == 103].min() > 0.9


def test_vocabulary_words_of_the_same_meaning_do_not_compete(room):
    assert MIXED["armchair"]["chair"] >= SPACE.same_meaning
    assert len(ask(room, SPACE, "armchair")) == 2


def test_scores_are_the_softmax_against_the_other_words(room):
    feature = SPACE.align((word("chair") + 0.8 * word("piano") + 0.7 * word("stuff"))[None])[0]
    semantic_map = map_of((block((0, 0, 0), (1, 1, 1)), 3.0 * feature, GREY))
    for query, names, left_out in (
        ("chair", ["chair"], {"chair"}),
        ("stool", ["stool"], set()),
        ("couch", ["sofa", "couch"], {"sofa"}),
        ("armchair", ["armchair", "chair"], {"chair"}),
        ("stuff", ["stuff"], {"stuff"}),
    ):
        concepts = (*VOCABULARY.synonyms, *((name,) for name in GENERIC_NEGATIVES))
        others = [group for group in concepts if left_out.isdisjoint(group)]
        logits = 20.0 * torch.stack([(SPACE.encode_text(group).double() @ feature.double()).max() for group in others])
        own = 20.0 * (SPACE.encode_text(names).double() @ feature.double()).max()
        expected = torch.softmax(torch.cat((own[None], logits)), dim=0)[0]
        assert score_voxels(semantic_map, SPACE, query).item() == pytest.approx(expected.item(), rel=1e-4)


def test_scores_are_probabilities_even_where_a_word_with_the_same_meaning_fits_far_better():
    space = WordSpace()
    space.logit_scale = 10_000.0
    semantic_map = map_of((block((0, 0, 0), (2, 2, 2)), word("chair"), GREY))
    scores = score_voxels(semantic_map, space, ["chair", "armchair", "table", "piano"])
    assert torch.isfinite(scores).all()
    assert scores[:2].min() > 0.99
    assert scores[2:].max() < 0.01


def test_score_shape_range_and_voxels_without_feature(room):
    scores = score_voxels(room, SPACE, ["chair", "red chair", "something red"])
    assert scores.shape == (3, room.voxel_count)
    assert scores.dtype == torch.float32
    assert scores.min() >= 0
    assert scores.max() <= 1
    blank = map_of((block((0, 0, 0), (2, 2, 2)), torch.zeros(SPACE.size), GREY))
    assert score_voxels(blank, SPACE, "chair").max() < 0.2


def test_a_colour_picks_among_instances(room):
    (red,) = ask(room, SPACE, "the red chair")
    (blue,) = ask(room, SPACE, "blue chair")
    assert (red.voxel_count, blue.voxel_count) == (105, 27)
    assert ask(room, SPACE, "green chair") == ()


def test_a_thing_may_have_parts_of_other_colours():
    legs, seat = block((0, 0, 0), (4, 4, 3)), block((0, 0, 3), (4, 4, 3))
    chair = map_of((legs, word("chair"), (120, 80, 40)), (seat, word("chair"), RED))
    (match,) = ask(chair, SPACE, "red chair")
    assert match.voxel_count == len(legs) + len(seat)


def test_only_a_colour_finds_all_things_that_have_it(room):
    matches = ask(room, SPACE, "something red")
    assert sorted(match.voxel_count for match in matches) == [45, 64, 105]
    assert [match.voxel_count for match in ask(room, SPACE, "blue")] == [27]


def test_a_concept_that_is_also_a_colour_is_a_concept():
    fruit = Vocabulary.from_names(["orange", "table"])
    semantic_map = map_of((block((0, 0, 0), (3, 3, 3)), word("orange"), GREY), vocabulary=fruit)
    assert len(ask(semantic_map, SPACE, "orange")) == 1
    assert parse_queries("orange", VOCABULARY)[0].colour == Colour("orange")


def test_split_colour():
    assert split_colour(["light", "gray", "sofa"]) == (Colour("grey", "light"), ["sofa"])
    assert split_colour(["dark", "table"]) == (None, ["dark", "table"])


TYPICAL = {
    "red": (200, 30, 30),
    "orange": (240, 130, 20),
    "yellow": (235, 210, 40),
    "green": (60, 140, 60),
    "blue": (40, 80, 180),
    "purple": (120, 50, 150),
    "pink": (240, 150, 180),
    "brown": (110, 70, 40),
    "black": (25, 25, 28),
    "white": (240, 240, 235),
    "grey": (130, 130, 130),
}


@pytest.mark.parametrize("term", BASIC_TERMS)
def test_typical_colours_have_their_name_in_light_and_shade(term):
    shades = [1.0] if term in ("white", "orange", "yellow", "pink") else [1.0, 0.75]
    for shade in shades:
        colour = (torch.tensor([TYPICAL[term]]) * shade).to(torch.uint8)
        memberships = {name: Colour(name).membership(colour).item() for name in BASIC_TERMS}
        assert memberships[term] == max(memberships.values()) > 0.8, (shade, memberships)


def test_dark_and_light_narrow_a_colour():
    navy, sky = torch.tensor([[20, 30, 90]], dtype=torch.uint8), torch.tensor([[140, 180, 235]], dtype=torch.uint8)
    assert Colour("blue", "dark").membership(navy) > 0.9 > 0.1 > Colour("blue", "dark").membership(sky)
    assert Colour("blue", "light").membership(sky) > 0.9 > 0.1 > Colour("blue", "light").membership(navy)


def test_lch_of_published_values():
    colours = torch.tensor([[255, 255, 255], [255, 0, 0], [0, 0, 255], [0, 0, 0]], dtype=torch.uint8)
    expected = torch.tensor([[100.0, 0.0], [53.24, 104.55], [32.30, 133.81], [0.0, 0.0]])
    torch.testing.assert_close(lch(colours)[:, :2], expected, atol=0.05, rtol=0)
    torch.testing.assert_close(lch(colours)[1:3, 2], torch.tensor([40.0, 306.28]), atol=0.05, rtol=0)


@pytest.mark.parametrize("offset", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 1), (-1, 1, 1)])
def test_a_small_gap_does_not_split_a_thing_and_a_larger_one_does(offset):
    piece = block((0, 0, 0), (2, 2, 2))
    for gap in range(4):
        other = piece + (2 + gap) * torch.tensor(offset)
        matches = ask(map_of((torch.cat((piece, other)), word("chair"), GREY)), SPACE, "chair")
        assert len(matches) == (1 if gap <= MAX_GAP else 2), gap


def test_specks_are_not_matches():
    for size in (MIN_VOXELS - 1, MIN_VOXELS):
        matches = ask(map_of((block((0, 0, 0), (size, 1, 1)), word("chair"), GREY)), SPACE, "chair")
        assert len(matches) == (size >= MIN_VOXELS)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), share=st.floats(0.01, 0.4), gap=st.integers(0, 2))
def test_components_equal_brute_force(seed, share, gap):
    rng = np.random.default_rng(seed)
    grid = rng.random((9, 8, 10)) < share
    indices = rng.permutation(np.argwhere(grid))
    components = connected_voxels(pack_keys(torch.from_numpy(indices) - 5).numpy(), gap)
    if gap == 0:
        expected = label(grid, np.ones((3, 3, 3)))[0][tuple(indices.T)]
    else:
        near = cdist(indices, indices, "chebyshev") <= gap + 1 if len(indices) else np.zeros((0, 0), dtype=bool)
        expected = np.arange(len(indices))
        for _ in indices:
            expected = np.array([expected[row].min() for row in near])
    pairs = set(zip(components.tolist(), expected.tolist(), strict=True))
    assert len(pairs) == len({ours for ours, _ in pairs}) == len({theirs for _, theirs in pairs})


def test_answers_follow_the_map():
    semantic_map = SemanticMap(MappingConfig(voxel_size=VOXEL), vocabulary=VOCABULARY)
    camera = Intrinsics(20.0, 20.0, 7.5, 7.5, 16, 16)

    def see(text: str, x: float) -> None:
        pose = torch.eye(4, dtype=torch.float64)
        pose[0, 3] = x
        frame = RgbdFrame(torch.zeros(16, 16, 3, dtype=torch.uint8), torch.ones(16, 16), camera, pose, 7)
        semantic_map.integrate(frame, Segmentation(word(text).reshape(-1, 1, 1), SPACE.id))

    assert ask(semantic_map, SPACE, "chair") == ()
    see("chair", 0.0)
    assert len(ask(semantic_map, SPACE, "chair")) == 1
    assert ask(semantic_map, SPACE, "table") == ()
    see("table", 5.0)
    (table,) = ask(semantic_map, SPACE, "table")
    assert table.position[0] == pytest.approx(5.0, abs=VOXEL)
    semantic_map.clear()
    assert ask(semantic_map, SPACE, "table") == ()


def test_empty_map_gives_empty_answers():
    assert ask(SemanticMap(), SPACE, ["chair", "red"]) == ()
    assert score_voxels(SemanticMap(), SPACE, ["chair", "red"]).shape == (2, 0)


def test_another_space_is_refused(room):
    other = WordSpace()
    other.id = "words/2"
    with pytest.raises(OvsegError, match=r"'words/1'.*'words/2'"):
        ask(room, other, "chair")


@pytest.mark.parametrize(
    ("queries", "limits", "message"),
    [
        ([], {}, "1 to 64 queries can be asked at once, got 0"),
        (["chair"] * 65, {}, "got 65"),
        ("", {}, "1 to 200 characters, got 0"),
        ("   ", {}, "1 to 200 characters, got 0"),
        ("x" * 201, {}, "got 201"),
        ("chair", {"min_score": 1.5}, "min_score must be 0 to 1, got 1.5"),
        ("chair", {"min_score": float("nan")}, "min_score must be 0 to 1, got nan"),
        ("chair", {"max_matches": 0}, "max_matches must be at least 1, got 0"),
    ],
)
def test_limits_are_named(room, queries, limits, message):
    with pytest.raises(OvsegError, match=message):
        ask(room, SPACE, queries, **limits)


def test_the_limits_themselves_are_allowed(room):
    assert score_voxels(room, SPACE, ["x" * 200] * 64).shape == (64, room.voxel_count)
