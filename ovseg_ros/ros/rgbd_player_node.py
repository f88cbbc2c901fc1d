"""Executable ``rgbd_player_node``: plays a recording as a camera would. See `ovseg_ros.ros.player`."""

from __future__ import annotations

import sys

from ovseg_ros.ros.runtime import Start, run_node


def main(args: list[str] | None = None) -> int:
    """Play until the end, SIGINT or SIGTERM; return the exit status."""
    return run_node(_load, args=args)


def _load() -> Start:
    from ovseg_ros.ros.player import THREADS, PlayerNode

    return Start(PlayerNode, THREADS)


if __name__ == "__main__":
    sys.exit(main())
