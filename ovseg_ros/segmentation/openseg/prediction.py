"""Ways to label cells with texts: by the cells themselves, by the proposals that cover them, or by both.

Each takes the model, its output for B images and C texts (C, D), and returns (B, C, P) scores of the P cells: larger
means more likely, comparable within a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch

from ovseg_ros.segmentation.openseg.model import OpenSeg, OpenSegOutput, pool_regions, spread_regions

Prediction = Callable[[OpenSeg, OpenSegOutput, torch.Tensor], torch.Tensor]


def pixel_scores(model: OpenSeg, output: OpenSegOutput, texts: torch.Tensor) -> torch.Tensor:
    """Probabilities of the texts by each cell's own features."""
    return _cell_probabilities(model, output, texts).transpose(1, 2)


def region_scores(model: OpenSeg, output: OpenSegOutput, texts: torch.Tensor) -> torch.Tensor:
    """Mean of the proposals' probabilities, weighted by their masks."""
    masks = output.mask_logits.flatten(2).sigmoid()
    return spread_regions(masks, _region_probabilities(model, output, texts)).transpose(1, 2)


def reweighted_scores(model: OpenSeg, output: OpenSegOutput, texts: torch.Tensor) -> torch.Tensor:
    """The same, with proposals that span several classes ranked down: each mask is multiplied with its `purity`."""
    masks = output.mask_logits.flatten(2).sigmoid()
    pure = masks * purity(masks, _cell_probabilities(model, output, texts)).unsqueeze(-1)
    return spread_regions(pure, _region_probabilities(model, output, texts)).transpose(1, 2)


def blended_scores(model: OpenSeg, output: OpenSegOutput, texts: torch.Tensor) -> torch.Tensor:
    """Mean of `pixel_scores` and `reweighted_scores`."""
    return (pixel_scores(model, output, texts) + reweighted_scores(model, output, texts)) / 2


def feature_scores(model: OpenSeg, output: OpenSegOutput, texts: torch.Tensor, share: float) -> torch.Tensor:
    """Cosines with the features that a map gets, where ``share`` of them is the regions'."""
    return texts @ model.dense_features(output, share).float().flatten(2)


def features_at(share: float) -> Prediction:
    """`feature_scores` with this share."""
    return partial(feature_scores, share=share)


PREDICTIONS: Mapping[str, Prediction] = MappingProxyType(
    {"pixels": pixel_scores, "regions": region_scores, "reweighted": reweighted_scores, "blend": blended_scores}
)
"""By name."""


def purity(masks: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """How much a mask covers one class only: the chance that two cells drawn from it are of the same class.

    With a mask's mean probabilities q that is the sum of q squared: 1 for one class, 1/k for k classes in equal parts.

    Args:
        masks: (B, N, P) in 0..1.
        probabilities: (B, P, C) of each cell's classes.

    Returns:
        (B, N) in 0..1.
    """
    return pool_regions(masks, probabilities).square().sum(dim=-1)


def _cell_probabilities(model: OpenSeg, output: OpenSegOutput, texts: torch.Tensor) -> torch.Tensor:
    return (model.logit_scale * model.embed(output.cells) @ texts.T).softmax(dim=-1)


def _region_probabilities(model: OpenSeg, output: OpenSegOutput, texts: torch.Tensor) -> torch.Tensor:
    return (model.logit_scale * output.regions @ texts.T).softmax(dim=-1)
