"""Features in a few numbers each: enough to tell which of them a text can fit at all."""

from __future__ import annotations

import torch

from ovseg_ros.query.rows import with_room, with_spare_room
from ovseg_ros.query.unit_features import UnitFeatures

NUMBERS = 32
"""Of each feature: its lengths along the directions, and that of what these leave out."""

SKETCH_BYTES = NUMBERS * torch.float32.itemsize

SAMPLES = 8192
"""Features that the directions are chosen by, at most."""

GROWTH = 2
"""When there are so many times as many features, the directions are chosen anew."""

ROUNDING = 1e-5
"""Added to the square of what is left out of a feature, where single precision can't tell it from nothing."""


class Sketch:
    """M unit features along the directions in which they have most of their length, and the length of the rest.

    The product of a feature and a text is that of the two along these directions, give or take the product of the
    lengths of what is left of either (Cauchy and Schwarz). Most features of a map lie near a few directions, so a
    small part of what there is to read leaves few of them in question.
    """

    def __init__(self, features: UnitFeatures) -> None:
        self._directions = _main_directions(features)
        self._numbers = with_spare_room(self._of(features), len(features), dim=0)
        self._count = self._fitted = len(features)
        self._changed = 0

    @property
    def outgrown(self) -> bool:
        """Whether the directions were chosen by too few of the features."""
        return self._count >= GROWTH * self._fitted

    @property
    def dated(self) -> bool:
        """Whether as many features have changed since as the directions were chosen by."""
        return self._changed >= self._fitted

    def replace(self, changed: UnitFeatures, rows: torch.Tensor, count: int) -> None:
        """Take in that there are ``count`` features, of which (n,) ``rows`` have ``changed``."""
        self._numbers = with_room(self._numbers, count, dim=0).index_copy_(0, rows, self._of(changed))
        self._count = count
        self._changed += len(rows)

    def at_most(self, texts: torch.Tensor, part: slice) -> torch.Tensor:
        """(T, C) texts -> (T, n) float32: no product of these and n of the unit features is larger."""
        along = texts @ self._directions.T
        rest = _rest(texts.square().sum(dim=1), along)
        columns = torch.cat((along, rest[:, None]), dim=1)
        # For rows as short as these the routine for a single column is the fastest.
        numbers = self._numbers[part]
        return torch.mv(numbers, columns[0])[None] if len(columns) == 1 else (numbers @ columns.T).T

    def _of(self, features: UnitFeatures) -> torch.Tensor:
        """(M, R + 1) of M features: R numbers along the directions, and the length of the rest."""
        numbers = torch.empty(len(features), len(self._directions) + 1, device=self._directions.device)
        for where, part in features.parts(len(self._directions)):
            along = numbers[where, :-1].copy_(part.cosines(self._directions).T)
            # Features of no length are no unit features and have no rest.
            numbers[where, -1] = _rest((part.scales > 0).float(), along)
        return numbers


def _rest(squares: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
    """(n,) at least the lengths of what n vectors of squared lengths (n,) have beside (n, R)."""
    return (squares - along.square().sum(dim=1)).clamp_(min=0.0).add_(ROUNDING * squares).sqrt_()


def _main_directions(features: UnitFeatures) -> torch.Tensor:
    """(R, C) unit vectors, R of up to C."""
    rows = torch.arange(0, len(features), max(1, -(-len(features) // SAMPLES)), device=features.scales.device)
    units = torch.cat([chunk.float() for chunk in features.at(rows).chunks]) * features.scales[rows, None]
    # One feature that isn't finite must not spoil the directions of all.
    units = units.nan_to_num_(0.0, 0.0, 0.0)
    # In rising order of how much of the features' length they hold.
    directions = torch.linalg.eigh(units.T @ units).eigenvectors
    return directions[:, 1 - NUMBERS :].T.contiguous()
