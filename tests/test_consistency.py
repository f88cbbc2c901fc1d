"""Votes against hand counts, labellers whose consistency is known, and the command over a small room."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ovseg_ros.datasets import LabelledMesh
from ovseg_ros.evaluation.consistency import (
    BOUND,
    MODEL,
    Labeller,
    Places,
    label_alone,
    main,
    measure,
    report,
    true_labels,
)
from ovseg_ros.evaluation.oracle import OracleSpace
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import Intrinsics, RgbdFrame, Segmentation
from ovseg_ros.vocabulary import GENERIC_NEGATIVES, Vocabulary

SMALL = ["--rooms", "1", "--frames", "6", "--size", "80x60", "--json"]


def test_votes_by_hand() -> None:
    votes = np.array(
        [
            [0, 3, 0, 0],  # three images, all right
            [0, 2, 1, 0],  # one of three says something else
            [0, 1, 1, 0],  # two images, a tie
            [2, 0, 0, 0],  # both see none of the classes: they agree, and are wrong
            [0, 0, 0, 1],  # one image is no pair
            [0, 2, 0, 2],  # four images, a tie
        ]
    )
    places = Places.of(votes, np.array([1, 1, 2, 2, 3, 3]))
    assert places.truth.tolist() == [1, 1, 2, 2, 3]
    # Of 1, 3, 3, 1 and 6 pairs.
    np.testing.assert_allclose(places.agreement, [1, 1 / 3, 0, 1, 2 / 6])
    np.testing.assert_allclose(places.single, [1, 2 / 3, 1 / 2, 0, 1 / 2])
    np.testing.assert_allclose(places.majority, [1, 1, 1 / 2, 0, 1 / 2])
    assert places.summary() == pytest.approx(
        {
            "voxels": 5,
            "images_per_voxel": (3 + 3 + 2 + 2 + 4) / 5,
            "agreement": (1 + 1 / 3 + 0 + 1 + 1 / 3) / 5,
            "all_agree": 2 / 5,
            "right_where_all_agree": 1 / 2,
            "right_elsewhere": (1 + 1 / 2 + 1 / 2) / 3,
            "right_single": (1 + 2 / 3 + 1 / 2 + 0 + 1 / 2) / 5,
            "right_majority": (1 + 1 + 1 / 2 + 0 + 1 / 2) / 5,
        }
    )
    results = report({"twice": Places.joined([places, places])}, ("wall", "lamp", "sofa", "rug"))["twice"]
    assert results["voxels"] == 10
    assert {name: (row["voxels"], row["agreement"]) for name, row in results["per_class"].items()} == {
        "wall": (4, pytest.approx(2 / 3)),
        "lamp": (4, pytest.approx(1 / 2)),
        "sofa": (2, pytest.approx(1 / 3)),
    }
    assert results["agreement_mean_of_classes"] == pytest.approx((2 / 3 + 1 / 2 + 1 / 3) / 3)


class Wall:
    """Three voxels in a row, 1 m ahead, the last of another class; each image sees two, with 3 x 3 pixels each.

    The second image and the third are taken one voxel further on than the first.
    """

    class_names = ("wall", "door")
    positions = (0.0, 0.05, 0.05)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> RgbdFrame:
        pose = torch.eye(4, dtype=torch.float64)
        pose[0, 3] = self.positions[index]
        camera = Intrinsics(60.0, 60.0, 1.0, 1.0, 6, 3)
        return RgbdFrame(torch.zeros(3, 6, 3, dtype=torch.uint8), torch.ones(3, 6), camera, pose, index)

    def clean_depth(self, index: int) -> np.ndarray:
        return np.ones((3, 6), dtype=np.float32)

    def mesh(self) -> LabelledMesh:
        edges = np.array([[-0.025, 0.075], [0.075, 0.125]])
        corners = np.array([[(x, y, 1.0) for x in pair for y in (-0.025, 0.025)] for pair in edges], dtype=np.float32)
        triangles = np.array([[0, 1, 2], [1, 2, 3], [4, 5, 6], [5, 6, 7]], dtype=np.int32)
        labels = np.repeat(np.array([1, 2], dtype=np.int32), 4)
        return LabelledMesh(
            corners.reshape(8, 3), triangles, np.zeros((8, 3), np.uint8), labels, labels, ("wall", "door")
        )


def test_an_image_has_one_vote_where_its_pixels_lie() -> None:
    # The first image sees voxels 0 and 1, the others 1 and 2; all rows are alike but one.
    labels = torch.tensor([[1, 1, 1, 2, 2, 1], [2, 1, 2, 2, 2, 1], [1, 2, 1, 2, 2, 2]]).repeat_interleave(3, 0)
    images = labels.reshape(3, 3, 6)
    images[0, 1, 3:] = 1
    places = measure(Wall(), {"made up": lambda frame: images[frame.stamp_ns]})["made up"]
    # Voxel 0 has one image only. Voxel 1: 2 has 4 of 9 pixels in the first image, 6 in the second, 3 in the third.
    assert places.truth.tolist() == [1, 2]
    assert places.images.tolist() == [3, 2]
    np.testing.assert_allclose(places.agreement, [1 / 3, 1])
    np.testing.assert_allclose(places.single, [2 / 3, 1])
    np.testing.assert_allclose(places.majority, [1, 1])


class OpenOracle(OracleSpace):
    """True labels as features; words that are no class's fit nowhere."""

    vocabulary = Vocabulary(())

    @property
    def space(self) -> OpenOracle:
        return self

    def encode_text(self, texts: Any) -> torch.Tensor:
        known = [text for text in texts if text not in GENERIC_NEGATIVES]
        vectors = super().encode_text(known)
        return torch.cat((vectors, torch.zeros(len(texts) - len(known), vectors.shape[1])))


def test_labellers_of_known_consistency() -> None:
    count = 16
    room = RoomSequence(9001, frames=count, width=80, height=60)
    period = room[0].stamp_ns

    def by_number(label: Callable[[int], int]) -> Labeller:
        return lambda frame: torch.full(frame.depth.shape, label(frame.stamp_ns // period - 1))

    def by_pair(mask: int) -> Labeller:
        return by_number(lambda number: 1 + min(number, number ^ mask))

    oracle = OpenOracle(room.class_names)
    labellers = {
        "truth": true_labels,
        "oracle": label_alone(oracle, room.class_names, oracle.segment),  # type: ignore[arg-type]
        "number": by_number(lambda number: 1 + number),
        "wall": by_number(lambda _: 1),
        **{f"pairs {mask}": by_pair(mask) for mask in range(1, count)},
    }
    results = report(measure(room, labellers), room.class_names)
    bound, by_oracle = results["truth"], results["oracle"]
    assert 0.97 < bound["agreement"] < 1 and 0.95 < bound["right_single"] < 1
    assert by_oracle["agreement"] == pytest.approx(bound["agreement"], abs=0.01)
    assert by_oracle["right_majority"] == pytest.approx(bound["right_majority"], abs=0.01)
    assert results["wall"]["agreement"] == 1
    assert results["wall"]["right_majority"] == bound["per_class"]["wall"]["voxels"] / bound["voxels"]
    assert results["number"]["agreement"] == 0
    # An image shares its label with one of the 15 others, and over all masks with each of them once: that is chance.
    by_chance = np.mean([results[f"pairs {mask}"]["agreement"] for mask in range(1, count)])
    assert by_chance == pytest.approx(1 / (count - 1), abs=1e-9)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert main([*SMALL, *arguments]) == 0
    results: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=refuse)
    return results


def test_a_room_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    results = run(capsys)
    model, bound = results[MODEL], results[BOUND]
    assert results["seeds"] == [9000] and results["frames"] == 6 and results["size"] == "80x60"
    assert model["voxels"] == bound["voxels"] == sum(row["voxels"] for row in model["per_class"].values()) > 100
    assert 0.5 < model["agreement"] < bound["agreement"] < 1
    assert 0.5 < model["right_single"] < bound["right_single"] < 1
    assert model["right_elsewhere"] < model["right_where_all_agree"]
    assert main([word for word in SMALL if word != "--json"]) == 0
    assert f"{model['agreement']:.3f}" in capsys.readouterr().out
    other, both = run(capsys, "--seed", "9001")[MODEL], run(capsys, "--rooms", "2")[MODEL]
    assert both["voxels"] == model["voxels"] + other["voxels"]
    agreeing = model["agreement"] * model["voxels"] + other["agreement"] * other["voxels"]
    assert both["agreement"] == pytest.approx(agreeing / both["voxels"])
    nothing = run(capsys, "--frames", "1")[MODEL]
    assert nothing["voxels"] == 0 and nothing["agreement"] is None and nothing["per_class"] == {}
    assert main(["--backend", "none"]) == 1
    assert "none" in capsys.readouterr().err


class Floor(OpenOracle):
    """Says "floor" everywhere if it sees depth, and "wall" if it sees colours alone."""

    sees_depth = True

    def __init__(self) -> None:
        super().__init__(RoomSequence.class_names)

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        return Segmentation(self.encode_text(["wall"]).reshape(-1, 1, 1), self.id)

    def with_depth(self, rgb: torch.Tensor, depth: torch.Tensor) -> Segmentation:
        assert depth.shape == rgb.shape[:2]
        return Segmentation(self.encode_text(["floor"]).reshape(-1, 1, 1), self.id)


def test_depth_is_shown_unless_colour_alone_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovseg_ros.evaluation.consistency.load_segmenter", lambda backend, device: Floor())
    for arguments, shown in (((), "floor"), (("--colour-only",), "wall")):
        results = run(capsys, *arguments)
        assert results["colour_only"] == bool(arguments)
        right = {name for name, row in results[MODEL]["per_class"].items() if row["right_single"] == 1}
        assert right == {shown}
