"""Results as files: JSON for machines, CSV for spreadsheets, Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ovseg_ros.evaluation.results import without_nan
from ovseg_ros.evaluation.search_volume.metrics import METRICS
from ovseg_ros.evaluation.search_volume.tables import MODEL
from ovseg_ros.evaluation.semseg.report import RESULTS_FILE, csv_text
from ovseg_ros.files import write_text


def write_report(out: Path, tables: dict[str, Any]) -> None:
    """Write ``results.json``, ``scenes.csv``, ``classes.csv``, ``steps.csv`` and ``results.md``."""
    write_text(out / "scenes.csv", csv_text(("answers", "scene", *METRICS), _scenes(tables)))
    write_text(out / "classes.csv", csv_text(("answers", "class", *METRICS, "scenes", "cells"), _classes(tables)))
    head = ("answers", "scene", "frames", "unobserved", "classes", *METRICS)
    write_text(out / "steps.csv", csv_text(head, _steps(tables)))
    write_text(out / "results.md", as_markdown(tables))
    write_text(out / RESULTS_FILE, json.dumps(without_nan(tables), indent=1) + "\n")


def as_markdown(tables: dict[str, Any]) -> str:
    """The scenes' table, the classes' below, and what was left out."""
    model = tables["answers"][MODEL]
    shown = [(f"{MODEL}, {name}", row) for name, row in model["scenes"].items()]
    shown += [
        (f"{kind}, mean of scenes", block["mean"]) for kind, block in tables["answers"].items() if block["scenes"]
    ]
    classes = sorted(model["per_class"].items(), key=lambda entry: -entry[1]["cells"])
    prompts = "; ".join(sorted({facts["prompts"] for facts in tables["facts"].values()}))
    parts = [
        f"# Search volume, {tables['protocol']}: {len(model['scenes'])} scenes",
        f"Areas under curves over {tables['area_under']}; means over classes, then scenes. "
        f"Class names are put {prompts}.",
        _table(shown),
        _table(classes),
    ]
    if tables["failed"]:
        lines = "\n".join(f"- {name}: {reason}" for name, reason in tables["failed"].items())
        parts.append(f"Not evaluated, and not in any number:\n\n{lines}")
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[tuple[str, dict[str, float]]]) -> str:
    lines = [f"| | {' | '.join(METRICS)} |", f"|---|{'---|' * len(METRICS)}"]
    lines += [f"| {name} | {' | '.join(f'{row[key]:.3f}' for key in METRICS)} |" for name, row in rows]
    return "\n".join(lines)


def _scenes(tables: dict[str, Any]) -> Iterable[Sequence[object]]:
    for kind, block in tables["answers"].items():
        for name, row in (*block["scenes"].items(), ("mean", block["mean"])):
            yield kind, name, *(row[key] for key in METRICS)


def _classes(tables: dict[str, Any]) -> Iterable[Sequence[object]]:
    for kind, block in tables["answers"].items():
        for name, row in block["per_class"].items():
            yield kind, name, *row.values()


def _steps(tables: dict[str, Any]) -> Iterable[Sequence[object]]:
    for kind, block in tables["answers"].items():
        for name, steps in block["steps"].items():
            for row in steps:
                yield kind, name, *row.values()
