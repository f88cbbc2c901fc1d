"""How a protocol turns class names into text features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from ovseg_ros.types import LanguageSpace


@runtime_checkable
class SentenceSpace(LanguageSpace, Protocol):
    """A language space that can also encode whole sentences as they stand, without templates of its own."""

    def encode_sentences(self, sentences: Sequence[str]) -> torch.Tensor:
        """N sentences -> (N, D) float32, unit norm."""


@dataclass(frozen=True)
class Words:
    """The sentences in which a class name is encoded.

    Attributes:
        templates: each with one ``{}`` for the name; their unit vectors are averaged. None leaves the wording to the
            backend: RADSeg's own is the 80 ImageNet sentences that RayFronts takes.
    """

    templates: tuple[str, ...] | None = None

    def encode(self, space: LanguageSpace, names: Sequence[str]) -> torch.Tensor:
        """K names -> (K, D) float32 of unit norm."""
        if self.templates is None or not isinstance(space, SentenceSpace):
            return space.encode_text(names)
        sentences = [template.format(name) for name in names for template in self.templates]
        vectors = space.encode_sentences(sentences).view(len(names), len(self.templates), -1)
        return torch.nn.functional.normalize(vectors.mean(dim=1), dim=-1)

    def describe(self, space: LanguageSpace) -> str:
        """What `encode` does with this space, for results."""
        if self.templates is None:
            return "as the backend words them"
        if not isinstance(space, SentenceSpace):
            return f"as the backend words them, for it takes no sentences; the protocol asks for {self._asked}"
        return self._asked

    @property
    def _asked(self) -> str:
        return ", ".join(repr(template) for template in self.templates or ())
