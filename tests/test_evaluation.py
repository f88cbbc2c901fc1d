"""Numbers against hand counts, truth voxels against geometry worked out on paper, and the oracle's score."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from ovseg_ros.datasets import LabelledMesh
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation import Confusion, VoxelTruth, transfer_labels, voxel_truth
from ovseg_ros.evaluation.images import LabelledImage, score_images
from ovseg_ros.evaluation.labelling import ImageLabeller
from ovseg_ros.evaluation.oracle import OracleSpace
from ovseg_ros.evaluation.results import without_nan
from ovseg_ros.evaluation.rooms import main
from ovseg_ros.evaluation.scenes import SceneScore, format_report, report, score_scene
from ovseg_ros.evaluation.voxel_truth import View, sample_surface, seen_in_any
from ovseg_ros.geometry import pack_keys
from ovseg_ros.mapping import MappingConfig
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import Intrinsics, InvalidFrameError, RgbdFrame, Segmentation
from ovseg_ros.vocabulary import Vocabulary

NAMES = ("wall", "chair", "lamp", "sofa")


def test_confusion_by_hand() -> None:
    truth = np.array([1, 1, 1, 1, 2, 2, 3, 0, 0])
    predicted = np.array([1, 1, 2, 0, 2, 1, 4, 1, 3])
    confusion = Confusion.of(truth, predicted, NAMES)
    # wall: 2 hits, 4 true, 3 said -> 2/5; chair: 1 hit, 2 true, 2 said -> 1/3; lamp: 0; sofa: not in the truth.
    np.testing.assert_allclose(confusion.iou, [2 / 5, 1 / 3, 0, np.nan])
    np.testing.assert_allclose(confusion.recall, [1 / 2, 1 / 2, 0, np.nan])
    assert confusion.mean_iou == pytest.approx((2 / 5 + 1 / 3) / 3)
    assert confusion.frequency_weighted_iou == pytest.approx((4 * 2 / 5 + 2 * 1 / 3) / 7)
    assert confusion.mean_accuracy == pytest.approx(1 / 3)
    assert confusion.accuracy == pytest.approx(3 / 7)
    assert confusion.per_class()["wall"] == {"IoU": pytest.approx(0.4), "recall": 0.5, "count": 4}
    assert list(confusion.per_class()) == ["wall", "chair", "lamp"]


def test_confusions_add_up() -> None:
    generator = np.random.default_rng(0)
    truth, predicted = generator.integers(0, 5, (2, 60))
    halves = [Confusion.of(truth[part], predicted[part], NAMES) for part in (slice(0, 25), slice(25, 60))]
    np.testing.assert_array_equal((halves[0] + halves[1]).counts, Confusion.of(truth, predicted, NAMES).counts)
    with pytest.raises(OvsegError, match="different class lists"):
        halves[0] + Confusion.empty(("other",))


def test_confusion_refuses_what_it_cannot_count() -> None:
    with pytest.raises(OvsegError, match="same shape"):
        Confusion.of(np.zeros(3, int), np.zeros(4, int), NAMES)
    with pytest.raises(OvsegError, match=r"prediction has labels 0..5, the limit is 0..4"):
        Confusion.of(np.ones(2, int), np.array([0, 5]), NAMES)
    nothing = Confusion.empty(NAMES)
    assert all(math.isnan(value) for value in nothing.summary().values())


def rectangle(
    low: tuple[float, float], high: tuple[float, float], z: float
) -> tuple[list[tuple[float, float, float]], list[tuple[int, int, int]]]:
    (x0, y0), (x1, y1) = low, high
    return [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], [(0, 1, 2), (0, 2, 3)]


def mesh_of(*parts: tuple[int, tuple[list[tuple[float, float, float]], list[tuple[int, int, int]]]]) -> LabelledMesh:
    vertices: list[tuple[float, float, float]] = []
    triangles: list[tuple[int, ...]] = []
    labels: list[int] = []
    for label, (corners, faces) in parts:
        triangles += [tuple(index + len(vertices) for index in face) for face in faces]
        vertices += corners
        labels += [label] * len(corners)
    count = len(vertices)
    return LabelledMesh(
        np.array(vertices, np.float32), np.array(triangles, np.int32), np.zeros((count, 3), np.uint8),
        np.array(labels, np.int32), np.zeros(count, np.int32), NAMES,
    )  # fmt: skip


HEIGHT = 2.0
TABLE_LOW, TABLE_HIGH, TABLE_Z = (0.25, 0.25), (0.65, 0.65), 0.5


def table_scene() -> LabelledMesh:
    """A floor in two halves and a table top above it."""
    return mesh_of(
        (1, rectangle((-1, -1), (0, 1), 0.0)),
        (2, rectangle((0, -1), (1, 1), 0.0)),
        (3, rectangle(TABLE_LOW, TABLE_HIGH, TABLE_Z)),
    )


def view_from_ceiling(width: int = 320, height: int = 240) -> View:
    """Looks straight down from (0, 0, 2): x right, image y down = world -y. Depth worked out by hand."""
    camera = Intrinsics(200.0, 210.0, 155.0, 121.0, width, height)
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[2, 3] = HEIGHT
    rows, columns = np.mgrid[:height, :width]
    right, down = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    reach = HEIGHT - TABLE_Z
    on_table = (right * reach >= TABLE_LOW[0]) & (right * reach <= TABLE_HIGH[0])
    on_table &= (-down * reach >= TABLE_LOW[1]) & (-down * reach <= TABLE_HIGH[1])
    depth = np.where(on_table, reach, HEIGHT).astype(np.float32)
    depth[(np.abs(right) * HEIGHT > 1) | (np.abs(down) * HEIGHT > 1)] = np.inf
    return depth, camera, pose


def test_truth_holds_what_was_seen_and_nothing_else() -> None:
    truth = voxel_truth(table_scene(), [view_from_ceiling()], 0.05)
    x, y, z = truth.centres.T
    assert sorted(set(np.round(z, 6))) == [0.0, 0.5]
    floor = z == 0
    assert set(truth.labels[floor & (x < -0.03)]) == {1}
    assert set(truth.labels[floor & (x > 0.03)]) == {2}
    assert set(truth.labels[~floor]) == {3}
    # The table hides what lies behind it as seen from the ceiling: its outline grown by 2 / 1.5.
    shadow = floor & (x > 0.38) & (x < 0.82) & (y > 0.38) & (y < 0.82)
    assert not shadow.any()
    assert floor.sum() == pytest.approx((2.0 * 2.0 - (0.4 * 4 / 3) ** 2) / 0.05**2, rel=0.08)
    assert (~floor).sum() == pytest.approx((0.4 / 0.05) ** 2, rel=0.3)


def test_truth_without_views_is_empty() -> None:
    assert len(voxel_truth(table_scene(), [], 0.05).keys) == 0


def test_seen_needs_the_surface_at_the_point() -> None:
    depth, camera, pose = view_from_ceiling()
    points = np.array([[-0.3, 0.4, 0.0], [-0.3, 0.4, 0.019], [-0.3, 0.4, 0.021], [-0.3, 0.4, -0.021], [-0.3, 0.4, 3.0]])
    assert seen_in_any(points, [(depth, camera, pose)]).tolist() == [True, True, False, False, False]
    depth[:] = np.nan
    assert not seen_in_any(points, [(depth, camera, pose)]).any()


def test_samples_are_even_by_area_and_take_the_nearest_label() -> None:
    mesh = mesh_of((1, rectangle((0, 0), (1, 1), 0.0)), (2, rectangle((5, 0), (5.5, 0.5), 0.0)))
    points, labels = sample_surface(mesh, 4000, seed=3)
    assert len(points) == 5000
    assert np.bincount(labels).tolist() == [0, 4000, 1000]
    quadrants, _, _ = np.histogram2d(points[labels == 1, 0], points[labels == 1, 1], bins=2, range=[[0, 1], [0, 1]])
    np.testing.assert_allclose(quadrants, 1000, rtol=0.1)
    again, _ = sample_surface(mesh, 4000, seed=3)
    np.testing.assert_array_equal(points, again)


@pytest.mark.parametrize("order", [(2, 1), (1, 2), (0, 2)])
def test_ties_go_to_the_lower_label_and_unlabelled_has_no_vote(order: tuple[int, int]) -> None:
    corner = ([(0.0, 0.0, 0.0), (0.02, 0.0, 0.0), (0.0, 0.02, 0.0)], [(0, 1, 2)])
    mesh = mesh_of((order[0], corner), (order[1], corner))
    truth = voxel_truth(mesh, [view_from_ceiling()], 0.05)
    assert truth.labels.tolist() == [2 if 0 in order else 1]


def test_the_majority_labels_a_voxel() -> None:
    small = ([(-0.02, -0.02, 0.0), (0.01, -0.02, 0.0), (-0.02, 0.01, 0.0)], [(0, 1, 2)])
    large = ([(-0.02, -0.02, 0.0), (0.02, -0.02, 0.0), (-0.02, 0.02, 0.0)], [(0, 1, 2)])
    truth = voxel_truth(mesh_of((1, small), (2, large)), [view_from_ceiling()], 0.05)
    assert truth.labels.tolist() == [2]


def test_a_triangle_of_two_labels_is_split_between_its_corners() -> None:
    mesh = mesh_of((1, ([(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)], [(0, 1, 2)])))
    mesh.labels[1] = 4
    points, labels = sample_surface(mesh, 4000, seed=0)
    nearest_is_second = (points[:, 0] > points[:, 1]) & (points[:, 0] > 1 - points[:, 0] - points[:, 1])
    assert set(labels[nearest_is_second]) == {4} and set(labels[~nearest_is_second]) == {1}


def test_transfer_takes_the_nearest_within_two_voxels() -> None:
    indices = torch.tensor([[0, 0, 0], [10, 0, 0], [20, 0, 0], [30, 0, 0]])
    truth = VoxelTruth(pack_keys(indices).numpy(), np.array([1, 1, 1, 1], np.int32), 0.05)
    centres = np.array([[0.0, 0.0, 0.05], [0.0, 0.0, -0.1], [0.5, 0.1, 0.0], [1.0, 0.101, 0.0], [1.5, 0.0, 0.0]])
    transfer = transfer_labels(truth, centres, np.array([3, 4, 2, 1, 0], np.int32))
    assert transfer.labels.tolist() == [3, 2, 0, 0]
    assert transfer.coverage == 0.75
    nothing = transfer_labels(truth, np.empty((0, 3)), np.empty(0, np.int32))
    assert nothing.labels.tolist() == [0, 0, 0, 0] and nothing.coverage == 0.0


class BrokenCamera:
    """A room whose poses, as the map sees them, are a little wrong."""

    def __init__(self, room: RoomSequence, shift: float) -> None:
        self.room, self.shift, self.class_names = room, shift, room.class_names
        self.mesh = room.mesh

    def __len__(self) -> int:
        return len(self.room)

    def __getitem__(self, index: int) -> RgbdFrame:
        frame = self.room[index]
        scaled = Intrinsics(
            frame.intrinsics.fx * self.shift, frame.intrinsics.fy, frame.intrinsics.cx, frame.intrinsics.cy,
            frame.intrinsics.width, frame.intrinsics.height,
        )  # fmt: skip
        return RgbdFrame(frame.rgb, frame.depth, scaled, frame.pose, frame.stamp_ns, frame.semantics)

    def clean_depth(self, index: int) -> np.ndarray:
        return self.room.clean_depth(index)


@pytest.fixture(scope="module")
def room() -> RoomSequence:
    return RoomSequence(9001, frames=6, width=160, height=120)


def score(sequence: RoomSequence | BrokenCamera) -> SceneScore:
    space = OracleSpace(sequence.class_names)
    return score_scene("room", sequence, space.segment, space, MappingConfig())


@pytest.fixture(scope="module")
def oracle_score(room: RoomSequence) -> SceneScore:
    return score(room)


def test_ground_truth_through_the_map_is_nearly_right(oracle_score: SceneScore) -> None:
    assert oracle_score.confusion.mean_iou >= 0.9
    assert oracle_score.coverage >= 0.98


def test_a_wrong_camera_lowers_the_score(room: RoomSequence) -> None:
    assert score(BrokenCamera(room, 0.8)).confusion.mean_iou < 0.8


def test_bad_frames_are_counted_and_skipped(room: RoomSequence) -> None:
    space = OracleSpace(room.class_names)

    def segment(frame: RgbdFrame) -> Segmentation:
        if frame.stamp_ns == room[2].stamp_ns:
            raise InvalidFrameError("features", "the model stumbled")
        return space.segment(frame)

    result = score_scene("room", room, segment, space, MappingConfig())
    assert result.skipped == {"features": 1}
    assert result.confusion.total > 0


def test_report_means_and_pools(room: RoomSequence, oracle_score: SceneScore) -> None:
    one = oracle_score
    results = report([one, one])
    assert results["mean"]["mIoU"] == pytest.approx(results["pooled"]["mIoU"]) == pytest.approx(one.confusion.mean_iou)
    floor = room.class_names.index("floor") + 1
    assert results["pooled"]["per_class"]["floor"]["count"] == 2 * one.confusion.counts[floor].sum()
    assert "pooled" in format_report(results)
    json.dumps(without_nan(results), allow_nan=False)
    with pytest.raises(OvsegError, match="no scenes"):
        report([])


class RightAboutHalf:
    """Says "wall" everywhere in the left half and "chair" in the other; so the two image scores differ."""

    vocabulary = Vocabulary.from_names(NAMES)

    def __init__(self) -> None:
        self.space = OracleSpace(NAMES)

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        height, width = rgb.shape[:2]
        features = torch.zeros(len(NAMES), height, width)
        features[0, :, : width // 2] = 1.0
        features[1, :, : width // 2] = 0.5
        features[1, :, width // 2 :] = 1.0
        return Segmentation(features, self.space.id)


def test_image_scores_by_hand() -> None:
    labels = np.full((4, 6), 2, dtype=np.int32)
    labels[3] = 0
    image = LabelledImage(torch.zeros(4, 6, 3, dtype=torch.uint8), labels)
    scores = score_images([image, image], ImageLabeller(RightAboutHalf(), RightAboutHalf.vocabulary))
    assert scores.images == 2
    assert scores.open_choice.counts[2].tolist() == [0, 18, 18, 0, 0]
    # No image holds a wall, so grounding never chooses it and "chair" wins everywhere.
    assert scores.grounding.counts[2].tolist() == [0, 0, 36, 0, 0]


def test_command_prints_json_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--oracle", "--rooms", "1", "--seed", "9001", "--frames", "2", "--size", "96x72"]
    assert main([*arguments, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["seeds"] == [9001] and results["scenes"]["room-9001"]["coverage"] > 0.9
    assert set(results["mean"]) == {"mIoU", "f-mIoU", "mAcc", "accuracy", "coverage"}
    assert main(arguments) == 0
    assert "room-9001" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--size", "320"], ["--rooms", "0"], ["--oracle", "--images"]])
def test_command_refuses_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_command_says_what_failed_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rooms", "1", "--oracle", "--voxel-size", "-1"]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: ")
