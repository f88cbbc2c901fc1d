"""From what a person typed to what is looked for: a noun, a colour, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ovseg_ros.errors import OvsegError
from ovseg_ros.query.calibration import MAX_QUERIES, MAX_QUERY_LENGTH
from ovseg_ros.query.colours import Colour, split_colour
from ovseg_ros.vocabulary import Vocabulary, normalise

ARTICLES = frozenset({"a", "an", "the", "some", "any", "my", "your"})
PLACEHOLDERS = frozenset({"something", "anything", "thing", "things", "object", "objects", "one", "stuff"})
"""Nouns that say nothing about what the thing is."""


@dataclass(frozen=True)
class Phrase:
    """A query, understood.

    Attributes:
        query: as it was typed.
        names: names of the noun, all meaning the same; empty if any thing will do.
        colour: what colour it has, if the query says so. One of names and colour is always there.
    """

    query: str
    names: tuple[str, ...]
    colour: Colour | None


def parse_queries(queries: Sequence[str] | str, vocabulary: Vocabulary) -> tuple[Phrase, ...]:
    """Understand one query or several.

    Raises:
        OvsegError: too many, an empty or an over-long one.
    """
    texts = [queries] if isinstance(queries, str) else list(queries)
    if not 1 <= len(texts) <= MAX_QUERIES:
        raise OvsegError(f"1 to {MAX_QUERIES} queries can be asked at once, got {len(texts)}: split the list")
    return tuple(_parse(text, vocabulary) for text in texts)


def _parse(query: str, vocabulary: Vocabulary) -> Phrase:
    text = normalise(query)
    if not 1 <= len(text) <= MAX_QUERY_LENGTH:
        raise OvsegError(
            f"a query needs 1 to {MAX_QUERY_LENGTH} characters, got {len(text)} ({query[:30]!r}): "
            "name what you look for"
        )
    words = text.split()
    while len(words) > 1 and words[0] in ARTICLES:
        words = words[1:]
    whole = " ".join(words)
    if group := _group_of(whole, vocabulary):
        # "orange" is a fruit where the map's vocabulary says so.
        return Phrase(query, group, None)
    colour, rest = split_colour(words)
    noun = " ".join(rest)
    if colour is not None and (not rest or noun in PLACEHOLDERS):
        return Phrase(query, (), colour)
    return Phrase(query, _group_of(noun, vocabulary) or (noun,), colour)


def _group_of(name: str, vocabulary: Vocabulary) -> tuple[str, ...] | None:
    """The vocabulary's words to ask for what ``name`` means, if it is one of them."""
    number = vocabulary.number_of(name)
    return None if number is None else vocabulary.asked[number]
