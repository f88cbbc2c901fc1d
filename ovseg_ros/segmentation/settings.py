"""Settings of a backend: the defaults of a frozen dataclass, or a YAML file named in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ovseg_ros.errors import OvsegError

T = TypeVar("T")


def read_settings(settings: type[T], variable: str, example: str) -> T:
    """The settings of this process.

    Args:
        settings: a dataclass whose fields all have defaults, of the types that YAML has or a tuple of words.
        variable: of the environment, that may name a file which changes some of them.
        example: the file that shows them all.

    Raises:
        OvsegError: if the file can't be read, or an entry is unknown, of the wrong kind or out of range.
    """
    name = os.environ.get(variable)
    if not name:
        return settings()
    path = Path(name).expanduser()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:150]
        raise OvsegError(f"{variable} names {path}, which can't be read ({reason}): mend or unset it") from error
    defaults = {field.name: field.default for field in fields(settings)}  # type: ignore[arg-type]
    if not isinstance(content, dict | None):
        entry = next(iter(defaults))
        raise OvsegError(f"{path} should hold entries such as `{entry}: {defaults[entry]}`, see {example}")
    return settings(**_checked(path, content or {}, defaults, example))


def _checked(path: Path, content: Mapping[Any, Any], defaults: Mapping[str, object], example: str) -> dict[str, Any]:
    for name, value in content.items():
        if name not in defaults:
            raise OvsegError(f"{path} has an unknown entry {name!r}: there are {', '.join(defaults)}")
        wanted = type(defaults[name])
        fits = _is_list_of_words(value) if wanted is tuple else type(value) is wanted
        if not fits:
            kind = "a list of words" if wanted is tuple else wanted.__name__
            raise OvsegError(f"{name} in {path} is {value!r} and should be {kind}, as in {example}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}


def _is_list_of_words(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)
