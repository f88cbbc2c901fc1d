"""Results as files: JSON for machines, CSV for spreadsheets, Markdown and a picture for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ovseg_ros.evaluation.confusion import Confusion
from ovseg_ros.evaluation.results import without_nan
from ovseg_ros.evaluation.scenes import format_classes
from ovseg_ros.evaluation.semseg.picture import confusion_picture
from ovseg_ros.evaluation.semseg.result import SceneResult
from ovseg_ros.evaluation.semseg.tables import COLUMNS
from ovseg_ros.files import write_text
from ovseg_ros.visualization import write_picture

RESULTS_FILE = "results.json"


def write_report(out: Path, tables: dict[str, Any], results: Sequence[SceneResult]) -> None:
    """Write ``results.json``, ``scenes.csv``, ``classes.csv``, ``results.md`` and ``confusion.png``."""
    write_text(out / "scenes.csv", csv_text(("protocol", "variant", "answers", "scene", *COLUMNS), _scene_rows(tables)))
    write_text(
        out / "classes.csv", csv_text(("protocol", "variant", "class", "IoU", "recall", "count"), _class_rows(tables))
    )
    write_text(out / "results.md", as_markdown(tables))
    own = [result.variants[tables["variant"]].model.confusion for result in results]
    pooled: Confusion = sum(own[1:], start=own[0])
    write_picture(out / "confusion.png", confusion_picture(pooled))
    write_text(out / RESULTS_FILE, json.dumps(without_nan(tables), indent=1) + "\n")


def as_text(tables: dict[str, Any]) -> str:
    """What a terminal shows: the Markdown, then classes from worst to best."""
    return f"{as_markdown(tables)}\n{format_classes(tables['pooled']['per_class'])}"


def as_markdown(tables: dict[str, Any]) -> str:
    """A table for each variant, with the protocol's id beside each number and the bound below."""
    parts = [f"# {tables['protocol']}: {len(tables['scenes'])} scenes"]
    for variant, block in _blocks(tables):
        parts.append(f"## {tables['protocol']}, {variant}\n\n{_markdown_table(tables['protocol'], block)}")
    prompts = sorted({facts["prompts"] for facts in tables["facts"].values()})
    bounds = sorted({facts["bound"] for facts in tables["facts"].values()})
    parts.append(
        f"The protocol's own number is over the {tables['headline']['over']} of {tables['variant']}. "
        f"Class names are put {'; '.join(prompts)}. The bound is {'; '.join(bounds)}. "
        f"Protocol after {tables['protocol_source']}."
    )
    if tables["failed"]:
        lines = "\n".join(f"- {name}: {reason}" for name, reason in tables["failed"].items())
        parts.append(f"Not evaluated, and not in any number:\n\n{lines}")
    return "\n\n".join(parts) + "\n"


def _markdown_table(protocol: str, block: dict[str, Any]) -> str:
    bound = block["ground_truth_bound"]
    rows = [*block["scenes"].items(), ("mean of scenes", block["mean"]), ("pooled", block["pooled"])]
    rows += [("bound, mean", bound["mean"]), ("bound, pooled", bound["pooled"])]
    lines = [f"| protocol | scene | {' | '.join(COLUMNS)} |", f"|---|---|{'---|' * len(COLUMNS)}"]
    lines += [f"| {protocol} | {name} | {' | '.join(f'{row[key]:.3f}' for key in COLUMNS)} |" for name, row in rows]
    groups = ", ".join(
        f"{key} {value:.3f}" for key, value in block["pooled"].items() if key.startswith(("head", "common", "tail"))
    )
    spread = block["interval"]
    ends = "; ".join(
        f"{over} mIoU {spread[over]['mIoU'][0]:.3f} to {spread[over]['mIoU'][1]:.3f}" for over in ("mean", "pooled")
    )
    lines += ["", f"Bootstrap over scenes, {spread['level']:.0%}: {ends}. Pooled: {groups}."]
    return "\n".join(lines)


def _blocks(tables: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(tables["variant"], tables), *tables["variants"].items()]


def _scene_rows(tables: dict[str, Any]) -> Iterable[Sequence[object]]:
    for variant, block in _blocks(tables):
        for answers, part in (("model", block), ("bound", block["ground_truth_bound"])):
            rows = [*part["scenes"].items(), ("mean", part["mean"]), ("pooled", part["pooled"])]
            for name, row in rows:
                yield tables["protocol"], variant, answers, name, *(row[key] for key in COLUMNS)


def _class_rows(tables: dict[str, Any]) -> Iterable[Sequence[object]]:
    for variant, block in _blocks(tables):
        for name, row in block["pooled"]["per_class"].items():
            yield tables["protocol"], variant, name, row["IoU"], row["recall"], row["count"]


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A head and rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
