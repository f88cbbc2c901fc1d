"""Concepts a map is asked about by default, and the names people use for them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

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


ENDS_IN_VES = ("knife", "leaf", "loaf", "scarf", "wolf")
IRREGULAR_PLURALS = {
    "child": "children",
    "foot": "feet",
    "goose": "geese",
    "man": "men",
    "mouse": "mice",
    "person": "people",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "tooth": "teeth",
    "woman": "women",
}
WITHOUT_PLURAL = frozenset(
    {"art", "artwork", "bedding", "bread", "clothes", "clothing", "cutlery", "detergent", "equipment", "fish", "food"}
    | {"furniture", "glass", "grass", "hair", "laundry", "luggage", "money", "paper", "rubbish", "sand", "scissors"}
    | {"sheep", "stairs", "stuff", "trash", "water"}
)
"""Last words of names that people don't put an s to; "glasses" are another thing."""


@dataclass(frozen=True)
class Vocabulary:
    """Concepts in a fixed order, each with the names people use for it (the first is shown).

    Attributes:
        synonyms: the names of each concept.
        unsaid: those of the names that people use and models are not asked for, as another name says it better: "fan"
            where "ceiling fan" is meant.

    Example:
        >>> words = Vocabulary.from_names(["sofa", "chair"], synonyms={"sofa": ["couch"]})
        >>> words.names
        ('sofa', 'chair')
        >>> words.synonyms[0]
        ('sofa', 'couch')
    """

    synonyms: tuple[tuple[str, ...], ...]
    unsaid: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """The name shown for each concept."""
        return tuple(group[0] for group in self.synonyms)

    @property
    def asked(self) -> tuple[tuple[str, ...], ...]:
        """The names of each concept that models are asked for; of several the best counts."""
        return tuple(self.said(group) for group in self.synonyms)

    def number_of(self, text: str) -> int | None:
        """Which concept a normalised text is a name of, in the singular or plural, however its parts are joined.

        Example:
            >>> words = Vocabulary.from_names(["book", "bookshelf", "trash can"])
            >>> words.number_of("book shelves"), words.number_of("trash-cans"), words.number_of("shelf")
            (1, 2, None)
        """
        exact, joined = self._numbers
        for known, word in ((exact, text), (exact, singular(text)), (joined, _joined(singular(text)))):
            if word in known:
                return known[word]
        return None

    @cached_property
    def _numbers(self) -> tuple[dict[str, int], dict[str, int]]:
        """Numbers of the concepts by their names, and by these without spaces and hyphens; the first concept counts."""
        names = [(word, number) for number, group in enumerate(self.synonyms) for word in group][::-1]
        return dict(names), {_joined(word): number for word, number in names}

    def said(self, group: tuple[str, ...]) -> tuple[str, ...]:
        """The words of a group that models are asked for; all of them if that would be none."""
        return tuple(word for word in group if word not in self.unsaid) or group

    def labels_of(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """These words, and the unsaid names of their concepts, by which maps may know them."""
        own = (word for group in self.synonyms if not set(words).isdisjoint(group) for word in group)
        return (*words, *(word for word in own if word in self.unsaid and word not in words))

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


def _joined(text: str) -> str:
    return text.replace(" ", "").replace("-", "")


def normalise(text: str) -> str:
    """Lower case, single spaces."""
    return " ".join(text.lower().split())


def plural_of(noun: str) -> str:
    """The noun with its last word in the plural; a noun that has none, or is one, stays as it is.

    Example:
        >>> plural_of("washing machine"), plural_of("bookshelf"), plural_of("clothes"), plural_of("person")
        ('washing machines', 'bookshelves', 'clothes', 'people')
    """
    *before, word = noun.split() or [""]
    if word in WITHOUT_PLURAL or word in IRREGULAR_PLURALS.values() or (word.endswith("s") and singular(word) != word):
        return noun
    if word in IRREGULAR_PLURALS:
        several = IRREGULAR_PLURALS[word]
    elif word.endswith("lf") or word in ENDS_IN_VES:
        several = word.removesuffix("e")[:-1] + "ves"
    elif word.endswith("y") and word[-2:-1] not in tuple("aeiou"):
        several = word[:-1] + "ies"
    else:
        several = word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")
    return " ".join((*before, several))


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
