"""From masks with scores to one score map per concept, and from score maps to labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ovseg_ros.segmentation.sam3.concepts import Concept

MASK_THRESHOLD = 0.5
"""Probability from which a pixel belongs to a mask."""


@dataclass(frozen=True)
class LabelMaps:
    """What each pixel is.

    Attributes:
        label: (h, w) int32: 0, or index of an asked concept plus one.
        score: (h, w) float32, of the label; where there is none, of the best concept.
        margin: (h, w) float32, that score minus the best other concept's; negative where a priority overruled it.
    """

    label: torch.Tensor
    score: torch.Tensor
    margin: torch.Tensor


def distinct_masks(masks: torch.Tensor, scores: torch.Tensor, overlap: float) -> torch.Tensor:
    """Greedy suppression of repeated masks, best score first.

    Args:
        masks: (K, h, w) probabilities.
        scores: (K,).
        overlap: of two masks with a larger intersection over union, the better one is kept.

    Returns:
        (k,) int64 indices by falling score; empty masks are left out.
    """
    order = scores.argsort(descending=True, stable=True)
    hard = (masks[order] > MASK_THRESHOLD).flatten(1).float()
    shared = hard @ hard.T
    area = shared.diagonal()
    repeats = (shared > overlap * (area[:, None] + area[None] - shared)).cpu()
    alive = (area > 0).cpu()
    # K is a few dozen; the comparisons above are the work.
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~repeats[i, i + 1 :]
    return order[alive.to(order.device)]


def score_map(masks: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """(K, h, w) mask probabilities, (K,) scores -> (h, w): at each pixel the largest product.

    Never the sum: a crowd of weak instances would win against one good one.
    """
    return (masks * scores[:, None, None]).amax(dim=0)


def label_maps(scores: torch.Tensor, concepts: Sequence[Concept], threshold: float) -> LabelMaps:
    """Decide for each pixel.

    Among the concepts of at least ``threshold`` the one of highest priority wins, of these the one of highest score.
    A distractor that wins leaves the pixel without a label.

    Args:
        scores: (N, h, w), one map for each concept.
        concepts: the N of them, distractors last.
        threshold: score that a label needs.
    """
    priority = torch.tensor([concept.priority for concept in concepts], device=scores.device)[:, None, None]
    seen = scores >= threshold
    highest = torch.where(seen, priority, priority.min()).amax(dim=0)
    candidates = torch.where(seen & (priority == highest), scores, -1.0)
    best = torch.where(seen.any(dim=0), candidates.argmax(dim=0), scores.argmax(dim=0))
    score = scores.gather(0, best[None])[0]
    others = scores.scatter(0, best[None], 0.0).amax(dim=0)
    asked = sum(not concept.distractor for concept in concepts)
    label = torch.where((score >= threshold) & (best < asked), best + 1, 0).int()
    return LabelMaps(label, score, score - others)
