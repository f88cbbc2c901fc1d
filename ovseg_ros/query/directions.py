"""Answers beyond depth range: bundles of rays that fit a query. Something is out there, in about this direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array, eye_array
from scipy.spatial import KDTree

from ovseg_ros.mapping import SemanticMap
from ovseg_ros.mapping.rays import SemanticRays
from ovseg_ros.meanings import with_synonyms
from ovseg_ros.query.calibration import (
    MAX_MATCHES,
    MIN_SCORE,
    RAY_DOUBT,
    RAY_REACH,
    VOXEL_SCORE,
    check_limits,
)
from ovseg_ros.query.feature_index import FeatureIndex
from ovseg_ros.query.map_index import space_of
from ovseg_ros.query.phrases import parse_queries
from ovseg_ros.query.similarity import competitors
from ovseg_ros.types import LanguageSpace

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RayMatch:
    """A direction in which something fits a query, beyond the range of depth; how far away isn't known.

    Attributes:
        query: as it was asked.
        score: 0..1.
        origin: x, y, z in the map frame, metres: the frontier at which the heaviest ray starts.
        direction: x, y, z in the map frame, of unit length: the mean of the rays.
        spread: radians: the half angle about the direction of the cone that covers the rays.
        weight: of the rays; the rays of one frame weigh 1 together.
        ray_count: rays it consists of.
    """

    query: str
    score: float
    origin: tuple[float, float, float]
    direction: tuple[float, float, float]
    spread: float
    weight: float
    ray_count: int


def ask_rays(
    semantic_map: SemanticMap,
    space: LanguageSpace,
    queries: Sequence[str] | str,
    *,
    min_score: float = MIN_SCORE,
    max_matches: int = MAX_MATCHES,
) -> tuple[RayMatch, ...]:
    """Find the directions in which what the queries name was seen beyond depth range.

    Rays are compared with words as voxels are. They keep no colour, so a query that names one gets no direction.

    Args:
        semantic_map: where to look; without the layer "rays" there is nothing to find.
        space: the language space that the map's features are of.
        queries: 1 to 64 texts of 1 to 200 characters.
        min_score: 0..1; weaker rays and matches don't count.
        max_matches: at most this many matches per query.

    Returns:
        Matches in the order of the queries, the best first within a query.

    Raises:
        OvsegError: an argument breaks a limit, or the space is not the map's.
    """
    check_limits(min_score, max_matches)
    phrases = [phrase for phrase in parse_queries(queries, semantic_map.vocabulary) if phrase.colour is None]
    space = space_of(semantic_map, space)
    rays, vocabulary = semantic_map.layers.rays, semantic_map.vocabulary
    if rays is None or not len(rays) or not phrases:
        return ()
    index = FeatureIndex([semantic_map.ray_features], space, competitors(vocabulary), rays.device)
    scores = index.probabilities([with_synonyms(phrase.names, vocabulary, space) for phrase in phrases])
    needed = min(min_score, VOXEL_SCORE)
    chosen = (scores >= needed).any(dim=0).nonzero().squeeze(1)
    bundles = _Bundles(rays, chosen.cpu().numpy())
    return tuple(
        match
        for phrase, fit in zip(phrases, scores[:, chosen].double().cpu().numpy(), strict=True)
        for match in bundles.matches(phrase.query, np.where(fit >= needed, fit, 0.0), min_score, max_matches)
    )


class _Bundles:
    """n rays, and which of them lie so near each other that they may be of one thing."""

    def __init__(self, rays: SemanticRays, chosen: npt.NDArray[np.int64]) -> None:
        """Take the rays with the (n,) numbers ``chosen``."""
        self._origins = rays.origins.cpu().numpy()[chosen]
        self._directions = rays.directions.cpu().numpy()[chosen]
        self._spread = rays.spread.cpu().numpy()[chosen]
        self._weights = rays.weights.cpu().numpy()[chosen]
        reach = RAY_REACH * rays.cell_size
        chord = 2.0 * np.sin(np.deg2rad(rays.config.angle_bin_degrees) / 2.0)
        self._near = _neighbours(np.hstack((self._origins / reach, self._directions / chord)))

    def matches(self, query: str, fit: Floats, min_score: float, max_matches: int) -> list[RayMatch]:
        """The best bundles for a query that the rays fit by (n,) ``fit``, 0 for those that don't, the best first.

        Bundles are taken one by one: the ray with the best surroundings, and what is left of them.
        """
        weights = self._weights * (fit > 0)
        around = _score(self._near @ (fit * weights), self._near @ weights)
        candidates = np.flatnonzero((fit > 0) & (around >= min_score))
        free = fit > 0
        taken: list[RayMatch] = []
        for ray in candidates[np.argsort(-around[candidates], kind="stable")]:
            if not free[ray]:
                continue
            members = self._near.indices[self._near.indptr[ray] : self._near.indptr[ray + 1]]
            members = members[free[members]]
            free[members] = False
            match = self._match(query, members, fit[members])
            if match.score >= min_score:
                taken.append(match)
            if len(taken) == max_matches:
                break
        return sorted(taken, key=lambda match: -match.score)

    def _match(self, query: str, members: npt.NDArray[np.int32], fit: Floats) -> RayMatch:
        """Describe the rays with the numbers ``members``."""
        weights, directions = self._weights[members], self._directions[members]
        evidence = fit * weights
        direction = evidence @ directions
        direction /= np.linalg.norm(direction)
        angles = np.arccos(np.clip(directions @ direction, -1.0, 1.0))
        x, y, z = self._origins[members[evidence.argmax()]].tolist()
        dx, dy, dz = direction.tolist()
        return RayMatch(
            query=query,
            score=float(_score(evidence.sum(), weights.sum())),
            origin=(x, y, z),
            direction=(dx, dy, dz),
            spread=float(min((angles + self._spread[members]).max(), np.pi)),
            weight=float(weights.sum()),
            ray_count=len(members),
        )


def _score(evidence: Floats, weight: Floats) -> Floats:
    """Scores of bundles from the sums over their rays of fit times weight and of weight, as those of voxel matches."""
    mean = evidence / np.maximum(weight, np.finfo(np.float64).tiny)
    return np.sqrt(mean) * evidence / (evidence + RAY_DOUBT)


def _neighbours(points: Floats) -> csr_array:
    """(n, D) points -> (n, n): 1 where two are at most 1 apart, so on the diagonal too."""
    first, second = KDTree(points).query_pairs(1.0, output_type="ndarray").T
    pairs = coo_array((np.ones(len(first)), (first, second)), shape=(len(points), len(points)))
    return csr_array(pairs + pairs.T + eye_array(len(points)))
