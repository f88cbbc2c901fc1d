"""RADSeg+: regions, prompts, and the decoder, against the reference on a small random SAM.

tests/data/radseg_labels/refined.npz holds labels of RADSeg's unmodified `sam_refinement` (05ec86f) with
segment_anything 1.0, whose weights are those in the folder beside it, in the layout of transformers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.radseg import sam_decoder
from ovseg_ros.segmentation.radseg.labelling import predict
from ovseg_ros.segmentation.radseg.refinement import MaskRefiner, sam_input_size
from ovseg_ros.segmentation.radseg.regions import find_regions
from ovseg_ros.segmentation.radseg.sam_decoder import SamDecoder
from ovseg_ros.segmentation.upsampling import upsampled

DATA = Path(__file__).parent / "data" / "radseg_labels"
SAM = DATA / "sam"
PARITY_SIZE = (333, 500)
CHANNELS = 24


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The model is so small that threads mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def parity() -> dict[str, torch.Tensor]:
    with np.load(DATA / "refined.npz") as file:
        return {name: torch.from_numpy(file[name].astype(np.float32)) for name in file}


@pytest.fixture
def sam(tmp_path: Path) -> Path:
    """The small SAM's folder, to be changed."""
    return Path(shutil.copytree(SAM, tmp_path / "sam"))


class BoxDecoder:
    """Stands in for a SAM: its mask is the box of the prompt, as good as it is told to say."""

    image_size = 1024

    def __init__(self, iou: float = 0.95, logit: float = 4.0) -> None:
        self.iou, self.logit = iou, logit
        self.points: list[torch.Tensor] = []
        self.prompts: list[torch.Tensor] = []

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        return torch.zeros(1, 1, 64, 64)

    def __call__(
        self, embedding: torch.Tensor, boxes: torch.Tensor, points: torch.Tensor, mask_prompt: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.points.append(points)
        self.prompts.append(mask_prompt)
        pixels = 4.0 * torch.arange(256) + 2
        left, top, right, bottom = boxes[:, :, None].unbind(1)
        columns, rows = (left <= pixels) & (pixels <= right), (top <= pixels) & (pixels <= bottom)
        inside = rows[:, :, None] & columns[:, None, :]
        yield torch.where(inside, self.logit, -4.0), torch.full((len(boxes),), self.iou)


def one_patch(grid: tuple[int, int], patch: tuple[int, int], elsewhere: float) -> torch.Tensor:
    """(2, h, w) probabilities: the first class everywhere alike, the second on one patch."""
    probabilities = torch.full((2, *grid), elsewhere)
    probabilities[1] = 0
    probabilities[1][patch] = 0.9
    return probabilities


def refine(decoder: BoxDecoder, probabilities: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    rows, columns = sam_input_size(*size)
    features = torch.zeros(CHANNELS, rows // 16, columns // 16)
    return MaskRefiner(decoder)(features, probabilities, size).labels  # type: ignore[arg-type]


def test_labels_are_those_of_the_reference(parity: dict[str, torch.Tensor]) -> None:
    refiner = MaskRefiner.load(str(SAM))
    refined = refiner(parity["sam_features"], parity["probabilities"], PARITY_SIZE)
    coarse = predict(parity["probabilities"], PARITY_SIZE)

    assert torch.equal(coarse.labels, parity["coarse"].int())
    assert (refined.labels == parity["labels"]).float().mean() >= 0.9999
    assert (refined.labels != coarse.labels).float().mean() > 0.2, "nothing is refined: the case tests nothing"
    assert torch.equal(refined.confidence, coarse.confidence)


def test_the_number_of_regions_at_once_changes_nothing(
    parity: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam_decoder, "REGIONS_AT_ONCE", 2)
    labels = MaskRefiner.load(str(SAM))(parity["sam_features"], parity["probabilities"], PARITY_SIZE).labels
    assert (labels == parity["labels"]).float().mean() >= 0.9999


@pytest.mark.parametrize("size", [(192, 320), (320, 192), (256, 256)])
def test_prompts_lie_where_the_region_is(size: tuple[int, int]) -> None:
    decoder = BoxDecoder()
    patch = (1, 2)
    # The first class is too improbable for a region of its own.
    probabilities = one_patch((size[0] // 64, size[1] // 64), patch, elsewhere=0.09)
    labels = refine(decoder, probabilities, size)
    rows, columns = (labels == 2).nonzero().unbind(1)

    _, probable = next(upsampled(probabilities[1:], size))
    expected_rows, expected_columns = (probable[0] >= 0.1).nonzero().unbind(1)
    for found, expected in ((rows, expected_rows), (columns, expected_columns)):
        assert abs(int(found.min() - expected.min())) <= 3 and abs(int(found.max() - expected.max())) <= 3
    assert (labels[rows.min() + 5 : rows.max() - 4, columns.min() + 5 : columns.max() - 4] == 2).all(), "not the box"

    # The likeliest pixel is the patch's centre; 1024 pixels are the long side.
    scale = 1024 / max(size)
    centre = scale * torch.tensor([64 * patch[1] + 32, 64 * patch[0] + 32])
    assert len(decoder.points) == 1 and (decoder.points[0] - centre).abs().max() <= 3 * scale
    # The mask prompt is the class's probability, where it is not improbable, in a frame of 256 pixels.
    row, column = (int(value / 4) for value in centre.flip(0))
    assert decoder.prompts[0].shape == (256, 256)
    assert float(decoder.prompts[0][row, column]) == pytest.approx(0.005 * 0.9, rel=0.05)
    assert not decoder.prompts[0][(decoder.prompts[0] > 0) & (decoder.prompts[0] < 0.005 * 0.1)].any()


def test_improbable_parts_of_a_class_prompt_nothing() -> None:
    decoder = BoxDecoder()
    probabilities = one_patch((4, 8), (1, 1), elsewhere=0.05)
    probabilities[1][2, 6] = 0.08
    assert predict(probabilities, (256, 512)).labels[160, 416] == 2
    refine(decoder, probabilities, (256, 512))
    assert [len(points) for points in decoder.points] == [1]


def test_masks_that_the_decoder_doubts_change_nothing() -> None:
    size = (256, 320)
    probabilities = one_patch((4, 5), (1, 2), elsewhere=0.09)
    coarse = predict(probabilities, size).labels
    assert torch.equal(refine(BoxDecoder(iou=0.9), probabilities, size), coarse)
    assert torch.equal(refine(BoxDecoder(logit=-4.0), probabilities, size), coarse)
    assert (refine(BoxDecoder(iou=0.91), probabilities, size) != coarse).any()


def test_the_class_with_the_larger_product_gets_the_pixel() -> None:
    size = (256, 320)
    # The first class surrounds the second: its box covers everything, and in the corners of the other's box it wins.
    probabilities = one_patch((4, 5), (1, 2), elsewhere=0.4)
    labels, coarse = refine(BoxDecoder(), probabilities, size), predict(probabilities, size).labels
    assert (labels[coarse == 1] == 1).all()
    assert (labels[coarse == 2] == 2).float().mean() > 0.9


@pytest.mark.parametrize(("classes", "probability"), [(0, 1.0), (3, 0.05), (2, 0.0)])
def test_without_regions_the_decoder_is_not_asked(classes: int, probability: float) -> None:
    labels = refine(None, torch.full((classes, 4, 5), probability), (256, 320))  # type: ignore[arg-type]
    assert (labels == int(probability > 0 and classes > 0)).all()


def test_regions_are_connected_across_corners_and_not_small() -> None:
    mask = torch.zeros(60, 80, dtype=torch.bool)
    mask[5:20, 10:23] = True  # 195 pixels
    mask[20:25, 23:29] = True  # 30 more, which touch them at a corner
    mask[40:54, 40:56] = True  # 224 pixels
    probability = torch.rand(60, 80, generator=torch.Generator().manual_seed(0)) / 2
    probability[22, 27] = probability[22, 28] = 0.7
    probability[30, 30] = 0.9  # outside
    regions = find_regions(mask, probability)
    assert regions.boxes.tolist() == [[10.0, 5.0, 28.0, 24.0]]
    assert regions.points.tolist() == [[27.0, 22.0]]
    assert not len(find_regions(torch.zeros(9, 9, dtype=torch.bool), torch.ones(9, 9)).boxes)


def test_images_are_resized_to_whole_patches() -> None:
    sizes = [(480, 640), (640, 480), (640, 1136), (333, 500), (512, 512), (10, 1000)]
    assert [sam_input_size(*size) for size in sizes] == [
        (768, 1024),
        (1024, 768),
        (576, 1024),
        (672, 1024),
        (1024, 1024),
        (16, 1024),
    ]


def test_only_the_decoding_parts_are_read(sam: Path) -> None:
    weights = load_file(sam / "model.safetensors")
    weights["vision_encoder.layers.0.attn.qkv.weight"] = torch.zeros(3, 3)
    # Files hold the position matrix under either of two names.
    weights["prompt_encoder.shared_embedding.positional_embedding"] = weights.pop(
        "shared_image_embedding.positional_embedding"
    )
    save_file(weights, sam / "model.safetensors")
    decoder = SamDecoder.load(str(sam))

    assert {name.split(".")[0] for name, _ in decoder.named_parameters()} == {"neck", "prompt_encoder", "mask_decoder"}
    whole = SamDecoder.load(str(SAM)).state_dict()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in decoder.state_dict().items())


@pytest.mark.parametrize("shape", [(CHANNELS + 1, 42, 64), (CHANNELS, 65, 64)])
def test_features_that_the_sam_cannot_take_are_refused(
    parity: dict[str, torch.Tensor], shape: tuple[int, int, int]
) -> None:
    with pytest.raises(OvsegError, match=f"SAM takes 24 channels .* 64x64 patches, got {shape[0]} on {shape[1]}x64"):
        MaskRefiner.load(str(SAM))(torch.zeros(shape), parity["probabilities"], PARITY_SIZE)


def lose_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["mask_decoder.iou_token.weight"]
    save_file(weights, folder / "model.safetensors")


def widen(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["hidden_size"] = 1280
    (folder / "config.json").write_text(json.dumps(config))


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_a_weight, "holds no whole SAM .*iou_token"),
        (widen, "holds no whole SAM .*size mismatch"),
        (truncate, "is damaged"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json: .*hf download"),
        (lambda folder: (folder / "config.json").write_text("{"), "holds no whole SAM"),
    ],
)
def test_weights_that_cannot_be_used_say_why(sam: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(sam)
    with pytest.raises(OvsegError, match=message):
        MaskRefiner.load(str(sam))
