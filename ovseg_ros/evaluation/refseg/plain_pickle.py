"""Pickles of plain containers, strings and numbers; one that asks for any code is refused before it runs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from ovseg_ros.errors import OvsegError


class _PlainUnpickler(pickle.Unpickler):
    """Builds only what needs no import: every function that a pickle could call comes from one."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse."""
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_plain_pickle(path: Path) -> Any:
    """What the file holds: lists, tuples, dictionaries, sets, strings, bytes, numbers, True, False and None.

    Raises:
        OvsegError: if it holds anything else, or is damaged.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except Exception as error:  # Whatever a damaged or hostile file sets off in the unpickler.
        reason = " ".join(str(error).split())[:150]
        raise OvsegError(
            f"{path} is not a pickle of plain lists and dictionaries ({reason}): fetch it again, and trust no other"
        ) from error
