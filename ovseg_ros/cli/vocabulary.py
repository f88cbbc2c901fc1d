"""`ovseg vocabulary`: what is in a vocabulary file, and what may go wrong with it."""

from __future__ import annotations

import argparse
from typing import Any


def add_vocabulary_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ovseg vocabulary`."""
    parser.add_argument(
        "action", choices=("check", "list"), metavar="check|list", help="check a file, or list those of this package"
    )
    parser.add_argument("file", nargs="?", default="", metavar="FILE|NAME", help="what to check")
    parser.add_argument(
        "--backend", default="openseg", metavar="NAME", help="model that will read it (default %(default)s)"
    )


def run_vocabulary(options: argparse.Namespace) -> dict[str, Any]:
    """Check a vocabulary, or list them."""
    return _list() if options.action == "list" else _check(options.file, options.backend)


def _list() -> dict[str, Any]:
    from ovseg_ros.vocabulary_file import packaged_vocabularies, read_vocabulary

    found = [
        {"name": name, "concepts": len(read_vocabulary(name).concepts), "file": str(path)}
        for name, path in packaged_vocabularies().items()
    ]
    lines = [f"{entry['name']:14} {entry['concepts']:4} concepts  {entry['file']}" for entry in found]
    return {"vocabularies": found, "text": "\n".join(lines)}


def _check(name: str, backend: str) -> dict[str, Any]:
    from dataclasses import asdict

    from ovseg_ros.errors import OvsegError
    from ovseg_ros.segmentation import backends, load_segmenter
    from ovseg_ros.segmentation.vocabulary_check import check_meanings, check_prompts, check_words
    from ovseg_ros.types import PromptedSegmenter
    from ovseg_ros.vocabulary_file import read_vocabulary

    if not name:
        raise OvsegError("there is no vocabulary to check: name a file, or one that ovseg vocabulary list shows")
    file = read_vocabulary(name)
    warnings, note = check_words(file), ""
    model = next((info for info in backends() if info.name == backend), None)
    if model is not None and not model.installed:
        note = f"{backend} isn't installed here, so its words were not compared: see ovseg backends"
    else:
        segmenter = load_segmenter(backend, "cpu")
        if isinstance(segmenter, PromptedSegmenter):
            note = f"{backend} has no space in which words could be compared: whether it takes them was checked"
            warnings += check_prompts(file, segmenter)
        else:
            warnings += check_meanings(file, segmenter.space)
    overlaps = {entry.name: list(entry.overlaps) for entry in file.concepts if entry.overlaps}
    words = sum(len(entry.asked) for entry in file.entries)
    lines = [f"{file.source}: {len(file.concepts)} concepts, {words} words, for {backend}"]
    lines += [f"{warning.kind:10} {warning.sentence}" for warning in warnings]
    lines += [f"{'overlap':10} {own} may be {', '.join(others)}, as noted" for own, others in overlaps.items()]
    lines += [note] if note else []
    lines.append(f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}" if warnings else "nothing to warn of")
    return {
        "vocabulary": file.source,
        "backend": backend,
        "concepts": [{"name": entry.name, "asked": list(entry.asked)} for entry in file.concepts],
        "overlaps": overlaps,
        "warnings": [asdict(warning) for warning in warnings],
        "note": note,
        "text": "\n".join(lines),
    }
