"""`ovseg eval` and evaluation_3d/semseg_eval.py: a Hydra configuration in, a run, its tables out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ovseg_ros
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.scenes import without_nan
from ovseg_ros.evaluation.semseg.report import RESULTS_FILE, as_text
from ovseg_ros.evaluation.semseg.run import run
from ovseg_ros.evaluation.semseg.settings import read_settings

CONFIGS = Path("evaluation_3d") / "configs"
DEFAULT_CONFIG = "rooms_openseg"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, or 1 where something failed, with one line that says what."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        return _with_hydra([word for word in given if word != "--json"], as_json)
    except OvsegError as error:
        print(f"ovseg eval: {error}", file=sys.stderr)
        return 1


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


def _with_hydra(arguments: Sequence[str], as_json: bool) -> int:
    try:
        import hydra
        from omegaconf import OmegaConf
    except ImportError as error:
        raise OvsegError(
            "the evaluation is configured by Hydra, which isn't installed: pip install hydra-core"
        ) from error
    status = 0

    def job(config: Any) -> None:
        nonlocal status
        entries = OmegaConf.to_container(config, resolve=True)
        status = max(status, _report(entries, as_json))

    before = sys.argv
    sys.argv = ["ovseg eval", *arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=DEFAULT_CONFIG)(job)()
    finally:
        sys.argv = before
    return status


def _report(entries: Any, as_json: bool) -> int:
    try:
        settings = read_settings(entries)
        tables = run(settings)
    except OvsegError as error:
        print(f"ovseg eval: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ovseg eval: interrupted; the same command goes on with the scenes that aren't finished", file=sys.stderr)
        return 1
    print(json.dumps(without_nan(tables)) if as_json else f"{as_text(tables)}\n\n{settings.out / RESULTS_FILE}")
    return 1 if tables["failed"] else 0
