"""Which id in the files means which class: class lists, published ones and a recording's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.datasets.files import UINT16_MAX, read_json, write_json
from ovseg_ros.errors import OvsegError

CLASSES_FILE = "classes.json"
LISTS = Path(__file__).parent / "class_lists"


@dataclass(frozen=True)
class ClassTable:
    """Which id in the files means which class.

    Attributes:
        names: class names; label id i + 1 is ``names[i]``.
        labels: id in the files, 0..65535 -> label id; several may mean one class.
        groups: class name -> head, common or tail, where a benchmark publishes such a split.
        ids: whose ids they are, of published lists.
    """

    names: tuple[str, ...]
    labels: Mapping[int, int]
    groups: Mapping[str, str] = field(default_factory=dict)
    ids: str = ""

    @classmethod
    def numbered(cls, names: Iterable[str]) -> ClassTable:
        """The table of files that hold our own label ids."""
        names = tuple(names)
        return cls(names, {label: label for label in range(1, len(names) + 1)})

    def through(self, translation: Mapping[int, int]) -> ClassTable:
        """The table of files whose ids are first to be translated: id there -> id here."""
        labels = {there: self.labels[here] for there, here in translation.items() if here in self.labels}
        return ClassTable(self.names, labels, self.groups, self.ids)

    def labels_of(self, file_ids: NDArray[np.integer]) -> NDArray[np.int32]:
        """Ids as in the files, any shape -> int32 label ids; ids that the table lacks become 0."""
        lookup = np.zeros(UINT16_MAX + 1, dtype=np.int32)
        lookup[list(self.labels)] = list(self.labels.values())
        known = (file_ids >= 0) & (file_ids <= UINT16_MAX)
        return np.where(known, lookup[np.where(known, file_ids, 0)], 0).astype(np.int32)

    def write(self, path: Path) -> None:
        """Write ``{"classes": [{"id": 1, "name": "wall"}, ...]}``."""
        write_json(path, {"classes": [{"id": i, "name": self.names[label - 1]} for i, label in self.labels.items()]})

    @classmethod
    def read(cls, path: Path) -> ClassTable | None:
        """Read what `write` wrote, or a published list; None if there is no such file.

        Raises:
            OvsegError: the file is there but does not hold a class list.
        """
        if not path.exists():
            return None
        data = read_json(path)
        try:
            entries = [(int(entry["id"]), str(entry["name"])) for entry in data["classes"]]
            groups = {str(entry["name"]): str(entry["group"]) for entry in data["classes"] if "group" in entry}
            ids = str(data.get("ids", ""))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise OvsegError(
                f'{path} is not a class list: it must read {{"classes": [{{"id": 1, "name": "wall"}}, ...]}}'
            ) from error
        names = tuple(name for _, name in entries)
        labels = {file_id: label for label, (file_id, _) in enumerate(entries, 1)}
        if any(not 0 < file_id <= UINT16_MAX for file_id in labels):
            raise OvsegError(f"{path} has a class id outside 1..{UINT16_MAX}: 0 is kept for unlabelled")
        if len(set(names)) < len(entries) or len(labels) < len(entries):
            raise OvsegError(f"{path} names a class or an id twice: give each class one entry")
        return cls(names, labels, groups, ids)


def class_list(name: str) -> ClassTable:
    """A published class list: replica51, replica101, nyu40, scannet20 or scannet200.

    Raises:
        OvsegError: there is none of that name.

    Example:
        >>> class_list("replica51").names[:3]
        ('wall', 'ceiling', 'floor')
    """
    known = sorted(path.stem for path in LISTS.glob("*.json"))
    table = ClassTable.read(LISTS / f"{name}.json") if name in known else None
    if table is None:
        raise OvsegError(f"there is no class list {name!r}: choose one of {', '.join(known)}")
    return table


def own_classes(folder: Path, chosen: str | None) -> ClassTable | None:
    """The ``classes.json`` of a recording whose ids no published list counts in; None if it has none.

    Raises:
        OvsegError: a published list was chosen all the same.
    """
    own = ClassTable.read(folder / CLASSES_FILE)
    if chosen is not None:
        raise OvsegError(f"the ids in {folder} are not those of {chosen!r} or any published list: drop the class list")
    return own


def published_classes(folder: Path, chosen: str | None, default: str, ids: tuple[str, ...]) -> ClassTable:
    """The recording's own ``classes.json`` in ``folder``, else the chosen list, else the usual one.

    Args:
        folder: where the recording would keep its own.
        chosen: name of a published list.
        default: the one that most tables use.
        ids: whose ids the files may hold.

    Raises:
        OvsegError: the recording says itself what its ids mean, or the list counts in other ids.
    """
    own = ClassTable.read(folder / CLASSES_FILE)
    if own is not None and chosen is not None:
        raise OvsegError(
            f"{folder / CLASSES_FILE} says what the ids in this recording mean, so they can't be read as {chosen!r}: "
            "drop the class list"
        )
    table = own or class_list(chosen or default)
    if own is None and table.ids not in ids:
        raise OvsegError(
            f"the class list {chosen!r} counts in {table.ids}'s ids, but {folder} in {' or '.join(ids)}'s: choose one "
            f"such as {default!r}"
        )
    return table
