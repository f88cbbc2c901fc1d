"""`ovseg eval` and evaluation_3d/semseg_eval.py: a Hydra configuration in, a run, its tables out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ovseg_ros
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.results import without_nan
from ovseg_ros.evaluation.semseg.report import RESULTS_FILE, as_text
from ovseg_ros.evaluation.semseg.run import run
from ovseg_ros.evaluation.semseg.settings import read_settings

CONFIGS = Path("evaluation_3d") / "configs"
DEFAULT_CONFIG = "rooms_openseg"

Evaluate = Callable[[dict[str, Any]], tuple[dict[str, Any], str]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, or 1 where something failed, with one line that says what."""
    return hydra_command("ovseg eval", DEFAULT_CONFIG, arguments, _evaluate)


def hydra_command(program: str, config_name: str, arguments: Sequence[str] | None, evaluate: Evaluate) -> int:
    """Run a command that Hydra configures; ``--json`` among its words prints the tables in place of the text.

    Args:
        program: what the command is called in messages.
        config_name: of the configuration that it takes unless it is told another.
        arguments: its words; None takes those of the process.
        evaluate: entries of the configuration -> tables and text.

    Returns:
        The exit status: 0, or 1 where something failed, with one line that says what.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    status = 0

    def job(config: Any) -> None:
        nonlocal status
        status = max(status, _report(program, _entries(config), evaluate, as_json))

    before = sys.argv
    sys.argv = [program, *(word for word in given if word != "--json")]
    try:
        _hydra().main(version_base="1.3", config_path=str(config_folder()), config_name=config_name)(job)()
    except OvsegError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    finally:
        sys.argv = before
    return status


def config_folder() -> Path:
    """Where the configuration files are: beside the package in a checkout, else where they were installed.

    Raises:
        OvsegError: they are nowhere.
    """
    shares = [Path(prefix) / "share" / "ovseg_ros" for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(":")]
    for root in (Path(ovseg_ros.__file__).parents[1], *shares, Path(sys.prefix) / "share" / "ovseg_ros"):
        if (root / CONFIGS).is_dir():
            return root / CONFIGS
    raise OvsegError(f"{CONFIGS} is neither beside the package nor installed: name its folder with --config-dir")


def _hydra() -> Any:
    try:
        import hydra
    except ImportError as error:
        raise OvsegError(
            "the evaluation is configured by Hydra, which isn't installed: pip install hydra-core"
        ) from error
    return hydra


def _entries(config: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    entries: dict[str, Any] = OmegaConf.to_container(config, resolve=True)
    return entries


def _report(program: str, entries: dict[str, Any], evaluate: Evaluate, as_json: bool) -> int:
    try:
        tables, text = evaluate(entries)
    except OvsegError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: interrupted; the same command goes on with the scenes that aren't finished", file=sys.stderr)
        return 1
    print(json.dumps(without_nan(tables)) if as_json else text)
    return 1 if tables["failed"] else 0


def _evaluate(entries: dict[str, Any]) -> tuple[dict[str, Any], str]:
    settings = read_settings(entries)
    tables = run(settings)
    return tables, f"{as_text(tables)}\n\n{settings.out / RESULTS_FILE}"
