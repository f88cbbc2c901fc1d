"""Answers: connected pieces of the map that fit a query, with place, size and score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.geometry import unpack_keys
from ovseg_ros.mapping import SemanticMap
from ovseg_ros.mapping.objects import ObjectLayer
from ovseg_ros.mapping.owners import NO_OBJECT
from ovseg_ros.meanings import with_synonyms
from ovseg_ros.query.calibration import (
    COLOUR_SHARE,
    DOUBT,
    MAX_GAP,
    MAX_MATCHES,
    MIN_SCORE,
    MIN_VOXELS,
    VOXEL_SCORE,
    check_limits,
)
from ovseg_ros.query.components import connected_voxels
from ovseg_ros.query.map_index import space_of
from ovseg_ros.query.phrases import Phrase, parse_queries
from ovseg_ros.query.similarity import colour_scores, noun_scores
from ovseg_ros.types import LanguageSpace
from ovseg_ros.vocabulary import normalise


@dataclass(frozen=True)
class Match:
    """One thing that fits a query.

    Attributes:
        query: as it was asked.
        score: 0..1.
        position: x, y, z in the map frame, metres: the voxel centre nearest the middle of the match.
        size: extent along x, y, z in metres, voxels included.
        voxel_count: voxels it consists of.
        object_id: of the object that most of its voxels belong to; -1 if none.
        last_seen_ns: newest stamp among its voxels.
    """

    query: str
    score: float
    position: tuple[float, float, float]
    size: tuple[float, float, float]
    voxel_count: int
    object_id: int
    last_seen_ns: int


@dataclass(frozen=True)
class FoundMatch:
    """A match and its voxels: (n,) int64 packed keys, on the CPU."""

    match: Match
    keys: torch.Tensor


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
        Matches in the order of the queries, the best first within a query; none for what isn't there. Where the map
        has objects of the name asked for, matches are those objects, even where they touch.

    Raises:
        OvsegError: an argument breaks a limit, or the space is not the map's.
    """
    found = find(semantic_map, space, queries, min_score=min_score, max_matches=max_matches)
    return tuple(entry.match for entry in found)


def find(
    semantic_map: SemanticMap,
    space: LanguageSpace,
    queries: Sequence[str] | str,
    *,
    min_score: float = MIN_SCORE,
    max_matches: int = MAX_MATCHES,
) -> tuple[FoundMatch, ...]:
    """The same as `ask`, with the voxels of each match."""
    check_limits(min_score, max_matches)
    phrases = parse_queries(queries, semantic_map.vocabulary)
    space = space_of(semantic_map, space)
    found: list[list[Candidates]] = [[] for _ in phrases]
    needed = min(min_score, VOXEL_SCORE)
    for part in semantic_map.parts():
        nouns, colours = noun_scores(part, space, phrases, needed), colour_scores(part, phrases)
        for candidates, phrase, noun, colour in zip(found, phrases, nouns, colours, strict=True):
            candidates.append(_candidates(part, phrase, noun, colour, needed))
    return tuple(
        entry
        for phrase, parts in zip(phrases, found, strict=True)
        for entry in matches_of(
            semantic_map,
            phrase.query,
            Candidates.joined(parts),
            named=_named_objects(semantic_map, space, phrase),
            min_score=min_score,
            max_matches=max_matches,
        )
    )


@dataclass(frozen=True)
class Candidates:
    """Voxels that may belong to a match, on the CPU.

    Attributes:
        keys: (n,) int64 packed.
        finding: (n,) float32 scores that find the object.
        judging: (n,) float32 scores that the object is judged by as a whole.
        last_seen: (n,) int64 nanoseconds.
    """

    keys: torch.Tensor
    finding: torch.Tensor
    judging: torch.Tensor
    last_seen: torch.Tensor

    @classmethod
    def chosen(
        cls, semantic_map: SemanticMap, finding: torch.Tensor, judging: torch.Tensor, min_score: float
    ) -> Candidates:
        """The voxels of a map whose (N,) finding score is at least ``min_score``."""
        rows = (finding >= min_score).nonzero().squeeze(1)
        columns = (semantic_map.keys, finding, judging, semantic_map.last_seen)
        return cls(*(column[rows].cpu() for column in columns))

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """Those of all parts of a map."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def _candidates(
    semantic_map: SemanticMap, phrase: Phrase, noun: torch.Tensor, colour: torch.Tensor, min_score: float
) -> Candidates:
    """The voxels of one query from its (N,) noun and (N,) colour scores."""
    # The noun finds the whole object and its colour is judged as a whole; without a noun the colour finds it.
    finding, judging = (noun, colour) if phrase.names else (colour, torch.ones_like(colour))
    return Candidates.chosen(semantic_map, finding, judging, min_score)


def matches_of(
    semantic_map: SemanticMap,
    query: str,
    candidates: Candidates,
    *,
    named: frozenset[int] = frozenset(),
    min_score: float,
    max_matches: int,
) -> list[FoundMatch]:
    """The matches of one query, the best first; where there are objects with the ids ``named``, these are matches."""
    if not len(candidates.keys):
        return []
    components = connected_voxels(candidates.keys.numpy(), MAX_GAP)
    objects, voxel_size = semantic_map.objects, semantic_map.config.voxel_size
    if named:
        owners = objects.ids_of(candidates.keys.to(semantic_map.device), named).cpu().numpy()
        candidates, components = _split_by_object(candidates, components, owners)
    counts = np.bincount(components)
    masses = np.bincount(components, candidates.finding.numpy())
    shares = np.bincount(components, candidates.judging.numpy()) / counts
    scores = np.sqrt(masses / counts) * masses / (masses + DOUBT) * np.minimum(shares / COLOUR_SHARE, 1.0)

    good = np.flatnonzero((counts >= MIN_VOXELS) & (scores >= min_score))
    best = good[np.lexsort((-counts[good], -scores[good]))][:max_matches]
    matches = []
    for component in best:
        own = torch.from_numpy(np.flatnonzero(components == component))
        keys, score = candidates.keys[own], float(scores[component])
        owner = _main_object(objects, keys.to(semantic_map.device))
        match = _match(query, score, keys, candidates.last_seen[own], voxel_size, owner)
        matches.append(FoundMatch(match, keys))
    return matches


def _named_objects(semantic_map: SemanticMap, space: LanguageSpace, phrase: Phrase) -> frozenset[int]:
    """Ids of the objects that the noun of a phrase names."""
    if not phrase.names or not len(semantic_map.objects):
        return frozenset()
    vocabulary = semantic_map.vocabulary
    names = set(vocabulary.labels_of(with_synonyms(phrase.names, vocabulary, space)))
    return frozenset(number for number, label in semantic_map.objects.labels.items() if normalise(label) in names)


def _split_by_object(
    candidates: Candidates, components: npt.NDArray[np.int64], owners: npt.NDArray[np.int64]
) -> tuple[Candidates, npt.NDArray[np.int64]]:
    """Components with objects in them become those objects; what they have around these is left out."""
    owned = owners != NO_OBJECT
    kept = owned | ~np.isin(components, components[owned])
    groups = np.stack((owners, np.where(owned, -1, components)), axis=1)[kept]
    _, numbers = np.unique(groups, axis=0, return_inverse=True)
    chosen = torch.from_numpy(kept)
    return Candidates(*(getattr(candidates, field.name)[chosen] for field in fields(candidates))), numbers.reshape(-1)


def _main_object(objects: ObjectLayer, keys: torch.Tensor) -> int:
    """The object that more than half of (n,) voxels belong to, or NO_OBJECT."""
    if not len(objects):
        return NO_OBJECT
    owners, counts = torch.unique(objects.ids_of(keys), return_counts=True)
    most = int(counts.argmax())
    return int(owners[most]) if 2 * counts[most] > len(keys) else NO_OBJECT


def _match(
    query: str, score: float, keys: torch.Tensor, last_seen: torch.Tensor, voxel_size: float, object_id: int
) -> Match:
    """Describe (n,) voxels."""
    indices = unpack_keys(keys)
    apart = (indices - indices.double().mean(dim=0)).square().sum(dim=1)
    # Of voxels equally near the middle that with the lowest key, whatever the map's rows.
    nearest = unpack_keys(keys[apart == apart.min()].min())
    extent = indices.amax(dim=0) - indices.amin(dim=0) + 1
    x, y, z = (nearest.double() * voxel_size).tolist()
    dx, dy, dz = (extent.double() * voxel_size).tolist()
    return Match(
        query=query,
        score=score,
        position=(x, y, z),
        size=(dx, dy, dz),
        voxel_count=len(keys),
        object_id=object_id,
        last_seen_ns=int(last_seen.max()),
    )
