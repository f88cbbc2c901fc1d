"""SAM 3 on a random tiny model: the fast path equals the plain one, costs what it should, and says what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from sam3_model import GRID, PATCH, save_tiny_model
from tokenizers import Tokenizer
from torch.utils.flop_counter import FlopCounterMode

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation import label_image
from ovseg_ros.segmentation.sam3.concepts import Concept, Concepts
from ovseg_ros.segmentation.sam3.config import Sam3Config
from ovseg_ros.segmentation.sam3.segmenter import Sam3Segmenter
from ovseg_ros.types import ConceptSpace, PixelClassifier, PromptedSegmenter
from ovseg_ros.vocabulary import Vocabulary

SIDE = GRID * PATCH
CONFIG = Sam3Config(threshold=0.27, stuff_threshold=0.4, label_threshold=0.2, prompts_at_once=3)
"""Between the scores of a random model, so that some concepts are seen and others are not."""

ASKED = (
    "chair",
    Concept("sofa", ("couch", "thing of wood")),
    Concept("floor", stuff=True),
    "cup",
    "lamp",
    Concept("café 椅子"),
    Concept("door", ("handle",), distractor=True),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam3")
    save_tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    """The same weights in the class of transformers."""
    from transformers import Sam3Model

    return Sam3Model.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def rgb() -> torch.Tensor:
    return torch.randint(0, 256, (60, 90, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def segmenter(folder: Path, concepts: Sequence[Concept | str] = ASKED, config: Sam3Config = CONFIG) -> Sam3Segmenter:
    return Sam3Segmenter(folder, Concepts.of(concepts), config, "cpu")


@torch.inference_mode()
def one_prompt(
    monkeypatch: pytest.MonkeyPatch, model: Any, folder: Path, rgb: torch.Tensor, prompt: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """Scores (Q,), masks (Q, h, w), dense head (h, w) and presence, from one plain call with a box of padding."""
    from transformers.models.sam3 import modeling_sam3

    # What is pooled under a box of padding reaches nothing; torchvision, which would pool it, need not be installed.
    ops = SimpleNamespace(roi_align=lambda features, boxes, size: torch.rand(len(boxes), features.shape[1], size, size))
    monkeypatch.setattr(modeling_sam3, "torchvision", SimpleNamespace(ops=ops), raising=False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding(length=32, pad_id=1)
    encoding = tokenizer.encode(prompt)
    pixels = functional.interpolate(rgb.permute(2, 0, 1)[None].float(), (SIDE, SIDE), mode="bilinear", antialias=True)
    output = model(
        pixel_values=pixels.round() / 127.5 - 1,
        input_ids=torch.tensor([encoding.ids]),
        attention_mask=torch.tensor([encoding.attention_mask]),
        input_boxes=torch.zeros(1, 1, 4),
        input_boxes_labels=torch.full((1, 1), -10),
    )
    presence = output.presence_logits[0].sigmoid()
    scores = output.pred_logits[0].sigmoid() * presence
    return scores, output.pred_masks[0].sigmoid(), output.semantic_seg[0, 0].sigmoid(), float(presence)


def naive_scores(outputs: Sequence[Any], concept: Concept, config: Sam3Config) -> tuple[torch.Tensor, list[Any]]:
    """The merge rules in plain loops: (h, w) scores, and the masks kept with their scores."""
    found = [
        (float(score), mask)
        for scores, masks, _, _ in outputs
        for score, mask in zip(scores, masks, strict=True)
        if score > config.threshold
    ]
    kept: list[Any] = []
    for score, mask in sorted(found, key=lambda pair: -pair[0]):
        hard = mask > 0.5
        overlaps = [(hard & (other > 0.5)).sum() / (hard | (other > 0.5)).sum() for _, other in kept]
        if hard.any() and all(overlap <= config.mask_overlap for overlap in overlaps):
            kept.append((score, mask))
    result = torch.zeros(4 * GRID, 4 * GRID)
    for score, mask in kept:
        result = torch.maximum(result, score * mask)
    for _, _, dense, presence in outputs:
        if concept.stuff and presence > config.stuff_threshold:
            result = torch.maximum(result, presence * dense)
    return result, kept


@pytest.mark.parametrize("prompts_at_once", [1, 3, 100])
def test_equals_one_plain_call_per_prompt(
    monkeypatch: pytest.MonkeyPatch, model: Any, folder: Path, rgb: torch.Tensor, prompts_at_once: int
) -> None:
    ours = segmenter(folder, config=replace(CONFIG, prompts_at_once=prompts_at_once))
    result = ours(rgb)
    expected, instances = [], []
    for concept in ours.concepts.entries:
        outputs = [one_prompt(monkeypatch, model, folder, rgb, prompt) for prompt in concept.prompts]
        scores, kept = naive_scores(outputs, concept, CONFIG)
        expected.append(scores)
        if not concept.stuff and not concept.distractor:
            instances += [(concept.name, score, mask > 0.5) for score, mask in kept]
    seen = [bool(scores.any()) for scores in expected]
    assert any(seen) and not all(seen) and instances, "the test should see some concepts and miss others"
    assert result.features.shape == (7, 4 * GRID, 4 * GRID)
    assert (result.features - torch.stack(expected)).abs().max() <= 1e-4
    assert [(mask.label, pytest.approx(mask.score, abs=1e-4)) for mask in result.instances] == [
        (name, score) for name, score, _ in instances
    ]
    assert all(
        (ours.mask != mask).float().mean() <= 0.01
        for ours, (_, _, mask) in zip(result.instances, instances, strict=True)
    )


def flops(segmenter: Sam3Segmenter, rgb: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        segmenter(rgb)
    return counter.get_total_flops()


def test_image_is_paid_once_and_masks_for_present_concepts_only(folder: Path, rgb: torch.Tensor, model: Any) -> None:
    words = [f"{first} {second}" for first in "abcdefghij" for second in "klmnopqrst"]
    ours = segmenter(folder, words, replace(CONFIG, threshold=0.01))
    best = dict.fromkeys(words, 0.0)
    for mask in ours(rgb).instances:
        best[mask.label] = max(best[mask.label], mask.score)
    words.sort(key=lambda word: -best[word])
    config = replace(CONFIG, threshold=(best[words[4]] + best[words[5]]) / 2)

    def cost(asked: Sequence[str], threshold: float = config.threshold) -> int:
        return flops(segmenter(folder, asked, replace(config, threshold=threshold)), rgb)

    hundred, twenty, one = cost(words), cost(words[:20]), cost(words[:1])
    nothing = cost(words[:20], threshold=0.99)
    prompt = (hundred - twenty) / 80
    masks = (twenty - nothing) / 5
    image = nothing - 20 * prompt
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.get_vision_features(pixel_values=torch.zeros(1, 3, SIDE, SIDE))
    print(f"image {image:.3g}, prompt {prompt:.3g}, masks {masks:.3g}; N=1 {one}, N=20 {twenty}, N=100 {hundred}")
    # What is left beside the encoder is the geometry encoder's summary.
    assert counter.get_total_flops() < image < 1.05 * counter.get_total_flops()
    assert one == pytest.approx(image + prompt + masks, rel=0.02)
    assert masks > 0.3 * prompt, "a mask head that costs nothing would make this test empty"


def test_the_vocabulary_changes_without_loading_and_encodes_only_what_is_new(folder: Path, rgb: torch.Tensor) -> None:
    ours = segmenter(folder, ["chair", "cup"])
    before = ours(rgb)
    with FlopCounterMode(display=False) as counter:
        ours.set_vocabulary(Concepts.of(["cup", "chair"]))
    assert counter.get_total_flops() == 0
    after = ours(rgb)
    assert (after.features - before.features.flip(0)).abs().max() <= 1e-5
    assert after.space == before.space and after.concepts == ("cup", "chair")

    with FlopCounterMode(display=False) as counter:
        ours.set_vocabulary(Concepts.of(["cup", "lamp"]))
    assert counter.get_total_flops() > 0
    assert ours.vocabulary.names == ("cup", "lamp")
    fresh = segmenter(folder, ["cup", "lamp"])
    assert (ours(rgb).features - fresh(rgb).features).abs().max() <= 1e-5
    assert ours.space == fresh.space


def test_looking_for_plain_words_keeps_what_the_file_says_of_them(folder: Path, rgb: torch.Tensor) -> None:
    ours = segmenter(folder)
    assert isinstance(ours, PromptedSegmenter) and isinstance(ours.space, ConceptSpace)
    ours.look_for(Vocabulary((("ground", "floor"), ("handle",), ("cup", "mug"))))
    expected = (Concept("ground", ("floor",), stuff=True), Concept("handle"), Concept("cup", ("mug",)))
    assert ours.concepts.entries == expected
    assert ours(rgb).concepts == ("ground", "handle", "cup")
    # What was said of them at first still holds after words that nothing was said of.
    ours.look_for(Vocabulary((("zebra",),)))
    ours.look_for(Vocabulary((("floor",),)))
    assert ours.concepts.entries == (Concept("floor", stuff=True), ASKED[-1])
    assert ours(rgb).concepts == ("floor", "NOT door")
    with pytest.raises(OvsegError, match="has 81 tokens"):
        ours.look_for(Vocabulary((("q " * 39 + "q",),)))
    assert ours.vocabulary.names == ("floor",)


def test_a_long_prompt_is_refused_and_the_vocabulary_stays(folder: Path, rgb: torch.Tensor) -> None:
    ours = segmenter(folder, ["chair"])
    with pytest.raises(OvsegError, match=r"'q q q .* has 81 tokens, SAM 3 takes 32"):
        ours.set_vocabulary(Concepts.of(["cup", "q " * 39 + "q"]))
    assert ours.vocabulary.names == ("chair",)
    assert ours(rgb).space == ours.space.id


def test_labels_and_instances_leave_distractors_out(folder: Path, rgb: torch.Tensor) -> None:
    ours = segmenter(folder)
    result = ours(rgb)
    maps = ours.labels(result)
    assert maps.label.max() <= 6 and result.features[6].any()
    assert {mask.label for mask in result.instances} <= {"chair", "sofa", "cup", "lamp", "café 椅子"}
    with pytest.raises(OvsegError, match="segment the image again"):
        ours.labels(replace(result, space="sam3/other"))
    ours.set_vocabulary(Concepts.of(["cup"]))
    with pytest.raises(OvsegError, match="segment the image again"):
        ours.labels(result)


def test_one_image_is_labelled_with_words_of_the_vocabulary(folder: Path, rgb: torch.Tensor) -> None:
    ours = segmenter(folder)
    assert isinstance(ours, PixelClassifier)
    labels, shares = label_image(ours, rgb.numpy(), ["couch", "floor"])
    maps = ours.labels(ours(rgb))
    assert labels.shape == (60, 90) and sum(shares.values()) > 0
    for word, concept in ((1, 2), (2, 3)):
        share = (maps.label == concept).float().mean()
        assert (labels == word).mean() == pytest.approx(float(share), abs=0.05)


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(60, 90, dtype=torch.uint8),
        torch.zeros(3, 60, 90, dtype=torch.uint8),
        torch.zeros(60, 90, 3),
        torch.zeros(0, 90, 3, dtype=torch.uint8),
    ],
)
def test_what_is_no_colour_image_is_refused(folder: Path, image: torch.Tensor) -> None:
    with pytest.raises(OvsegError, match="a colour image is"):
        segmenter(folder, ["chair"])(image)


def test_weights_under_the_names_of_the_published_video_model_load(model: Any, folder: Path, tmp_path: Path) -> None:
    """facebook/sam3 holds the detector inside a model for videos, beside a tracker."""
    import json

    from safetensors.torch import load_file, save_file

    shutil.copy(folder / "tokenizer.json", tmp_path)
    tensors = {f"detector_model.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    save_file({**tensors, "tracker_model.weight": torch.zeros(2)}, tmp_path / "model.safetensors", {"format": "pt"})
    config = {"model_type": "sam3_video", "detector_config": json.loads((folder / "config.json").read_text())}
    (tmp_path / "config.json").write_text(json.dumps(config))
    image = torch.full((30, 40, 3), 90, dtype=torch.uint8)
    assert (segmenter(tmp_path)(image).features - segmenter(folder)(image).features).abs().max() <= 1e-4


def test_a_folder_that_lacks_tensors_is_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    tensors = load_file(folder / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(OvsegError, match=r"lacks 1 of SAM 3's tensors \(text_projection.weight"):
        segmenter(tmp_path, ["chair"])
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(OvsegError, match="can't be loaded as SAM 3"):
        segmenter(tmp_path, ["chair"])
    (tmp_path / "tokenizer.json").write_text("{}")
    shutil.copy(folder / "model.safetensors", tmp_path)
    with pytest.raises(OvsegError, match=r"tokenizer\.json is damaged"):
        segmenter(tmp_path, ["chair"])


def test_bfloat16_gives_nearly_the_same(folder: Path, rgb: torch.Tensor) -> None:
    full = segmenter(folder, [Concept("floor", stuff=True)])(rgb).features
    half = segmenter(folder, [Concept("floor", stuff=True)], replace(CONFIG, dtype="bfloat16"))(rgb).features
    assert half.dtype == torch.float32
    assert 0 < (half - full).abs().mean() < 0.05
