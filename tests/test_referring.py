"""Sentences about the things of a scene: what they ask for, and which things they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_ros.errors import OvsegError
from ovseg_ros.referring import (
    Answer,
    Boxes,
    Description,
    Request,
    Status,
    Viewpoint,
    Wanted,
    parse_request,
    resolve,
)
from ovseg_ros.vocabulary import singular


def written(description: Description) -> str:
    """A description in one line: noun, -without, [relation: anchors], <rank position from anchor>."""
    text = description.noun + "".join(f" -{word}" for word in description.without)
    for condition in description.conditions:
        sign = "not " if condition.negated else ""
        text += f" [{sign}{condition.relation.value}: {'; '.join(map(written, condition.anchors))}]"
    if description.ranking:
        anchor = f" from {written(description.ranking.anchor)}" if description.ranking.anchor else ""
        text += f" <{description.ranking.rank.value} {description.ranking.position}{anchor}>"
    return text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chair", "chair"),
        ("Where is the red chair next to the window?", "red chair [next to: window]"),
        ("the mug left of the laptop on the desk", "mug [left of: laptop [on: desk]]"),
        ("the mug left of the laptop and on the desk", "mug [left of: laptop] [on: desk]"),
        ("the cup on the table not near the laptop", "cup [on: table] [not near: laptop]"),
        ("the book that is on the table and not near the laptop", "book [on: table] [not near: laptop]"),
        ("the chair next to the table and the lamp", "chair [next to: table] [next to: lamp]"),
        ("the plant between the sofa and the tv", "plant [between: sofa; tv]"),
        ("the stool between the chairs", "stool [between: chairs; chairs]"),
        ("the box on the floor between the bed and the desk", "box [on: floor [between: bed; desk]]"),
        ("what is on the table", "thing [on: table]"),
        ("something under the bed", "thing [under: bed]"),
        ("the chair that is not red", "chair -red"),
        ("the chair that is red", "red chair"),
        ("the largest box", "box <largest 1>"),
        ("the third largest box not on the table", "box [not on: table] <largest 3>"),
        ("the closest chair to the door", "chair <closest 1 from door>"),
        ("which chair is closest to the door", "chair <closest 1 from door>"),
        ("the second closest chair to the red door", "chair <closest 2 from red door>"),
        ("the box farthest from the door", "box <farthest 1 from door>"),
        ("the nearest chair", "chair <closest 1>"),
        ("the second chair from the left", "chair <leftmost 2>"),
        ("the chair on the left", "chair <leftmost 1>"),
        ("the lamp on the left table", "lamp [on: table <leftmost 1>]"),
        ("the thing on the left of the sofa", "thing [left of: sofa]"),
        ("the washing machine to the right of the fridge", "washing machine [right of: fridge]"),
        ("the trash can behind the sofa and in front of the wall", "trash can [behind: sofa] [in front of: wall]"),
        ("the bottle on top of the cabinet", "bottle [on: cabinet]"),
        ("the biggest red chair in the kitchen", "red chair [in: kitchen] <largest 1>"),
        ("bring me a bottle of water", "bottle of water"),
        ("Where can I find the lamp that's near the bed?", "lamp [near: bed]"),
        ("the chair a long way from the door", "chair [far from: door]"),
        ("the chair not far from the door", "chair [near: door]"),
        ("the cup on the desk that's not far from the door", "cup [on: desk [near: door]]"),
        ("the chair that is not a long way from the door", "chair [not far from: door]"),
        ("the lamp right behind the sofa", "lamp [behind: sofa]"),
        ("the lamp to the right side of the sofa", "lamp [right of: sofa]"),
        ("the chair on the far left", "chair <leftmost 1>"),
        ("the picture furthest to the right", "picture <rightmost 1>"),
        ("the chair that is second closest to the door", "chair <closest 2 from door>"),
        ("the second most distant chair from the door", "chair <farthest 2 from door>"),
        ("the chair nearest to me", "chair <closest 1>"),
        ("which of the chairs is nearest the door?", "chairs <closest 1 from door>"),
        ("could you show me where the trash can is", "trash can"),
        ("pick up the ball over by the bed", "ball [near: bed]"),
        ("the stool between the two chairs", "stool [between: chairs; chairs]"),
    ],
)
def test_a_sentence_is_understood(text: str, expected: str) -> None:
    request = parse_request(text)
    assert written(request.target) == expected
    assert request.wanted is Wanted.ONE


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        ("how many chairs are there near the table?", Wanted.COUNT, "chairs [near: table]"),
        ("count the bottles on the cabinet", Wanted.COUNT, "bottles [on: cabinet]"),
        ("show me all the pillows on the sofa", Wanted.ALL, "pillows [on: sofa]"),
        ("where are the lamps", Wanted.ALL, "lamps"),
        ("every chair next to the table", Wanted.ALL, "chair [next to: table]"),
        ("find both lamps", Wanted.ALL, "lamps"),
        ("how many chairs do you see near the table?", Wanted.COUNT, "chairs [near: table]"),
    ],
)
def test_a_sentence_may_want_all_or_their_number(text: str, wanted: Wanted, expected: str) -> None:
    request = parse_request(text)
    assert (request.wanted, written(request.target)) == (wanted, expected)


@pytest.mark.parametrize("text", ["", "   ", "?!", "the the the", "not", "where is", "chair " * 50])
def test_what_says_nothing_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(OvsegError, match="say what you look for"):
        parse_request(text)


WORDS = (
    "the chair not on left of between and or from to in closest second largest red that is , & table how many 3d über"
)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=250) | st.lists(st.sampled_from(WORDS.split()), max_size=40).map(" ".join))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        request = parse_request(text)
    except OvsegError:
        return
    assert Request.from_json(request.to_json(), text) == request
    answer = resolve(request, SCENE)
    assert answer.status in Status
    assert answer.message


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {"target": {}},
        {"target": {"noun": ""}},
        {"target": {"noun": 3}},
        {"target": {"noun": "cup"}, "then": 1},
        {"wanted": "two", "target": {"noun": "cup"}},
        {"target": {"noun": "cup", "conditions": {}}},
        {"target": {"noun": "cup", "conditions": [{"relation": "loves", "anchors": [{"noun": "tea"}]}]}},
        {"target": {"noun": "cup", "conditions": [{"relation": "between", "anchors": [{"noun": "tea"}]}]}},
        {"target": {"noun": "cup", "ranking": {"rank": "largest", "position": 0}}},
        {"target": {"noun": "cup", "ranking": {"rank": "closest", "position": 1, "anchor": "door"}}},
    ],
)
def test_json_of_another_shape_is_refused(content: Any) -> None:
    with pytest.raises(OvsegError):
        Request.from_json(content, "cup")


def test_json_nested_without_end_is_refused() -> None:
    inner: dict[str, Any] = {"noun": "cup"}
    for _ in range(50):
        inner = {"noun": "cup", "conditions": [{"relation": "on", "anchors": [inner]}]}
    with pytest.raises(OvsegError, match="deep"):
        Request.from_json({"target": inner}, "cup")


class Room:
    """A desk with a laptop and two mugs, chairs, a lamp; x to the right and y away for who stands at y = -3."""

    things: Mapping[str, tuple[str, tuple[float, float, float], tuple[float, float, float]]] = {
        "desk": ("brown", (0.0, 0.0, 0.375), (1.6, 0.8, 0.75)),
        "laptop": ("grey", (0.0, 0.1, 0.85), (0.3, 0.25, 0.2)),
        "mug 1": ("red", (-0.5, 0.1, 0.8), (0.1, 0.1, 0.1)),
        "mug 2": ("blue", (0.5, 0.1, 0.8), (0.1, 0.1, 0.1)),
        "mug 3": ("blue", (3.0, 0.0, 0.05), (0.1, 0.1, 0.1)),
        "chair 1": ("red", (0.0, -0.9, 0.45), (0.5, 0.5, 0.9)),
        "chair 2": ("blue", (2.0, 0.0, 0.45), (0.6, 0.6, 0.9)),
        "chair 3": ("blue", (-2.5, 1.5, 0.45), (0.5, 0.5, 0.9)),
        "lamp": ("white", (-3.0, 1.5, 0.8), (0.3, 0.3, 1.6)),
        "shelf": ("brown", (-1.0, 2.4, 1.0), (1.0, 0.3, 2.0)),
        "book": ("red", (-1.0, 2.4, 1.1), (0.2, 0.2, 0.3)),
        "ball": ("green", (0.3, 0.0, 0.15), (0.3, 0.3, 0.3)),
        "picture": ("white", (0.0, 2.5, 2.0), (1.0, 0.05, 0.6)),
    }
    names = tuple(things)
    regions: Mapping[str, Boxes] = {"corner": Boxes.axis_aligned(np.array([[-4, 0.8, 0]]), np.array([[-2, 3, 3]]))}
    boxes = Boxes(
        np.array([centre for _, centre, _ in things.values()]),
        np.array([size for _, _, size in things.values()]),
        np.zeros(len(things)),
    )

    def fit(self, noun: str) -> np.ndarray:
        words = noun.split()
        colours = {colour for colour, _, _ in self.things.values()} & set(words)
        kind = singular(" ".join(word for word in words if word not in colours)) if len(words) > len(colours) else ""
        return np.array(
            [
                float((kind in ("", "thing") or name.split()[0] == kind) and (not colours or colour in colours))
                for name, (colour, _, _) in self.things.items()
            ]
        )


SCENE = Room()
SOUTH = Viewpoint(np.array([0.0, -3.0, 1.0]), np.pi / 2)
NORTH = Viewpoint(np.array([0.0, 4.0, 1.0]), -np.pi / 2)


def names(answer: Answer) -> list[str]:
    return [Room.names[candidate.index] for candidate in answer.candidates]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the mug left of the laptop", "mug 1"),
        ("the mug right of the laptop on the desk", "mug 2"),
        ("the red mug", "mug 1"),
        ("the mug that is not red and on the desk", "mug 2"),
        ("the mug not on the desk", "mug 3"),
        ("the thing under the desk", "ball"),
        ("the chair in front of the desk", "chair 1"),
        ("the chair next to the lamp", "chair 3"),
        ("the chair closest to the lamp", "chair 3"),
        ("the closest chair", "chair 1"),
        ("the farthest chair from the lamp", "chair 2"),
        ("the second closest chair to the lamp", "chair 1"),
        ("the largest chair", "chair 2"),
        ("the leftmost chair", "chair 3"),
        ("the second chair from the left", "chair 1"),
        ("the chair on the right", "chair 2"),
        ("the laptop between the mugs", "laptop"),
        ("the chair in the corner", "chair 3"),
        ("the book in the shelf", "book"),
        ("the thing on the shelf", "book"),
        ("the highest thing", "picture"),
        ("the mug next to the chair", "mug 3"),
        ("the chair near the lamp and not far from the shelf", "chair 3"),
    ],
)
def test_a_sentence_finds_its_thing(text: str, expected: str) -> None:
    answer = resolve(parse_request(text), SCENE, SOUTH)
    assert (answer.status, names(answer)[0]) == (Status.FOUND, expected)


def test_left_is_another_side_from_elsewhere_and_the_answer_says_whose() -> None:
    request = parse_request("the mug left of the laptop")
    south, north, nobody = (resolve(request, SCENE, view) for view in (SOUTH, NORTH, None))
    assert [names(answer)[0] for answer in (south, north)] == ["mug 1", "mug 2"]
    assert [answer.frame.value for answer in (south, north, nobody)] == ["viewpoint", "viewpoint", "anchor"]
    assert resolve(parse_request("the red mug"), SCENE, SOUTH).frame.value == "none"


def test_an_answer_names_what_speaks_for_it() -> None:
    answer = resolve(parse_request("the mug left of the laptop on the desk"), SCENE, SOUTH)
    (support,) = answer.candidates[0].support
    assert (support.relation, [Room.names[i] for i in support.anchors]) == ("left of", ["laptop"])
    between = resolve(parse_request("the laptop between the mugs"), SCENE).candidates[0].support[0]
    assert {Room.names[i] for i in between.anchors} == {"mug 1", "mug 2"}


def test_what_is_not_there_is_not_found_and_the_reason_is_given() -> None:
    absent = resolve(parse_request("the cat on the desk"), SCENE)
    assert (absent.status, absent.candidates) == (Status.NOT_FOUND, ())
    assert "'cat'" in absent.message
    anchorless = resolve(parse_request("the mug next to the piano"), SCENE)
    assert "'piano'" in anchorless.message
    unrelated = resolve(parse_request("the lamp under the desk"), SCENE)
    assert (unrelated.status, "1 of 'lamp'" in unrelated.message) == (Status.NOT_FOUND, True)
    assert resolve(parse_request("the fourth largest chair"), SCENE).status is Status.NOT_FOUND


def test_things_that_fit_equally_are_ambiguous() -> None:
    answer = resolve(parse_request("the blue mug"), SCENE)
    assert answer.status is Status.AMBIGUOUS
    assert set(names(answer)) == {"mug 2", "mug 3"}
    assert resolve(parse_request("the blue mug on the desk"), SCENE).status is Status.FOUND


@pytest.mark.parametrize(
    ("text", "count"),
    [("how many chairs", 3), ("how many mugs are on the desk", 2), ("how many cats are on the desk", 0),
     ("count the lamps under the desk", 0), ("all blue things", 4)],
)  # fmt: skip
def test_things_are_counted(text: str, count: int) -> None:
    answer = resolve(parse_request(text), SCENE)
    assert answer.count == count


def test_turned_boxes_touch_where_they_are_and_not_where_their_shadow_is() -> None:
    class Turned(Room):
        boxes = Boxes(
            np.array([[0.0, 0, 0.4], [1.0, -1.0, 0.4], [0.9, 0.9, 0.1]]),
            np.array([[4.0, 0.4, 0.8], [0.4, 0.4, 0.8], [0.2, 0.2, 0.2]]),
            np.array([np.pi / 4, 0.0, 0.0]),
        )

        def fit(self, noun: str) -> np.ndarray:
            return np.array([float(noun == kind) for kind in ("table", "box", "cup")])

    near = parse_request("the box against the table")
    assert resolve(near, Turned()).status is Status.NOT_FOUND
    assert resolve(parse_request("the cup under the table"), Turned()).status is Status.FOUND


class Named(Room):
    """Boxes with a name each."""

    regions: Mapping[str, Boxes] = {}

    def __init__(self, **things: tuple[Sequence[float], Sequence[float]]) -> None:
        self.names = tuple(things)
        centres, sizes = (np.array([thing[part] for thing in things.values()], np.float64) for part in (0, 1))
        self.boxes = Boxes(centres, sizes, np.zeros(len(things)))

    def fit(self, noun: str) -> np.ndarray:
        return np.array([float(noun in ("thing", name.split("_")[0])) for name in self.names])

    def ask(self, text: str, viewpoint: Viewpoint | None = SOUTH) -> tuple[Status, list[str]]:
        answer = resolve(parse_request(text), self, viewpoint)
        return answer.status, [self.names[candidate.index] for candidate in answer.candidates]


def test_what_hangs_over_something_that_is_off_the_wall_is_above_it() -> None:
    scene = Named(
        sofa=((0, 0, 0.4), (2, 0.8, 0.8)),
        picture_over=((0, 0.47, 1.6), (0.8, 0.02, 0.6)),
        picture_aside=((1.8, 0.47, 1.6), (0.8, 0.02, 0.6)),
    )
    assert scene.ask("the picture above the sofa") == (Status.FOUND, ["picture_over"])
    assert scene.ask("the sofa under the picture") == (Status.FOUND, ["sofa"])


def test_what_holds_a_thing_is_not_on_one_side_of_it() -> None:
    scene = Named(
        desk_full=((0, 0, 0.4), (1.6, 0.8, 0.8)),
        book=((-0.6, 0, 0.85), (0.2, 0.2, 0.1)),
        desk_empty=((3, 0, 0.4), (1.6, 0.8, 0.8)),
    )
    assert scene.ask("the desk right of the book") == (Status.FOUND, ["desk_empty"])
    assert scene.ask("the book left of the desk")[0] is Status.FOUND  # of the other one
    assert Named(desk=((0, 0, 0.4), (1.6, 0.8, 0.8)), book=((-0.6, 0, 0.85), (0.2, 0.2, 0.1))).ask(
        "the book left of the desk"
    ) == (Status.NOT_FOUND, [])


def test_what_lies_on_a_thing_is_not_beside_it() -> None:
    scene = Named(
        bed=((0, 0, 0.5), (2, 1.6, 1.0)),
        pillow_on=((-0.7, 0, 0.6), (0.5, 0.4, 0.2)),
        pillow_beside=((1.4, 0, 0.1), (0.5, 0.4, 0.2)),
    )
    assert scene.ask("the pillow next to the bed") == (Status.FOUND, ["pillow_beside"])
    assert scene.ask("the pillow on the bed") == (Status.FOUND, ["pillow_on"])


def test_what_hangs_on_a_wall_is_beside_it() -> None:
    scene = Named(
        wall=((0, 4, 1.2), (8, 0.02, 2.4)),
        picture=((0, 3.97, 1.5), (0.8, 0.03, 0.6)),
        curtain=((1.0, 3.9, 1.2), (0.5, 0.05, 2.2)),
        window=((2.0, 3.95, 1.5), (1.5, 0.1, 1.2)),
    )
    assert scene.ask("the picture next to the wall") == (Status.FOUND, ["picture"])
    assert scene.ask("the picture on the wall") == (Status.FOUND, ["picture"])
    assert scene.ask("the window right of the curtain") == (Status.FOUND, ["window"])


def test_nothing_is_beside_itself() -> None:
    assert Named(chair=((0, 0, 0.5), (1, 1, 1))).ask("the chair next to the chair") == (Status.NOT_FOUND, [])


def test_the_closest_is_the_one_whose_side_is_closest() -> None:
    scene = Named(bed_long=((0, 1.1, 0.3), (1, 6, 0.6)), bed_short=((2, -0.6, 0.3), (1, 1, 0.6)))
    assert scene.ask("the closest bed")[1][0] == "bed_long"


def test_leftmost_is_as_it_is_seen() -> None:
    scene = Named(plant_near=((-1, -2, 0.5), (0.3, 0.3, 1)), plant_far=((-2, 7, 0.5), (0.3, 0.3, 1)))
    assert scene.ask("the leftmost plant")[1][0] == "plant_near"
    assert scene.ask("the rightmost plant")[1][0] == "plant_far"


def test_the_shortest_there_is_the_shortest_of_those_that_are_there() -> None:
    scene = Named(
        desk=((0, 3, 0.4), (1.6, 0.8, 0.8)),
        bin_close=((0, 2, 0.175), (0.3, 0.3, 0.35)),
        bin_short=((0.2, -0.4, 0.15), (0.3, 0.3, 0.3)),
        bin_behind=((0, 4, 0.1), (0.3, 0.3, 0.2)),
    )
    status, found = scene.ask("the shortest bin in front of the desk")
    assert (status, found[0]) == (Status.FOUND, "bin_short")


def test_boxes_that_cross_touch_though_no_corner_is_in_the_other() -> None:
    scene = Named(plank=((0, 0, 0.1), (4, 0.2, 0.2)), beam=((0, 0, 0.1), (0.2, 4, 0.2)), box=((3, 3, 0.1), (1, 1, 0.2)))
    assert scene.ask("the plank against the beam") == (Status.FOUND, ["plank"])
    assert scene.ask("the box against the beam") == (Status.NOT_FOUND, [])


def test_boxes_that_are_none_are_refused() -> None:
    with pytest.raises(OvsegError, match="boxes need"):
        Boxes(np.zeros((2, 3)), np.zeros((3, 3)), np.zeros(2))
    with pytest.raises(OvsegError, match="boxes need"):
        Boxes(np.full((1, 3), np.nan), np.zeros((1, 3)), np.zeros(1))


def test_an_empty_scene_has_nothing() -> None:
    class Empty(Room):
        boxes = Boxes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))

        def fit(self, noun: str) -> np.ndarray:
            return np.zeros(0)

    for text in ("the chair", "the largest chair left of the desk", "the cup between the chairs", "the leftmost chair"):
        assert resolve(parse_request(text), Empty(), SOUTH).status is Status.NOT_FOUND
