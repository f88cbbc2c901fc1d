"""Concepts a map is asked about by default, and the names people use for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ovseg_ros.errors import OvsegError

MAX_CONCEPTS = 4096
MAX_NAME_LENGTH = 200

GENERIC_NEGATIVES: tuple[str, ...] = ("object", "thing", "stuff", "background", "texture")
"""Words that fit everything a little: they take the probability that no concept deserves."""


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

    def __len__(self) -> int:
        return len(self.synonyms)


def normalise(text: str) -> str:
    """Lower case, single spaces."""
    return " ".join(text.lower().split())


def singular(noun: str) -> str:
    """The noun with its last word in the singular, by the rules that hold for most names of things.

    Example:
        >>> singular("washing machines"), singular("boxes"), singular("glass"), singular("bookshelves")
        ('washing machine', 'box', 'glass', 'bookshelf')
    """
    *before, word = noun.split() or [""]
    if word.endswith("lves"):
        word = word[:-3] + "f"
    elif word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        word = word[:-1]
    return " ".join((*before, word))
