"""Captions to the classes that they name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ovseg_ros.vocabulary import Vocabulary, singular


class CaptionReader:
    """Finds the words of a vocabulary in sentences.

    The paper keeps a caption's nouns. Here a noun is a word or phrase of the vocabulary, in the singular or plural; the
    longest wins, so that "table lamp" is no table. Everything else in a caption is left out.

    Example:
        >>> reader = CaptionReader(Vocabulary((("table",), ("lamp", "table lamp"), ("dog", "puppy"))))
        >>> reader.labels(["Two puppies sleep under a table lamp.", "a dog"])
        (2, 3)
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        words = {" ".join(_tokens(word)): i for i, group in enumerate(vocabulary.synonyms, start=1) for word in group}
        self._labels = {singular(word): label for word, label in words.items()} | words
        self._longest = max((len(form.split()) for form in self._labels), default=0)

    def labels(self, captions: Sequence[str]) -> tuple[int, ...]:
        """The label ids (place in the vocabulary plus one) of all that some caption names, rising."""
        found: set[int] = set()
        for caption in captions:
            tokens, place = _tokens(caption), 0
            while place < len(tokens):
                length, label = self._match(tokens, place)
                place += length
                found.add(label)
        return tuple(sorted(found - {0}))

    def _match(self, tokens: list[str], place: int) -> tuple[int, int]:
        for length in range(min(self._longest, len(tokens) - place), 0, -1):
            phrase = " ".join(tokens[place : place + length])
            for form in (phrase, singular(phrase)):
                if form in self._labels:
                    return length, self._labels[form]
        return 1, 0


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
