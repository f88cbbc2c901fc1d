"""Each protocol against confusions counted by hand, piece by piece and whole."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ovseg_ros.datasets import LabelledMesh
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation import Confusion
from ovseg_ros.evaluation.protocols import (
    METRICS,
    PROTOCOLS,
    Candidates,
    Divisor,
    Judgement,
    Labelling,
    Matching,
    Scoring,
    Words,
    protocol,
)
from ovseg_ros.evaluation.transfer import neighbour_labels
from ovseg_ros.evaluation.truth import GroundTruth, image_truth, surface_truth, vertex_truth
from ovseg_ros.types import Intrinsics, RgbdFrame

NAMES = ("wall", "chair", "lamp", "otherprop")
WALL, CHAIR, LAMP, OTHER = 1, 2, 3, 4
SIZE = 0.05


def truth_of(*cells: tuple[int, int]) -> GroundTruth:
    """One point in the centre of each voxel (column, 0, 0), as (column, label)."""
    points = np.array([[column * SIZE, 0.0, 0.0] for column, _ in cells]).reshape(-1, 3)
    return GroundTruth(points, np.array([label for _, label in cells], np.int32), NAMES)


def judged(
    id: str, truth: GroundTruth, voxels: list[tuple[int, int]], variant: int = 0, **changes: object
) -> Judgement:
    """What a protocol says of a map whose voxels (column, label) answer as they do whatever is allowed."""
    rules = replace(protocol(id), **changes)  # type: ignore[arg-type]
    centres = np.array([[column * SIZE, 0.0, 0.0] for column, _ in voxels]).reshape(-1, 3)
    labels = np.array([label for _, label in voxels], np.int32)

    def label(allowed: NDArray[np.bool_]) -> NDArray[np.int32]:
        return np.where(np.append(True, allowed)[labels], labels, 0).astype(np.int32)

    return rules.judge(truth, centres, label, rules.variants[variant], SIZE)


def numbers(id: str, judgement: Judgement) -> dict[str, float]:
    return protocol(id).scoring.summary(judgement.confusion, judgement.scored, judgement.present)


# Columns far apart: one voxel answers for each place, or all five around it where five neighbours vote.
TRUTH = truth_of((0, WALL), (100, WALL), (200, CHAIR), (300, CHAIR), (410, LAMP), (500, OTHER), (600, 0))
ANSWERS = [(0, WALL), (100, CHAIR), (200, CHAIR), (300, LAMP), (500, CHAIR), (600, LAMP)]
FIVE = [(column + near, label) for column, label in ANSWERS for near in (-2, -1, 0, 1, 2)]


def test_strict_by_hand() -> None:
    with_background = judged("strict", TRUTH, ANSWERS)
    # wall: 1 of 2 right, claimed once: 1/2. chair: 1 of 2, claimed at 100, 200 and 500: 1/4. lamp: nothing within two
    # voxels, claimed at 300: 0. otherprop: 0. What is claimed where the truth is unlabelled costs nothing.
    assert with_background.confusion.counts.tolist() == [
        [0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0],
    ]
    expected = {"mIoU": (1 / 2 + 1 / 4) / 4, "f-mIoU": (2 / 2 + 2 / 4) / 6, "mAcc": 1 / 4, "accuracy": 2 / 6}
    assert numbers("strict", with_background) == pytest.approx(expected)
    assert with_background.coverage == pytest.approx(5 / 6)
    # Without background the chair that was claimed on the wall still costs.
    without = judged("strict", TRUTH, ANSWERS, variant=1)
    assert without.confusion.counts[0].tolist() == [0, 1, 1, 0, 0]
    expected = {"mIoU": (1 / 4) / 3, "f-mIoU": (2 / 4) / 4, "mAcc": (1 / 2) / 3, "accuracy": 1 / 4}
    assert numbers("strict", without) == pytest.approx(expected)


def test_strict_answers_within_two_voxels() -> None:
    truth = truth_of((0, CHAIR), (100, CHAIR))
    assert judged("strict", truth, [(2, CHAIR), (103, CHAIR)]).answers.tolist() == [CHAIR, 0]


def test_rayfronts_by_hand() -> None:
    # No limit of distance: what is at 500 answers for the lamp at 410. otherprop is ignored, there nothing costs.
    result = judged("rayfronts", TRUTH, FIVE)
    assert result.confusion.counts[1:4, :4].tolist() == [[0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 0]]
    assert result.confusion.total == 5
    expected = {"mIoU": (1 / 2 + 1 / 4) / 3, "f-mIoU": (2 / 2 + 2 / 4) / 5, "mAcc": 1 / 3, "accuracy": 2 / 5}
    assert numbers("rayfronts", result) == pytest.approx(expected)
    # Ignored classes can't be claimed either, and claims where they are cost nothing.
    without = judged("rayfronts", TRUTH, FIVE, variant=1)
    expected = {"mIoU": (1 / 3) / 2, "f-mIoU": (2 / 3) / 3, "mAcc": (1 / 2) / 2, "accuracy": 1 / 3}
    assert numbers("rayfronts", without) == pytest.approx(expected)


def test_rayfronts_counts_voxels_without_a_label_as_neighbours() -> None:
    truth = truth_of((0, CHAIR))
    near = [(-2, 0), (-1, 0), (0, CHAIR), (1, CHAIR), (2, 0)]
    assert judged("rayfronts", truth, near).answers.tolist() == [0]
    assert judged("ovo", truth, [*near, (3, WALL), (4, WALL), (5, WALL)]).answers.tolist() == [WALL]


def test_rayfronts_k0_answers_from_the_same_voxel() -> None:
    truth = truth_of((0, CHAIR), (5, CHAIR))
    assert judged("rayfronts-k0", truth, [(0, CHAIR), (4, CHAIR)]).answers.tolist() == [CHAIR, 0]


def test_hovsg_by_hand() -> None:
    # Claims cost wherever they are: chair at 100, 200, 410 and 500, lamp at 300 and on the unlabelled 600.
    result = judged("hovsg", TRUTH, FIVE)
    assert result.confusion.counts[0].tolist() == [0, 1, 1, 1, 0]
    expected = {"mIoU": (1 / 5) / 3, "f-mIoU": (2 / 5) / 4, "mAcc": (1 / 2) / 3, "accuracy": 1 / 4}
    assert numbers("hovsg", result) == pytest.approx(expected)


def test_hovsg_ignores_by_parts_of_names() -> None:
    names = ("wall-plug", "chair", "shower door", "windows")
    ignored = protocol("hovsg").variants[0].ignored(names, ())
    assert ignored == ("wall-plug", "shower door", "windows")


def test_hovsg_divides_by_the_classes_of_the_scene() -> None:
    # A class with truth but no claim counts 0, one that is only claimed doesn't count.
    result = judged("hovsg", truth_of((0, CHAIR), (100, OTHER)), [(0, CHAIR), (100, LAMP)], matching=Matching())
    assert numbers("hovsg", result)["mIoU"] == pytest.approx(1 / 2)


def test_ovo_by_hand() -> None:
    result = judged("ovo", TRUTH, FIVE)
    expected = {"mIoU": (1 / 2 + 1 / 5) / 4, "f-mIoU": (2 / 2 + 2 / 5) / 6, "mAcc": 1 / 4, "accuracy": 2 / 6}
    assert numbers("ovo", result) == pytest.approx(expected)
    without = judged("ovo", TRUTH, FIVE, variant=1)
    assert numbers("ovo", without)["mIoU"] == pytest.approx((1 / 4) / 3)


def test_ovo_counts_a_class_that_is_only_claimed() -> None:
    result = judged("ovo", truth_of((0, CHAIR), (100, CHAIR)), [(0, CHAIR), (100, LAMP)], matching=Matching())
    assert numbers("ovo", result)["mIoU"] == pytest.approx((1 / 2 + 0) / 2)
    assert Scoring().summary(result.confusion, result.scored, result.present)["mIoU"] == pytest.approx(1 / 2)


def test_openscene_by_hand() -> None:
    result = judged("openscene", TRUTH, ANSWERS)
    expected = {"mIoU": (1 / 2 + 1 / 4) / 4, "f-mIoU": (2 / 2 + 2 / 4) / 6, "mAcc": 1 / 4, "accuracy": 2 / 6}
    assert numbers("openscene", result) == pytest.approx(expected)


def test_openscene_leaves_the_unanswered_out_of_iou_only_and_divides_by_all_classes() -> None:
    result = judged("openscene", truth_of((0, CHAIR), (100, CHAIR)), [(0, CHAIR)])
    found = numbers("openscene", result)
    assert (found["mIoU"], found["mAcc"], found["accuracy"]) == pytest.approx((1 / 4, (1 / 2) / 4, 1 / 2))


def test_conceptgraphs_by_hand() -> None:
    # Places are the map's voxels, so the lamp has none; being in the scene's truth it counts 0 all the same.
    result = judged("conceptgraphs", TRUTH, ANSWERS)
    expected = {"mIoU": (1 / 2 + 1 / 4) / 4, "f-mIoU": (2 / 2 + 2 / 4) / 5, "mAcc": 1 / 4, "accuracy": 2 / 5}
    assert numbers("conceptgraphs", result) == pytest.approx(expected)


def test_conceptgraphs_names_only_what_the_scene_has() -> None:
    result = judged("conceptgraphs", truth_of((0, CHAIR), (100, WALL)), [(0, LAMP), (100, WALL)])
    assert result.labels.tolist() == [0, WALL]


def test_grounded_answers_are_of_the_scene_s_classes() -> None:
    asked: list[NDArray[np.bool_]] = []

    def label(allowed: NDArray[np.bool_]) -> NDArray[np.int32]:
        asked.append(allowed)
        return np.array([CHAIR], np.int32)

    rules = protocol("strict")
    for grounded in (False, True):
        rules.judge(truth_of((0, CHAIR)), np.zeros((1, 3)), label, rules.variants[0], SIZE, grounded=grounded)
    assert [allowed.tolist() for allowed in asked] == [[True] * 4, [False, True, False, False]]


def test_unknown_protocol_names_the_known_ones() -> None:
    with pytest.raises(OvsegError, match="choose one of strict, rayfronts"):
        protocol("replica")
    assert all(name == rules.id for name, rules in PROTOCOLS.items())


COSINES = torch.tensor([[0.9, 0.1, 0.0], [0.1, 0.2, 0.19], [0.0, 0.0, 0.0], [0.2, 0.8, 0.1]])


def test_labels_by_hand() -> None:
    everything = np.ones(3, dtype=np.bool_)
    assert Labelling().labels(COSINES, everything, 10.0).tolist() == [1, 2, 0, 2]
    assert Labelling().labels(COSINES, np.array([True, False, True]), 10.0).tolist() == [1, 3, 0, 1]
    # At a scale of 10 the second voxel's best probability is 1 / (1 + exp(-0.1) + exp(-1)) = 0.44.
    assert Labelling(threshold=0.43).labels(COSINES, everything, 10.0).tolist() == [1, 2, 0, 2]
    assert Labelling(threshold=0.45).labels(COSINES, everything, 10.0).tolist() == [1, 0, 0, 2]
    assert Labelling(scale=0.01, threshold=0.35).labels(COSINES, everything, 10.0).tolist() == [0, 0, 0, 0]
    assert Labelling().labels(COSINES, np.zeros(3, dtype=np.bool_), 10.0).tolist() == [0, 0, 0, 0]


def test_denoising_takes_out_classes_that_convince_nowhere() -> None:
    everything = np.ones(3, dtype=np.bool_)
    cosines = COSINES[[1, 0, 3]]
    # Where the third class is best it has 0.45, elsewhere less: it goes, and that voxel is the first class's.
    third_best = torch.tensor([[0.1, 0.1, 0.15]])
    assert Labelling().labels(third_best, everything, 10.0).tolist() == [3]
    assert Labelling(denoise=0.5).labels(torch.cat((third_best, cosines[1:])), everything, 10.0).tolist() == [1, 1, 2]
    # The second class has 0.44 in the first voxel and 0.99 in the last: among chunks of one that is too late.
    assert Labelling(denoise=0.5).labels(cosines, everything, 10.0).tolist() == [2, 1, 2]
    assert Labelling(denoise=0.5, chunk=1).labels(cosines, everything, 10.0).tolist() == [0, 1, 2]


def test_candidates() -> None:
    scored, present = np.array([True, True, False]), np.array([True, False, True])
    assert Labelling(Candidates.ALL).allowed(scored, present).tolist() == [True, True, True]
    assert Labelling(Candidates.SCORED).allowed(scored, present).tolist() == [True, True, False]
    assert Labelling(Candidates.PRESENT).allowed(scored, present).tolist() == [True, False, False]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([0.3, 0.8, math.inf]))
def test_neighbours_vote_as_counted_one_by_one(seed: int, neighbours: int, reach: float) -> None:
    generator = np.random.default_rng(seed)
    queries, points = generator.random((8, 3)), generator.random((12, 3))
    labels = generator.integers(0, 4, 12).astype(np.int32)
    answers, found = neighbour_labels(queries, points, labels, neighbours=neighbours, reach=reach)
    for query, answer, near in zip(queries, answers, found, strict=True):
        distances = np.linalg.norm(points - query, axis=1)
        voters = [i for i in np.argsort(distances)[:neighbours] if distances[i] <= reach]
        assert near == bool(voters)
        assert answer == (np.bincount(labels[voters]).argmax() if voters else 0)


class Sentences:
    """A language whose every sentence is its own direction."""

    id, logit_scale, same_meaning = "sentences", 1.0, 1.0

    def __init__(self) -> None:
        self.heard: list[str] = []

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        return torch.eye(8)[: len(texts)]

    def align(self, features: torch.Tensor) -> torch.Tensor:
        return features

    def encode_sentences(self, sentences: list[str]) -> torch.Tensor:
        self.heard += sentences
        return torch.eye(8)[: len(sentences)]


def test_words_are_averaged_over_templates() -> None:
    space, words = Sentences(), Words(("{}", "a {} here"))
    vectors = words.encode(space, ["chair", "lamp"])
    assert space.heard == ["chair", "a chair here", "lamp", "a lamp here"]
    half = 1 / math.sqrt(2)
    torch.testing.assert_close(vectors[:, :4], torch.tensor([[half, half, 0, 0], [0, 0, half, half]]))
    assert words.describe(space) == "'{}', 'a {} here'"
    assert "takes no sentences" in words.describe(PlainSpace())
    torch.testing.assert_close(words.encode(PlainSpace(), ["chair"]), torch.eye(8)[:1])


class PlainSpace:
    id, logit_scale, same_meaning = "plain", 1.0, 1.0

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        return torch.eye(8)[: len(texts)]

    def align(self, features: torch.Tensor) -> torch.Tensor:
        return features


def test_groups_are_thirds_by_frequency_or_as_given() -> None:
    names = tuple("abcdefg")
    counts = np.zeros((8, 8), np.int64)
    for row, (right, wrong) in enumerate([(1, 0), (8, 0), (2, 2), (6, 0), (0, 5), (1, 2), (0, 0)], start=1):
        counts[row, row], counts[row, 0] = right, wrong
    confusion, scored = Confusion(counts, names), np.ones(7, dtype=np.bool_)
    # By frequency: b 8, d 6 | e 5, c 4 | f 3, a 1; g has no truth.
    groups = Scoring().groups(confusion, scored, scored)
    assert groups == pytest.approx({"head-mIoU": 1, "common-mIoU": (0 + 1 / 2) / 2, "tail-mIoU": (1 / 3 + 1) / 2})
    named = Scoring().groups(confusion, scored, scored, {"a": "head", "f": "tail"})
    assert named["head-mIoU"] == 1 and named["tail-mIoU"] == pytest.approx(1 / 3) and math.isnan(named["common-mIoU"])


@pytest.mark.parametrize("divisor", list(Divisor))
def test_nothing_counted_is_nan(divisor: Divisor) -> None:
    nobody = np.zeros(4, dtype=np.bool_)
    summary = Scoring(divisor).summary(Confusion.empty(NAMES), nobody, nobody)
    assert set(summary) == set(METRICS) and all(math.isnan(value) for value in summary.values())


def test_points_of_a_voxel_vote() -> None:
    points = np.array([[0, 0, 0], [0.01, 0, 0], [-0.01, 0, 0], [0.02, 0, 0], [1, 0, 0], [1, 0.01, 0]], np.float64)
    truth = GroundTruth(points, np.array([2, 0, 0, 0, 3, 1], np.int32), NAMES)
    voting = truth.voxelised(SIZE, unlabelled_votes=True)
    np.testing.assert_allclose(voting.points, [[0, 0, 0], [1, 0, 0]])
    assert voting.labels.tolist() == [0, 1]
    assert truth.voxelised(SIZE, unlabelled_votes=False).labels.tolist() == [2, 1]
    assert truth.without(("wall", "piano")).labels.tolist() == [2, 0, 0, 0, 3, 0]


def frame(labels: list[list[int]], depth: float = 1.0) -> RgbdFrame:
    height, width = len(labels), len(labels[0])
    return RgbdFrame(
        torch.zeros(height, width, 3, dtype=torch.uint8), torch.full((height, width), depth),
        Intrinsics(10, 10, (width - 1) / 2, (height - 1) / 2, width, height), torch.eye(4, dtype=torch.float64), 0,
        torch.tensor(labels, dtype=torch.int32),
    )  # fmt: skip


def test_label_images_are_lifted_with_their_votes() -> None:
    # Columns are at -15, -5, 5 and 15 cm, voxels 20 cm wide: the middle two share one. A tie goes to the lower id.
    truth = image_truth([frame([[1, 2, 3, 3]]), frame([[2, 2, 0, 3]])], NAMES, 0.2)
    assert truth.votes is not None and truth.votes.sum() == 7
    lifted = truth.voxelised(0.2, unlabelled_votes=False)
    assert lifted.labels.tolist() == [1, 2, 3]
    assert not len(image_truth([], NAMES, 0.2).labels)
    with pytest.raises(OvsegError, match="no ground-truth labels"):
        image_truth([replace(frame([[1]]), semantics=None)], NAMES, 0.2)


def test_ignored_classes_have_no_vote_in_rayfronts() -> None:
    points = np.array([[0, 0, 0], [0.01, 0, 0], [0.02, 0, 0]], np.float64)
    lifted = GroundTruth(points, np.array([CHAIR, CHAIR, OTHER], np.int32), NAMES, votes=np.array([1, 1, 5]))
    strict, rayfronts = protocol("strict").places, protocol("rayfronts").places
    assert strict.of(lifted, ("otherprop",), SIZE).labels.tolist() == [OTHER]
    assert rayfronts.of(lifted, ("otherprop",), SIZE).labels.tolist() == [CHAIR]
    # Ignored points of a mesh do have one there, as unlabelled: RayFronts reads its two kinds of truth differently.
    mesh = GroundTruth(points, np.array([OTHER, OTHER, CHAIR], np.int32), NAMES)
    assert rayfronts.of(mesh, ("otherprop",), SIZE).labels.tolist() == [0]


def test_meshes_give_vertices_or_surface() -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    mesh = LabelledMesh(
        corners, np.array([[0, 1, 2]], np.int32), np.zeros((3, 3), np.uint8), np.array([1, 2, 2], np.int32),
        np.zeros(3, np.int32), NAMES,
    )  # fmt: skip
    assert vertex_truth(mesh).labels.tolist() == [1, 2, 2]
    surface = surface_truth(mesh)
    assert len(surface.labels) == 2000 and surface.present.tolist() == [True, True, False, False]


def test_truth_checks_itself() -> None:
    with pytest.raises(OvsegError, match="one label per point"):
        GroundTruth(np.zeros((2, 3)), np.zeros(3, np.int32), NAMES)
    with pytest.raises(OvsegError, match="do not fit 4 class names"):
        GroundTruth(np.zeros((1, 3)), np.array([5], np.int32), NAMES)
