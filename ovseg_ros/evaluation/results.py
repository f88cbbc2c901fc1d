"""What the commands of this room print, for people and for machines."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from typing import Any

from ovseg_ros.errors import OvsegError


def show(
    score: Callable[[argparse.Namespace], dict[str, Any]],
    options: argparse.Namespace,
    as_text: Callable[[dict[str, Any]], str],
) -> int:
    """Print what comes of ``options``, as JSON if they say ``json``, or why nothing does; return the exit status."""
    try:
        results = score(options)
    except OvsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(without_nan(results), indent=1) if options.json else as_text(results))
    return 0


def without_nan(value: Any) -> Any:
    """The same structure with None for NaN, which JSON can't say."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_nan(entry) for entry in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
