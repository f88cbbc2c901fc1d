"""Vocabularies in files: those of this package by name, anybody's by path."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ovseg_ros.errors import OvsegError
from ovseg_ros.vocabulary import SHOWN_CHARACTERS, Vocabulary, check_groups, checked_word, plural_of

EXAMPLE = "config/vocabularies/household.yaml"
KEYS: Mapping[str, type] = {
    "name": str,
    "synonyms": list,
    "kinds": list,
    "say": str,
    "plurals": bool,
    "overlaps": list,
    "stuff": bool,
    "priority": int,
}
"""What an entry may have, and of which type."""

SECTIONS = ("concepts", "distractors")


@dataclass(frozen=True)
class Entry:
    """A concept of a vocabulary file.

    Attributes:
        name: shown in answers and, unless there is `say`, asked for.
        synonyms: further words for the same.
        kinds: words for sorts of it ("armchair" of chair), which count as it.
        say: asked for in place of a name that means several things ("ceiling fan" for "fan").
        plurals: whether the plurals of the words that are asked for are asked for, too.
        overlaps: names of concepts that may be right where this one is.
        stuff: whether it has no instances (floor, wall, grass).
        priority: where two concepts are both seen, the higher one is the label, for models that find things one by one.
        distractor: asked only to compete, by models that find only what they are told to: never a label or an answer.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    say: str = ""
    plurals: bool = True
    overlaps: tuple[str, ...] = ()
    stuff: bool = False
    priority: int = 0
    distractor: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """All words that people may use for it, the name first, without plurals."""
        return tuple(dict.fromkeys((self.name, *self.asked)))

    @property
    def asked(self) -> tuple[str, ...]:
        """The words that a model is asked for, without plurals."""
        return tuple(dict.fromkeys((self.say or self.name, *self.synonyms, *self.kinds)))


@dataclass(frozen=True)
class VocabularyFile:
    """What a vocabulary file says.

    Attributes:
        source: its name or path.
        entries: concepts in their order, then distractors; no word belongs to two of them.
    """

    source: str
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, source: str, entries: Iterable[Entry]) -> VocabularyFile:
        """Check and normalise.

        Raises:
            OvsegError: a word is none, or belongs to two entries; an overlap names no concept; there are no concepts,
                or too many.
        """
        normal = sorted(map(_normalised, entries), key=lambda entry: entry.distractor)
        check_groups([entry.words for entry in normal if not entry.distractor])
        check_groups([entry.words for entry in normal])
        names = {entry.name for entry in normal}
        for entry in normal:
            for other in entry.overlaps:
                if other not in names or other == entry.name:
                    raise OvsegError(f"{entry.name!r} overlaps {other!r}, which is no other concept here: use its name")
        return cls(source, tuple(normal))

    @property
    def concepts(self) -> tuple[Entry, ...]:
        """The entries that may be answers."""
        return tuple(entry for entry in self.entries if not entry.distractor)

    @property
    def without_plurals(self) -> VocabularyFile:
        """The same, asking for nothing but what is written."""
        return VocabularyFile(self.source, tuple(replace(entry, plurals=False) for entry in self.entries))

    @property
    def vocabulary(self) -> Vocabulary:
        """The concepts with all their words and plurals, for models to which words cost nothing.

        A plural that is a word of another entry is left to it.
        """
        taken = {word: entry.name for entry in self.entries for word in entry.words}
        groups = []
        for entry in self.concepts:
            plurals = map(plural_of, entry.asked) if entry.plurals and not entry.stuff else ()
            own = [word for word in plurals if taken.setdefault(word, entry.name) == entry.name]
            groups.append(tuple(dict.fromkeys((*entry.words, *own))))
        unsaid = frozenset(entry.name for entry in self.concepts if entry.name not in entry.asked)
        return Vocabulary(tuple(groups), unsaid)


def read_vocabulary(vocabulary: str) -> VocabularyFile:
    """Read a vocabulary.

    Args:
        vocabulary: a name such as ``household`` (see `packaged_vocabularies`); the path of a YAML file with a list
            ``concepts`` and perhaps ``distractors``, whose entries are names or mappings with the keys of `Entry`; or
            that of a text file (.txt) with a concept on each line, such as "sofa, couch".

    Raises:
        OvsegError: if there is no such vocabulary, or it can't be understood.
    """
    packaged = packaged_vocabularies()
    path = packaged.get(vocabulary) or Path(vocabulary).expanduser()
    if not path.is_file():
        names = ", ".join(packaged) or "none here: install the package again"
        raise OvsegError(f"there is no vocabulary {vocabulary!r} ({names}): give one of these, or the path of a file")
    try:
        text = path.read_text(encoding="utf-8")
        content = _content(text.splitlines()) if path.suffix == ".txt" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OvsegError(f"{path} can't be read ({' '.join(str(error).split())[:150]}): mend it") from error
    if not isinstance(content, dict) or not set(content) <= set(SECTIONS):
        raise OvsegError(f"{path} should hold the lists {' and '.join(SECTIONS)} and nothing else, as {EXAMPLE} does")
    entries = []
    for section in SECTIONS:
        listed = content.get(section) or []
        if not isinstance(listed, list):
            raise OvsegError(f"{section} in {path} should be a list, as in {EXAMPLE}")
        entries += [_entry(entry, path, distractor=section == "distractors") for entry in listed]
    try:
        return VocabularyFile.of(vocabulary, entries)
    except OvsegError as error:
        raise OvsegError(f"{path}: {error}") from error


def packaged_vocabularies() -> dict[str, Path]:
    """Name -> file of the vocabularies that come with this package, from the source tree or where it is installed."""
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    roots = [Path(__file__).parents[1], *(Path(prefix) / "share" / "ovseg_ros" for prefix in prefixes)]
    found: dict[str, Path] = {}
    for root in roots:
        for path in sorted((root / "config" / "vocabularies").glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def _content(lines: Iterable[str]) -> dict[str, Any]:
    """Lines of words as what YAML would have said; only what is written is asked for."""
    groups = [line.split(",") for line in lines if line.strip()]
    return {"concepts": [{"name": group[0], "synonyms": group[1:], "plurals": False} for group in groups]}


def _entry(entry: Any, path: Path, *, distractor: bool) -> Entry:
    if isinstance(entry, str):
        return Entry(entry, distractor=distractor)
    shown = repr(entry)[:80]
    if not isinstance(entry, dict) or "name" not in entry:
        raise OvsegError(
            f"the entry {shown} in {path} should be a name or a mapping such as {{name: sofa, synonyms: [couch]}}: "
            "mend it (yes, no, on, off need quotes)"
        )
    for key, value in entry.items():
        if key not in KEYS:
            raise OvsegError(f"the entry {shown} in {path} has the unknown key {key!r}: there are {', '.join(KEYS)}")
        if type(value) is not KEYS[key]:
            raise OvsegError(
                f"{key} of {str(entry['name'])!r} in {path} should be of type {KEYS[key].__name__}, "
                f"got {str(value)[:SHOWN_CHARACTERS]!r}: see {EXAMPLE} (yes, no, on, off need quotes)"
            )
        if isinstance(value, list) and not all(isinstance(word, str) for word in value):
            raise OvsegError(f"the {key} of {entry['name']!r} in {path} should be words, got {value}: quote them")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Entry(**values, distractor=distractor)


def _normalised(entry: Entry) -> Entry:
    def words(raw: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(checked_word, raw))

    return Entry(
        checked_word(entry.name),
        words(entry.synonyms),
        words(entry.kinds),
        checked_word(entry.say) if entry.say else "",
        entry.plurals,
        words(entry.overlaps),
        entry.stuff,
        entry.priority,
        entry.distractor,
    )
