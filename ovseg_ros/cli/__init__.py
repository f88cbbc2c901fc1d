"""The `ovseg` command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from ovseg_ros.cli.parser import EVALUATION, parse
from ovseg_ros.errors import OvsegError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 (failed, one line says why) or 2 (bad arguments)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == [EVALUATION]:
        # Its words are Hydra's, which has a parser of its own.
        from ovseg_ros.evaluation.semseg.command import main as evaluate

        return evaluate(given[1:])
    options = parse(given)
    try:
        result: dict[str, Any] = options.run(options)
    except OvsegError as error:
        print(f"ovseg {options.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"ovseg {options.verb}: interrupted", file=sys.stderr)
        return 1
    text = result.pop("text")
    try:
        print(json.dumps(result) if options.json else text, flush=True)
    except BrokenPipeError:
        # As `ovseg info MAP | head` does. Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
