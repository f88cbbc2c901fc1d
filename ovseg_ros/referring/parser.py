"""From a sentence to a Request, by rules: the same words always give the same request.

What follows a relation describes the thing it names: in "the mug on the desk near the door" the desk is near the door.
What follows "and", or a "not", describes the thing before it: in "on the desk and near the door" the mug is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ovseg_ros.errors import OvsegError
from ovseg_ros.query.calibration import MAX_QUERY_LENGTH
from ovseg_ros.referring.expressions import MAX_DEPTH, Condition, Description, Rank, Ranking, Relation, Request, Wanted
from ovseg_ros.referring.lexicon import (
    ARTICLES,
    ASIDES,
    CONJUNCTIONS,
    FILLERS,
    NEGATIONS,
    OPENINGS,
    ORDINALS,
    RANK_LINKS,
    RANKS,
    RELATIONS,
    SIDES,
    SPEAKERS,
    THING,
    UNNAMED,
    Words,
)

Meaning = TypeVar("Meaning")

TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|,|&")


def parse_request(text: str) -> Request:
    """Understand a sentence such as "how many chairs are near the table" or "the second chair from the left".

    Raises:
        OvsegError: an empty or an over-long text, or one that is nested too deep.
    """
    if not 1 <= len(text.strip()) <= MAX_QUERY_LENGTH:
        raise OvsegError(
            f"a question needs 1 to {MAX_QUERY_LENGTH} characters, got {len(text.strip())} ({text.strip()[:30]!r}): "
            "say what you look for"
        )
    words = tuple(TOKEN.findall(text.lower().replace("’", "'")))
    wanted = Wanted.ONE
    while found := _phrase(OPENINGS, words):
        wanted = found[0] if found[0] is not Wanted.ONE else wanted
        words = words[found[1] :]
        while words and words[0] in ARTICLES:
            words = words[1:]
    target = _Description(_without_asides(words), 0).parse()
    if target == Description(THING) and not UNNAMED & set(words):
        raise OvsegError(f"the question {text.strip()[:30]!r} names nothing: say what you look for, as 'the red chair'")
    return Request(text, wanted, target)


class _Description:
    """Reads the words of one description, from the left."""

    def __init__(self, words: Words, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise OvsegError(f"the question is nested more than {MAX_DEPTH} deep: say it in shorter sentences")
        self._words = words
        self._depth = depth
        self._noun = THING
        self._ranking: Ranking | None = None
        self._conditions: list[Condition] = []
        self._without: list[str] = []

    def parse(self) -> Description:
        """The description of all the words."""
        self._read_head()
        while self._words:
            self._read_clause()
        return Description(self._noun, tuple(self._conditions), tuple(self._without), self._ranking)

    def _read_head(self) -> None:
        """Ordinals, ranks and the noun: what comes before the first clause."""
        self._skip(ARTICLES | CONJUNCTIONS)
        position = 1
        while self._words:
            found = _phrase(RANKS, self._words)
            if self._words[0] in ORDINALS and len(self._words) > 1:
                position, self._words = ORDINALS[self._words[0]], self._words[1:]
            elif found and not _starts_clause(self._words) and not self._links(found[0], found[1]):
                self._ranking, self._words = Ranking(found[0], position=position), self._words[found[1] :]
            else:
                break
            self._skip(ARTICLES | {"of"})
        end = next((i for i in range(len(self._words)) if self._ends_noun(i)), len(self._words))
        self._noun = _noun(self._words[:end])
        self._words = self._words[end:]
        if self._ranking is None and position > 1:
            self._ranking = Ranking(Rank.CLOSEST, position=position)

    def _ends_noun(self, place: int) -> bool:
        rest = self._words[place:]
        return (
            rest[0] in FILLERS | NEGATIONS
            or (rest[0] in CONJUNCTIONS and _starts_clause(rest[1:]))
            or _starts_clause(rest)
            or (self._ranking is not None and place > 0 and rest[0] in RANK_LINKS.get(self._ranking.rank, ()))
        )

    def _read_clause(self) -> None:
        """One thing that is said of the noun."""
        self._skip(FILLERS | CONJUNCTIONS)
        negated = False
        while self._words and self._words[0] in NEGATIONS and not _phrase(RELATIONS, self._words):
            negated, self._words = True, self._words[1:]
            self._skip(FILLERS | ARTICLES)
        if not self._words:
            return
        position = self._ranking.position if self._ranking else 1
        if self._words[0] in ORDINALS and len(self._words) > 1:
            position, self._words = ORDINALS[self._words[0]], self._words[1:]
        side, ranked, relation = _side(self._words), _phrase(RANKS, self._words), _phrase(RELATIONS, self._words)
        if side:
            self._words = self._words[side[1] :]
            self._ranking = Ranking(side[0], position=position)
        elif relation:
            self._words = self._words[relation[1] :]
            self._add(relation[0], negated)
        elif self._ranking and not self._ranking.anchor and self._words[0] in RANK_LINKS.get(self._ranking.rank, ()):
            self._words = self._words[1:]
            self._ranking = replace(self._ranking, anchor=self._read_origin())
        elif ranked and self._links(ranked[0], ranked[1]):
            self._words = self._words[ranked[1] + 1 :]
            self._ranking = Ranking(ranked[0], self._read_origin(), position)
        else:
            self._read_adjectives(negated)

    def _read_adjectives(self, negated: bool) -> None:
        """What follows "that is": a colour, what it is not, or "the largest"."""
        end = next((i for i in range(1, len(self._words)) if self._ends_noun(i)), len(self._words))
        words, self._words = self._words[:end], self._words[end:]
        while words and words[0] in ARTICLES:
            words = words[1:]
        ranked = _phrase(RANKS, words)
        if ranked and not negated:
            self._ranking = Ranking(ranked[0])
        elif negated and words:
            self._without.append(_noun(words))
        elif words:
            self._noun = _noun((*words, *self._noun.split())) if self._noun != THING else _noun(words)

    def _add(self, relation: Relation, negated: bool) -> None:
        anchors = self._read_anchors()
        if relation.anchors == 2:
            # "between the chairs": two of them.
            pair = anchors[:2] if len(anchors) > 1 else anchors * 2
            self._conditions.append(Condition(relation, tuple(pair), negated))
        else:
            self._conditions += [Condition(relation, (anchor,), negated) for anchor in anchors]

    def _read_origin(self) -> Description | None:
        """What a rank is measured from; None for who speaks or is spoken to."""
        anchor = self._read_anchors()[0]
        return None if anchor.noun in SPEAKERS else anchor

    def _read_anchors(self) -> list[Description]:
        """The descriptions up to the next clause of this one."""
        end = len(self._words)
        for place in range(1, len(self._words)):
            rest = self._words[place:]
            negated = rest[0] in NEGATIONS and not _phrase(RELATIONS, rest)
            if (rest[0] in CONJUNCTIONS or negated) and _starts_clause(rest[1:]):
                end = place
                break
        words, self._words = self._words[:end], self._words[end:]
        parts: list[list[str]] = [[]]
        for word in words:
            # In "on the shelf between the bed and the desk", "and" belongs to what is between.
            open_pair = "between" in parts[-1] and not CONJUNCTIONS & set(parts[-1])
            if word in CONJUNCTIONS and not open_pair:
                parts.append([])
            else:
                parts[-1].append(word)
        named = [tuple(part) for part in parts if part] or [()]
        return [_Description(part, self._depth + 1).parse() for part in named]

    def _links(self, rank: Rank, length: int) -> bool:
        """Whether what follows a rank of so many words joins it to the thing it is measured from."""
        return len(self._words) > length and self._words[length] in RANK_LINKS.get(rank, ())

    def _skip(self, words: frozenset[str] | set[str]) -> None:
        while self._words and self._words[0] in words:
            self._words = self._words[1:]


def _starts_clause(words: Words) -> bool:
    """Whether the words go on with something that is said of a noun."""
    while words and words[0] in FILLERS | NEGATIONS:
        words = words[1:]
    if len(words) > 1 and words[0] in ORDINALS:
        words = words[1:]
    if not words:
        return False
    ranked = _phrase(RANKS, words)
    linked = ranked and len(words) > ranked[1] and words[ranked[1]] in RANK_LINKS.get(ranked[0], ())
    return bool(_phrase(RELATIONS, words) or _side(words) or linked)


def _without_asides(words: Words) -> Words:
    kept: list[str] = []
    while words:
        aside = _phrase(ASIDES, words)
        kept += () if aside else words[:1]
        words = words[aside[1] if aside else 1 :]
    return tuple(kept)


def _side(words: Words) -> tuple[Rank, int] | None:
    """Words such as "on the left" where no noun follows: not that in "on the left of", nor in "on the left table"."""
    found = _phrase(SIDES, words)
    rest = words[found[1] :] if found else ()
    return found if not rest or rest[0] in CONJUNCTIONS | FILLERS | NEGATIONS or _phrase(RELATIONS, rest) else None


def _phrase(table: Mapping[Words, Meaning], words: Sequence[str]) -> tuple[Meaning, int] | None:
    """The meaning of the longest phrase of the table that the words begin with, and its number of words."""
    for phrase, meaning in table.items():
        if tuple(words[: len(phrase)]) == phrase:
            return meaning, len(phrase)
    return None


def _noun(words: Sequence[str]) -> str:
    """The words as a noun; THING where they name none."""
    kept = [word for word in words if word not in ARTICLES and word not in CONJUNCTIONS]
    named = [word for word in kept if word not in UNNAMED]
    return " ".join(named) or THING
