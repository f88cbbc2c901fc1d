"""evaluation_3d/srchvol_eval.py: a Hydra configuration in, a run, its tables out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ovseg_ros.evaluation.search_volume.report import as_markdown
from ovseg_ros.evaluation.search_volume.run import run
from ovseg_ros.evaluation.search_volume.settings import read_search_settings
from ovseg_ros.evaluation.semseg.command import hydra_command
from ovseg_ros.evaluation.semseg.report import RESULTS_FILE

DEFAULT_CONFIG = "rooms_openseg_srchvol"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, or 1 where something failed, with one line that says what."""
    return hydra_command("srchvol_eval.py", DEFAULT_CONFIG, arguments, _evaluate)


def _evaluate(entries: dict[str, Any]) -> tuple[dict[str, Any], str]:
    settings = read_search_settings(entries)
    tables = run(settings)
    return tables, f"{as_markdown(tables)}\n{settings.out / RESULTS_FILE}"
