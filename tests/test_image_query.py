"""A picture as the question: through the library with a model that knows colours, and through the command with ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_query import BLUE, GREY, RED, block, map_of
from word_space import SPACE, VOCABULARY, WordSpace, word

from ovseg_ros.cli import main
from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig, SemanticMap, storage
from ovseg_ros.pipeline import build_map
from ovseg_ros.query import PictureQuery, ask_picture, look_at
from ovseg_ros.segmentation import load_segmenter
from ovseg_ros.segmentation.sam3.space import Sam3Space
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import Segmentation

NAMES = {RED: "chair", BLUE: "table", GREY: "sofa"}


class ColourModel:
    """Sees the thing of `NAMES` whose colour a cell of 4 x 4 pixels has; what all have in common is far more."""

    space = SPACE
    vocabulary = VOCABULARY

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        self.size = tuple(rgb.shape[:2])
        cells = rgb[2::4, 2::4].float()
        distances = torch.stack([(cells - torch.tensor(colour).float()).norm(dim=-1) for colour in NAMES])
        things = torch.stack([seen(name) for name in NAMES.values()])
        return Segmentation(things[distances.argmin(dim=0)].permute(2, 0, 1), SPACE.id)


def seen(name: str) -> torch.Tensor:
    return torch.nn.functional.normalize(word(name) + 4.0 * word("object"), dim=0)


MODEL = ColourModel()


@pytest.fixture
def room() -> SemanticMap:
    return map_of(
        (block((0, 0, 0), (5, 3, 7)), seen("chair"), RED),
        (block((20, 0, 0), (4, 4, 4)), seen("table"), BLUE),
        (block((0, 20, 0), (3, 3, 3)), seen("chair"), RED),
        (block((40, 40, 0), (20, 20, 1)), word("object"), GREY),
    )


def picture(*colours: tuple[int, int, int], side: int = 40) -> torch.Tensor:
    """Squares of these colours, side by side."""
    return torch.cat([torch.tensor(colour, dtype=torch.uint8).expand(side, side, 3) for colour in colours], dim=1)


def test_finds_what_looks_like_the_picture_best_first(room: SemanticMap) -> None:
    matches = ask_picture(room, SPACE, look_at(MODEL, picture(RED)))
    assert [match.voxel_count for match in matches] == [105, 27]
    assert matches[0].position == pytest.approx((0.2, 0.1, 0.3))
    assert {match.query for match in matches} == {"picture"}
    assert 1.0 >= matches[0].score > matches[1].score >= 0.3
    assert len(ask_picture(room, SPACE, look_at(MODEL, picture(RED)), max_matches=1)) == 1


def test_what_is_not_there_has_no_match(room: SemanticMap) -> None:
    assert ask_picture(room, SPACE, look_at(MODEL, picture(GREY))) == ()
    assert ask_picture(SemanticMap(space=SPACE.id), SPACE, look_at(MODEL, picture(RED))) == ()


@given(left=st.integers(0, 70), width=st.integers(8, 40), scale=st.floats(0.1, 10.0))
@settings(deadline=None, max_examples=25)
def test_the_box_says_which_thing_is_meant(left: int, width: int, scale: float) -> None:
    box = (left, 4, min(120, left + width), 36)
    middle = (box[0] + box[2]) / 2
    if abs(middle - 40) < 16 or abs(middle - 80) < 16:
        return
    expected = (RED, BLUE, GREY)[int(middle // 40)]
    query = look_at(MODEL, picture(RED, BLUE, GREY), box)
    torch.testing.assert_close(query.feature, seen(NAMES[expected]))
    # How long a feature is says nothing.
    scaled = PictureQuery(query.feature * scale, query.space)
    room = map_of(*((block((10 * i, 0, 0), (4, 4, 4)), seen(NAMES[c]), c) for i, c in enumerate((RED, BLUE, GREY))))
    (match,) = ask_picture(room, SPACE, scaled)
    assert match.position[0] == pytest.approx({RED: 0.1, BLUE: 1.1, GREY: 2.1}[expected])


def test_large_pictures_are_looked_at_smaller() -> None:
    look_at(MODEL, picture(RED, BLUE, side=1500))
    assert MODEL.size == (640, 1280)


@pytest.mark.parametrize(
    ("rgb", "box", "words"),
    [
        (torch.zeros(8, 40, 3, dtype=torch.uint8), None, "16 to 8192 pixels on each side, got 40x8"),
        (torch.zeros(16, 8193, 3, dtype=torch.uint8), None, "got 8193x16"),
        (torch.zeros(40, 40, 3), None, r"\(H, W, 3\) uint8"),
        (torch.zeros(40, 40, dtype=torch.uint8), None, r"\(H, W, 3\) uint8"),
        (picture(RED), (10, 10, 10, 20), "box 10 10 10 20 isn't one in a picture of 40x40"),
        (picture(RED), (-1, 0, 10, 10), "box -1 0 10 10"),
        (picture(RED), (0, 0, 41, 40), "box 0 0 41 40"),
    ],
)
def test_what_is_no_picture_is_refused(rgb: torch.Tensor, box: tuple[int, ...] | None, words: str) -> None:
    with pytest.raises(OvsegError, match=words):
        look_at(MODEL, rgb, box)


def test_scores_of_concepts_have_nothing_to_compare_a_picture_with() -> None:
    class Prompted(ColourModel):
        space = Sam3Space("sam3/0123")

    with pytest.raises(OvsegError, match="ask in words"):
        look_at(Prompted(), picture(RED))


def test_a_picture_of_another_model_is_refused(room: SemanticMap) -> None:
    query = look_at(MODEL, picture(RED))
    with pytest.raises(OvsegError, match=r"seen by 'words/2', the map holds features of 'words/1'"):
        ask_picture(room, SPACE, PictureQuery(query.feature, "words/2"))
    other = WordSpace()
    other.id = "words/2"
    with pytest.raises(OvsegError, match="words/1"):
        ask_picture(room, other, PictureQuery(query.feature, "words/2"))
    with pytest.raises(OvsegError, match="min_score"):
        ask_picture(room, SPACE, query, min_score=2.0)


@pytest.fixture(scope="module")
def sequence() -> RoomSequence:
    return RoomSequence(63000, frames=24, width=320, height=240)


@pytest.mark.parametrize(
    "how", [{}, {"feature_components": 64, "feature_dtype": "float16"}, {"feature_voxel_size": 0.2}]
)
def test_a_thing_seen_from_a_view_that_was_not_mapped_is_found(sequence: RoomSequence, how: dict[str, Any]) -> None:
    segmenter = load_segmenter("openseg", "cpu")
    semantic_map, _ = build_map(sequence, segmenter, MappingConfig(voxel_size=0.1, **how), every=2)
    bed = next(thing for thing in sequence.room.objects if thing.label == "bed")
    views = {index: sequence.view(index) for index in range(1, 24, 4)}
    index = max(views, key=lambda number: int((views[number].instances == bed.instance_id).sum()))
    rows, columns = np.nonzero(views[index].instances == bed.instance_id)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    query = look_at(segmenter, torch.from_numpy(views[index].rgb), [int(value) for value in box])
    best = ask_picture(semantic_map, segmenter.space, query)[0]
    assert (bed.lower - 0.1 <= best.position).all() and (best.position <= bed.upper + 0.1).all()


def test_the_command_takes_words_pictures_or_both(
    sequence: RoomSequence, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segmenter = load_segmenter("openseg", "cpu")
    semantic_map, _ = build_map(sequence, segmenter, MappingConfig(voxel_size=0.1), every=4)
    path, image = str(tmp_path / "room.ovmap"), str(tmp_path / "picture.png")
    storage.save(semantic_map, path)
    cv2.imwrite(image, cv2.cvtColor(sequence[0].rgb.numpy(), cv2.COLOR_RGB2BGR))
    asked = ["query", path, "--image", image, "--box", "40", "40", "280", "220", "--min-score", "0.02"]
    assert main([*asked, "bed", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {match["query"] for match in printed["matches"]} == {"bed", "picture"}
    assert main(asked) == 0
    assert "picture" in capsys.readouterr().out
    for arguments in (["query", path], ["query", path, "bed", "--box", "0", "0", "1", "1"]):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
    (tmp_path / "text.png").write_text("no picture")
    huge = b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d49484452") + (60000).to_bytes(4, "big") * 2
    (tmp_path / "huge.png").write_bytes(huge)
    for name, words in (("text.png", "not an image"), ("none.png", "does not exist"), ("huge.png", "60000x60000")):
        assert main(["query", path, "--image", str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        assert words in error and "Traceback" not in error
