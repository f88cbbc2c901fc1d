"""Answers looked up in a map's pictures: with a model that knows the truth, with ours, and with SAM 3's prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from sam3_model import save_tiny_model
from test_query import BLUE, RED
from word_space import SPACE, VOCABULARY, word

from ovseg_ros.cli import main
from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig, SemanticMap, storage
from ovseg_ros.pipeline import build_map
from ovseg_ros.query import best_views, combined, find, gather, verify, verify_matches
from ovseg_ros.referring import MapScene, Status, parse_request, resolve, to_verify, verify_answer
from ovseg_ros.segmentation import load_segmenter, referrer_of
from ovseg_ros.segmentation.sam3.concepts import Concepts
from ovseg_ros.segmentation.sam3.config import Sam3Config
from ovseg_ros.segmentation.sam3.segmenter import Sam3Segmenter
from ovseg_ros.segmentation.sam3.space import Sam3Space
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import Intrinsics, Referrer, RefPrediction, RgbdFrame, Segmentation

CAMERA = Intrinsics(80.0, 80.0, 39.5, 29.5, 80, 60)
LEFT, RIGHT = (slice(20, 40), slice(10, 30)), (slice(20, 40), slice(50, 70))


def two_chairs(views: int = 4, red: float = 0.55) -> SemanticMap:
    """A red and a blue square in front of a far wall: a chair, and as far as ``red`` says another."""
    rgb = torch.full((60, 80, 3), 128, dtype=torch.uint8)
    depth = torch.full((60, 80), 3.0)
    features = (0.4 * word("object") + 0.6 * word("table"))[:, None, None].repeat(1, 60, 80)
    for (rows, columns), colour, share in ((LEFT, RED, red), (RIGHT, BLUE, 1.0)):
        rgb[rows, columns] = torch.tensor(colour, dtype=torch.uint8)
        depth[rows, columns] = 1.5
        features[:, rows, columns] = (share * word("chair") + (1.0 - share) * word("table"))[:, None, None]
    semantic_map = SemanticMap(MappingConfig(views=views), vocabulary=VOCABULARY)
    frame = RgbdFrame(rgb, depth, CAMERA, torch.eye(4, dtype=torch.float64), 1)
    semantic_map.integrate(frame, Segmentation(features, SPACE.id))
    return semantic_map


class Colours:
    """Marks pixels that are rather red than blue, or what else it is told to; remembers what it was asked."""

    def __init__(self, score: float = 0.9, everything: bool = False) -> None:
        self.asked: list[list[str]] = []
        self._score, self._everything = score, everything

    def refer(
        self, rgb: torch.Tensor, expressions: Sequence[str], size: tuple[int, int] | None = None
    ) -> RefPrediction:
        self.asked.append(list(expressions))
        red = rgb[..., 0].int() > rgb[..., 2].int() + 60
        mask = (red | self._everything).float()[None, None]
        mask = torch.nn.functional.interpolate(mask, size or rgb.shape[:2], mode="nearest-exact")[0] > 0
        return RefPrediction(mask.repeat(len(expressions), 1, 1), torch.full((len(expressions),), self._score))


def test_the_picture_decides_between_matches() -> None:
    semantic_map = two_chairs()
    found = find(semantic_map, SPACE, ["chair", "plant"])
    before = [entry.match for entry in found]
    assert [match.query for match in before] == ["chair", "chair"]
    assert before[0].position[0] > 0 > before[1].position[0]
    referrer = Colours()
    after = verify_matches(gather(semantic_map, found), referrer)
    assert after[0].position == before[1].position
    assert after[1].position == before[0].position
    assert after[0].score == pytest.approx((before[1].score * 0.9) ** 0.5, rel=0.05)
    assert after[1].score == 0.0
    # One picture shows both, and is looked at once.
    assert referrer.asked == [["chair"]]


def test_marking_everything_says_less_than_marking_the_thing() -> None:
    semantic_map = two_chairs()
    things = gather(semantic_map, find(semantic_map, SPACE, "chair")).views
    _, exact = verify(things, Colours(), "chair")
    _, all_of_it = verify(things, Colours(everything=True), "chair")
    _, unsure = verify(things, Colours(score=0.3), "chair")
    assert exact is not None and all_of_it is not None and unsure is not None
    assert exact > 0.8 > 0.2 > all_of_it
    assert unsure == pytest.approx(exact / 3, rel=1e-5)


def test_what_no_picture_shows_is_neither_confirmed_nor_refuted() -> None:
    semantic_map = two_chairs(views=0)
    unverified = gather(semantic_map, find(semantic_map, SPACE, "chair"))
    assert verify(unverified.views, Colours(), "chair") == (None, None)
    after = verify_matches(unverified, Colours())
    assert [match.position for match in after] == [match.position for match in unverified.matches]
    assert combined(0.5, 1.0) > combined(0.5, None) > combined(0.5, 0.1)


def test_pictures_resolve_what_sentences_leave_open() -> None:
    semantic_map = two_chairs(red=1.0)
    scene = MapScene(semantic_map, SPACE)
    answer = resolve(parse_request("the chair"), scene)
    views = {place: best_views(semantic_map, scene.things[place].keys) for place in to_verify(answer)}
    assert (answer.status, len(views)) == (Status.AMBIGUOUS, 2)
    referrer = Colours()
    verified = verify_answer(answer, views, referrer)
    assert verified.status is Status.FOUND
    first, second = (scene.boxes.centres[candidate.index] for candidate in verified.candidates)
    assert first[0] < 0 < second[0]
    assert referrer.asked == [["chair"]]
    blind = verify_answer(answer, dict.fromkeys(views, ()), referrer)
    assert blind == answer
    for sentence in ("how many chairs are there", "all chairs", "the piano", "the largest thing"):
        assert to_verify(resolve(parse_request(sentence), scene)) == ()


def test_our_model_marks_what_it_is_asked_for() -> None:
    sequence = RoomSequence(63000, frames=24, width=320, height=240)
    bed = next(thing for thing in sequence.room.objects if thing.label == "bed")
    views = [sequence.view(index) for index in range(0, 24, 4)]
    view = max(views, key=lambda one: int((one.instances == bed.instance_id).sum()))
    rgb, truth = torch.from_numpy(view.rgb), view.instances == bed.instance_id
    referrer = referrer_of(load_segmenter("openseg", "cpu"))
    assert isinstance(referrer, Referrer)
    seen = referrer.refer(rgb, ["bed", "bathtub"])
    assert (tuple(seen.masks.shape), seen.masks.dtype) == ((2, 240, 320), torch.bool)
    mask = seen.masks[0].numpy()
    assert (mask & truth).sum() / (mask | truth).sum() > 0.5
    assert seen.scores[0] > 0.5 > seen.masks[1].float().mean()
    small = referrer.refer(rgb, ["bed"], (60, 80))
    assert tuple(small.masks.shape) == (1, 60, 80)
    assert abs(float(small.masks.float().mean()) - mask.mean()) < 0.05


def test_scores_of_concepts_are_no_features_to_compare_words_with() -> None:
    class Prompted:
        space = Sam3Space("sam3/0123")

    with pytest.raises(OvsegError, match="no features to compare words with"):
        referrer_of(Prompted())  # type: ignore[arg-type]


def test_sam3_takes_an_expression_as_a_prompt(tmp_path: Path) -> None:
    save_tiny_model(tmp_path)
    config = Sam3Config(weights=str(tmp_path), threshold=0.01)
    segmenter = Sam3Segmenter(tmp_path, Concepts.of(["sofa"]), config, "cpu")
    rgb = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    assert referrer_of(segmenter) is segmenter
    seen = segmenter.refer(rgb, ["red chair", "table", "Red  chair"], (20, 30))
    assert (tuple(seen.masks.shape), tuple(seen.scores.shape)) == ((3, 20, 30), (3,))
    assert torch.equal(seen.masks[0], seen.masks[2]) and seen.scores[0] == seen.scores[2]
    # What it was loaded with stays, and gives the same as that prompt.
    assert segmenter.concepts.prompts == ("sofa",)
    same = segmenter.refer(rgb, ["sofa"])
    instances = segmenter(rgb).instances
    assert instances and same.scores[0] == pytest.approx(max(instance.score for instance in instances))
    assert tuple(same.masks.shape) == (1, 40, 60) and same.masks.any()


def test_the_command_looks_answers_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segmenter = load_segmenter("openseg", "cpu")
    sequence = RoomSequence(63000, frames=24, width=160, height=120)
    for views in (0, 8):
        semantic_map, _ = build_map(sequence, segmenter, MappingConfig(voxel_size=0.1, views=views), every=4)
        storage.save(semantic_map, tmp_path / f"{views}.ovmap")
    path = str(tmp_path / "8.ovmap")

    def answers(*arguments: str) -> list[dict[str, float]]:
        assert main([*arguments, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        found: list[dict[str, float]] = printed.get("matches") or printed["candidates"]
        return found

    for arguments in (["query", path, "bed"], ["refer", path, "the bed"]):
        plain, verified = answers(*arguments), answers(*arguments, "--verify")
        assert plain and len(plain) == len(verified)
        assert [one["score"] for one in plain] != [one["score"] for one in verified]
        assert sorted(one["position"] for one in plain) == sorted(one["position"] for one in verified)
    for verb, words in (("query", "bed"), ("refer", "the bed")):
        assert main([verb, str(tmp_path / "0.ovmap"), words, "--verify"]) == 1
        assert "keeps no pictures" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["query", path, "--image", "x.png", "--verify"])
