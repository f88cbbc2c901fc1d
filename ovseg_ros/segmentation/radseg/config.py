"""Settings of the RADSeg backend: the defaults, or a YAML file named in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from ovseg_ros.errors import OvsegError

CONFIG_VARIABLE = "OVSEG_RADSEG_CONFIG"
DEFAULT_SAM = "facebook/sam-vit-huge"
DTYPES = ("auto", "float32", "bfloat16")
INDOOR_CLASSES = (
    "wall", "floor", "ceiling", "door", "window", "curtain", "cabinet", "shelf", "bookcase", "table", "desk", "chair",
    "sofa", "bed", "pillow", "lamp", "picture", "television", "computer monitor", "sink", "toilet", "bathtub",
    "refrigerator", "oven", "plant", "box", "bag", "person",
)  # fmt: skip


@dataclass(frozen=True)
class RadsegConfig:
    """What the backend is made of. Named in ``OVSEG_RADSEG_CONFIG``, a YAML file may change any of it.

    Attributes:
        weights: a release (``c-radio_v3-b``, see `locate.RELEASES`) or the path of a ``.pth.tar`` or ``.safetensors``.
        crop: side of the sliding windows in pixels; 0 takes the image whole.
        stride: pixels from one window to the next.
        text_model: hub id or folder of the SigLIP2 whose texts are used; empty for the one RADIO learnt from.
        templates: whether a text is put into the 80 sentences of OpenAI's ImageNet prompts and their mean is taken, or
            it is taken as it is.
        dtype: in which the backbone multiplies: float32, bfloat16, or auto (bfloat16 on a GPU).
        compile: whether torch compiles the backbone, which takes minutes once for each image size.
        refine: whether labels of single images are redrawn by SAM's mask decoder (RADSeg+); maps don't use it.
        sam_model: hub id or folder of that SAM.
        classes: what maps are asked about by default.
    """

    weights: str = "c-radio_v3-b"
    crop: int = 336
    stride: int = 224
    text_model: str = ""
    templates: bool = True
    dtype: str = "auto"
    compile: bool = False
    refine: bool = False
    sam_model: str = DEFAULT_SAM
    classes: tuple[str, ...] = INDOOR_CLASSES


def read_config() -> RadsegConfig:
    """The settings of this process.

    Raises:
        OvsegError: if the file can't be read, or an entry is unknown or of the wrong kind.
    """
    name = os.environ.get(CONFIG_VARIABLE)
    if not name:
        return RadsegConfig()
    path = Path(name).expanduser()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:150]
        raise OvsegError(f"{CONFIG_VARIABLE} names {path}, which can't be read ({reason}): mend or unset it") from error
    if not isinstance(content, dict | None):
        raise OvsegError(f"{path} should hold entries such as `weights: c-radio_v3-b`, see config/backends/radseg.yaml")
    return _checked(path, content or {})


def _checked(path: Path, content: Mapping[Any, Any]) -> RadsegConfig:
    defaults = {field.name: field.default for field in fields(RadsegConfig)}
    for name, value in content.items():
        if name not in defaults:
            raise OvsegError(f"{path} has an unknown entry {name!r}: there are {', '.join(defaults)}")
        wanted = type(defaults[name])
        fits = _is_list_of_words(value) if wanted is tuple else type(value) is wanted
        if not fits:
            kind = "a list of words" if wanted is tuple else wanted.__name__
            raise OvsegError(f"{name} in {path} is {value!r} and should be {kind}, as in config/backends/radseg.yaml")
    if content.get("dtype", "auto") not in DTYPES:
        raise OvsegError(f"dtype in {path} is {content['dtype']!r}: choose one of {', '.join(DTYPES)}")
    entries: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }
    return RadsegConfig(**entries)


def _is_list_of_words(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)
