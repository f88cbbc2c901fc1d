"""Objects as tensors for a file, and back, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.mapping.map_object import Record
from ovseg_ros.mapping.owners import NO_OBJECT, PLACES

MAX_ID = 2**31 - 1
"""Ids are int32 in messages."""

_INT, _FLOAT = torch.int64, torch.float32
_COLUMNS: dict[str, tuple[torch.dtype, str, tuple[int, ...]]] = {
    "keys": (_INT, "voxels", ()),
    "ids": (_INT, "voxels", (PLACES,)),
    "hits": (_FLOAT, "voxels", (PLACES,)),
    "chances": (_FLOAT, "voxels", (PLACES,)),
    "numbers": (_INT, "objects", ()),
    "views": (_INT, "objects", ()),
    "first_seen": (_INT, "objects", ()),
    "last_seen": (_INT, "objects", ()),
    "name_rows": (_INT, "scores", ()),
    "names": (_INT, "scores", ()),
    "scores": (torch.float64, "scores", ()),
    "next_id": (_INT, "one", ()),
    "words": (torch.uint8, "text", ()),
}
"""Of each column its type, what it has a row for, and the shape of a row. ``words`` is a JSON list of names, UTF-8."""


def record_columns(records: Mapping[int, Record], next_id: int) -> dict[str, torch.Tensor]:
    """What is known of objects beside their voxels; the inverse of `read_records`."""
    words = sorted({name for record in records.values() for name in record.names})
    scores = [
        (row, words.index(name), total)
        for row, record in enumerate(records.values())
        for name, total in record.names.items()
    ]
    return {
        "numbers": torch.tensor(list(records), dtype=_INT),
        "views": torch.tensor([record.views for record in records.values()], dtype=_INT),
        "first_seen": torch.tensor([record.first_seen for record in records.values()], dtype=_INT),
        "last_seen": torch.tensor([record.last_seen for record in records.values()], dtype=_INT),
        "name_rows": torch.tensor([row for row, _, _ in scores], dtype=_INT),
        "names": torch.tensor([name for _, name, _ in scores], dtype=_INT),
        "scores": torch.tensor([total for _, _, total in scores], dtype=torch.float64),
        "next_id": torch.tensor([next_id], dtype=_INT),
        "words": torch.tensor(list(json.dumps(words).encode()), dtype=torch.uint8),
    }


def read_records(columns: Mapping[str, torch.Tensor]) -> dict[int, Record]:
    """Objects, without their voxels, of all columns of a layer.

    Raises:
        OvsegError: naming what no layer has.
    """
    _check_sizes(columns)
    words = _words(columns["words"])
    _check_values(columns, len(words))
    numbers, views, first, last = (columns[name].tolist() for name in ("numbers", "views", "first_seen", "last_seen"))
    rows, names, scores = (columns[name].tolist() for name in ("name_rows", "names", "scores"))
    records = {number: Record({}, *rest) for number, *rest in zip(numbers, views, first, last, strict=True)}
    for row, name, score in zip(rows, names, scores, strict=True):
        records[numbers[row]].names[words[name]] = score
    if not all(record.names for record in records.values()):
        raise OvsegError("objects without a name: save the map again")
    return records


def _check_sizes(columns: Mapping[str, torch.Tensor]) -> None:
    """Compare names, types and shapes."""
    lengths = {"one": 1}
    wrong = sorted(columns.keys() ^ _COLUMNS.keys())
    for name, column in columns.items():
        dtype, unit, shape = _COLUMNS.get(name, (column.dtype, name, ()))
        rows = lengths.setdefault(unit, len(column) if column.dim() else -1)
        if column.dtype != dtype or tuple(column.shape) != (rows, *shape):
            wrong.append(name)
    if wrong:
        raise OvsegError(f"size or type of the objects' {', '.join(wrong)}: save the map again")


def _check_values(columns: Mapping[str, torch.Tensor], words: int) -> None:
    """Refuse numbers that no layer holds."""
    keys, ids, numbers, next_id = (columns[name] for name in ("keys", "ids", "numbers", "next_id"))
    hits, chances, scores = (columns[name] for name in ("hits", "chances", "scores"))
    ordered = ids.sort(dim=1).values
    owned = ids[ids != NO_OBJECT]
    problems = {
        "the same voxel twice": len(torch.unique(keys)) != len(keys) or (keys < 0).any(),
        "the same object twice": len(torch.unique(numbers)) != len(numbers),
        "an object twice in a voxel": ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_OBJECT)).any(),
        "ids out of range": not 0 <= int(next_id) <= MAX_ID
        or ((numbers < 0) | (numbers >= next_id)).any()
        or ((owned < 0) | (owned >= next_id)).any(),
        "evidence that is negative or not finite": not all(
            (torch.isfinite(column) & (column >= 0)).all() for column in (hits, chances, scores)
        ),
        "objects that were never seen": (columns["views"] < 1).any()
        or (columns["first_seen"] > columns["last_seen"]).any(),
        "names out of range": ((columns["names"] < 0) | (columns["names"] >= words)).any()
        or ((columns["name_rows"] < 0) | (columns["name_rows"] >= len(numbers))).any(),
    }
    found = [problem for problem, present in problems.items() if present]
    if found:
        raise OvsegError(f"its objects have {' and '.join(found)}: save the map again")


def _words(text: torch.Tensor) -> list[str]:
    try:
        words = json.loads(bytes(text.tolist()))
    except ValueError as error:
        raise OvsegError(f"names of objects: {error}: save the map again") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise OvsegError("names of objects: save the map again")
    return words
