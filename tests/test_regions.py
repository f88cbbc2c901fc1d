"""Places with names: rooms found in painted floors, files of places, and sentences that speak of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from painted_rooms import FREE, Painting

from ovseg_ros.cli import main
from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig, SemanticMap
from ovseg_ros.query import Room, segment_rooms
from ovseg_ros.referring import Boxes, format_regions, inside_place, parse_request, place_of, read_regions, resolve

DOOR = ((6, 2, 0.1), (6, 2.8, 2.0))


def flat() -> Painting:
    """6 x 5 m and, behind a door of 0.9 m, 4 x 5 m; tables stand about, and a wardrobe along a wall."""
    world = Painting((-1, -1, -0.5), (11, 6, 3)).room((0, 0), (6, 5)).room((6, 0), (10, 5)).box(*DOOR, FREE)
    world.box((2, 1.5, 0.1), (4.5, 3.5, 0.8), name="table").box((1, 0.1, 0.1), (2, 0.6, 2.2))
    return world.box((8, 1, 0.1), (8.4, 1.4, 0.9), name="chair").box((9, 3, 0.1), (9.4, 3.4, 0.9), name="chair")


def holds(room: Room, x: float, y: float) -> bool:
    low, high = room.rectangles[:, :2], room.rectangles[:, 2:]
    return bool(((low <= (x, y)) & ((x, y) <= high)).all(axis=1).any())


def test_a_door_parts_two_rooms_and_furniture_none() -> None:
    large, small = segment_rooms(flat().map("occupancy"))
    assert large.area == pytest.approx(30, rel=0.12)
    assert small.area == pytest.approx(20, rel=0.12)
    for x, y in ((0.3, 0.3), (3, 2.5), (5.7, 4.7), (0.0, 2.5)):
        assert holds(large, x, y) and not holds(small, x, y)
    for x, y in ((6.3, 0.3), (9.7, 4.7), (8.2, 1.2)):
        assert holds(small, x, y) and not holds(large, x, y)
    assert large.middle[:2] == pytest.approx((3.0, 2.5), abs=0.2)
    assert (large.bottom, large.top) == pytest.approx((-0.2, 2.5))


def test_rectangles_of_rooms_do_not_overlap() -> None:
    rectangles = np.concatenate([room.rectangles for room in segment_rooms(flat().map("occupancy"))])
    low, high = rectangles[:, None, :2], rectangles[:, None, 2:]
    shared = np.clip(np.minimum(high, high.swapaxes(0, 1)) - np.maximum(low, low.swapaxes(0, 1)), 0, None).prod(axis=-1)
    assert (shared - np.diag(np.diag(shared)) < 1e-9).all()


def test_an_opening_wider_than_a_door_joins_rooms() -> None:
    world = flat().box((6, 1, 0.1), (6, 3.5, 2.0), FREE)
    assert len(segment_rooms(world.map("occupancy"))) == 1
    assert len(segment_rooms(world.map("occupancy"), door_width=2.8)) == 2


def test_of_two_storeys_the_floor_that_is_asked_for_is_taken_apart() -> None:
    world = Painting((-1, -1, -0.5), (8, 8, 6)).room((0, 0), (6, 5)).room((2, 2), (7, 7), floor=3.0)
    (upper,), (lower,) = segment_rooms(world.map("occupancy")), segment_rooms(world.map("occupancy"), floor=0.0)
    assert holds(upper, 6.5, 6.5) and upper.bottom == pytest.approx(2.8)
    assert holds(lower, 0.5, 0.5) and lower.bottom == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("layers", "empty", "door", "words"),
    [
        ("voxels", False, 1.0, "mapping.layers:=occupancy"),
        ("occupancy", True, 1.0, "the map is empty"),
        ("occupancy", False, 0.0, "above 0 and up to 5 m wide, got 0"),
        ("occupancy", False, 9.0, "got 9"),
    ],
)
def test_a_map_without_rooms_says_why(layers: str, empty: bool, door: float, words: str) -> None:
    with pytest.raises(OvsegError, match=words):
        segment_rooms(
            SemanticMap(MappingConfig(layers=layers)) if empty else flat().map(layers),
            door_width=door,
        )


def test_a_place_is_as_large_as_its_boxes_together() -> None:
    place = Boxes.axis_aligned(
        np.array([[0, 0, 0], [2, 0, 0], [1, 0, 0.0]]), np.array([[2, 2, 2], [4, 2, 2], [3, 2, 2.0]])
    )
    across, half, above, out = ((2.0, 1, 1), (4.0, 1, 1), (1.0, 1, 2.5), (9.0, 9, 1))
    things = Boxes(np.array([across, half, above, out]), np.ones((4, 3)), np.zeros(4))
    np.testing.assert_allclose(inside_place(things, place), [1.0, 0.6, 0.0, 0.0], atol=0.25)
    assert inside_place(things, place)[0] == 1.0


def test_sentences_speak_of_the_rooms_of_a_file(tmp_path: Path) -> None:
    rooms = segment_rooms(flat().map("occupancy"))
    places = {name: place_of(room) for name, room in zip(("Hall", "kitchen"), rooms, strict=True)}
    (tmp_path / "flat.yaml").write_text(format_regions(places))
    read = read_regions(tmp_path / "flat.yaml")
    assert list(read) == ["hall", "kitchen"]
    np.testing.assert_allclose(read["hall"].sizes, places["Hall"].sizes, atol=0.002)

    class Chairs:
        boxes = Boxes(np.array([[8.2, 1.2, 0.5], [9.2, 3.2, 0.5], [3, 2, 0.5]]), np.full((3, 3), 0.4), np.zeros(3))
        regions = read

        def fit(self, noun: str) -> np.ndarray:
            return np.full(3, float(noun in ("chair", "chairs")))

    for sentence, chosen in {
        "how many chairs are in the kitchen": {0, 1},
        "the chair in the hall": {2},
        "all chairs that are not in the kitchen": {2},
        "the chairs inside of the hall": {2},
    }.items():
        assert {found.index for found in resolve(parse_request(sentence), Chairs()).candidates} == chosen, sentence


def test_the_command_finds_rooms_and_answers_about_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def ovseg(*arguments: str) -> dict[str, Any]:
        assert main([*arguments, "--json"]) == 0
        return dict(json.loads(capsys.readouterr().out))

    ovseg("map", "9100", "--dataset", "rooms", "--every", "4", "--layers", "occupancy", "-o", "m.ovmap")
    (room,) = ovseg("regions", "m.ovmap", "-o", "m.yaml", "--picture", "m.png")["rooms"]
    assert 15 < room["area"] < 30
    assert sum(room["things"].values()) > 3
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    content = {"The  Kitchen": yaml.safe_load(Path("m.yaml").read_text())["room 1"]}
    Path("m.yaml").write_text(yaml.safe_dump({**content, "nowhere": {"rectangles": [[90, 90, 91, 91]]}}))
    here, there = (
        ovseg("refer", "m.ovmap", f"how many things are in {place}", "--regions", "m.yaml")["count"]
        for place in ("the kitchen", "nowhere")
    )
    assert here >= sum(room["things"].values())
    assert there == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG", "can't be read"),
        (b"[1, 2]", "should hold names of places"),
        (b"3: {rectangles: [[0, 0, 1, 1]]}", "should hold names of places"),
        (b"hall: {}", "'hall' .* needs `rectangles`"),
        (b"hall: {rectangles: []}", "needs `rectangles`"),
        (b"hall: {rectangles: [[0, 0, 1, 1]], colour: red}", "needs `rectangles`"),
        (b"hall: {rectangles: [[0, 0, 1]]}", "should have 4 finite numbers, got \\[0, 0, 1\\]"),
        (b"hall: {rectangles: [[0, 0, .nan, 1]]}", "4 finite numbers"),
        (b"hall: {rectangles: [[0, 0, true, 1]]}", "4 finite numbers"),
        (b"hall: {rectangles: [[2, 0, 1, 1]]}", "ends before it begins"),
        (b"hall: {rectangles: [[0, 0, 1, 1]], heights: [1]}", "2 finite numbers"),
        (b"hall: !!python/object/apply:os.getcwd []", "can't be read"),
        (b"hall: " + b"[" * 5000, "can't be read"),
        (b"x" * 4_000_001, "more than 4000000 bytes"),
    ],
    ids=lambda value: value[:40].decode(errors="replace") if isinstance(value, bytes) else None,
)
def test_a_file_that_holds_no_places_is_refused_in_a_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "places.yaml").write_bytes(content)
    with pytest.raises(OvsegError, match=words):
        read_regions(tmp_path / "places.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OvsegError, match=r"nowhere\.yaml"):
        read_regions(tmp_path / "nowhere.yaml")
