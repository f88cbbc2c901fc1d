"""Scores of images as files: JSON for machines, CSV for spreadsheets, Markdown and a picture for people."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from ovseg_ros.evaluation.images import ImageScores
from ovseg_ros.evaluation.protocols import METRICS
from ovseg_ros.evaluation.results import without_nan
from ovseg_ros.evaluation.scenes import format_classes
from ovseg_ros.evaluation.semseg.picture import confusion_picture
from ovseg_ros.files import write_text
from ovseg_ros.visualization import write_picture
from ovseg_ros.vocabulary import Vocabulary

RESULTS_FILE = "results.json"
SHOWN_PAIRS = 5
ROWS = {"open": "all classes", "grounding": "classes of the image (Grounding mIoU)"}


def tabulate(scores: ImageScores, classes: Vocabulary) -> dict[str, Any]:
    """The numbers of ``results.json``: over the classes that the truth has."""
    grounded = scores.grounding.per_class()
    per_class = {
        name: {**row, "grounding-IoU": grounded[name]["IoU"], "grounding-recall": grounded[name]["recall"]}
        for name, row in scores.open_choice.per_class().items()
    }
    return {
        "images": scores.images,
        "open": scores.open_choice.summary(),
        "grounding": scores.grounding.summary(),
        "per_class": per_class,
        "never_there": [name for name in classes.names if name not in per_class],
        "words": {group[0]: list(group) for group in classes.synonyms},
    }


def write_report(out: Path, results: dict[str, Any], scores: ImageScores) -> None:
    """Write ``classes.csv``, ``results.md``, ``confusion.png`` and ``results.json``.

    Raises:
        OvsegError: the folder can't be written.
    """
    write_text(out / "classes.csv", _classes_csv(results))
    write_text(out / "results.md", as_markdown(results))
    write_picture(out / "confusion.png", confusion_picture(scores.open_choice))
    write_text(out / RESULTS_FILE, json.dumps(without_nan(results), indent=1) + "\n")


def as_text(results: dict[str, Any]) -> str:
    """What a terminal shows: the Markdown, then classes from worst to best."""
    return f"{as_markdown(results)}\n{format_classes(results['per_class'])}"


def as_markdown(results: dict[str, Any]) -> str:
    """The two rows of scores, and what they are of."""
    known, absent = len(results["per_class"]), len(results["never_there"])
    words = sum(map(len, results["words"].values()))
    lines = [
        f"# {results['images']} images of {results['folder']}, {results['backend']}",
        "",
        f"| pixels choose among | {' | '.join(METRICS)} |",
        f"|---|{'---|' * len(METRICS)}",
    ]
    lines += [
        f"| {name} | {' | '.join(f'{results[key][column]:.3f}' for column in METRICS)} |" for key, name in ROWS.items()
    ]
    lines += [
        "",
        f"Pooled over all pixels; means over the {known} classes that the label maps have, of {known + absent}. "
        f"{words} words, of several for a class the {results['ensemble']}.",
    ]
    if results["bad_pairs"]:
        counts = ", ".join(f"{cause} {count}" for cause, count in results["skipped"].items())
        lines += ["", f"{len(results['bad_pairs'])} left out ({counts}):", ""]
        lines += [f"- {reason}" for reason in list(results["bad_pairs"].values())[:SHOWN_PAIRS]]
        if len(results["bad_pairs"]) > SHOWN_PAIRS:
            lines.append(f"- and {len(results['bad_pairs']) - SHOWN_PAIRS} more, in {RESULTS_FILE}")
    return "\n".join(lines) + "\n"


def _classes_csv(results: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("IoU", "recall", "count", "grounding-IoU", "grounding-recall")
    writer.writerow(("class", "words", *columns))
    for name, row in results["per_class"].items():
        writer.writerow((name, ", ".join(results["words"][name]), *(row[column] for column in columns)))
    return text.getvalue()
