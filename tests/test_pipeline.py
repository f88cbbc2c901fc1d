"""The mission in one process: a generated room in, right answers out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import MappingConfig
from ovseg_ros.pipeline import build_map
from ovseg_ros.query import ask, label_voxels
from ovseg_ros.segmentation import load_segmenter
from ovseg_ros.simulation import CLASS_NAMES, LABEL_IDS, RoomSequence
from ovseg_ros.types import RgbdFrame, Segmentation
from ovseg_ros.vocabulary import Vocabulary


class TrueLabels:
    """A segmenter that reads the truth: one channel per class, at the image's own resolution."""

    id = "true labels"
    logit_scale = 30.0
    same_meaning = 1.0
    vocabulary = Vocabulary.from_names(CLASS_NAMES)

    def __init__(self, sequence: RoomSequence) -> None:
        self._labels = {
            sequence[index].rgb.numpy().tobytes(): sequence[index].semantics for index in range(len(sequence))
        }
        self.space = self

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        labels = self._labels[rgb.numpy().tobytes()]
        assert labels is not None
        one_hot = torch.nn.functional.one_hot(labels.long(), len(CLASS_NAMES) + 1)[..., 1:]
        return Segmentation(one_hot.permute(2, 0, 1).float(), self.id)

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        rows = [LABEL_IDS[text] - 1 if text in LABEL_IDS else len(CLASS_NAMES) for text in texts]
        return torch.eye(len(CLASS_NAMES) + 1)[rows, : len(CLASS_NAMES)]

    def align(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(features.float(), dim=1)


def test_with_true_labels_every_large_thing_is_found_where_it_is() -> None:
    sequence = RoomSequence(seed=21, frames=30, width=160, height=120)
    segmenter = TrueLabels(sequence)
    semantic_map, report = build_map(sequence, segmenter, MappingConfig())
    assert report.frames == 30
    assert report.skipped == {}
    labels, confidence = label_voxels(semantic_map, segmenter)
    assert (confidence[labels > 0] > 0).all()
    asked = 0
    for name in sorted({thing.label for thing in sequence.room.objects} - {"wall", "floor", "ceiling"}):
        if int((labels == LABEL_IDS[name]).sum()) < 20:
            continue
        asked += 1
        (match, *_) = ask(semantic_map, segmenter, [name])
        position = np.array(match.position)
        boxes = [(thing.lower, thing.upper) for thing in sequence.room.objects if thing.label == name]
        gaps = [np.linalg.norm(np.maximum(np.maximum(low - position, position - high), 0)) for low, high in boxes]
        assert min(gaps) < 0.1, name
    assert asked >= 5
    assert ask(semantic_map, segmenter, ["submarine"]) == ()


def test_the_embedded_model_knows_the_structure_of_a_room_it_never_saw() -> None:
    sequence = RoomSequence(seed=33, frames=12)
    segmenter = load_segmenter("openseg", "cpu")
    semantic_map, _ = build_map(sequence, segmenter, MappingConfig(voxel_size=0.1))
    floor = ask(semantic_map, segmenter.space, ["floor"])[0]
    assert abs(floor.position[2]) < 0.15
    assert floor.score > 0.5


def test_every_uses_every_nth_frame_and_progress_sees_them() -> None:
    sequence = RoomSequence(seed=21, frames=5, width=64, height=48)
    seen: list[int] = []

    def progress(numbers):  # type: ignore[no-untyped-def]
        for number in numbers:
            seen.append(number)
            yield number

    _, report = build_map(sequence, TrueLabels(sequence), MappingConfig(), every=2, progress=progress)
    assert seen == [0, 2, 4]
    assert report.frames == 3


def test_an_unknown_backend_is_named_with_those_that_exist() -> None:
    with pytest.raises(OvsegError, match="openseg"):
        load_segmenter("magic")


def test_frames_without_depth_are_skipped_with_a_reason() -> None:
    sequence = RoomSequence(seed=21, frames=2, width=64, height=48)
    frames = [sequence[0], sequence[1]]
    blind = RgbdFrame(
        frames[1].rgb, torch.full_like(frames[1].depth, torch.nan), frames[1].intrinsics, frames[1].pose, 5
    )
    semantic_map, report = build_map([frames[0], blind], TrueLabels(sequence), MappingConfig())
    assert report.skipped == {"no_depth": 1}
    assert "depth" in report.reasons["no_depth"]
    assert semantic_map.revision == 1
