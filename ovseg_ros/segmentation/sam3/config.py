"""Settings of the SAM 3 backend: the defaults, or a YAML file named in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ovseg_ros.errors import OvsegError

CONFIG_VARIABLE = "OVSEG_SAM3_CONFIG"
EXAMPLE = "config/backends/sam3.yaml"
DTYPES = ("auto", "float32", "bfloat16")
PROBABILITIES = ("threshold", "stuff_threshold", "label_threshold", "mask_overlap")


@dataclass(frozen=True)
class Sam3Config:
    """What the backend is made of. Named in ``OVSEG_SAM3_CONFIG``, a YAML file may change any of it.

    Attributes:
        weights: hub id, or the folder of a model in the format of transformers (a fine-tuned one too).
        vocabulary: what is looked for at first: ``household``, another name in config/vocabularies, or a YAML file.
        threshold: score (query times presence) from which a mask counts as an instance; 0.5 is that of the authors.
        stuff_threshold: presence from which the dense head is asked where concepts of stuff are.
        label_threshold: score from which a pixel gets a label.
        mask_overlap: of two masks of one concept with a larger intersection over union, the better one is kept.
        prompts_at_once: prompts that go through the model together; more need more memory.
        dtype: in which the model computes: float32, bfloat16, or auto (bfloat16 on a GPU).
    """

    weights: str = "facebook/sam3"
    vocabulary: str = "household"
    threshold: float = 0.5
    stuff_threshold: float = 0.1
    label_threshold: float = 0.25
    mask_overlap: float = 0.5
    prompts_at_once: int = 4
    dtype: str = "auto"

    def __post_init__(self) -> None:
        for name in PROBABILITIES:
            value = getattr(self, name)
            if not 0.0 < value < 1.0:
                raise OvsegError(f"{name} of SAM 3 must lie between 0 and 1, got {value}: see {EXAMPLE}")
        if self.prompts_at_once < 1:
            raise OvsegError(f"prompts_at_once of SAM 3 must be at least 1, got {self.prompts_at_once}: 4 suits most")
        if self.dtype not in DTYPES:
            raise OvsegError(f"dtype of SAM 3 is {self.dtype!r}: choose one of {', '.join(DTYPES)}")


def read_config() -> Sam3Config:
    """The settings of this process.

    Raises:
        OvsegError: if the file can't be read, or an entry is unknown, of the wrong kind or out of range.
    """
    name = os.environ.get(CONFIG_VARIABLE)
    if not name:
        return Sam3Config()
    path = Path(name).expanduser()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:150]
        raise OvsegError(f"{CONFIG_VARIABLE} names {path}, which can't be read ({reason}): mend or unset it") from error
    if not isinstance(content, dict | None):
        raise OvsegError(f"{path} should hold entries such as `weights: facebook/sam3`, see {EXAMPLE}")
    return Sam3Config(**_checked(path, content or {}))


def _checked(path: Path, content: Mapping[Any, Any]) -> dict[str, Any]:
    kinds = {field.name: type(field.default) for field in fields(Sam3Config)}
    for name, value in content.items():
        if name not in kinds:
            raise OvsegError(f"{path} has an unknown entry {name!r}: there are {', '.join(kinds)}")
        if type(value) is not kinds[name]:
            raise OvsegError(f"{name} in {path} is {value!r} and should be {kinds[name].__name__}, as in {EXAMPLE}")
    return dict(content)
