"""A language of orthogonal words, in which the right answer to a question is known exactly."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovseg_ros.vocabulary import GENERIC_NEGATIVES, Vocabulary

WORDS = ("chair", "table", "sofa", "plant", "piano", "orange", *GENERIC_NEGATIVES)
MIXED = {"armchair": {"chair": 0.9}, "stool": {"chair": 0.5}, "couch": {"piano": 0.6}}
"""Words that are near others: cosine with each; what is missing to unit length is their own."""

VOCABULARY = Vocabulary.from_names(["chair", "table", "sofa", "plant"], synonyms={"sofa": ["couch"]})


class WordSpace:
    """Every word has an axis of its own; features are sums of words."""

    id = "words/1"
    logit_scale = 20.0
    same_meaning = 0.8
    size = len(WORDS) + len(MIXED) + 1

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.stack([self.vector(text) for text in texts])

    def align(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(features, dim=1)

    def vector(self, text: str) -> torch.Tensor:
        vector = torch.zeros(self.size)
        if text in WORDS:
            vector[WORDS.index(text)] = 1.0
            return vector
        near = MIXED.get(text, {})
        for word, cosine in near.items():
            vector[WORDS.index(word)] = cosine
        own = len(WORDS) + (list(MIXED).index(text) if near else len(MIXED))
        vector[own] = (1.0 - vector.square().sum()).sqrt()
        return vector


SPACE = WordSpace()


def word(text: str) -> torch.Tensor:
    return SPACE.vector(text)
