"""What competes with whatever is asked: a map's other concepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import torch

from ovseg_ros.meanings import best_of, encode_groups
from ovseg_ros.query.rows import replaced, with_room, with_spare_room
from ovseg_ros.query.unit_features import PRODUCTS, UnitFeatures
from ovseg_ros.types import LanguageSpace

KEPT_SHARE = 0.25
"""What is kept of the comparison with the concepts takes at most this share of the features' memory, but for room."""


class Source(NamedTuple):
    """Where the logits of a group of words come from.

    Attributes:
        words: to compare with the features.
        concepts: numbers of concepts whose best logits are kept; they cover the group's other words.
    """

    words: tuple[str, ...]
    concepts: tuple[int, ...]


class Contest(NamedTuple):
    """A group of words against the background.

    Attributes:
        own: where the logits of the group come from.
        rivals: the concepts that share words with the group and therefore must not compete.
    """

    own: Source
    rivals: tuple[Source, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """All that are to be compared with the features."""
        return tuple(word for source in (self.own, *self.rivals) for word in source.words)


class Background:
    """What M features have to do with the concepts, each of which counts by the best of its words."""

    def __init__(
        self, features: UnitFeatures, space: LanguageSpace, concepts: Sequence[Sequence[str]], device: torch.device
    ) -> None:
        """Compare all features with all words of the ``concepts``."""
        texts, self._owners = encode_groups(space, concepts)
        self._texts = space.logit_scale * texts.to(device)
        self._concepts = tuple(map(tuple, concepts))
        # (M,) minus the log of the summed exponentials of the concepts' best logits, and (K, M or more) these logits,
        # so that questions for known words need not read the features; None if they would take too much memory.
        keep = torch.float32.itemsize * len(concepts) <= KEPT_SHARE * features.bytes_each
        self._against, kept = self._compared(features, keep)
        self._kept = None if kept is None else with_spare_room(kept, len(features), dim=1)

    def best_logits(self, groups: Sequence[Sequence[str]]) -> Iterator[torch.Tensor] | None:
        """(G, n) best logits for all M features, part by part, if all groups are concepts whose logits are kept."""
        numbers = {concept: number for number, concept in enumerate(self._concepts)}
        wanted = [numbers.get(tuple(group)) for group in groups]
        if self._kept is None or None in wanted:
            return None
        kept = self._kept[:, : len(self._against)]
        return (part[wanted] for part in torch.split(kept, max(1, PRODUCTS // len(groups)), dim=1))

    def contest(self, group: Sequence[str]) -> Contest:
        """What to compare with the features where a group of words is asked for."""
        rivals = (self._source(rival) for rival in self._concepts if not set(group).isdisjoint(rival))
        return Contest(self._source(group), tuple(rivals))

    def odds(
        self, contests: Sequence[Contest], rows: slice | torch.Tensor, logits: Mapping[str, torch.Tensor]
    ) -> list[torch.Tensor]:
        """How far a group's best word is ahead of the concepts that compete with it; more for larger ``logits``.

        Args:
            contests: Q groups of words.
            rows: n of the features.
            logits: (n,) for each word of the contests.

        Returns:
            Q times (n,) logarithms of the odds.
        """
        result = []
        for contest in contests:
            odds = self._odds(contest.own, rows, logits)
            if contest.rivals:
                # They are in the background, which is less by their share of its mass.
                best = torch.stack([self._odds(rival, rows, logits) for rival in contest.rivals])
                share = best.exp_().sum(dim=0).clamp_(max=1.0 - torch.finfo(torch.float32).eps)
                odds = odds - torch.log1p(-share)
            result.append(odds)
        return result

    def hangs_on_words(
        self, contest: Contest, rows: slice | torch.Tensor, logits: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """(n,) whether the odds of a contest depend on the logits of words, if these are at most ``logits``."""
        own = contest.own
        if self._kept is None or not own.concepts:
            return torch.ones_like(self._against[rows], dtype=torch.bool)
        if not own.words:
            return torch.zeros_like(self._against[rows], dtype=torch.bool)
        known = reduce(torch.maximum, [self._kept[number, rows] for number in own.concepts])
        return ~(reduce(torch.maximum, [logits[word] for word in own.words]) <= known)

    def replace(self, changed: UnitFeatures, rows: torch.Tensor, count: int) -> None:
        """Take in that there are ``count`` features, of which (n,) ``rows`` have ``changed``."""
        against, kept = self._compared(changed, keep=self._kept is not None)
        self._against = replaced(self._against, rows, against, count)
        if self._kept is not None and kept is not None:
            self._kept = with_room(self._kept, count, dim=1).index_copy_(1, rows, kept)

    def _compared(self, features: UnitFeatures, keep: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        against, kept = [], []
        for _, part in features.parts(len(self._texts)):
            best = best_of(part.cosines(self._texts), self._owners)
            against.append(best.logsumexp(dim=0).neg_())
            if keep:
                kept.append(best)
        return torch.cat(against), torch.cat(kept, dim=1) if keep else None

    def _source(self, group: Sequence[str]) -> Source:
        concepts = tuple(
            number
            for number, concept in enumerate(self._concepts)
            if self._kept is not None and set(concept).issubset(group)
        )
        covered = {word for number in concepts for word in self._concepts[number]}
        return Source(tuple(word for word in group if word not in covered), concepts)

    def _odds(self, source: Source, rows: slice | torch.Tensor, logits: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(n,) how far the source's best word is ahead of all concepts together."""
        best = [logits[word] for word in source.words]
        if self._kept is not None:
            best += [self._kept[number, rows] for number in source.concepts]
        return reduce(torch.maximum, best) + self._against[rows]
