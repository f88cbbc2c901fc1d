"""Presence: numbers against hand counts, and what counts as there and as seen for each kind of segmenter."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from ovseg_ros.datasets import write_sequence
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.presence import main, score_presence
from ovseg_ros.evaluation.presence_counts import PresenceCounts
from ovseg_ros.evaluation.presence_masks import LabelledView
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import InstanceMask, Segmentation
from ovseg_ros.vocabulary import Vocabulary

CLASSES = ("wall", "chair", "lamp")
SIDE = 20


def row(*spans: tuple[int, int]) -> np.ndarray:
    """(N, 1, 40) masks of the pixels from a to b."""
    masks = np.zeros((len(spans), 1, 40), dtype=bool)
    for mask, (a, b) in zip(masks, spans, strict=True):
        mask[:, a:b] = True
    return masks


def test_presence_by_hand() -> None:
    counts = PresenceCounts(["chair", "piano"])
    there, nothing = row((0, 9)), row()
    for truth, predicted in [(there, there)] * 3 + [(nothing, there)] + [(there, nothing)] * 2 + [(nothing, nothing)]:
        counts.add(0, truth, predicted)
    for predicted in (nothing, nothing, nothing, there):
        counts.add(1, nothing, predicted)
    presence = counts.presence()
    assert [presence[key] for key in ("TP", "FP", "FN", "TN")] == [3, 2, 2, 4]
    assert presence["precision"] == presence["recall"] == pytest.approx(3 / 5)
    assert presence["false_alarm"] == pytest.approx(2 / 6)
    assert presence["false_alarm_never"] == pytest.approx(1 / 4)
    assert presence["MCC"] == pytest.approx((3 * 4 - 2 * 2) / math.sqrt(5 * 5 * 6 * 6))
    chair, piano = counts.per_concept().values()
    assert (chair["false_alarm"], chair["precision"]) == (pytest.approx(1 / 2), pytest.approx(3 / 4))
    assert chair["MCC"] == pytest.approx((3 * 1 - 1 * 2) / math.sqrt(4 * 5 * 2 * 3))
    assert (piano["false_alarm"], piano["precision"]) == (pytest.approx(1 / 4), 0.0)
    assert math.isnan(piano["recall"])
    assert math.isnan(piano["MCC"])
    assert counts.never_there == ("piano",)


def test_one_answer_to_everything_is_no_knowledge() -> None:
    counts = PresenceCounts(["chair"])
    counts.add(0, row((0, 9)), row((0, 9)))
    counts.add(0, row(), row((0, 9)))
    assert counts.presence()["MCC"] == 0.0
    assert counts.summary() == {"positive_F1": 1.0, "cgF1": 0.0}


def test_masks_by_hand() -> None:
    counts = PresenceCounts(["chair"])
    # IoU 8/12, exact, and one that is nobody's.
    counts.add(0, row((0, 10), (20, 30)), row((20, 30), (2, 12), (35, 40)))
    expected = [4 / 5] * 4 + [2 / 5] * 6
    np.testing.assert_allclose(counts.positive_f1, expected)
    # What is seen where nothing is counts against presence, not against masks; what is missed counts against both.
    counts.add(0, row(), row((0, 40)))
    np.testing.assert_allclose(counts.positive_f1, expected)
    counts.add(0, row((0, 5)), row())
    counts.add(0, row(), row())
    np.testing.assert_allclose(counts.positive_f1, [4 / 6] * 4 + [2 / 6] * 6)
    f1 = (4 * 4 / 6 + 6 * 2 / 6) / 10
    assert counts.presence()["MCC"] == 0.0
    assert counts.summary()["positive_F1"] == pytest.approx(f1)
    counts.add(0, row(), row())
    mcc = (1 * 2 - 1 * 1) / math.sqrt(2 * 2 * 3 * 3)
    assert counts.summary()["cgF1"] == pytest.approx(f1 * mcc)


def test_masks_are_paired_one_to_one_for_the_largest_sum() -> None:
    counts = PresenceCounts(["chair"])
    # Two masks on one thing: one fits, the other is false, and the second thing is missed.
    counts.add(0, row((0, 10), (10, 20)), row((0, 10), (0, 10)))
    np.testing.assert_allclose(counts.positive_f1, [2 / 4] * 10)
    crossed = PresenceCounts(["chair"])
    # IoU with the first thing 10/15 and 8/10, with the second 5/15 and 0: the sum is largest crossed (17/15 > 1).
    crossed.add(0, row((0, 10), (10, 15)), row((0, 15), (0, 8)))
    np.testing.assert_allclose(crossed.positive_f1, [2 / 4] * 7 + [0.0] * 3)


def test_an_iou_of_the_threshold_fits() -> None:
    for overlap, fits in ((5, 1), (6, 3), (7, 5), (9, 9), (10, 10)):
        counts = PresenceCounts(["chair"])
        counts.add(0, row((0, 10)), row((0, overlap)))
        assert counts.positive_f1.sum() == fits, overlap


def test_nothing_counted_is_nothing_known() -> None:
    counts = PresenceCounts(["chair"])
    assert all(math.isnan(value) for value in counts.summary().values())
    counts.leave_out(0)
    assert counts.never_there == ()
    assert counts.presence()["left_out"] == 1


class Words:
    """An axis for each class, and one for every other word."""

    id = "axes/1"
    logit_scale = 20.0
    same_meaning = 0.5

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        axes = [CLASSES.index(text) if text in CLASSES else len(CLASSES) for text in texts]
        return torch.eye(len(CLASSES) + 1)[axes]

    def align(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(features, dim=1)


class Painter:
    """Sees what is painted: the red of a pixel is its label; language features as large as the image."""

    space = Words()
    vocabulary = Vocabulary.from_names(CLASSES)

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        one_hot = torch.nn.functional.one_hot(rgb[..., 0].long(), len(CLASSES) + 1)
        return Segmentation(one_hot.roll(-1, dims=2).permute(2, 0, 1).float(), self.space.id)


class Prompted(Painter):
    """The same as scores of the concepts it is told, and with one instance for each of ``instances``."""

    def __init__(self, score: float = 0.9, instances: Sequence[InstanceMask] = ()) -> None:
        self.score, self.instances = score, tuple(instances)

    def look_for(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        labels = [CLASSES.index(name) + 1 if name in CLASSES else -1 for name in self.vocabulary.names]
        scores = torch.stack([(rgb[..., 0] == label) * self.score for label in labels])
        return Segmentation(scores, self.space.id, self.instances, self.vocabulary.names)


def square(a: int, b: int) -> tuple[slice, slice]:
    return slice(a, b), slice(a, b)


def view(truth: dict[int, tuple[slice, slice]], painted: dict[int, tuple[slice, slice]]) -> LabelledView:
    """A wall with squares of other labels on it, in truth and as they look."""
    images = np.ones((2, SIDE, SIDE), dtype=np.int32)
    for image, squares in zip(images, (truth, painted), strict=True):
        for label, where in squares.items():
            image[where] = label
    return LabelledView(torch.from_numpy(images[1]).to(torch.uint8)[..., None].repeat(1, 1, 3), images[0], CLASSES)


@pytest.mark.parametrize("segmenter", [Painter(), Prompted()], ids=["features", "scores"])
def test_what_is_seen_where_it_is_and_where_it_is_not(segmenter: Painter) -> None:
    views = [
        view({2: square(0, 8)}, {2: square(0, 8)}),
        view({2: square(0, 8)}, {3: square(0, 8)}),
        view({}, {}),
        view({}, {2: square(4, 9)}),
    ]
    counts = score_presence(views, segmenter, ["Wall", "chair", "lamp", "piano"], min_pixels=20)
    rows = counts.per_concept()
    found = {name: [rows[name][key] for key in ("TP", "FP", "FN", "TN")] for name in rows}
    assert found == {"wall": [4, 0, 0, 0], "chair": [1, 1, 1, 1], "lamp": [0, 1, 0, 3], "piano": [0, 0, 0, 4]}
    assert counts.never_there == ("lamp", "piano")
    assert counts.presence()["false_alarm_never"] == pytest.approx(1 / 8)
    # One mask of the chair fits; the wall's do at IoU 1, 1, 1 and 375/400.
    np.testing.assert_allclose(counts.positive_f1[:9], 10 / 11)
    np.testing.assert_allclose(counts.positive_f1[9], 8 / 11)


def test_what_is_small_is_left_out_where_it_is_true_and_unseen_where_it_is_not() -> None:
    small = view({2: square(0, 4)}, {3: square(0, 4)})
    counts = score_presence([small], Painter(), ["chair", "lamp"], min_pixels=17)
    assert counts.per_concept()["chair"]["left_out"] == 1
    assert counts.per_concept()["lamp"]["TN"] == 1
    counts = score_presence([small], Painter(), ["chair", "lamp"], min_pixels=16)
    assert counts.per_concept()["chair"]["FN"] == 1
    assert counts.per_concept()["lamp"]["FP"] == 1


def test_where_nothing_is_labelled_nothing_is_wrong() -> None:
    half = view({0: (slice(0, 10), slice(0, 20))}, {3: (slice(0, 10), slice(0, 20))})
    counts = score_presence([half], Painter(), ["wall", "lamp"], min_pixels=1)
    assert counts.presence()["FP"] == 0
    np.testing.assert_allclose(counts.positive_f1, 1.0)


@pytest.mark.parametrize("segmenter", [Painter(), Prompted(0.9)], ids=["features", "scores"])
def test_a_score_below_the_limit_is_not_seen(segmenter: Painter) -> None:
    one = [view({2: square(0, 8)}, {2: square(0, 8)})]
    for min_score, seen in ((0.85, 1), (1.01, 0)):
        counts = score_presence(one, segmenter, ["chair"], min_score=min_score, min_pixels=1)
        assert counts.presence()["TP"] == seen


def instance(where: tuple[slice, slice], label: str = "chair", score: float = 0.9, side: int = SIDE) -> InstanceMask:
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[where] = True
    return InstanceMask(mask, score, label)


def test_instances_go_before_regions_and_are_one_where_the_truth_is() -> None:
    # On a grid of half the size; the scores say that there is no chair.
    pair = [instance(square(0, 3), side=10), instance(square(7, 10), side=10), instance(square(3, 7), score=0.2)]
    truth = np.ones((SIDE, SIDE), dtype=np.int32)
    truth[square(0, 6)] = truth[square(14, 20)] = 2
    plain = LabelledView(torch.ones(SIDE, SIDE, 3, dtype=torch.uint8), truth, CLASSES)
    counts = score_presence([plain], Prompted(instances=pair), ["chair"], min_pixels=10)
    np.testing.assert_allclose(counts.positive_f1, 1.0)

    things = np.zeros_like(truth)
    # A thing's id may go beyond its class, as a cushion's on a chair; the mask doesn't.
    things[square(0, 9)], things[square(14, 20)] = 7, 8
    told = LabelledView(plain.rgb, truth, CLASSES, things)
    counts = score_presence([told], Prompted(instances=pair), ["chair"], min_pixels=10)
    np.testing.assert_allclose(counts.positive_f1, 1.0)
    counts = score_presence([told], Prompted(instances=pair[:1]), ["chair"], min_pixels=10)
    np.testing.assert_allclose(counts.positive_f1, 2 / 3)
    # Without instances the region is one mask: it fits neither of two equal things.
    looks = LabelledView(torch.from_numpy(truth).to(torch.uint8)[..., None].repeat(1, 1, 3), truth, CLASSES, things)
    counts = score_presence([looks], Painter(), ["chair"], min_pixels=10)
    np.testing.assert_allclose(counts.positive_f1, [2 / 3] + [0.0] * 9)
    assert counts.presence()["TP"] == 1


def test_what_a_model_cannot_be_asked_for_is_named() -> None:
    class Deaf(Prompted):
        def look_for(self, vocabulary: Vocabulary) -> None:
            pass

    with pytest.raises(OvsegError, match="no score for 'piano': ask for wall, chair, lamp"):
        score_presence([view({}, {})], Deaf(), ["piano"])
    with pytest.raises(OvsegError, match="'chair' is listed twice"):
        score_presence([], Painter(), ["chair", "Chair"])


def test_the_command_scores_rooms_and_says_what_no_class_is(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["9001", "--dataset", "rooms", "--every", "40", "--concepts", "wall", "floor", "piano"]
    assert main([*arguments, "--absent", "horse", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert (results["images"], results["masks"], results["no_class"]) == (2, "regions", ["piano", "horse"])
    assert set(results["never_there"]) >= {"piano", "horse"}
    assert set(results["per_concept"]) == {"wall", "floor", "piano", "horse"}
    assert results["presence"]["TP"] >= 2
    assert results["presence"]["false_alarm_never"] == 0.0
    assert results["per_concept"]["piano"]["recall"] is None
    assert 0.0 < results["cgF1"] <= results["positive_F1"] <= 1.0
    assert main([*arguments, "--instances"]) == 0
    text = capsys.readouterr().out
    assert "no class has the name: piano" in text
    assert "positive F1 of instances" in text


def test_the_command_scores_a_recording_with_labels_on_some_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    room = RoomSequence(seed=9001, frames=3, width=64, height=48)
    write_sequence((room[index] for index in range(3)), None, tmp_path / "room", "posed_rgbd", room.class_names)
    labels = sorted((tmp_path / "room").glob("*.label.png"))
    labels[0].unlink()
    (tmp_path / "room" / "frame-000001.pose.txt").write_text("not a pose")
    assert main([str(tmp_path / "room"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert (results["images"], results["unlabelled"], results["damaged"]) == (1, 1, 1)
    assert results["no_class"] == []
    assert main([str(tmp_path / "room"), "--instances"]) == 1
    assert "only generated rooms tell things of one class apart" in capsys.readouterr().err
    for file in labels[1:]:
        file.unlink()
    assert main([str(tmp_path / "room"), "--concepts", "chair"]) == 1
    assert "has no image with labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kitchen", "--dataset", "rooms"], "RECORDING is the seed of a room, got 'kitchen'"),
        (["/nowhere"], "is not a folder"),
        (["1", "--dataset", "rooms", "--backend", "magic"], "there is no backend 'magic'"),
    ],
)
def test_the_command_says_in_a_sentence_what_is_wrong(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
