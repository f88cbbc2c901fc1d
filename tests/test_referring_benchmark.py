"""The judge of sentences about things: its geometry by hand, its questions, its scores, and files of others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from ovseg_ros.evaluation.referring import (
    Cause,
    Query,
    RoomQuestions,
    TrueScene,
    ask,
    overlaps,
    summary,
)
from ovseg_ros.evaluation.referring.command import main
from ovseg_ros.evaluation.referring.latency import crowded_scene, latency
from ovseg_ros.evaluation.referring.polygons import (
    area,
    centroid,
    convex_hull,
    distance,
    outside,
    rectangle,
    smallest_rectangle,
)
from ovseg_ros.evaluation.referring.relations import Relations
from ovseg_ros.evaluation.referring.things import Thing, things_of
from ovseg_ros.evaluation.referring.truth import Truth
from ovseg_ros.evaluation.referring.wording import say
from ovseg_ros.referring import (
    Boxes,
    Condition,
    Description,
    Rank,
    Ranking,
    Relation,
    Status,
    Viewpoint,
    Wanted,
    parse_request,
)
from ovseg_ros.simulation import generate_room
from ovseg_ros.vocabulary import plural_of

ORIGIN = np.zeros(2)
SQUARE = rectangle(ORIGIN, ORIGIN + 1)
SOUTH = Viewpoint(np.array([0.0, -4.0, 1.4]), np.pi / 2)


def square(x: float, y: float) -> np.ndarray:
    """Of one metre, with its lowest corner there."""
    return SQUARE + np.array([x, y])


def block(label: str, lower: Sequence[float], upper: Sequence[float], colour: str = "") -> Thing:
    """A box with a surface on top."""
    outline = rectangle(np.array(lower[:2]), np.array(upper[:2]))
    top = np.column_stack((outline, np.full(4, upper[2])))
    return Thing(label, colour, outline, lower[2], upper[2], np.stack((top[[0, 1, 2]], top[[0, 2, 3]])))


# x to the right and y away for who stands at y = -4.
THINGS = (
    block("floor", (-4, -4, 0), (4, 4, 0)),
    block("wall", (-4, 4, 0), (4, 4.02, 2.5)),
    block("table", (-0.8, -0.4, 0), (0.8, 0.4, 0.7), "brown"),
    block("chair", (-1.5, -0.25, 0), (-1.0, 0.25, 0.9), "red"),
    block("chair", (3.0, -0.25, 0), (3.5, 0.25, 0.9), "blue"),
    block("laptop", (-0.1, 0.0, 0.7), (0.2, 0.2, 0.9), "grey"),
    block("bottle", (0.5, 0.0, 0.7), (0.6, 0.1, 1.0), "green"),
    block("bottle", (-3.6, 3.0, 0.0), (-3.5, 3.1, 0.3), "green"),
    block("picture", (-0.5, 3.97, 1.2), (0.5, 4.0, 1.8)),
    block("sofa", (-1.0, 3.1, 0), (1.0, 3.95, 0.8), "blue"),
    block("rug", (-1.5, 1.0, 0), (1.5, 2.6, 0.01), "red"),
    block("stool", (-0.2, 1.5, 0), (0.2, 1.9, 0.5), "white"),
)
FLOOR, WALL, TABLE, RED, BLUE, LAPTOP, BOTTLE, FAR_BOTTLE, PICTURE, SOFA, RUG, STOOL = range(12)
REGIONS = {"hall": rectangle(np.array([-4.0, -4.0]), np.array([4.0, 1.0]))}


def test_polygons_by_hand() -> None:
    assert area(SQUARE) == 1
    np.testing.assert_allclose(centroid(square(2, 0)), [2.5, 0.5])
    np.testing.assert_allclose(outside(np.array([[0.5, 0.5], [2.0, 0.5], [4.0, 5.0]]), SQUARE), [0, 1, 5])
    assert distance(SQUARE, square(3, 4)) == pytest.approx(np.hypot(2, 3))
    assert distance(SQUARE, square(0.5, 0.5)) == 0
    # Squares on their tips reach sqrt(0.5) to the side.
    turn = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    diamond = square(-0.5, -0.5) @ turn.T
    assert distance(square(-2, -0.5), diamond) == pytest.approx(1 - np.sqrt(0.5))
    centre, size, yaw = smallest_rectangle(diamond + np.array([3, 0]))
    np.testing.assert_allclose(centre, [3, 0], atol=1e-12)
    np.testing.assert_allclose((*size, yaw), [1, 1, np.pi / 4])
    assert len(convex_hull(np.concatenate((SQUARE, [[0.5, 0.5]])))) == 4


@pytest.mark.parametrize(
    ("relation", "thing", "anchor", "verdict"),
    [
        (Relation.NEAR, RED, TABLE, 1),  # 0.2 m
        (Relation.NEAR, BLUE, TABLE, -1),  # 2.2 m
        (Relation.NEAR, LAPTOP, TABLE, 0),  # on it
        (Relation.NEAR, STOOL, TABLE, 0),  # 1.1 m
        (Relation.FAR, BLUE, RED, 1),  # 4 m
        (Relation.FAR, RED, TABLE, -1),
        (Relation.NEXT_TO, RED, TABLE, 1),
        (Relation.NEXT_TO, LAPTOP, TABLE, -1),
        (Relation.NEXT_TO, BOTTLE, LAPTOP, 1),  # 0.3 m
        (Relation.AGAINST, SOFA, WALL, 1),  # 0.05 m
        (Relation.AGAINST, TABLE, WALL, -1),
        (Relation.ON, LAPTOP, TABLE, 1),
        (Relation.ON, RED, TABLE, -1),
        (Relation.ON, RED, FLOOR, 1),
        (Relation.ON, LAPTOP, FLOOR, -1),
        (Relation.ON, STOOL, RUG, 1),
        (Relation.ON, STOOL, FLOOR, 0),
        (Relation.ON, PICTURE, WALL, 1),
        (Relation.ON, SOFA, WALL, -1),
        (Relation.ABOVE, PICTURE, SOFA, 1),
        (Relation.ABOVE, SOFA, PICTURE, -1),
        (Relation.ABOVE, PICTURE, STOOL, -1),
        (Relation.UNDER, SOFA, PICTURE, 1),
        (Relation.UNDER, RUG, STOOL, 1),
        (Relation.UNDER, TABLE, LAPTOP, 1),
        (Relation.UNDER, STOOL, RUG, -1),
        (Relation.LEFT, RED, TABLE, 1),
        (Relation.LEFT, BLUE, TABLE, -1),
        (Relation.LEFT, LAPTOP, TABLE, -1),
        (Relation.LEFT, STOOL, TABLE, -1),  # it is behind
        (Relation.RIGHT, BLUE, TABLE, 1),
        (Relation.RIGHT, TABLE, RED, 1),
        (Relation.BEHIND, STOOL, TABLE, 1),
        (Relation.FRONT, TABLE, STOOL, 1),
        (Relation.FRONT, STOOL, TABLE, -1),
    ],
)
def test_how_things_stand_to_each_other_by_hand(relation: Relation, thing: int, anchor: int, verdict: int) -> None:
    assert Relations(THINGS).of(relation, SOUTH)[thing, anchor] == verdict


def test_between_by_hand() -> None:
    relations = Relations(THINGS)
    assert relations.between(TABLE, SOFA)[[STOOL, RED, BLUE, TABLE]].tolist() == [1, -1, -1, -1]
    assert relations.between(RED, BLUE)[[STOOL, PICTURE]].tolist() == [0, -1]


def near(noun: str, negated: bool = False) -> Condition:
    return Condition(Relation.NEAR, (Description(noun),), negated)


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (Description("chair"), {RED, BLUE}),
        (Description("red chair"), {RED}),
        (Description("chair", without=("red",)), {BLUE}),
        (Description("chair", (near("table"),)), {RED}),
        (Description("chair", (near("table", negated=True),)), {BLUE}),
        (Description("chair", (near("table"), near("sofa"))), set()),
        (Description("bottle", (Condition(Relation.INSIDE, (Description("hall"),)),)), {BOTTLE}),
        (Description("chair", ranking=Ranking(Rank.CLOSEST, Description("table"))), {RED}),
        (Description("chair", ranking=Ranking(Rank.FARTHEST, Description("table"))), {BLUE}),
        (Description("chair", ranking=Ranking(Rank.LEFTMOST)), {RED}),
        (Description("chair", ranking=Ranking(Rank.LEFTMOST, position=2)), {BLUE}),
        (Description("chair", ranking=Ranking(Rank.LEFTMOST, position=3)), set()),
        (Description("bottle", ranking=Ranking(Rank.HIGHEST)), {BOTTLE}),
        (Description("thing", ranking=Ranking(Rank.LARGEST)), {SOFA}),
        (Description("cat"), set()),
    ],
)
def test_what_is_true_of_things_by_hand(description: Description, expected: set[int]) -> None:
    verdict = Truth(Relations(THINGS), REGIONS, SOUTH).of(description)
    assert set(np.flatnonzero(verdict == 1)) == expected
    assert not (verdict == 0).any()


@pytest.mark.parametrize(
    "description",
    [
        Description("chair", ranking=Ranking(Rank.TALLEST)),  # they are of one height
        Description("chair", ranking=Ranking(Rank.CLOSEST, Description("bottle"))),  # which one?
        Description("stool", (near("table"),)),  # 1.1 m
        Description("thing", ranking=Ranking(Rank.LEFTMOST)),  # a bottle 9 degrees left of a chair
        Description("blue picture"),  # nobody knows its colour
    ],
)
def test_what_is_in_doubt_is_no_question(description: Description) -> None:
    assert (Truth(Relations(THINGS), REGIONS, SOUTH).of(description) == 0).any()


def test_a_room_is_taken_apart_exactly() -> None:
    room = generate_room(9103)
    things = things_of(room)
    assert [thing.label for thing in things[:5]] == ["wall"] * 4 + ["floor"]
    entries = [entry for entry in room.objects if entry.label not in ("wall", "ceiling")]
    for thing, entry in zip(things[4:], entries, strict=True):
        np.testing.assert_allclose(thing.lower, entry.lower, atol=1e-5)
        np.testing.assert_allclose(thing.upper, entry.upper, atol=1e-5)
    # What the generator put on something is held by its triangles.
    pillow = next(i for i, thing in enumerate(things) if thing.label == "pillow")
    held = Relations(things).of(Relation.ON)[pillow]
    assert [things[i].label for i in np.flatnonzero(held == 1)] == ["bed"]


def test_the_same_seed_asks_the_same_and_another_asks_otherwise() -> None:
    room = generate_room(9119)
    first, again, other = (RoomQuestions(room, np.random.default_rng(seed)).draw(1) for seed in (1, 1, 2))
    assert [query.text for query in first] == [query.text for query in again]
    assert [query.text for query in first] != [query.text for query in other]


def test_sentences_say_what_is_meant() -> None:
    rng = np.random.default_rng(0)
    target = Description("red chair", (Condition(Relation.LEFT, (Description("laptop", (near("bed"),)),)),))
    for _ in range(30):
        text = say(target, Wanted.ONE, rng)
        assert "red " in text
        assert text.index("red") < text.index("left")
    assert [plural_of(noun) for noun in ("box", "bookshelf", "lavatory", "couch", "toy", "chair")] == [
        "boxes", "bookshelves", "lavatories", "couches", "toys", "chairs",
    ]  # fmt: skip
    assert say(Description("box"), Wanted.COUNT, rng).endswith(("boxes are there?", "boxes", "boxes are there"))


def question(
    text: str, targets: tuple[int, ...], status: Status = Status.FOUND, anchors: tuple[int, ...] = ()
) -> Query:
    return Query(text, "test", parse_request(text), status, targets, anchors, viewpoint=None, others=len(targets))


class Altered(TrueScene):
    """The things of above, some of them lost, moved or taken for something else."""

    def __init__(self, keep: Sequence[int], shift: float = 0.0, grow: float = 1.0) -> None:
        super().__init__([THINGS[i] for i in keep], REGIONS)
        self.boxes = Boxes(self.boxes.centres + np.array([shift, 0, 0]), self.boxes.sizes * grow, self.boxes.yaws)


def test_answers_are_judged_by_hand() -> None:
    scene = TrueScene(THINGS, REGIONS)
    one = ask(question("the chair near the table", (RED,)), scene, THINGS)
    assert (one.right, one.iou, one.f1, one.cause) == (True, pytest.approx(1.0), 1.0, None)
    both = ask(question("all chairs near the table", (RED, BLUE)), scene, THINGS)
    assert (both.right, both.f1) == (False, pytest.approx(2 / 3))
    unsure = ask(question("the chair", (RED, BLUE), Status.AMBIGUOUS), scene, THINGS)
    assert (unsure.right, unsure.f1) == (True, 1.0)
    counted = ask(question("how many chairs are there", (RED, BLUE)), scene, THINGS)
    assert counted.right
    absent = ask(question("the cat", (), Status.NOT_FOUND), scene, THINGS)
    assert (absent.right, absent.f1) == (True, 1.0)
    forced = ask(question("the chair near the table", (), Status.NOT_FOUND), scene, THINGS)
    assert (forced.right, forced.f1, forced.cause) == (False, 0.0, None)
    figures = summary([one, both, unsure, counted, absent, forced])
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["relations"] == {"queries": 1, "accuracy": 1.0}
    assert figures["f1"] == {"zero": 0.5, "one": 1.0, "many": pytest.approx((2 / 3 + 1 + 1) / 3)}
    assert figures["abstention"]["absent"] == {"queries": 2, "share": 0.5}
    assert figures["abstention"]["ambiguous"] == {"queries": 1, "share": 1.0}
    assert figures["boxes"]["multiple"] == {"queries": 1, "Acc@0.25": 1.0, "Acc@0.5": 1.0}


def test_what_is_wrong_has_its_cause() -> None:
    everything = range(len(THINGS))
    chair = question("the chair near the table", (RED,), anchors=(TABLE,))
    lost = ask(chair, Altered([i for i in everything if i != RED]), THINGS)
    assert (lost.right, lost.cause) == (False, Cause.SEGMENTATION)
    mistaken = [replace(thing, label="stool") if i == RED else thing for i, thing in enumerate(THINGS)]
    assert ask(chair, TrueScene(mistaken, REGIONS), THINGS).cause is Cause.SEGMENTATION
    anchorless = ask(chair, Altered([i for i in everything if i != TABLE]), THINGS)
    assert anchorless.cause is Cause.SEGMENTATION
    shifted = ask(chair, Altered(everything, shift=0.4), THINGS)
    assert (shifted.right, shifted.status, shifted.cause) == (False, Status.FOUND, Cause.ASSOCIATION)
    assert ask(replace(chair, targets=(BLUE,)), Altered(everything), THINGS).cause is Cause.RELATION
    misheard = replace(chair, text="the chair schnurstracks the table")
    assert ask(misheard, Altered(everything), THINGS).cause is Cause.LANGUAGE
    loose = ask(chair, Altered(everything, grow=1.4), THINGS)
    assert (loose.right, loose.iou) == (True, pytest.approx(1.4**-3))


def test_boxes_overlap_by_hand() -> None:
    boxes = Boxes(
        np.array([[0.5, 0.5, 0.5], [5.0, 5, 5]]), np.array([[1.0, 1, 1], [1, 1, 1]]), np.array([0, np.pi / 4])
    )
    low, high = np.array([[0.0, 0, 0], [0.5, 0, 0]]), np.array([[1.0, 1, 1], [1.5, 1, 1]])
    np.testing.assert_allclose(overlaps(boxes, low, high), [[1, 1 / 3], [0, 0]])
    wide = overlaps(boxes, np.array([[4.0, 4, 4.5]]), np.array([[6.0, 6, 5.5]]))[1, 0]
    assert wide == pytest.approx(2 / 4)  # turned by 45 degrees a square is sqrt(2) wide


def test_two_rooms_are_asked_from_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rooms", "2", "--seed", "9118", "--per-kind", "3", "--objects", "40", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["seeds"] == [9118, 9119]
    assert results["queries"] > 120
    assert results["relations"]["accuracy"] >= 0.97
    assert results["abstention"]["absent"]["share"] >= 0.9
    assert results["milliseconds"]["objects"] == 40
    assert {"near", "between", "chained", "unrelated", "ambiguous", "count"} <= set(results["kinds"])
    with pytest.raises(SystemExit):
        main(["--rooms", "1", "--seed", "-1"])


def test_the_things_of_a_map_are_asked_too(capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--scene",
        "map",
        "--frames",
        "3",
        "--rooms",
        "1",
        "--seed",
        "9119",
        "--per-kind",
        "1",
        "--objects",
        "20",
    ]
    assert main([*options, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert (results["scene"], results["backend"], results["frames"]) == ("map", "openseg", 3)
    # Three images of a room leave most of it unseen.
    assert results["causes"]["segmentation"] > 5
    assert results["abstention"]["absent"]["share"] >= 0.5


def test_a_crowded_scene_has_as_many_things_as_asked_for() -> None:
    scene = crowded_scene(60, 9118)
    assert len(scene.boxes) == 60
    timed = latency(["the chair near the table", "the leftmost plant"], scene)
    assert (timed["sentences"], timed["objects"]) == (2, 60)
    assert 0 < timed["p50"] <= timed["p95"] <= timed["p99"]
