"""Features, ready to be compared with words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import torch

from ovseg_ros.mapping.compression import FeatureCodec
from ovseg_ros.meanings import best_of, encode_groups
from ovseg_ros.query.background import Background, Contest
from ovseg_ros.query.sketch import SKETCH_BYTES, Sketch
from ovseg_ros.query.unit_features import FEW_TEXTS, UnitFeatures
from ovseg_ros.types import LanguageSpace

UNCLEAR_SHARE = 0.25
"""When the sketch leaves more than this share of the features unclear, all are read: picking them would take longer."""

PICKED = 1 << 13
"""So many of these are picked at a time."""

SKETCHED_BYTES = 4 * SKETCH_BYTES
"""Smaller features are read themselves."""


class _Question(NamedTuple):
    """Groups of words that are asked for, and (T, C) scaled vectors of those words that features must be read for."""

    contests: list[Contest]
    words: list[str]
    texts: torch.Tensor

    def named(self, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        """(T, n) by word."""
        return dict(zip(self.words, logits, strict=True))


class FeatureIndex:
    """M features beside the words of their language space.

    Where the space compares features directly, they are read as they are given: half precision, compressed.
    """

    def __init__(
        self,
        features: Iterable[torch.Tensor],
        space: LanguageSpace,
        negatives: Sequence[Sequence[str]],
        device: torch.device,
        codec: FeatureCodec | None = None,
    ) -> None:
        """Prepare what all questions share.

        Args:
            features: (n, C) parts, M rows in all, or (n, K) codes of ``codec``. They are not copied where the
                space compares directly, and must not change then.
            space: the language space that they are of.
            negatives: concepts that compete with whatever is asked, each by the best of its words.
            device: where the features are.
            codec: what compressed them; None if nothing did.
        """
        self.space = space
        self.negatives = tuple(map(tuple, negatives))
        self.device = device
        self._features = UnitFeatures(list(features), codec)
        self._has_been_read = False
        self.reads_in_place = bool(getattr(space, "compares_directly", False))
        if not self.reads_in_place:
            chunks = (codec.decode(chunk) if codec else chunk.float() for chunk in self._features.chunks)
            self._features = UnitFeatures([space.align(chunk) for chunk in chunks])

    def cosines(self, texts: torch.Tensor) -> Iterator[torch.Tensor]:
        """(T, D) texts -> (T, n) float32 products with the unit features of all M, part by part.

        Cosines for unit texts, logits for texts of the length that the space's softmax wants.
        """
        for _, part in self._features.parts(len(texts)):
            yield part.cosines(texts)

    def best_logits(self, groups: Sequence[Sequence[str]]) -> Iterator[torch.Tensor]:
        """(G, n) float32 logits of the best of each group's words, for all M features, part by part."""
        # Where features are aligned, what is kept is lost with each change, and it takes more than these words.
        competing = set(map(tuple, groups)).issubset(self.negatives)
        known = self._background.best_logits(groups) if competing and self.reads_in_place else None
        if known is None:
            texts, owners = encode_groups(self.space, groups)
            scaled = self.space.logit_scale * texts.to(self.device)
            known = (best_of(logits, owners) for logits in self.cosines(scaled))
        yield from known

    def probabilities(self, groups: Sequence[Sequence[str]], at_least: float = 0.0) -> torch.Tensor:
        """How likely each feature is named by one of the words of a group rather than by another concept.

        The softmax over the group's best word and the negatives that share no word with the group.

        Args:
            groups: Q groups of words.
            at_least: nothing less likely is of interest, 0..1: it may come out as 0.

        Returns:
            (Q, M) float32 in 0..1.
        """
        question = self._question(groups)
        result = torch.empty(len(groups), len(self._features), device=self.device)
        if 0.0 < at_least < 1.0 and self._is_sketched(question):
            self._likely_odds(question, math.log(at_least) - math.log1p(-at_least), result)
        else:
            self._all_odds(question, result)
        return result.sigmoid_()

    def replace(self, features: Sequence[torch.Tensor], rows: torch.Tensor) -> None:
        """Take in that the features are these now, parts as before, of which (n,) ``rows``, in order, have changed."""
        changed, count = self._features.replace(features, rows), len(self._features)
        with torch.inference_mode(False):
            # What no question has needed so far isn't there.
            if "_background" in vars(self):
                self._background.replace(changed, rows, count)
            if "_sketch" in vars(self):
                self._sketch.replace(changed, rows, count)
                if self._sketch.outgrown:
                    del self._sketch

    def _question(self, groups: Sequence[Sequence[str]]) -> _Question:
        contests = [self._background.contest(group) for group in groups]
        words = list(dict.fromkeys(word for contest in contests for word in contest.words))
        texts = self.space.encode_text(words) if words else torch.empty(0, 0)
        return _Question(contests, words, self.space.logit_scale * texts.to(self.device))

    def _all_odds(self, question: _Question, result: torch.Tensor) -> None:
        """Put the logarithms of all odds into (Q, M) ``result``."""
        for where, part in self._features.parts(len(question.words)):
            # Where all words are known, nothing is read.
            logits = question.named(part.cosines(question.texts)) if question.words else {}
            torch.stack(self._background.odds(question.contests, where, logits), out=result[:, where])

    def _likely_odds(self, question: _Question, needed: float, result: torch.Tensor) -> None:
        """The same, but maybe -inf for odds that are less than ``needed``."""
        background, sketch, features = self._background, self._sketch, self._features
        unclear: list[torch.Tensor] = []
        for where, _ in features.parts(len(question.words)):
            bounds = question.named(sketch.at_most(question.texts, where))
            most = torch.stack(background.odds(question.contests, where, bounds), out=result[:, where])
            unlikely = most < needed
            open_ends = torch.stack([background.hangs_on_words(c, where, bounds) for c in question.contests])
            unclear.append(where.start + (open_ends & ~unlikely).any(dim=0).nonzero().squeeze(1))
            most.masked_fill_(unlikely, -math.inf)
            if sum(map(len, unclear)) > UNCLEAR_SHARE * len(features):
                if sketch.dated:
                    del self._sketch
                self._all_odds(question, result)
                return
        for some in torch.split(torch.cat(unclear), PICKED):
            logits = question.named(features.at(some).cosines(question.texts))
            result[:, some] = torch.stack(background.odds(question.contests, some, logits))

    def _is_sketched(self, question: _Question) -> bool:
        """Whether to look at a sketch before features are read.

        Not where it is no smaller than they are, for many words, which take more time than reading does, or for the
        first question: there may be no second, and a sketch takes as long as some ten of them.
        """
        if not 0 < len(question.words) <= FEW_TEXTS or not self.reads_in_place:
            return False
        if self._features.codec is not None or self._features.bytes_each < SKETCHED_BYTES:
            return False
        first, self._has_been_read = not self._has_been_read, True
        return not first

    @cached_property
    def _background(self) -> Background:
        # What is first made inside inference_mode could not be changed in place outside of it.
        with torch.inference_mode(False):
            return Background(self._features, self.space, self.negatives, self.device)

    @cached_property
    def _sketch(self) -> Sketch:
        with torch.inference_mode(False):
            return Sketch(self._features)
