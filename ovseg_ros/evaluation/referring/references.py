"""Sentences of published data sets, as users download them: ScanRefer (JSON), Nr3D and Sr3D of ReferIt3D (CSV)."""

from __future__ import annotations

import ast
import csv
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovseg_ros.errors import OvsegError

NR3D_COLUMNS = (
    "assignmentid", "stimulus_id", "utterance", "correct_guess", "speaker_id", "listener_id", "scan_id",
    "instance_type", "target_id", "tokens", "dataset", "mentions_target_class", "uses_object_lang",
    "uses_spatial_lang", "uses_color_lang", "uses_shape_lang",
)  # fmt: skip
SR3D_COLUMNS = (
    "scan_id", "target_id", "distractor_ids", "utterance", "stimulus_id", "coarse_reference_type", "reference_type",
    "instance_type", "anchors_types", "anchor_ids", "tokens", "dataset", "mentions_target_class",
)  # fmt: skip
SCANREFER_KEYS = ("scene_id", "object_id", "object_name", "ann_id", "description")

VIEW_WORDS = frozenset(
    {"front", "behind", "back", "right", "left", "facing", "leftmost", "rightmost", "looking", "across"}
)
"""ReferIt3D calls a sentence view-dependent that has one of these."""

EASY_COUNT = 2
"""ReferIt3D calls a sentence easy when there are so many things of the class at most, the target included."""

_BENCHMARK_CLASSES = (
    "cabinet|bed|chair|sofa|table|door|window|bookshelf|picture|counter|desk|curtain|refrigerator|shower curtain|"
    "toilet|sink|bathtub"
)
BENCHMARK_CLASSES = frozenset(_BENCHMARK_CLASSES.split("|"))
"""ScanRefer counts things of these NYU40 classes apart, and all others as one class."""


@dataclass(frozen=True)
class Reference:
    """One sentence about one thing in a scan.

    Attributes:
        scan: its name, as "scene0011_00".
        target: the object's id in the scan's aggregation file.
        name: of the object, as annotated.
        text: the sentence.
        distractors: how many other things of its class there are, by the data set's own count; None: not known.
        view_dependent: by the data set's own rule; None: it has none.
    """

    scan: str
    target: int
    name: str
    text: str
    distractors: int | None
    view_dependent: bool | None

    @property
    def easy(self) -> bool | None:
        """ReferIt3D's split."""
        return None if self.distractors is None else self.distractors < EASY_COUNT

    @property
    def unique(self) -> bool | None:
        """ScanRefer's split."""
        return None if self.distractors is None else self.distractors == 0


def read_referit3d(path: Path) -> tuple[Reference, ...]:
    """Read nr3d.csv or sr3d.csv; which it is, its columns say.

    As in the published evaluation, sentences are left out that don't mention the target's class, and those of Nr3D from
    which no listener found the target.

    Raises:
        OvsegError: a file that can't be read, a column that is missing, a row that makes no sense.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = set(reader.fieldnames or ())
            expected = SR3D_COLUMNS if "anchor_ids" in columns else NR3D_COLUMNS
            if missing := [name for name in expected if name not in columns]:
                raise OvsegError(
                    f"{path} lacks the columns {', '.join(missing)}: give nr3d.csv or sr3d.csv as published"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeError, csv.Error) as error:
        raise OvsegError(f"{path} can't be read as CSV ({error}): give nr3d.csv or sr3d.csv of ReferIt3D") from error
    read = [_referit3d_row(path, line, row) for line, row in rows]
    return tuple(reference for reference in read if reference)


def read_scanrefer(path: Path, classes: Mapping[str, str] | None = None) -> tuple[Reference, ...]:
    """Read ScanRefer_filtered_val.json or another part.

    Args:
        path: of the file.
        classes: annotated name -> NYU40 class, from `read_nyu40_classes`; without it nobody knows how many things of
            the target's class there are.

    Raises:
        OvsegError: a file that can't be read, or an entry that makes no sense.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OvsegError(f"{path} can't be read as JSON ({error}): give ScanRefer_filtered_val.json") from error
    if not isinstance(entries, list) or not entries:
        raise OvsegError(f"{path} holds no list of descriptions: give ScanRefer_filtered_val.json")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in SCANREFER_KEYS):
            raise OvsegError(
                f"entry {number} of {path} should have the texts {', '.join(SCANREFER_KEYS)}, got {entry!r:.80}"
            )
    objects = {(entry["scene_id"], entry["object_id"]): _benchmark_class(entry, classes) for entry in entries}
    counts = Counter((scan, label) for (scan, _), label in objects.items())
    return tuple(_scanrefer_entry(path, number, entry, classes, counts) for number, entry in enumerate(entries))


def read_nyu40_classes(path: Path) -> dict[str, str]:
    """Annotated name -> NYU40 class, from ScanNet's scannetv2-labels.combined.tsv.

    Raises:
        OvsegError: a file that can't be read or lacks the columns.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["raw_category"]: row["nyu40class"] for row in csv.DictReader(file, delimiter="\t")}
    except (OSError, UnicodeError, csv.Error, KeyError) as error:
        raise OvsegError(
            f"{path} can't be read ({error!r}): give scannetv2-labels.combined.tsv with raw_category and nyu40class"
        ) from error


def _referit3d_row(path: Path, line: int, row: dict[str, Any]) -> Reference | None:
    try:
        heard = _truth(row.get("correct_guess") or "true")
        mentioned = _truth(row["mentions_target_class"])
        # scan-name-number of its class-target-distractor-distractor...
        _, _, count, target, *distractors = row["stimulus_id"].split("-")
        if int(target) != int(row["target_id"]) or len(distractors) != int(count) - 1:
            raise ValueError(f"stimulus_id {row['stimulus_id']!r} disagrees with target_id {row['target_id']!r}")
        tokens = ast.literal_eval(row["tokens"])
        if not isinstance(tokens, list) or not row["utterance"].strip():
            raise ValueError("tokens should be a list, and utterance a sentence")
        return (
            Reference(
                scan=row["scan_id"],
                target=int(target),
                name=row["instance_type"],
                text=row["utterance"],
                distractors=len(distractors),
                view_dependent=not VIEW_WORDS.isdisjoint(tokens),
            )
            if heard and mentioned
            else None
        )
    except (ValueError, SyntaxError, AttributeError, TypeError) as error:
        raise OvsegError(f"line {line} of {path} makes no sense ({error}): download the file again") from error


def _scanrefer_entry(
    path: Path, number: int, entry: dict[str, str], classes: Mapping[str, str] | None, counts: Counter[tuple[str, str]]
) -> Reference:
    if not entry["object_id"].isdigit() or not entry["description"].strip():
        raise OvsegError(f"entry {number} of {path} needs a whole number as object_id and a description: {entry!r:.80}")
    label = _benchmark_class(entry, classes)
    return Reference(
        scan=entry["scene_id"],
        target=int(entry["object_id"]),
        name=entry["object_name"].replace("_", " "),
        text=entry["description"],
        distractors=counts[entry["scene_id"], label] - 1 if classes is not None else None,
        view_dependent=None,
    )


def _benchmark_class(entry: dict[str, str], classes: Mapping[str, str] | None) -> str:
    label = (classes or {}).get(entry["object_name"].replace("_", " "), "")
    return label if label in BENCHMARK_CLASSES else "others"


def _truth(text: str) -> bool:
    if text.strip().lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is neither True nor False")
    return text.strip().lower() == "true"
