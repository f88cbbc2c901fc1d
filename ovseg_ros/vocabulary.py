"""Concepts a map is asked about by default, and the names people use for them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ovseg_ros.errors import OvsegError

MAX_CONCEPTS = 4096
MAX_NAME_LENGTH = 200
SHOWN_CHARACTERS = 60

UNWRITABLE = ("Cc", "Cs")
"""Categories of characters that no text has: control characters and halves of others."""

GENERIC_NEGATIVES: tuple[str, ...] = ("object", "thing", "stuff", "background", "texture")
"""Words that fit everything a little: they take the probability that no concept deserves."""


STRUCTURE = frozenset(
    ("wall", "walls", "floor", "flooring", "ceiling", "roof", "ground", "road", "pavement", "sidewalk", "grass", "sky")
)
"""What a place is made of, and no thing in it."""


@dataclass(frozen=True)
class Vocabulary:
    """Concepts in a fixed order, each with the names people use for it (the first is shown).

    Example:
        >>> words = Vocabulary.from_names(["sofa", "chair"], synonyms={"sofa": ["couch"]})
        >>> words.names
        ('sofa', 'chair')
        >>> words.synonyms[0]
        ('sofa', 'couch')
    """

    synonyms: tuple[tuple[str, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The name shown for each concept."""
        return tuple(group[0] for group in self.synonyms)

    @classmethod
    def from_names(cls, names: Iterable[str], synonyms: dict[str, Sequence[str]] | None = None) -> Vocabulary:
        """Build from concept names; ``synonyms`` maps a name to its further names.

        Raises:
            OvsegError: on an empty or repeated or over-long name, or too many of them.
        """
        extra = synonyms or {}
        groups: list[tuple[str, ...]] = []
        seen: set[str] = set()
        for raw in names:
            name = normalise(raw)
            if not name or len(name) > MAX_NAME_LENGTH:
                raise OvsegError(f"a concept needs 1 to {MAX_NAME_LENGTH} characters, got {raw[:40]!r}")
            if name in seen:
                raise OvsegError(f"the concept {name!r} is listed twice: remove one")
            seen.add(name)
            groups.append((name, *(normalise(word) for word in extra.get(raw, ()))))
        if len(groups) > MAX_CONCEPTS:
            raise OvsegError(f"{len(groups)} concepts are more than the limit of {MAX_CONCEPTS}: shorten the list")
        return cls(tuple(groups))

    @classmethod
    def parse(cls, lines: Sequence[str]) -> Vocabulary:
        """Read a concept from each line, such as "sofa" or, with further words for it, "sofa, couch".

        Raises:
            OvsegError: there is no concept, a word is none (see `checked_word`) or used for two concepts, or there are
                too many concepts.
        """
        groups = [tuple(dict.fromkeys(checked_word(word) for word in line.split(","))) for line in lines]
        check_groups(groups)
        return cls(tuple(groups))

    def __len__(self) -> int:
        return len(self.synonyms)


def checked_word(raw: str) -> str:
    """A word or short phrase of a vocabulary, normalised.

    Raises:
        OvsegError: it says nothing, is over-long, or has characters that can't be written.
    """
    word = normalise(raw)
    if not any(map(str.isalnum, word)) or len(word) > MAX_NAME_LENGTH:
        raise OvsegError(
            f"a concept needs a letter or digit and at most {MAX_NAME_LENGTH} characters, "
            f"got {raw[:SHOWN_CHARACTERS]!r}: write a short noun phrase"
        )
    if any(unicodedata.category(character) in UNWRITABLE for character in word):
        raise OvsegError(f"the concept {raw[:SHOWN_CHARACTERS]!r} has control characters or broken text: type it anew")
    return word


def check_groups(groups: Sequence[Sequence[str]]) -> None:
    """Raise an OvsegError unless these are groups of names for 1 to MAX_CONCEPTS concepts, no word in two of them."""
    if not groups:
        raise OvsegError("the vocabulary has 0 concepts to look for: give at least one")
    if len(groups) > MAX_CONCEPTS:
        raise OvsegError(f"{len(groups)} concepts are more than the limit of {MAX_CONCEPTS}: shorten the list")
    owners: dict[str, str] = {}
    for group in groups:
        for word in group:
            if word in owners:
                raise OvsegError(
                    f"the word {word!r} is asked for twice, as {owners[word]!r} and as {group[0]!r}: remove one"
                )
            owners[word] = group[0]


def normalise(text: str) -> str:
    """Lower case, single spaces."""
    return " ".join(text.lower().split())


def singular(noun: str) -> str:
    """The noun with its last word in the singular, by the rules that hold for most names of things.

    Example:
        >>> singular("washing machines"), singular("boxes"), singular("glass"), singular("bookshelves"), singular("tvs")
        ('washing machine', 'box', 'glass', 'bookshelf', 'tv')
    """
    *before, word = noun.split() or [""]
    if word.endswith("lves"):
        word = word[:-3] + "f"
    elif word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif (
        word.endswith("s") and not word.endswith(("ss", "us", "is")) and (len(word) > 3 or not set(word) & set("aeiou"))
    ):
        word = word[:-1]
    return " ".join((*before, word))
