"""Vocabularies in YAML: those of this package by name, anybody's by path."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.sam3.concepts import Concept, Concepts

EXAMPLE = "config/vocabularies/household.yaml"
KINDS: Mapping[str, type] = {"name": str, "synonyms": list, "stuff": bool, "priority": int}
SECTIONS = ("concepts", "distractors")


def read_concepts(vocabulary: str) -> Concepts:
    """Read a vocabulary.

    Args:
        vocabulary: a name such as ``household`` (see `packaged_vocabularies`), or the path of a YAML file with a list
            ``concepts`` and perhaps ``distractors``, whose entries are names or mappings of name, synonyms, stuff
            and priority.

    Raises:
        OvsegError: if there is no such vocabulary, or it can't be understood.
    """
    packaged = packaged_vocabularies()
    path = packaged.get(vocabulary) or Path(vocabulary).expanduser()
    if not path.is_file():
        names = ", ".join(packaged) or "none here: install the package again"
        raise OvsegError(f"there is no vocabulary {vocabulary!r} ({names}): give one of these, or the path of a file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OvsegError(f"{path} can't be read ({' '.join(str(error).split())[:150]}): mend it") from error
    if not isinstance(content, dict) or not set(content) <= set(SECTIONS):
        raise OvsegError(f"{path} should hold the lists {' and '.join(SECTIONS)} and nothing else, as {EXAMPLE} does")
    entries = []
    for section in SECTIONS:
        listed = content.get(section) or []
        if not isinstance(listed, list):
            raise OvsegError(f"{section} in {path} should be a list, as in {EXAMPLE}")
        entries += [_concept(entry, path, distractor=section == "distractors") for entry in listed]
    try:
        return Concepts.of(entries)
    except OvsegError as error:
        raise OvsegError(f"{path}: {error}") from error


def packaged_vocabularies() -> dict[str, Path]:
    """Name -> file of the vocabularies that come with this package, from the source tree or where it is installed."""
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    roots = [Path(__file__).parents[3], *(Path(prefix) / "share" / "ovseg_ros" for prefix in prefixes)]
    found: dict[str, Path] = {}
    for root in roots:
        for path in sorted((root / "config" / "vocabularies").glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def _concept(entry: Any, path: Path, *, distractor: bool) -> Concept:
    if isinstance(entry, str):
        return Concept(entry, distractor=distractor)
    fits = isinstance(entry, dict) and "name" in entry
    if not fits or any(type(value) is not KINDS.get(key) for key, value in entry.items()):
        raise OvsegError(
            f"the entry {str(entry)[:80]!r} in {path} should be a name or "
            "{name: sofa, synonyms: [couch], stuff: false, priority: 0}: mend it (yes, no, on, off need quotes)"
        )
    synonyms = entry.get("synonyms", [])
    if not all(isinstance(word, str) for word in synonyms):
        raise OvsegError(f"the synonyms of {entry['name']!r} in {path} should be words, got {synonyms}: quote them")
    return Concept(
        entry["name"], tuple(synonyms), entry.get("stuff", False), entry.get("priority", 0), distractor=distractor
    )
