"""The words that the parser knows beside nouns and colours: what they mean, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ovseg_ros.referring.expressions import Rank, Relation, Wanted

Words = tuple[str, ...]
Meaning = TypeVar("Meaning")


def _table(rows: Mapping[str, Meaning]) -> dict[Words, Meaning]:
    """Phrases as words -> meaning, the longest first, so that "on top of" is found before "on"."""
    return dict(
        sorted(((tuple(text.split()), meaning) for text, meaning in rows.items()), key=lambda row: -len(row[0]))
    )


def _relations() -> dict[Words, Relation]:
    sides = {"left": Relation.LEFT, "right": Relation.RIGHT}
    phrases = {
        Relation.NEAR: "near|near to|nearby|close to|around|by|at|over by|in the vicinity of|not far from|"
        "not far away from",
        Relation.NEXT_TO: "next to|beside|besides|adjacent to|alongside|at the side of",
        Relation.FAR: "far from|far away from|long way from|a long way from|long way away from|a long way away from|"
        "away from|distant from",
        Relation.FRONT: "in front of|before|to the front of|ahead of",
        Relation.BEHIND: "behind|in back of|at the back of|to the back of|to the rear of",
        Relation.ON: "on|on top of|onto|upon|atop",
        Relation.ABOVE: "above|over",
        Relation.UNDER: "under|underneath|below|beneath",
        Relation.INSIDE: "in|inside|inside of|within",
        Relation.BETWEEN: "between|in between|in the middle of",
        Relation.AGAINST: "against|touching|leaning against|leaning on|in contact with",
    }
    rows = {text: relation for relation, texts in phrases.items() for text in texts.split("|")}
    rows |= {f"right {text}": relation for text, relation in rows.items()}
    for side, relation in sides.items():
        for form in (
            "{} of",
            "to the {} of",
            "on the {} of",
            "at the {} of",
            "{} from",
            "on the {} side of",
            "to the {} side of",
            "to {} of",
        ):
            rows[form.format(side)] = relation
    return _table(rows)


def _ranks() -> dict[Words, Rank]:
    words = {
        Rank.LARGEST: "largest|biggest|large|big|bigger|larger|huge|widest|longest",
        Rank.SMALLEST: "smallest|tiniest|small|little|tiny|smaller|narrowest",
        Rank.TALLEST: "tallest|tall|taller",
        Rank.SHORTEST: "shortest|short|shorter",
        Rank.HIGHEST: "highest|topmost|uppermost|top",
        Rank.LOWEST: "lowest|bottommost|bottom",
        Rank.CLOSEST: "closest|nearest|closer|nearer",
        Rank.FARTHEST: "farthest|furthest|farther|further|most distant|remotest",
        Rank.LEFTMOST: "leftmost|left|left most|left hand|far left",
        Rank.RIGHTMOST: "rightmost|right|right most|right hand|far right",
    }
    return _table({text: rank for rank, texts in words.items() for text in texts.split("|")})


def _side_openings() -> list[str]:
    plain = [f"{word} the" for word in ("on", "to", "at", "from")]
    farthest = [f"{word} to the" for word in ("farthest", "furthest", "most")]
    return [*plain, *(f"{opening} far" for opening in plain), *farthest]


RELATIONS: dict[Words, Relation] = _relations()

RANKS: dict[Words, Rank] = _ranks()

RANK_LINKS: dict[Rank, frozenset[str]] = {
    Rank.CLOSEST: frozenset({"to", "the"}),
    Rank.FARTHEST: frozenset({"from", "to"}),
}
"""What joins a rank to the thing it is measured from: "closest to the door", "nearest the door"."""

SIDES: dict[Words, Rank] = {
    tuple(f"{opening} {side}".split()): rank
    for opening in _side_openings()
    for side, rank in (("left", Rank.LEFTMOST), ("right", Rank.RIGHTMOST))
}
"""At the end of a description: "the chair on the left", "the second chair from the right"."""

_ORDINALS = "first 1st|second 2nd|third 3rd|fourth 4th|fifth 5th|sixth 6th|seventh 7th|eighth 8th|ninth 9th|tenth 10th"

ORDINALS: dict[str, int] = {
    word: position for position, words in enumerate(_ORDINALS.split("|"), start=1) for word in words.split()
}

_OPENINGS = {
    Wanted.COUNT: "how many|count|count all|the number of|number of|what is the number of",
    Wanted.ALL: "all|all of|every|each|both|both of|find all|show all|list all|show me all|where are|list",
    Wanted.ONE: "where is|where's|where|where can i find|where do i find|find|find me|show|show me|bring|bring me|get|"
    "get me|fetch|fetch me|go to|drive to|move to|navigate to|locate|look for|search for|search|i need|i want|"
    "i am looking for|i'm looking for|give me|take me to|take|pick up|grab|hand me|could you|can you|would you|"
    "is there|are there|do you see|can you see|can you find|could you find|what is|what's|what|"
    "which of|which|is|are|please|tell me|point to|point at",
}

OPENINGS: dict[Words, Wanted] = _table(
    {text: wanted for wanted, texts in _OPENINGS.items() for text in texts.split("|")}
)
"""How sentences begin, and what they want; what they say beside that is of no matter. Several may follow each other."""

_ARTICLES = "a an the some any my your our this that these those its two"
ARTICLES = frozenset(_ARTICLES.split())

NEGATIONS = frozenset({"not", "isn't", "aren't", "never", "n't", "no", "non"})

_FILLERS = (
    "that that's which who who's is it's are was be being it located placed standing stands lying lies sitting "
    "sits hanging hangs mounted resting rests positioned situated directly immediately just very somewhere there "
    "one kept found put also"
)
FILLERS = frozenset(_FILLERS.split())
"""Between a noun and what is said of it."""

ASIDES: dict[Words, None] = _table(
    dict.fromkeys(("do you see", "you see", "you can see", "can be seen", "do we have", "do you have", "do i have"))
)
"""What says nothing wherever it stands: "how many chairs do you see near the table"."""

SPEAKERS = frozenset({"me", "you", "us", "myself", "yourself", "here"})
"""Those whose viewpoint the closest and the farthest are measured from."""

CONJUNCTIONS = frozenset({"and", "but", ",", "&"})

THING = "thing"
"""The noun of a description that names none: "what is on the table"."""

UNNAMED = frozenset(
    {"something", "anything", "thing", "things", "object", "objects", "one", "ones", "stuff", "item", "items"}
)
