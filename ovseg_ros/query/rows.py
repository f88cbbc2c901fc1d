"""Values of features that come, change and go."""

from __future__ import annotations

import torch

SPARE = 1.25
"""How much room is made when there are more features, relative to what they need."""


def replaced(values: torch.Tensor, rows: torch.Tensor, changed: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) of which those at ``rows`` are ``changed`` and the others those of (m,) ``values``."""
    result = values.new_zeros(count)
    kept = min(count, len(values))
    result[:kept] = values[:kept]
    result[rows] = changed
    return result


def with_room(values: torch.Tensor, count: int, dim: int) -> torch.Tensor:
    """``values`` if they have room for ``count`` features along ``dim``, and not for many more; or a copy that has.

    There is more room than that, as copying all for a few new features each time would cost more than they do.
    """
    room = values.shape[dim]
    return values if count <= room <= 2 * SPARE * count else with_spare_room(values, count, dim)


def with_spare_room(values: torch.Tensor, count: int, dim: int) -> torch.Tensor:
    """A copy of ``values`` with room for ``count`` features along ``dim`` and some more."""
    shape = list(values.shape)
    shape[dim] = int(SPARE * count)
    result = values.new_zeros(shape)
    kept = min(values.shape[dim], count)
    result.narrow(dim, 0, kept).copy_(values.narrow(dim, 0, kept))
    return result
