"""What OpenSeg is trained with: mask, region, cell and caption losses, all batched.

Shapes: B images, P cells, N proposals, M segments (padded), K sampled cells, C texts, D text width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional

IGNORED = -1
"""Class index of cells and segments that no loss looks at."""

UNNAMED = -2
"""Class index of cells and segments that only the mask loss looks at: their outline is known, what they are is not."""

DICE_EPSILON = 1e-3


class Segments(NamedTuple):
    """Ground-truth segments of B images, padded to the largest number M in one of them.

    Attributes:
        masks: (B, M, P) float, 0 or 1; all zero in the padding.
        labels: (B, M) int64 class indices, or UNNAMED; IGNORED in the padding.
    """

    masks: torch.Tensor
    labels: torch.Tensor


def segment_masks(segments: torch.Tensor, labels: torch.Tensor) -> Segments:
    """Masks of all segments.

    Args:
        segments: (B, P) int64 ids, non-negative; cells of one segment share an id and a label.
        labels: (B, P) int64 class indices, UNNAMED in segments without a class, IGNORED where there is no segment.
    """
    batch, cells = segments.shape
    span = int(segments.max()) + 1
    image, cell = (labels != IGNORED).nonzero(as_tuple=True)
    keys, owner = torch.unique(image * span + segments[image, cell], return_inverse=True)
    image_of_key = torch.div(keys, span, rounding_mode="floor")
    first = torch.searchsorted(image_of_key, torch.arange(batch, device=segments.device))
    rank = torch.arange(len(keys), device=segments.device) - first[image_of_key]
    count = int(rank.max()) + 1 if len(keys) else 1
    masks = torch.zeros(batch, count, cells, device=segments.device)
    masks[image, rank[owner], cell] = 1.0
    padded = torch.full((batch, count), IGNORED, device=segments.device)
    padded[image, rank[owner]] = labels[image, cell]
    return Segments(masks, padded)


def dice_scores(masks: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Soft Dice of every target (B, M, P) with every proposal (B, N, P): (B, M, N) in 0..1."""
    overlap = targets @ masks.transpose(1, 2)
    total = targets.sum(dim=-1, keepdim=True) + masks.sum(dim=-1).unsqueeze(1)
    return 2 * overlap / (total + DICE_EPSILON)


def mask_loss(masks: torch.Tensor, segments: Segments) -> tuple[torch.Tensor, torch.Tensor]:
    """Every segment should be covered by some proposal; proposals that match nothing are free: the paper's L_S.

    Args:
        masks: (B, N, P) proposals in 0..1.
        segments: ground truth.

    Returns:
        Mean of 1 - best Dice over segments, and the (B, M) index of each segment's best proposal.
    """
    best, index = dice_scores(masks, segments.masks).max(dim=-1)
    valid = segments.labels != IGNORED
    return (1 - best[valid]).sum() / valid.sum().clamp(min=1), index


def classification_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of ``logits`` (..., C) against ``labels`` (...), mean over those with a class."""
    named = labels.flatten().clamp(min=IGNORED)
    total = functional.cross_entropy(logits.flatten(0, -2), named, ignore_index=IGNORED, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def matched_regions(regions: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Features (B, M, D) of the proposals ``index`` (B, M) out of ``regions`` (B, N, D)."""
    return regions.gather(1, index.unsqueeze(-1).expand(-1, -1, regions.shape[-1]))


def sample_cells(labels: torch.Tensor, class_weights: torch.Tensor, count: int, seed: torch.Generator) -> torch.Tensor:
    """Draw cells without repetition, rare classes more often.

    Args:
        labels: (B, P) class indices; cells without one are drawn only when nothing else is left.
        class_weights: (C,) positive.
        count: K, at most P.
        seed: source of randomness.

    Returns:
        (B, K) int64 cell indices.
    """
    weights = class_weights[labels.clamp(min=0)] * (labels >= 0) + 1e-9
    return torch.multinomial(weights, count, generator=seed)


def grounding_loss(
    regions: torch.Tensor,
    words: torch.Tensor,
    captions: torch.Tensor,
    scale: torch.Tensor,
    attention_scale: torch.Tensor,
) -> torch.Tensor:
    """Images and their captions should find each other in the batch, through regions and words: the paper's L_G.

    The score of image i and caption j is the mean over the caption's words of the cosines with all
    regions, each weighted by its softmax over the regions.

    Args:
        regions: (B, N, D) unit norm.
        words: (C, D) unit norm.
        captions: (B, C) bool, the words of each image's caption; an image without words is left out.
        scale: what scores are multiplied with before the softmax over the batch, one over the temperature.
        attention_scale: what cosines are multiplied with before the softmax over the regions.
    """
    cosines = regions @ words.T
    attended = ((cosines * attention_scale).softmax(dim=1) * cosines).sum(dim=1)
    kept = captions.any(dim=1)
    attended, captions = attended[kept], captions[kept].to(attended)
    if len(captions) < 2:
        return cosines.sum() * 0.0
    scores = scale * attended @ captions.T / captions.sum(dim=1)
    pairs = torch.arange(len(scores), device=scores.device)
    return 0.5 * (functional.cross_entropy(scores, pairs) + functional.cross_entropy(scores.T, pairs))
