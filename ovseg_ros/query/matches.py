"""Answers: connected pieces of the map that fit a query, with place, size and score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import unpack_keys
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.query.calibration import (
    COLOUR_SHARE,
    DOUBT,
    MAX_GAP,
    MAX_MATCHES,
    MIN_SCORE,
    MIN_VOXELS,
    VOXEL_SCORE,
)
from ovseg_ros.query.components import connected_voxels
from ovseg_ros.query.phrases import Phrase, parse_queries
from ovseg_ros.query.similarity import colour_scores, noun_scores
from ovseg_ros.types import LanguageSpace

NO_OBJECT = -1


@dataclass(frozen=True)
class Match:
    """One thing that fits a query.

    Attributes:
        query: as it was asked.
        score: 0..1.
        position: x, y, z in the map frame, metres: the voxel centre nearest the middle of the match.
        size: extent along x, y, z in metres, voxels included.
        voxel_count: voxels it consists of.
        object_id: of the object it belongs to; -1 if none.
        last_seen_ns: newest stamp among its voxels.
    """

    query: str
    score: float
    position: tuple[float, float, float]
    size: tuple[float, float, float]
    voxel_count: int
    object_id: int
    last_seen_ns: int


def ask(
    semantic_map: SemanticMap,
    space: LanguageSpace,
    queries: Sequence[str] | str,
    *,
    min_score: float = MIN_SCORE,
    max_matches: int = MAX_MATCHES,
) -> tuple[Match, ...]:
    """Find what the queries name.

    Args:
        semantic_map: where to look.
        space: the language space that the map's features are of.
        queries: 1 to 64 texts of 1 to 200 characters.
        min_score: 0..1; weaker voxels and matches don't count.
        max_matches: at most this many matches per query.

    Returns:
        Matches in the order of the queries, the best first within a query; none for what isn't there.

    Raises:
        OvsegError: an argument breaks a limit, or the space is not the map's.
    """
    if not 0.0 <= min_score <= 1.0:
        raise OvsegError(f"min_score must be 0 to 1, got {min_score}: {MIN_SCORE} suits most maps")
    if max_matches < 1:
        raise OvsegError(f"max_matches must be at least 1, got {max_matches}: {MAX_MATCHES} suits most questions")
    phrases = parse_queries(queries, semantic_map.vocabulary)
    nouns, colours = noun_scores(semantic_map, space, phrases), colour_scores(semantic_map, phrases)
    return tuple(
        match
        for phrase, noun, colour in zip(phrases, nouns, colours, strict=True)
        for match in _matches(semantic_map, phrase, noun, colour, min_score, max_matches)
    )


def _matches(
    semantic_map: SemanticMap,
    phrase: Phrase,
    noun: torch.Tensor,
    colour: torch.Tensor,
    min_score: float,
    max_matches: int,
) -> list[Match]:
    """The matches of one query from its (N,) noun and (N,) colour scores, the best first."""
    # The noun finds the whole object and its colour is judged as a whole; without a noun the colour finds it.
    finding, judging = (noun, colour) if phrase.names else (colour, torch.ones_like(colour))
    chosen = (finding >= min(min_score, VOXEL_SCORE)).nonzero().squeeze(1)
    if not len(chosen):
        return []
    keys = semantic_map.keys[chosen].cpu().numpy()
    components = connected_voxels(keys, MAX_GAP)
    counts = np.bincount(components)
    masses = np.bincount(components, finding[chosen].cpu().numpy())
    shares = np.bincount(components, judging[chosen].cpu().numpy()) / counts
    scores = np.sqrt(masses / counts) * masses / (masses + DOUBT) * np.minimum(shares / COLOUR_SHARE, 1.0)

    good = np.flatnonzero((counts >= MIN_VOXELS) & (scores >= min_score))
    best = good[np.lexsort((-counts[good], -scores[good]))][:max_matches]
    return [
        _match(semantic_map, phrase.query, float(scores[component]), chosen[torch.from_numpy(components == component)])
        for component in best
    ]


def _match(semantic_map: SemanticMap, query: str, score: float, slots: torch.Tensor) -> Match:
    """Describe the voxels at the (n,) slots."""
    indices = unpack_keys(semantic_map.keys[slots])
    middle = indices.double().mean(dim=0)
    nearest = indices[(indices - middle).square().sum(dim=1).argmin()]
    extent = indices.amax(dim=0) - indices.amin(dim=0) + 1
    voxel_size = semantic_map.config.voxel_size
    x, y, z = (nearest.double() * voxel_size).tolist()
    dx, dy, dz = (extent.double() * voxel_size).tolist()
    return Match(
        query=query,
        score=score,
        position=(x, y, z),
        size=(dx, dy, dz),
        voxel_count=len(slots),
        object_id=NO_OBJECT,
        last_seen_ns=int(semantic_map.last_seen[slots].max()),
    )
