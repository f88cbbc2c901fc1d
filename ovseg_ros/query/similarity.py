"""How well each voxel fits each query: probabilities against everything else it might be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from weakref import WeakKeyDictionary

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.query.phrases import Phrase, parse_queries
from ovseg_ros.types import LanguageSpace
from ovseg_ros.vocabulary import GENERIC_NEGATIVES

CHUNK = 16_384
"""Voxels scored at a time: bounds the memory of the logits."""


class MapIndex:
    """One revision of a map, aligned with the words of its language space."""

    def __init__(self, semantic_map: SemanticMap, space: LanguageSpace) -> None:
        """Align all features once.

        Raises:
            OvsegError: the map was built in another space.
        """
        if semantic_map.space not in (None, space.id):
            raise OvsegError(
                f"the map holds features of {semantic_map.space!r}, the words are of {space.id!r}: "
                "ask with the backend and weights that the map was built with"
            )
        self.revision = semantic_map.revision
        self.space = space
        self._colours = semantic_map.colours
        self._vocabulary = semantic_map.vocabulary
        self._negatives = tuple(dict.fromkeys((*semantic_map.vocabulary.names, *GENERIC_NEGATIVES)))
        chunks = torch.split(semantic_map.features, CHUNK)
        self._aligned = torch.cat([space.align(chunk.float()) for chunk in chunks])

    @cached_property
    def _negative_texts(self) -> torch.Tensor:
        """(V, D) texts of the words that compete with a query; made for the first question."""
        return self.space.encode_text(self._negatives).to(self._aligned.device)

    @property
    def aligned(self) -> torch.Tensor:
        """(N, D) float32 features of the map's voxels in the space of the texts."""
        return self._aligned

    def noun_scores(self, phrases: Sequence[Phrase]) -> torch.Tensor:
        """(Q, N) float32 in 0..1: softmax probability of each phrase's noun against the words it competes with.

        A phrase without a noun fits every voxel: 1.
        """
        scores = torch.ones(len(phrases), len(self._aligned), device=self._aligned.device)
        nouns = [i for i, phrase in enumerate(phrases) if phrase.names]
        if not nouns or not len(self._aligned):
            return scores
        names = [self._with_synonyms(phrases[i].names) for i in nouns]
        texts = [self.space.encode_text(group).to(self._aligned.device) for group in names]
        competes = torch.tensor([[word not in group for word in self._negatives] for group in names])
        competes = competes.to(self._aligned.device)
        for start in range(0, len(self._aligned), CHUNK):
            chunk = slice(start, start + CHUNK)
            scores[nouns, chunk] = self._probabilities(self._aligned[chunk], texts, competes)
        return scores

    def colour_scores(self, phrases: Sequence[Phrase]) -> torch.Tensor:
        """(Q, N) float32 in 0..1: how far each voxel's colour deserves the phrase's colour word; 1 without one."""
        colours = self._colours
        scores = torch.ones(len(phrases), len(colours), device=colours.device)
        for i, phrase in enumerate(phrases):
            if phrase.colour is not None:
                scores[i] = phrase.colour.membership(colours)
        return scores

    def _with_synonyms(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """A noun's names and, if the vocabulary has a concept of the same meaning, the names of the nearest one.

        Training never saw most words that people use: "couch" says the same as "sofa" only as far as the space of
        texts knows it, and would lose against "sofa" everywhere.
        """
        groups = [group for group in self._vocabulary.synonyms if not set(group) & set(names)]
        if len(groups) < len(self._vocabulary.synonyms) or not groups:
            return names
        cosines = self.space.encode_text([word for group in groups for word in group]) @ self.space.encode_text(names).T
        nearest = torch.stack([part.amax() for part in torch.split(cosines, [len(group) for group in groups])])
        best = int(nearest.argmax())
        return (*names, *groups[best]) if nearest[best] >= self.space.same_meaning else names

    def _probabilities(
        self, features: torch.Tensor, texts: Sequence[torch.Tensor], competes: torch.Tensor
    ) -> torch.Tensor:
        """(n, D) features, Q nouns' (G, D) texts, (Q, V) competitors -> (Q, n) probabilities."""
        words = self.space.logit_scale * torch.cat((self._negative_texts, *texts))
        negatives, *names = torch.split(words @ features.T, [len(self._negative_texts), *map(len, texts)])
        nouns = torch.stack([group.amax(dim=0) for group in names])
        highest = negatives.amax(dim=0)
        masses = competes.float() @ (negatives - highest).exp()
        return torch.sigmoid(nouns - highest - masses.log())


_indices: WeakKeyDictionary[SemanticMap, MapIndex] = WeakKeyDictionary()


def map_index(semantic_map: SemanticMap, space: LanguageSpace) -> MapIndex:
    """The index of the map as it is now; made once per revision and space, gone with the map."""
    index = _indices.get(semantic_map)
    if index is None or index.revision != semantic_map.revision or index.space is not space:
        index = _indices[semantic_map] = MapIndex(semantic_map, space)
    return index


def score_voxels(semantic_map: SemanticMap, space: LanguageSpace, queries: Sequence[str] | str) -> torch.Tensor:
    """Score every voxel for every query.

    Args:
        semantic_map: N voxels.
        space: the language space that the map's features are of.
        queries: 1 to 64 texts of 1 to 200 characters; a colour word in them is judged by the voxel's colour.

    Returns:
        (Q, N) float32 in 0..1: the probability that the query, and none of the map's other words,
        names the voxel, times how well its colour fits.

    Raises:
        OvsegError: the queries break a limit, or the space is not the map's.
    """
    phrases = parse_queries(queries, semantic_map.vocabulary)
    index = map_index(semantic_map, space)
    return index.noun_scores(phrases) * index.colour_scores(phrases)
