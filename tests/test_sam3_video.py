"""SAM 3 on streams of images, with a random tiny model: what is forgotten changes nothing, and memory stays flat."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sam3_model import GRID, save_tiny_model, save_tiny_video_model
from tokenizers import Tokenizer

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.camera import check_backend
from ovseg_ros.segmentation.sam3 import backend
from ovseg_ros.segmentation.sam3.concepts import Concept, Concepts
from ovseg_ros.segmentation.sam3.config import CONFIG_VARIABLE, Sam3Config
from ovseg_ros.segmentation.sam3.segmenter import Sam3Segmenter
from ovseg_ros.segmentation.sam3.video import Sam3VideoSegmenter
from ovseg_ros.types import Segmentation

ASKED = ("chair", Concept("sofa", ("couch",)), Concept("floor", stuff=True), "cup", Concept("door", distractor=True))
CONFIG = Sam3Config(mode="video", threshold=0.05, stuff_threshold=0.05, new_object_threshold=0.1, max_objects=3)
"""Thresholds between the scores of a random model."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam3_video")
    save_tiny_video_model(folder, seed=6)
    return folder


def images(count: int, height: int = 60, width: int = 90) -> list[torch.Tensor]:
    """Coarse colours that wander to the right."""
    colours = torch.rand(1, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    scene = torch.nn.functional.interpolate(colours * 255, (height, width), mode="nearest")[0].byte()
    return [scene.roll(2 * index, dims=2).permute(1, 2, 0).contiguous() for index in range(count)]


def segmenter(
    folder: Path, concepts: Sequence[Concept | str] = ASKED, config: Sam3Config = CONFIG
) -> Sam3VideoSegmenter:
    return Sam3VideoSegmenter(folder, Concepts.of(concepts), config, "cpu")


def tracks(segmentations: Iterable[Segmentation]) -> list[list[int | None]]:
    return [[instance.track for instance in segmentation.instances] for segmentation in segmentations]


def overlap(mask: torch.Tensor, other: torch.Tensor) -> float:
    return float((mask & other).sum() / (mask | other).sum())


def raise_memory_error(*_: object, **__: object) -> None:
    raise MemoryError


def numbers(segmentations: Iterable[Segmentation]) -> list[int]:
    return [instance.track for segmentation in segmentations for instance in segmentation.instances]


def held(session: Any) -> tuple[int, int, int]:
    """Bytes of tensors, number of tensors and of entries in containers that a session holds."""
    storages: dict[int, int] = {}
    tensors = entries = 0
    waiting = [value for name, value in vars(session).items() if name not in ("look", "concepts")]
    waiting.append(vars(session.cache))
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            tensors += 1
            storages[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, dict | list | tuple | set):
            entries += len(value)
            waiting += value.values() if isinstance(value, dict) else value
    return sum(storages.values()), tensors, entries


def test_only_the_one_that_follows_things_is_for_one_camera(folder: Path) -> None:
    names = ["front", "rear"]
    check_backend(Sam3Segmenter(folder, Concepts.of(["chair"]), replace(CONFIG, mode="image"), "cpu"), names)
    with pytest.raises(OvsegError, match="mode: image"):
        check_backend(segmenter(folder), names)


def test_what_is_forgotten_changes_nothing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

    from ovseg_ros.segmentation.sam3 import tracking

    stream = images(24)
    short = segmenter(folder)
    forgetful = [short(image) for image in stream]

    class Elephant(tracking.TrackingSession):  # type: ignore[misc]
        """Keeps what transformers keeps."""

        num_frames = Sam3VideoInferenceSession.num_frames
        add_new_frame = Sam3VideoInferenceSession.add_new_frame

        def forget(self) -> None:
            pass

    monkeypatch.setattr(tracking, "TrackingSession", Elephant)
    long = segmenter(folder)
    for ours, image in zip(forgetful, stream, strict=True):
        theirs = long(image)
        assert torch.equal(ours.features, theirs.features)
        assert tracks([ours]) == tracks([theirs])
        assert all(torch.equal(a.mask, b.mask) for a, b in zip(ours.instances, theirs.instances, strict=True))
    conditions = [len(output["cond_frame_outputs"]) for output in long._session.output_dict_per_obj.values()]
    assert 3 <= max(conditions) <= 4, "more than 4 would be too many to compare: we keep the newest 4"
    assert held(long._session)[0] > 5 * held(short._session)[0]


def test_memory_stays_flat(folder: Path) -> None:
    ours = segmenter(folder, ["sofa"], replace(CONFIG, max_objects=1))
    sizes = []
    for image in images(101):
        ours(image)
        sizes.append(held(ours._session))
    print(f"bytes, tensors, entries: {sizes[40]} after image 40, {sizes[100]} after image 100")
    # Of one thing: 4 conditions and 6 memories of 3 tensors, 9 pointers, and when it was last hidden.
    assert 30 < max(tensors for _, tensors, _ in sizes) <= 4 * 3 + 6 * 3 + 9 + 1
    assert all(late <= 1.1 * early for late, early in zip(sizes[100], sizes[40], strict=True))


def test_what_goes_unconfirmed_is_lost_and_makes_room(folder: Path) -> None:
    ours = segmenter(folder, ["chair"], replace(CONFIG, max_objects=2, lost_after=1))
    found, empty = [], 0
    for image in images(12):
        found.append(ours(image))
        if not ours._session.obj_ids:
            empty += 1
            assert held(ours._session)[:2] == (0, 0)
    assert empty
    assert max(numbers(found)) > 3
    assert all(len(segmentation.instances) <= 2 for segmentation in found)


def test_only_what_scores_high_is_followed_anew(folder: Path) -> None:
    begun = []
    for threshold in (0.1, 0.99):
        ours = segmenter(folder, config=replace(CONFIG, new_object_threshold=threshold, max_objects=30))
        # Where nothing is followed yet, the model follows all there is.
        first, *rest = [ours(image) for image in images(4)]
        begun.append(set(numbers(rest)) - set(numbers([first])))
    assert begun[0] and not begun[1]


def test_what_has_left_the_image_is_lost(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    ours = segmenter(folder, ["sofa"], replace(CONFIG, max_objects=1, lost_after=3))
    image = images(1)[0]
    assert numbers([ours(image)]) == [0]

    def nothing(inference_session: Any, **_: object) -> tuple[torch.Tensor, torch.Tensor]:
        count = len(inference_session.obj_ids)
        return torch.full((count, 4 * GRID, 4 * GRID), -10.0), torch.full((count,), -10.0)

    monkeypatch.setattr(ours._model, "run_tracker_propagation", nothing)
    assert [numbers([ours(image)]) for _ in range(4)] == [[], [], [], [1]]


@torch.inference_mode()
def test_follows_what_the_model_of_transformers_follows(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Its own detector, given a box of padding, and its own session, which keeps everything."""
    from transformers import Sam3VideoModel
    from transformers.models.sam3 import modeling_sam3
    from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

    # What is pooled under a box of padding reaches nothing; torchvision, which would pool it, need not be installed.
    ops = SimpleNamespace(roi_align=lambda features, boxes, size: torch.rand(len(boxes), features.shape[1], size, size))
    monkeypatch.setattr(modeling_sam3, "torchvision", SimpleNamespace(ops=ops), raising=False)
    config = replace(CONFIG, mask_overlap=0.999, new_object_threshold=0.25, max_objects=50)
    words = ["chair", "cup"]
    ours = segmenter(folder, words, config)
    model = Sam3VideoModel.from_pretrained(
        folder, score_threshold_detection=config.threshold, new_det_thresh=config.new_object_threshold,
        det_nms_thresh=0.0, fill_hole_area=0,
    ).eval()  # fmt: skip
    box = {"input_boxes": torch.zeros(1, 1, 4), "input_boxes_labels": torch.full((1, 1), -10)}
    model.detector_model.forward = partial(model.detector_model.forward, **box)
    session = Sam3VideoInferenceSession(dtype=torch.float32)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding(length=32, pad_id=1)
    for word in words:
        prompt, encoding = session.add_prompt(word), tokenizer.encode(word)
        session.prompt_input_ids[prompt] = torch.tensor([encoding.ids])
        session.prompt_attention_masks[prompt] = torch.tensor([encoding.attention_mask])
    counts = []
    for image in images(4):
        result = ours(image)
        output = model(session, frame=ours._network.pixels(image))
        for index, word in enumerate(words):
            mine = [instance.mask for instance in result.instances if instance.label == word]
            theirs = [mask[0] > 0 for track, mask in output.obj_id_to_mask.items()
                      if session.obj_id_to_prompt_id[track] == index and (mask > 0).any()]  # fmt: skip
            counts.append(len(mine))
            # What is repeated to the last pixel we tell once.
            assert all(max(overlap(mask, other) for other in theirs) > 0.98 for mask in mine)
            assert all(max(overlap(mask, other) for other in mine) > 0.98 for mask in theirs)
    assert sum(counts[:2]) >= 3 and sum(counts[2:]) >= 6, "the test should see things begun and things followed"


def test_scores_are_those_of_single_images_and_of_what_is_followed(folder: Path) -> None:
    ours, alone = segmenter(folder), Sam3Segmenter(folder, Concepts.of(ASKED), replace(CONFIG, mode="image"), "cpu")
    filled, begun = 0.0, {}
    for index, image in enumerate(images(4)):
        result, single = ours(image), alone(image)
        assert result.space == single.space
        assert (result.features >= single.features - 1e-4).all()
        for concept, scores, plain in zip(ours.concepts.entries, result.features, single.features, strict=True):
            followed = [instance for instance in result.instances if instance.label == concept.name]
            assert not followed or concept.countable
            if index == 0 or not followed:
                assert (scores - plain).abs().max() < 1e-4
            for instance in followed:
                assert instance.score <= begun.setdefault(instance.track, instance.score)
                assert (scores[instance.mask] >= 0.5 * instance.score - 1e-4).all()
            filled = max(filled, float((scores - plain).max()))
    assert filled > 0.05, "what is followed should fill in where the detector sees less"


def test_bfloat16_follows_the_same(folder: Path) -> None:
    full, half = segmenter(folder), segmenter(folder, config=replace(CONFIG, dtype="bfloat16"))
    for image in images(2):
        exact, rough = full(image), half(image)
        assert rough.features.dtype == torch.float32
        assert 0 < (rough.features - exact.features).abs().mean() < 0.1
    assert numbers([rough])


def test_another_vocabulary_begins_new_tracks(folder: Path) -> None:
    ours = segmenter(folder, ["chair", "sofa"])
    stream = images(8)
    first = [ours(image) for image in stream[:3]]
    ours.set_vocabulary(Concepts.of(["chair", "sofa"]))
    first += [ours(image) for image in stream[3:5]]
    assert ours._session.num_frames == 5, "the same question again is no reason to begin anew"
    ours.set_vocabulary(Concepts.of(["cup", "sofa"]))
    second = [ours(image) for image in stream[5:]]
    assert ours._session.num_frames == 3
    assert numbers(first) and numbers(second)
    assert max(numbers(first)) < min(numbers(second))
    assert {instance.label for instance in second[0].instances} <= {"cup", "sofa"}
    with pytest.raises(OvsegError, match="has 81 tokens"):
        ours.set_vocabulary(Concepts.of(["q " * 39 + "q"]))
    assert ours(stream[0]).space == second[0].space and ours._session.num_frames == 4


def test_images_of_another_size_begin_new_tracks(folder: Path) -> None:
    ours = segmenter(folder, ["chair", "sofa"])
    wide = [ours(image) for image in images(2)]
    high = [ours(image) for image in images(2, 80, 48)]
    assert high[0].features.shape == wide[0].features.shape == (2, 4 * GRID, 4 * GRID)
    assert max(numbers(wide)) < min(numbers(high))


def test_a_track_is_of_one_concept_and_no_two_of_one_are_the_same(folder: Path) -> None:
    ours = segmenter(folder, config=replace(CONFIG, max_objects=8))
    labels: dict[int | None, set[str]] = {}
    for image in images(4):
        result = ours(image)
        assert len({instance.track for instance in result.instances}) == len(result.instances)
        for instance in result.instances:
            labels.setdefault(instance.track, set()).add(instance.label)
        for one, other in combinations(result.instances, 2):
            assert one.label != other.label or overlap(one.mask, other.mask) <= CONFIG.mask_overlap
    assert len(labels) > 4 and all(len(names) == 1 for names in labels.values())


def test_nothing_is_downloaded_while_it_runs(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    from transformers.models.sam3_video import modeling_sam3_video

    def download() -> None:
        raise AssertionError("a kernel of the hub was asked for")

    monkeypatch.setattr(modeling_sam3_video, "_load_cv_utils_kernel_once", download)
    ours = segmenter(folder)
    assert numbers([ours(image) for image in images(3)])


def test_an_image_that_fails_leaves_no_stream_in_halves(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    ours = segmenter(folder)
    before = ours(images(1)[0])
    with monkeypatch.context() as patch:
        patch.setattr(ours._model.tracker_model, "forward", raise_memory_error)
        with pytest.raises(MemoryError):
            ours(images(1)[0])
    after = ours(images(1)[0])
    assert torch.equal(after.features, before.features)
    assert min(numbers([after])) > max(numbers([before]))
    with pytest.raises(OvsegError, match="a colour image is"):
        ours(torch.zeros(3, 60, 90, dtype=torch.uint8))
    assert ours._session.num_frames == 1, "what is no image ends no stream"


def test_the_settings_choose_the_mode(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    settings = tmp_path / "sam3.yaml"
    monkeypatch.setenv(CONFIG_VARIABLE, str(settings))
    for mode, kind in (("image", Sam3Segmenter), ("video", Sam3VideoSegmenter)):
        settings.write_text(f"weights: {folder}\nmode: {mode}\n")
        assert type(backend.load("cpu")) is kind


def test_a_folder_without_a_tracker_is_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_tiny_model(tmp_path / "image")
    with pytest.raises(OvsegError, match="holds no tracker, so it is a model for images: set `mode: image`"):
        segmenter(tmp_path / "image")
    shutil.copytree(folder, tmp_path / "video")
    path = tmp_path / "video" / "model.safetensors"
    tensors = {name: value for name, value in load_file(path).items() if "memory_encoder" not in name}
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(OvsegError, match=r"lacks \d+ of SAM 3's tensors \(tracker_model.memory_encoder"):
        segmenter(tmp_path / "video")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"mode": "stream"}, "mode of SAM 3 is 'stream': choose one of image, video"),
        ({"max_objects": 0}, "max_objects of SAM 3 must be at least 1, got 0"),
        ({"lost_after": 0}, "lost_after of SAM 3 must be at least 1, got 0"),
        ({"new_object_threshold": 1.0}, "new_object_threshold of SAM 3 must lie between 0 and 1"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(OvsegError, match=message):
        Sam3Config(**setting)
