"""A whole run: scenes that aren't finished are done, then all finished ones are tabulated."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from tqdm import tqdm

from ovseg_ros.evaluation.semseg.data import scene_names
from ovseg_ros.evaluation.semseg.launch import Job, Settings, launch
from ovseg_ros.evaluation.semseg.report import write_report
from ovseg_ros.evaluation.semseg.settings import RunSettings
from ovseg_ros.evaluation.semseg.tables import tabulate
from ovseg_ros.evaluation.semseg.work import attempt_scene, finished

Result = TypeVar("Result")


def run(settings: RunSettings) -> dict[str, Any]:
    """Evaluate, and write the report into ``settings.out``.

    Returns:
        What ``results.json`` holds; scenes that failed are named under "failed" and in no number.

    Raises:
        OvsegError: there are no scenes, none could be evaluated, or what the settings ask for isn't installed.
    """
    results, failed = finish_scenes(settings, finished, attempt_scene)
    tables = tabulate(settings, results, failed)
    write_report(settings.out, tables, results)
    return tables


def finish_scenes(
    settings: Settings, finished: Callable[[Settings, str], Result | None], job: Job[Settings]
) -> tuple[list[Result], dict[str, str]]:
    """Do the scenes that aren't finished.

    Args:
        settings: of the run.
        finished: a scene's result under these settings, None where there is none.
        job: does one scene.

    Returns:
        The results of all finished scenes, and scene -> what went wrong with it, both in the order of the scenes.

    Raises:
        OvsegError: there are no scenes, or what the settings ask for isn't installed.
    """
    names = scene_names(settings.dataset)
    todo = [name for name in names if settings.overwrite or finished(settings, name) is None]
    failed: dict[str, str] = {}
    with tqdm(total=len(names), initial=len(names) - len(todo), unit="scene", disable=None, file=sys.stderr) as bar:
        for name, error in launch(settings, todo, job) if todo else ():
            if error is not None:
                failed[name] = error
                bar.write(f"{name} failed: {error}", file=sys.stderr)
            bar.set_postfix_str(name)
            bar.update()
    results = [result for name in names if name not in failed and (result := finished(settings, name)) is not None]
    return results, {name: failed[name] for name in names if name in failed}
