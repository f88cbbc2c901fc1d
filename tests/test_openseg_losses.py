"""What OpenSeg is trained with, and how cells are labelled, against plain restatements in float64; gradients too."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ovseg_ros.segmentation.openseg.model import MASK_EPSILON, OpenSeg, OpenSegConfig, OpenSegOutput
from ovseg_ros.segmentation.openseg.prediction import PREDICTIONS, purity
from ovseg_ros.training import losses
from ovseg_ros.training.losses import IGNORED, UNNAMED, Segments

Floats = NDArray[np.float64]
SEEDS = st.integers(0, 2**16)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unit(*shape: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator(seed)).double(), dim=-1)


def slopes(function: Callable[[Floats], float], at: torch.Tensor) -> Floats:
    """Central differences of a plain function."""
    point = at.detach().numpy().copy()
    result = np.zeros_like(point)
    for index in np.ndindex(*point.shape):
        ends = []
        for change in (1e-6, -1e-6):
            moved = point.copy()
            moved[index] += change
            ends.append(function(moved))
        result[index] = (ends[0] - ends[1]) / 2e-6
    return result


def check(loss: Callable[[torch.Tensor], torch.Tensor], plain: Callable[[Floats], float], at: torch.Tensor) -> None:
    """Value and gradient are those of the plain function."""
    at = at.clone().requires_grad_()
    value = loss(at)
    assert float(value.detach()) == pytest.approx(plain(at.detach().numpy()), abs=1e-10)
    value.backward()  # type: ignore[no-untyped-call]
    assert at.grad is not None
    np.testing.assert_allclose(at.grad.numpy(), slopes(plain, at), atol=1e-7)


def softmax(values: list[float]) -> list[float]:
    weights = [math.exp(value) for value in values]
    return [weight / sum(weights) for weight in weights]


def plain_mask_loss(masks: Floats, targets: Floats, labels: list[list[int]]) -> float:
    terms = []
    for b, row in enumerate(labels):
        for m, label in enumerate(row):
            if label != IGNORED:
                scores = []
                for mask in masks[b]:
                    overlap = sum(float(s) * float(t) for s, t in zip(mask, targets[b, m], strict=True))
                    scores.append(2 * overlap / (float(mask.sum()) + float(targets[b, m].sum()) + losses.DICE_EPSILON))
                terms.append(1 - max(scores))
    return sum(terms) / max(len(terms), 1)


def plain_cross_entropy(logits: Floats, labels: list[int]) -> float:
    terms = [-math.log(softmax(list(row))[c]) for row, c in zip(logits, labels, strict=True) if c >= 0]
    return sum(terms) / max(len(terms), 1)


def plain_grounding(regions: Floats, words: Floats, captions: list[list[int]], scale: float, attention: float) -> float:
    kept = [i for i, spoken in enumerate(captions) if spoken]
    score = [[0.0] * len(kept) for _ in kept]
    for row, i in enumerate(kept):
        for column, j in enumerate(kept):
            for k in captions[j]:
                cosines = [float(region @ words[k]) for region in regions[i]]
                weights = softmax([attention * cosine for cosine in cosines])
                score[row][column] += scale * float(np.dot(weights, cosines)) / len(captions[j])
    pairs = range(len(kept))
    by_image = sum(-math.log(softmax(score[i])[i]) for i in pairs)
    by_caption = sum(-math.log(softmax([score[i][j] for i in pairs])[j]) for j in pairs)
    return (by_image + by_caption) / 2 / len(kept)


@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_mask_loss_is_one_minus_the_best_dice(seed: int) -> None:
    masks = torch.rand(2, 4, 6, generator=generator(seed)).double()
    targets = (torch.rand(2, 3, 6, generator=generator(seed + 1)) < 0.5).double()
    first, second = losses.dice_scores(masks, targets).topk(2, dim=-1).values.unbind(dim=-1)
    assume(bool((first - second > 1e-4).all()))  # Where two proposals are equally good there is no gradient.
    labels = [[1, UNNAMED, IGNORED], [2, 2, 4]]
    segments = Segments(targets, torch.tensor(labels))
    check(lambda x: losses.mask_loss(x, segments)[0], lambda x: plain_mask_loss(x, targets.numpy(), labels), masks)
    index = losses.mask_loss(masks, segments)[1]
    dice = losses.dice_scores(masks, targets)
    assert torch.equal(dice.gather(2, index[..., None])[..., 0], dice.amax(dim=-1))


def test_proposals_that_match_nothing_are_free() -> None:
    masks = torch.tensor([[[0.9, 0.8, 0.1], [0.2, 0.3, 0.4]]]).double().requires_grad_()
    segments = Segments(torch.tensor([[[1.0, 1.0, 0.0]]]).double(), torch.tensor([[UNNAMED]]))
    losses.mask_loss(masks, segments)[0].backward()  # type: ignore[no-untyped-call]
    assert masks.grad is not None and masks.grad[0, 0].abs().min() > 0 and masks.grad[0, 1].abs().max() == 0


@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_classification_loss_is_the_mean_over_what_has_a_class(seed: int) -> None:
    logits = torch.randn(6, 4, generator=generator(seed)).double()
    labels = [0, IGNORED, 3, UNNAMED, 2, 2]
    check(
        lambda x: losses.classification_loss(x.view(2, 3, 4), torch.tensor(labels).view(2, 3)),
        lambda x: plain_cross_entropy(x, labels),
        logits,
    )
    assert losses.classification_loss(logits, torch.full((6,), UNNAMED)) == 0


@settings(deadline=None, max_examples=10)
@given(SEEDS, st.floats(0.5, 20.0), st.sampled_from([1.0, 7.5]))
def test_grounding_loss_pairs_images_and_captions(seed: int, scale: float, attention: float) -> None:
    regions, words = unit(4, 3, 5, seed=seed), unit(6, 5, seed=seed + 1)
    captions = torch.rand(4, 6, generator=generator(seed + 2)) < 0.5
    captions[0, 0], captions[3, 5], captions[1] = True, True, False
    spoken = [row.nonzero().flatten().tolist() for row in captions]
    scales = torch.tensor([scale, attention], dtype=torch.float64)
    plain = plain_grounding
    check(
        lambda x: losses.grounding_loss(x, words, captions, scales[0], scales[1]),
        lambda x: plain(x, words.numpy(), spoken, scale, attention),
        regions,
    )
    check(
        lambda x: losses.grounding_loss(regions, words, captions, x[0], x[1]),
        lambda x: plain(regions.numpy(), words.numpy(), spoken, float(x[0]), float(x[1])),
        scales,
    )


def test_a_single_caption_has_nothing_to_be_told_from() -> None:
    captions = torch.zeros(4, 6, dtype=torch.bool)
    captions[2, 1] = True
    one = torch.ones(()).double()
    assert losses.grounding_loss(unit(4, 3, 5, seed=0), unit(6, 5, seed=1), captions, one, one) == 0


def test_masks_learn_from_captions() -> None:
    """Regions are means inside masks, so the caption loss moves the masks as well."""
    torch.manual_seed(0)
    config = OpenSegConfig((4, 4, 4, 4, 4), (1, 1, 1, 1), 8, 1, 3, 1, 2, 5, (2, 2))
    model = OpenSeg(config)
    output = model(torch.rand(4, 3, 32, 32))
    captions = torch.eye(4, dtype=torch.bool)
    losses.grounding_loss(output.regions, torch.eye(5)[:4], captions, torch.tensor(5.0), torch.tensor(1.0)).backward()
    assert model.queries.grad is not None and model.queries.grad.abs().max() > 0


def test_segments_become_masks() -> None:
    ids = torch.tensor([[7, 7, 2, 2, 9], [0, 5, 5, 0, 5]])
    labels = torch.tensor([[3, 3, IGNORED, IGNORED, 1], [4, 2, 2, 4, 2]])
    masks, classes = losses.segment_masks(ids, labels)
    assert masks.shape == (2, 2, 5)
    found = [
        {(int(c), tuple(m.int().tolist())) for m, c in zip(masks[b], classes[b], strict=True) if c != IGNORED}
        for b in range(2)
    ]
    assert found[0] == {(3, (1, 1, 0, 0, 0)), (1, (0, 0, 0, 0, 1))}
    assert found[1] == {(4, (1, 0, 0, 1, 0)), (2, (0, 1, 1, 0, 1))}


def test_an_image_without_labels_has_no_segments() -> None:
    masks, classes = losses.segment_masks(torch.tensor([[1, 1], [1, 2]]), torch.tensor([[IGNORED] * 2, [0, 0]]))
    assert (classes[0] == IGNORED).all() and masks[0].sum() == 0 and (classes[1] == 0).sum() == 2
    nothing = losses.segment_masks(torch.ones(2, 3, dtype=torch.long), torch.full((2, 3), IGNORED))
    assert losses.mask_loss(torch.rand(2, 4, 3), nothing)[0] == 0


def test_segments_without_a_class_have_masks_and_nothing_else() -> None:
    masks, classes = losses.segment_masks(torch.tensor([[4, 4, 9]]), torch.tensor([[UNNAMED, UNNAMED, 2]]))
    assert masks.tolist() == [[[1, 1, 0], [0, 0, 1]]] and classes.tolist() == [[UNNAMED, 2]]
    drawn = losses.sample_cells(torch.tensor([[UNNAMED, UNNAMED, 2]]).expand(20, -1), torch.ones(3), 1, generator())
    assert (drawn == 2).all()


def test_matched_regions_are_the_chosen_ones() -> None:
    regions = torch.arange(12.0).view(1, 4, 3)
    assert losses.matched_regions(regions, torch.tensor([[2, 0]])).tolist() == [[[6, 7, 8], [0, 1, 2]]]


def test_cells_of_rare_classes_are_drawn_more_often() -> None:
    labels = torch.zeros(50, 100, dtype=torch.long)
    labels[:, :10], labels[:, 10:30] = 1, IGNORED
    drawn = losses.sample_cells(labels, torch.tensor([1.0, 20.0]), 20, generator())
    assert all(len(set(row.tolist())) == 20 for row in drawn)
    classes = labels.gather(1, drawn)
    assert (classes != IGNORED).all()
    assert (classes == 1).float().mean() > 0.4


@pytest.fixture(scope="module")
def shown() -> tuple[OpenSeg, OpenSegOutput, torch.Tensor]:
    """A small model, what it could say about two images, and three texts."""
    torch.manual_seed(0)
    config = OpenSegConfig((4, 4, 4, 4, 4), (1, 1, 1, 1), 8, 1, 4, 1, 2, 5, (2, 2))
    cells = torch.randn(2, 6, 8, generator=generator())
    masks = torch.randn(2, 4, 2, 3, generator=generator(1))
    return (
        OpenSeg(config).eval(),
        OpenSegOutput(masks, unit(2, 4, 5, seed=2).float(), cells),
        unit(3, 5, seed=3).float(),
    )


@torch.no_grad()
def test_predictions_are_what_they_say(shown: tuple[OpenSeg, OpenSegOutput, torch.Tensor]) -> None:
    model, output, texts = shown
    scale = float(model.logit_scale)
    answers = {name: predict(model, output, texts) for name, predict in PREDICTIONS.items()}
    for b in range(2):
        masks = output.mask_logits[b].flatten(1).sigmoid().tolist()
        features = model.embed(output.cells[b])
        cells = [softmax([scale * float(feature @ text) for text in texts]) for feature in features]
        regions = [softmax([scale * float(region @ text) for text in texts]) for region in output.regions[b]]
        pure = []
        for mask in masks:
            mass = sum(mask) + MASK_EPSILON
            shares = [sum(m * cell[c] for m, cell in zip(mask, cells, strict=True)) / mass for c in range(3)]
            pure.append(sum(share**2 for share in shares))
        for p in range(6):
            for c in range(3):
                plain = sum(masks[n][p] * regions[n][c] for n in range(4))
                plain /= sum(masks[n][p] for n in range(4)) + MASK_EPSILON
                ranked = sum(pure[n] * masks[n][p] * regions[n][c] for n in range(4))
                ranked /= sum(pure[n] * masks[n][p] for n in range(4)) + MASK_EPSILON
                expected = {"pixels": cells[p][c], "regions": plain, "reweighted": ranked}
                expected["blend"] = (cells[p][c] + ranked) / 2
                for name, value in expected.items():
                    assert float(answers[name][b, c, p]) == pytest.approx(value, abs=1e-5), name


def test_proposals_that_span_classes_are_ranked_down() -> None:
    cells = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]]).double()
    masks = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]]]).double()
    assert purity(masks, cells)[0].tolist() == pytest.approx([1.0, 0.5, 1.0], abs=3e-3)
