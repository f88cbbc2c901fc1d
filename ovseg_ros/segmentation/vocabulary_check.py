"""What may go wrong with a vocabulary: words that mean two things, and two concepts that mean one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ovseg_ros.errors import OvsegError
from ovseg_ros.meanings import encode_groups
from ovseg_ros.segmentation.polysemes import POLYSEMES
from ovseg_ros.types import LanguageSpace, PromptedSegmenter
from ovseg_ros.vocabulary import Vocabulary, plural_of
from ovseg_ros.vocabulary_file import Entry, VocabularyFile

MOST_WORDS = 5
"""Longer names describe; models are trained on short noun phrases."""


@dataclass(frozen=True)
class Finding:
    """Something to look at.

    Attributes:
        kind: a short stable word: polyseme, plural, long, unknown, refused, duplicate or nearer.
        concepts: names of those concerned.
        sentence: what is the matter and what to do.
    """

    kind: str
    concepts: tuple[str, ...]
    sentence: str


def check_words(file: VocabularyFile) -> list[Finding]:
    """What can be said without a model."""
    warnings = [warning for entry in file.entries for warning in _words_of(entry)]
    owners = {word: entry.name for entry in file.entries for word in entry.words}
    for entry in file.concepts:
        for word in entry.asked if entry.plurals and not entry.stuff else ():
            other = owners.get(plural_of(word), entry.name)
            if other != entry.name:
                warnings.append(
                    Finding(
                        "plural",
                        (entry.name, other),
                        f"{plural_of(word)!r}, the plural of {word!r}, is a word of {other!r}: if these are two "
                        f"things, set plurals: false for {entry.name!r}; if they are one, join them",
                    )
                )
    return warnings


def check_meanings(file: VocabularyFile, space: LanguageSpace) -> list[Finding]:
    """What the words mean in the space of a model: unknown words, concepts that are one, words that are another's.

    Words of concepts that the file says overlap are not compared. Plurals aren't compared at all.
    """
    reasons = _refused([word for entry in file.concepts for word in entry.asked], space)
    warnings = [
        Finding("unknown", (entry.name,), f"{word!r} of {entry.name!r} can't be asked for: {reasons[word]}")
        for entry in file.concepts
        for word in entry.asked
        if word in reasons
    ]
    known = [(entry, [word for word in entry.asked if word not in reasons]) for entry in file.concepts]
    known = [(entry, words) for entry, words in known if words]
    return warnings + list(_near(known, space)) if known else warnings


def check_prompts(file: VocabularyFile, segmenter: PromptedSegmenter) -> list[Finding]:
    """Concepts that a model which finds only what it is told to refuses; it is left looking for the last of them."""
    warnings = []
    for entry in file.concepts:
        try:
            segmenter.look_for(Vocabulary((entry.asked,)))
        except OvsegError as error:
            warnings.append(Finding("refused", (entry.name,), f"{entry.name!r} is refused: {error}"))
    return warnings


def _refused(words: list[str], space: LanguageSpace) -> dict[str, str]:
    """The words that the space can't take, each with its reason."""
    try:
        space.encode_text(words)
        return {}
    except OvsegError as error:
        if len(words) == 1:
            return {words[0]: str(error)}
    middle = len(words) // 2
    return _refused(words[:middle], space) | _refused(words[middle:], space)


def _words_of(entry: Entry) -> Iterator[Finding]:
    own = (entry.name,)
    for word in entry.asked:
        if word in POLYSEMES:
            ways = " or ".join(f"{way!r}" for way in POLYSEMES[word])
            place = "say" if word == entry.name else "synonyms"
            yield Finding(
                "polyseme", own, f"{word!r} means several things: put {ways} under {place} of {entry.name!r} instead"
            )
        if len(word.split()) > MOST_WORDS:
            yield Finding(
                "long",
                own,
                f"{word!r} has {len(word.split())} words: a noun phrase of up to {MOST_WORDS} is found better",
            )
        if entry.plurals and not entry.stuff and plural_of(word) != word and plural_of(word) in entry.asked:
            yield Finding(
                "plural",
                own,
                f"{plural_of(word)!r} is asked for with {word!r} of {entry.name!r} anyway: remove it, or set plurals: "
                "false",
            )


def _near(known: list[tuple[Entry, list[str]]], space: LanguageSpace) -> Iterator[Finding]:
    vectors, owners = encode_groups(space, [words for _, words in known])
    flat = [word for _, words in known for word in words]
    names = [entry.name for entry, _ in known]
    cosines = (vectors @ vectors.T).cpu()
    cosines.fill_diagonal_(-1.0)
    parts = [(owners == index).nonzero()[:, 0] for index in range(len(known))]
    for index, (entry, _) in enumerate(known):
        for other in range(index + 1, len(known)):
            if names[other] in entry.overlaps or entry.name in known[other][0].overlaps:
                cosines[parts[index][:, None], parts[other]] = cosines[parts[other][:, None], parts[index]] = -1.0
                continue
            pairs = cosines[parts[index][:, None], parts[other]]
            row, column = divmod(int(pairs.argmax()), pairs.shape[1])
            if pairs[row, column] >= space.same_meaning:
                pair = (names[index], names[other])
                yield Finding(
                    "duplicate",
                    pair,
                    f"{pair[0]!r} and {pair[1]!r} are hard to tell apart (cosine {pairs[row, column]:.2f} of "
                    f"{flat[parts[index][row]]!r} and {flat[parts[other][column]]!r}): join them, say one more "
                    "exactly, or note that one overlaps the other",
                )
    for word, index in enumerate(owners.tolist()):
        own = cosines[word, parts[index]].max()
        nearest = int(cosines[word].where(owners != index, -1.0).argmax())
        if len(parts[index]) > 1 and cosines[word, nearest] > own:
            other_name = names[int(owners[nearest])]
            yield Finding(
                "nearer",
                (names[index], other_name),
                f"{flat[word]!r} of {names[index]!r} is nearer to {flat[nearest]!r} of {other_name!r} (cosine "
                f"{cosines[word, nearest]:.2f}) than to the other words of its own concept ({own:.2f}): move it, "
                "or leave it out",
            )
