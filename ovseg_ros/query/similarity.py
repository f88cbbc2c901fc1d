"""How well each voxel fits each query: probabilities against everything else it might be."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch

from ovseg_ros.mapping import SemanticMap
from ovseg_ros.meanings import with_synonyms
from ovseg_ros.query.map_index import MapIndex, space_of
from ovseg_ros.query.phrases import Phrase, parse_queries
from ovseg_ros.types import LanguageSpace
from ovseg_ros.vocabulary import GENERIC_NEGATIVES, Vocabulary

_indices: WeakKeyDictionary[SemanticMap, MapIndex] = WeakKeyDictionary()


def map_index(semantic_map: SemanticMap, space: LanguageSpace) -> MapIndex:
    """The index of the map as it is now, in the space from `space_of`; kept for one vocabulary, gone with the map."""
    negatives = competitors(semantic_map.vocabulary)
    index = _indices.get(semantic_map)
    if index is None or index.space != space or index.negatives != negatives or not index.follow(semantic_map):
        index = _indices[semantic_map] = MapIndex(semantic_map, space, negatives)
    return index


def competitors(vocabulary: Vocabulary) -> tuple[tuple[str, ...], ...]:
    """The concepts that compete with whatever is asked of a map with this vocabulary, each with its words."""
    known = {word for group in vocabulary.synonyms for word in group}
    return (*vocabulary.asked, *((word,) for word in GENERIC_NEGATIVES if word not in known))


def noun_scores(
    semantic_map: SemanticMap, space: LanguageSpace, phrases: Sequence[Phrase], at_least: float = 0.0
) -> torch.Tensor:
    """(Q, N) float32 in 0..1: softmax probability of each phrase's noun against the words it competes with.

    The space is that from `space_of`. A phrase without a noun fits every voxel: 1. What is less than ``at_least`` may
    come out as 0.
    """
    index = map_index(semantic_map, space)
    nouns = [i for i, phrase in enumerate(phrases) if phrase.names]
    if not (nouns and semantic_map.voxel_count):
        return torch.ones(len(phrases), semantic_map.voxel_count, device=semantic_map.device)
    groups = [with_synonyms(phrases[i].names, semantic_map.vocabulary, space) for i in nouns]
    probabilities = index.probabilities(groups, at_least)
    if len(nouns) == len(phrases):
        return probabilities
    scores = torch.ones(len(phrases), semantic_map.voxel_count, device=semantic_map.device)
    scores[nouns] = probabilities
    return scores


def colour_scores(semantic_map: SemanticMap, phrases: Sequence[Phrase]) -> torch.Tensor:
    """(Q, N) float32 in 0..1: how far each voxel's colour deserves the phrase's colour word; 1 without one."""
    scores = torch.ones(len(phrases), semantic_map.voxel_count, device=semantic_map.device)
    coloured = [(i, phrase.colour) for i, phrase in enumerate(phrases) if phrase.colour is not None]
    if coloured:
        colours = semantic_map.colours
        for i, colour in coloured:
            scores[i] = colour.membership(colours)
    return scores


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
    scores = noun_scores(semantic_map, space_of(semantic_map, space), phrases)
    if any(phrase.colour is not None for phrase in phrases):
        scores = scores * colour_scores(semantic_map, phrases)
    return scores
