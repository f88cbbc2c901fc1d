"""Backends by name. Adding one: a folder beside this file, and a line in BACKENDS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.device import resolve_device
from ovseg_ros.types import LanguageSpace, Referrer, Segmenter
from ovseg_ros.vocabulary_file import VocabularyFile, read_vocabulary

BACKENDS = {
    "openseg": "ovseg_ros.segmentation.openseg.backend",
    "openseg_tf": "ovseg_ros.segmentation.openseg_tf.backend",
    "radseg": "ovseg_ros.segmentation.radseg.backend",
    "sam3": "ovseg_ros.segmentation.sam3.backend",
}
"""Name -> module, imported when it is asked for. The ids of a backend's spaces start with its name."""

REFERRERS = {"rs2sam2": "ovseg_ros.segmentation.rs2sam2.backend"}
"""The same for models that answer expressions about images, and make no features of them."""


@dataclass(frozen=True)
class BackendInfo:
    """What a person needs to know of a backend.

    Attributes:
        name: as in `load_segmenter`.
        installed: whether it would load now.
        weights: where they are, or what is missing.
        licence: of code and weights.
        summary: one line.
    """

    name: str
    installed: bool
    weights: str
    licence: str
    summary: str


class BackendModule(Protocol):
    """The three functions that a backend's module has."""

    def describe(self) -> BackendInfo:
        """What `ovseg backends` shows; loads nothing."""

    def load(self, device: str, vocabulary: VocabularyFile | None = None) -> Segmenter:
        """The segmenter, ready to use on ``cpu`` or ``cuda``, with this vocabulary in place of its own."""

    def language_space(self, space_id: str) -> LanguageSpace:
        """The space with this id, without the image model; OvsegError if the installed weights have another."""


class ReferrerModule(Protocol):
    """The two functions that the module of a referring model has."""

    def describe(self) -> BackendInfo:
        """What `ovseg backends` shows; loads nothing."""

    def load(self, device: str, weights: Path | None) -> Referrer:
        """The referrer, ready to use on ``cpu`` or ``cuda``, from a folder or from where its settings say."""


def load_segmenter(backend: str, device: str = "auto", vocabulary: str = "") -> Segmenter:
    """A backend, ready to segment.

    Args:
        backend: a name in BACKENDS.
        device: ``auto``, ``cpu`` or ``cuda``.
        vocabulary: what it looks for, and what its maps are asked about, as `read_vocabulary` takes it; empty: what
            its settings or its weights say.

    Raises:
        OvsegError: for an unknown backend or device, a vocabulary that can't be read, or weights that can't be loaded.
    """
    module = _module(backend)
    return module.load(resolve_device(device), read_vocabulary(vocabulary) if vocabulary else None)


def load_referrer(backend: str, device: str = "auto", weights: Path | None = None) -> Referrer:
    """A referring model, ready to use.

    Args:
        backend: a name in REFERRERS.
        device: ``auto``, ``cpu`` or ``cuda``.
        weights: folder; where the backend's settings say by default.

    Raises:
        OvsegError: for an unknown backend or device, or weights that can't be loaded.
    """
    if backend not in REFERRERS:
        raise OvsegError(f"there is no referring backend {backend!r}: choose one of {', '.join(REFERRERS)}")
    return cast(ReferrerModule, import_module(REFERRERS[backend])).load(resolve_device(device), weights)


def language_space(space_id: str) -> LanguageSpace:
    """The language space of a saved map, from the id it carries; the same object for the same id.

    Raises:
        OvsegError: if no installed backend has this space.
    """
    return _module(backend_of(space_id)).language_space(space_id)


def backend_of(space_id: str) -> str:
    """The name of the backend whose features a saved map holds, from the id of its space.

    Raises:
        OvsegError: if there is no such backend.
    """
    name = re.split("[-/]", space_id)[0]
    if name not in BACKENDS:
        raise OvsegError(
            f"no backend here has the language space {space_id!r} (there are: {', '.join(BACKENDS)}): "
            "install the version that made the map"
        )
    return name


def backends() -> tuple[BackendInfo, ...]:
    """All backends, installed or not."""
    referrers = (cast(ReferrerModule, import_module(module)) for module in REFERRERS.values())
    return (*(_module(name).describe() for name in BACKENDS), *(referrer.describe() for referrer in referrers))


def _module(name: str) -> BackendModule:
    if name not in BACKENDS:
        raise OvsegError(f"there is no backend {name!r}: choose one of {', '.join(BACKENDS)}")
    return cast(BackendModule, import_module(BACKENDS[name]))
