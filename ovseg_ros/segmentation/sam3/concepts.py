"""What SAM 3 is asked for: concepts, the words for each, and how they are drawn and ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ovseg_ros.vocabulary import Vocabulary, check_groups, checked_word
from ovseg_ros.vocabulary_file import VocabularyFile

DISTRACTOR = "NOT "
"""Begins the name of a distractor's channel. Words of concepts are lower case, so none begins like that."""


@dataclass(frozen=True)
class Concept:
    """One thing to look for.

    Attributes:
        name: shown in answers; the first prompt, if it is said.
        synonyms: further prompts; a pixel's score is the largest of any of them.
        stuff: whether it has no instances (floor, wall, grass): the model's dense head then adds to its masks.
        priority: where two concepts are both seen, the one of higher priority gives the label (a handle on a door).
        distractor: asked only to compete, such as "mirror image": never a label, never an answer.
        said: whether the name itself is a prompt; if not, there are synonyms that say it better.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    stuff: bool = False
    priority: int = 0
    distractor: bool = False
    said: bool = True

    @property
    def words(self) -> tuple[str, ...]:
        """The name and its synonyms, each once."""
        return tuple(dict.fromkeys((self.name, *self.synonyms)))

    @property
    def prompts(self) -> tuple[str, ...]:
        """The words that the model is asked for."""
        return self.words if self.said else self.words[1:] or self.words

    @property
    def countable(self) -> bool:
        """Whether its instances are told: not those of stuff, nor of distractors."""
        return not self.stuff and not self.distractor


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
        check_groups([concept.words for concept in concepts if not concept.distractor])
        check_groups([concept.words for concept in concepts])
        return cls(tuple(sorted(concepts, key=lambda concept: concept.distractor)))

    @classmethod
    def from_file(cls, file: VocabularyFile) -> Concepts:
        """What a vocabulary file asks for, without plurals: each prompt costs time at every image.

        Raises:
            OvsegError: as `of`.
        """
        return cls.of(
            [
                Concept(
                    entry.name,
                    entry.words[1:],
                    entry.stuff,
                    entry.priority,
                    distractor=entry.distractor,
                    said=entry.name in entry.asked,
                )
                for entry in file.entries
            ]
        )

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
    def channels(self) -> tuple[str, ...]:
        """Names of the scores, as maps keep them: those of distractors begin with `DISTRACTOR`."""
        return tuple(DISTRACTOR + entry.name if entry.distractor else entry.name for entry in self.entries)

    def looking_for(self, vocabulary: Vocabulary) -> Concepts:
        """Concepts for a plain vocabulary: drawn and ranked as the one here that shares a word, else plain things.

        Distractors stay, except those that are now looked for.

        Raises:
            OvsegError: as `of`.
        """
        known = {word: entry for entry in reversed(self.entries) for word in entry.words}
        wanted: list[Concept] = []
        taken: set[str] = set()
        for group in vocabulary.synonyms:
            # In a vocabulary of merged maps two concepts may share a word.
            words = [word for word in group if word not in taken]
            if words:
                like = next((known[word] for word in words if word in known), Concept(words[0]))
                said = words[0] not in vocabulary.unsaid or len(words) == 1
                wanted.append(Concept(words[0], tuple(words[1:]), like.stuff, like.priority, said=said))
            taken.update(words)
        rest = (entry for entry in self.entries if entry.distractor and taken.isdisjoint(entry.words))
        return Concepts.of([*wanted, *rest])

    @property
    def vocabulary(self) -> Vocabulary:
        """The asked concepts, as maps and questions know them."""
        unsaid = frozenset(concept.name for concept in self.asked if not concept.said)
        return Vocabulary(tuple(concept.words for concept in self.asked), unsaid)


def _normalised(concept: Concept) -> Concept:
    name, *synonyms = dict.fromkeys(checked_word(word) for word in concept.words)
    return replace(concept, name=name, synonyms=tuple(synonyms))
