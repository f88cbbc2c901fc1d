"""Aggregation by similarity: every vector becomes a mean of those that point its way. What SCRA and SCGA share."""

from __future__ import annotations

import torch

CHUNK = 1 << 22
"""Scores held at once; more only costs memory."""


def aggregate_similar(
    directions: torch.Tensor, values: torch.Tensor, sharpness: float, offset: torch.Tensor | None = None
) -> torch.Tensor:
    """Softmax-weighted means over the vectors whose cosine is not below an offset.

    With S the cosines: ``softmax(where(S >= offset, sharpness * (S - offset), -inf)) @ values``, a chunk of the (N, N)
    scores at a time.

    Args:
        directions: (B, N, D) float32 of unit norm.
        values: (B, N, C) float32.
        sharpness: what cosines are multiplied with, up to 40 or so.
        offset: (B,) cosine below which a vector takes no part; 0 without.

    Returns:
        (B, N, C) float32; zero where a vector finds none, not even itself.
    """
    batches, count, _ = directions.shape
    bias = directions.new_zeros(batches) if offset is None else -sharpness * offset
    bias = bias.view(batches, 1, 1)
    # Scores are at most twice the sharpness: their exponentials fit, and no maximum needs to be subtracted.
    smallest = -torch.finfo(directions.dtype).tiny
    matrices = max(1, CHUNK // count**2)
    rows = count if count**2 <= CHUNK else max(1, CHUNK // count)
    results = []
    for first in range(0, batches, matrices):
        batch = slice(first, first + matrices)
        keys = directions[batch].transpose(1, 2)
        parts = []
        for top in range(0, count, rows):
            scores = torch.baddbmm(bias[batch], directions[batch, top : top + rows], keys, alpha=sharpness)
            weights = torch.threshold_(scores, smallest, -torch.inf).exp_()
            totals = weights.sum(dim=-1, keepdim=True).clamp_min_(-smallest)
            parts.append(torch.bmm(weights, values[batch]).div_(totals))
        results.append(torch.cat(parts, dim=1))
    return torch.cat(results)
