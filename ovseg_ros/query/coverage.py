"""How much of a map an answer is about: what wasn't asked for while it was seen can't be found there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ovseg_ros.mapping import SemanticMap
from ovseg_ros.query.phrases import parse_queries


def partly_asked(semantic_map: SemanticMap, queries: Sequence[str] | str) -> dict[str, float]:
    """Queries for a concept that less than all of the map was asked for -> share of the feature voxels that were.

    None for a map of language features, of which anything may be asked.

    Raises:
        OvsegError: the queries break a limit.
    """
    if not semantic_map.concepts:
        return {}
    shares = {
        phrase.query: max(map(semantic_map.asked_share, semantic_map.vocabulary.labels_of(phrase.names)))
        for phrase in parse_queries(queries, semantic_map.vocabulary)
        if phrase.names
    }
    return {query: share for query, share in shares.items() if share < 1.0}


def look_again(shares: Mapping[str, float]) -> str:
    """What to say of `partly_asked`: a sentence for people, empty if there is nothing to say."""
    return "; ".join(
        f"'{query}' was asked for in {math.floor(100 * share)} % of the map only: look again"
        for query, share in shares.items()
    )
