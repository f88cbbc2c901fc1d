"""Language spaces in which every word has a direction of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mapping_scenes import SPACE


class RandomSpace:
    """Every word has a direction of its own."""

    id = SPACE
    logit_scale = 30.0
    same_meaning = 1.1

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.stack([self._direction(text) for text in texts])

    def align(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(features.float(), dim=1)

    @staticmethod
    def _direction(text: str) -> torch.Tensor:
        seed = torch.Generator().manual_seed(sum(map(ord, text)))
        return torch.nn.functional.normalize(torch.randn(4, generator=seed), dim=0)


class DirectSpace(RandomSpace):
    """The same, and the map is read as it is stored."""

    compares_directly = True


class Directions(DirectSpace):
    """The same in 64 dimensions."""

    @staticmethod
    def _direction(text: str) -> torch.Tensor:
        seed = torch.Generator().manual_seed(sum(map(ord, text)))
        return torch.nn.functional.normalize(torch.randn(64, generator=seed), dim=0)
