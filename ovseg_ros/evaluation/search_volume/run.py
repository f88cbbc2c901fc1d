"""A whole run: scenes that aren't finished are done, then all finished ones are tabulated."""

from __future__ import annotations

from typing import Any

from ovseg_ros.evaluation.search_volume.report import write_report
from ovseg_ros.evaluation.search_volume.result import SearchResult
from ovseg_ros.evaluation.search_volume.scene_run import run_scene
from ovseg_ros.evaluation.search_volume.settings import SearchSettings
from ovseg_ros.evaluation.search_volume.tables import tabulate
from ovseg_ros.evaluation.semseg.run import finish_scenes
from ovseg_ros.evaluation.semseg.scene_run import Progress
from ovseg_ros.evaluation.semseg.work import attempt, opened, scene_folder


def run(settings: SearchSettings) -> dict[str, Any]:
    """Evaluate, and write the report into ``settings.out``.

    Returns:
        What ``results.json`` holds; scenes that failed are named under "failed" and in no number.

    Raises:
        OvsegError: there are no scenes, none could be evaluated, or what the settings ask for isn't installed.
    """
    results, failed = finish_scenes(settings, finished, attempt_scene)
    tables = tabulate(settings, results, failed)
    write_report(settings.out, tables)
    return tables


def finished(settings: SearchSettings, name: str) -> SearchResult | None:
    """The scene's result, if it was finished under these settings."""
    result = SearchResult.read(scene_folder(settings, name))
    return result if result is not None and result.settings == settings.numbers_depend_on() else None


def do_scene(settings: SearchSettings, name: str, progress: Progress) -> None:
    """Evaluate a scene and write its file.

    Raises:
        OvsegError: what is wrong with the scene.
    """
    with opened(settings, name) as ready:
        result = run_scene(ready.scene, ready.segment, ready.space, settings, ready.device, progress)
    result.write(scene_folder(settings, name))


def attempt_scene(settings: SearchSettings, name: str, progress: Progress) -> str | None:
    """`do_scene`; what went wrong in one line, or None."""
    return attempt(do_scene, settings, name, progress)
