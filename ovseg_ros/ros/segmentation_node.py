"""Executable ``segmentation_node``: the lifecycle node that labels images. See `ovseg_ros.ros.segmenter`."""

from __future__ import annotations

import sys
from typing import Any

from ovseg_ros.ros.runtime import Start, run_node


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; return the exit status."""
    return run_node(_load, args=args)


def _load() -> Start:
    from ovseg_ros.ros.segmenter import THREADS, SegmentationNode

    def create(_stop: Any) -> SegmentationNode:
        return SegmentationNode()

    return Start(create, THREADS)


if __name__ == "__main__":
    sys.exit(main())
