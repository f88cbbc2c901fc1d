"""What SAM 3 is asked for: concepts, the words for each, and how they are drawn and ranked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from ovseg_ros.errors import OvsegError
from ovseg_ros.vocabulary import MAX_CONCEPTS, MAX_NAME_LENGTH, Vocabulary, normalise

SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Concept:
    """One thing to look for.

    Attributes:
        name: shown in answers; the first prompt.
        synonyms: further prompts; a pixel's score is the largest of any of them.
        stuff: whether it has no instances (floor, wall, grass): the model's dense head then adds to its masks.
        priority: where two concepts are both seen, the one of higher priority gives the label (a handle on a door).
        distractor: asked only to compete, such as "mirror image": never a label, never an answer.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    stuff: bool = False
    priority: int = 0
    distractor: bool = False

    @property
    def prompts(self) -> tuple[str, ...]:
        """The name and its synonyms, each once."""
        return tuple(dict.fromkeys((self.name, *self.synonyms)))


@dataclass(frozen=True)
class Concepts:
    """An ordered vocabulary: channel i of a segmentation is the score of ``entries[i]``; distractors come last.

    Use `of` to make one: it checks and normalises.

    Example:
        >>> concepts = Concepts.of(["Chair", Concept("floor", stuff=True), Concept("sofa", ("couch",))])
        >>> concepts.prompts
        ('chair', 'floor', 'sofa', 'couch')
        >>> concepts.vocabulary.names
        ('chair', 'floor', 'sofa')
    """

    entries: tuple[Concept, ...]

    @classmethod
    def of(cls, entries: Sequence[Concept | str]) -> Concepts:
        """Check and normalise; a plain name is a thing without synonyms.

        Raises:
            OvsegError: if nothing is asked for, or a word is empty, over-long or used for two concepts.
        """
        concepts = [_normalised(Concept(entry) if isinstance(entry, str) else entry) for entry in entries]
        owners: dict[str, str] = {}
        for concept in concepts:
            for word in concept.prompts:
                if word in owners:
                    raise OvsegError(
                        f"the word {word!r} is asked for twice, as {owners[word]!r} and as {concept.name!r}: remove one"
                    )
                owners[word] = concept.name
        if all(concept.distractor for concept in concepts):
            raise OvsegError("the vocabulary has 0 concepts to look for: give at least one")
        if len(concepts) > MAX_CONCEPTS:
            raise OvsegError(f"{len(concepts)} concepts are more than the limit of {MAX_CONCEPTS}: shorten the list")
        return cls(tuple(sorted(concepts, key=lambda concept: concept.distractor)))

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def asked(self) -> tuple[Concept, ...]:
        """Those that may be answers."""
        return tuple(concept for concept in self.entries if not concept.distractor)

    @property
    def prompts(self) -> tuple[str, ...]:
        """All words, in the order of their concepts."""
        return tuple(word for concept in self.entries for word in concept.prompts)

    @property
    def owners(self) -> tuple[int, ...]:
        """For each of `prompts`, the index of its concept."""
        return tuple(index for index, concept in enumerate(self.entries) for _ in concept.prompts)

    @property
    def vocabulary(self) -> Vocabulary:
        """The asked concepts, as maps and questions know them."""
        return Vocabulary(tuple(concept.prompts for concept in self.asked))

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that change with anything in the vocabulary."""
        content = json.dumps([astuple(concept) for concept in self.entries])
        return hashlib.sha256(content.encode()).hexdigest()[:12]


def _normalised(concept: Concept) -> Concept:
    words = [normalise(word) for word in (concept.name, *concept.synonyms)]
    for word, raw in zip(words, (concept.name, *concept.synonyms), strict=True):
        if not any(map(str.isalnum, word)) or len(word) > MAX_NAME_LENGTH:
            raise OvsegError(
                f"a concept needs a letter or digit and at most {MAX_NAME_LENGTH} characters, "
                f"got {raw[:SHOWN_CHARACTERS]!r}: write a short noun phrase"
            )
    synonyms = tuple(word for word in dict.fromkeys(words[1:]) if word != words[0])
    return Concept(words[0], synonyms, concept.stuff, concept.priority, concept.distractor)
