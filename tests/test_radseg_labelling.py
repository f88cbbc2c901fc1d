"""RADSeg's prediction, against the reference's own labels and against plain upsampling.

tests/data/radseg_labels/labels.npz holds what the unmodified RADSeg (05ec86f) computes on small random weights:
language features, text embeddings, probabilities, and labels at a prediction threshold of 0.3.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_ros.segmentation import upsampling
from ovseg_ros.segmentation.radseg.labelling import Prediction, class_probabilities, denoise, predict

PARITY = Path(__file__).parent / "data" / "radseg_labels" / "labels.npz"
CASES = {"224x224:336:224": (224, 224), "320x448:0:224": (320, 448)}
REFERENCE_THRESHOLD = 0.3


def plainly(probabilities: torch.Tensor, size: tuple[int, int], threshold: float) -> torch.Tensor:
    """(H, W) labels as the reference computes them, all classes at full size at once."""
    full = functional.interpolate(probabilities[None], size, mode="bilinear", align_corners=False)[0]
    full[full.flatten(1).amax(dim=1) < threshold] = 0
    confidence, best = full.max(dim=0)
    return torch.where(confidence > 0, best + 1, 0)


@pytest.mark.parametrize("case", CASES)
def test_labels_are_those_of_the_reference(case: str) -> None:
    with np.load(PARITY) as file:
        data = {name: torch.from_numpy(file[name]) for name in file}
    size = CASES[case]
    probabilities = class_probabilities(data[f"{case}/lang_feat_map"], data["text_embeds"])
    raw, denoised = predict(probabilities, size), predict(denoise(probabilities, size), size)

    torch.testing.assert_close(probabilities, data[f"{case}/seg_low"], atol=1e-5, rtol=0)
    for prediction, name in ((raw, "dn0"), (denoised, "dn0.5")):
        assert prediction.labels.shape == size and prediction.labels.dtype == torch.int32
        assert torch.equal(prediction.confident(REFERENCE_THRESHOLD), data[f"{case}/seg_pred_{name}"][0].int())
    if case == "320x448:0:224":
        assert (raw.labels != denoised.labels).any(), "no class is denoised: the case tests nothing"


@settings(deadline=None, max_examples=60)
@given(
    classes=st.integers(1, 40),
    grid=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    scale=st.tuples(st.floats(1, 9), st.floats(1, 9)),
    sharpness=st.floats(0.1, 30),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    at_once=st.integers(1, 50_000),
    seed=st.integers(0, 10_000),
)
def test_labels_are_those_of_upsampling_everything(
    classes: int,
    grid: tuple[int, int],
    scale: tuple[float, float],
    sharpness: float,
    threshold: float,
    at_once: int,
    seed: int,
) -> None:
    noise = torch.randn(classes, *grid, generator=torch.Generator().manual_seed(seed))
    probabilities = (sharpness * noise).softmax(dim=0)
    size = (int(grid[0] * scale[0]), int(grid[1] * scale[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upsampling, "UPSAMPLED_BYTES", at_once)
        labels = predict(denoise(probabilities, size, threshold), size).labels
    assert torch.equal(labels.long(), plainly(probabilities, size, threshold))


def test_of_equal_classes_the_first_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upsampling, "UPSAMPLED_BYTES", 1)
    assert (predict(torch.full((3, 2, 2), 1 / 3), (8, 8)).labels == 1).all()


def test_classes_are_upsampled_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    interpolate = functional.interpolate

    def spy(*arguments: object, **options: object) -> torch.Tensor:
        result: torch.Tensor = interpolate(*arguments, **options)  # type: ignore[arg-type]
        sizes.append(result.numel() * result.element_size())
        return result

    monkeypatch.setattr(upsampling.functional, "interpolate", spy)
    probabilities = torch.rand(40, 8, 8, generator=torch.Generator().manual_seed(0))
    predict(denoise(probabilities, (800, 800)), (800, 800))
    assert sum(sizes) > 2 * upsampling.UPSAMPLED_BYTES > 2 * max(sizes)


def test_no_class_labels_nothing() -> None:
    probabilities = class_probabilities(torch.randn(16, 3, 4), torch.zeros(0, 16))
    prediction = predict(denoise(probabilities, (30, 40)), (30, 40))
    assert probabilities.shape == (0, 3, 4)
    assert not prediction.labels.any() and not prediction.confidence.any()


def test_one_class_is_everywhere() -> None:
    probabilities = class_probabilities(torch.randn(16, 3, 4), torch.randn(1, 16))
    prediction = predict(denoise(probabilities, (30, 40)), (30, 40))
    assert (prediction.labels == 1).all() and torch.allclose(prediction.confidence, torch.ones(30, 40))


def test_the_right_ones_of_500_classes() -> None:
    texts = torch.randn(500, 64, generator=torch.Generator().manual_seed(1))
    shown = torch.tensor([[7, 499, 0], [250, 31, 7]])
    features = 3.0 * texts[shown].permute(2, 0, 1)
    size = (32, 48)
    prediction = predict(denoise(class_probabilities(features, texts), size), size)
    assert torch.equal(prediction.labels[8::16, 8::16].long(), shown + 1)


def test_where_all_classes_are_denoised_there_is_no_label() -> None:
    probabilities = torch.full((3, 2, 2), 1 / 3)
    assert not predict(denoise(probabilities, (8, 8)), (8, 8)).labels.any()
    assert (predict(probabilities, (8, 8)).labels == 1).all()


def test_a_threshold_takes_labels_from_what_is_below_it() -> None:
    prediction = Prediction(torch.tensor([[1, 2, 3]], dtype=torch.int32), torch.tensor([[0.2, 0.5, 0.7]]))
    assert prediction.confident(0.5).tolist() == [[0, 2, 3]]
