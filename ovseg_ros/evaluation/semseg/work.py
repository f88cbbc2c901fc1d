"""One scene of a run, from its name to its files: what every launcher runs, in whatever process."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.openlex3d import check_openlex3d, write_openlex3d
from ovseg_ros.evaluation.scene import RecordedScene
from ovseg_ros.evaluation.semseg.clouds import write_clouds
from ovseg_ros.evaluation.semseg.data import open_scene
from ovseg_ros.evaluation.semseg.features import FeatureCache
from ovseg_ros.evaluation.semseg.result import SceneResult
from ovseg_ros.evaluation.semseg.scene_run import Progress, Segment, run_scene
from ovseg_ros.evaluation.semseg.settings import RunSettings
from ovseg_ros.files import write_text
from ovseg_ros.segmentation import load_segmenter, resolve_device
from ovseg_ros.types import LanguageSpace, PromptedSegmenter, Segmenter, segment
from ovseg_ros.vocabulary import Vocabulary

S = TypeVar("S", bound=RunSettings)
SCENES, ERROR_FILE = "scenes", "error.txt"


@dataclass(frozen=True)
class OpenedScene:
    """A scene beside the model that is to see it.

    Attributes:
        scene: frames and truth.
        segment: image -> features, kept on disk where the settings say so.
        space: the features' language.
        device: where maps live.
    """

    scene: RecordedScene
    segment: Segment
    space: LanguageSpace
    device: str


def scene_folder(settings: RunSettings, name: str) -> Path:
    """Where a scene's files go."""
    return settings.out / SCENES / name


def export_folder(settings: RunSettings, kind: str, name: str) -> Path:
    """Where a scene's files for another benchmark go."""
    return settings.out / kind / name


def finished(settings: RunSettings, name: str) -> SceneResult | None:
    """The scene's result, if it was finished under these settings and exported as they say."""
    if not all(export_folder(settings, kind, name).is_dir() for kind in settings.export):
        return None
    result = SceneResult.read(scene_folder(settings, name))
    return result if result is not None and result.settings == settings.numbers_depend_on() else None


@contextmanager
def opened(settings: RunSettings, name: str) -> Iterator[OpenedScene]:
    """A scene and the model; meanwhile numbers don't depend on which process computes them.

    Raises:
        OvsegError: what is wrong with the scene or the model.
    """
    device = resolve_device(settings.device)
    with _repeatable(settings):
        scene = open_scene(settings.dataset, name)
        segmenter = _segmenter(settings.backend, device)
        if settings.export:
            check_openlex3d(segmenter.space)
        prompted = isinstance(segmenter, PromptedSegmenter)
        if isinstance(segmenter, PromptedSegmenter):
            segmenter.look_for(Vocabulary.from_names(scene.class_names))
        see: Segment = partial(segment, segmenter)
        if settings.features is not None:
            see = FeatureCache(segmenter, settings.features, scene.class_names if prompted else ())
        yield OpenedScene(scene, see, segmenter.space, device)


def do_scene(settings: RunSettings, name: str, progress: Progress = iter) -> None:
    """Evaluate a scene and write its files; the numbers last, so that what is there is whole.

    Raises:
        OvsegError: what is wrong with the scene.
    """
    with opened(settings, name) as ready:
        run = run_scene(ready.scene, ready.segment, ready.space, settings, ready.device, progress)
    folder = scene_folder(settings, name)
    if settings.clouds:
        write_clouds(folder, run)
    for kind in settings.export:
        write_openlex3d(export_folder(settings, kind, name), run.semantic_map, ready.space)
    run.result.write(folder)


def attempt_scene(settings: RunSettings, name: str, progress: Progress = iter) -> str | None:
    """`do_scene`; what went wrong in one line, or None."""
    return attempt(do_scene, settings, name, progress)


def attempt(do: Callable[[S, str, Progress], None], settings: S, name: str, progress: Progress) -> str | None:
    """Do a scene; what went wrong in one line, or None. A defect's traceback goes into a file beside its results."""
    file = scene_folder(settings, name) / ERROR_FILE
    try:
        do(settings, name, progress)
    except OvsegError as error:
        return str(error)
    except Exception as error:
        write_text(file, traceback.format_exc())
        return f"{type(error).__name__}: {error} (see {file})"
    file.unlink(missing_ok=True)
    return None


@lru_cache(maxsize=1)
def _segmenter(backend: str, device: str) -> Segmenter:
    return load_segmenter(backend, device)


@contextmanager
def _repeatable(settings: RunSettings) -> Iterator[None]:
    """Numbers that don't depend on which process computes them, nor on what it did before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    random.seed(settings.seed)
    np.random.seed(settings.seed)
    torch.manual_seed(settings.seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
