"""Stamped poses, and the pose between two of them."""

from __future__ import annotations

from array import array
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.sensor_messages.poses import interpolate, rigid_matrix
from ovseg_ros.types import InvalidFrameError

LONGEST_GAP_NS = 1_000_000_000
"""Poses farther apart are not bridged: localisation was lost, or hung, between them."""


class Trajectory:
    """Poses of one frame in another, by time. Add all, in any order, before asking; 64 bytes each.

    Args:
        name: where they come from, for messages to people.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._added_stamps = array("q")
        self._added_poses = array("d")

    def add(self, stamp_ns: int, position: Any, orientation: Any) -> None:
        """Take a pose: anything with x, y, z, and with x, y, z, w."""
        self._added_stamps.append(stamp_ns)
        self._added_poses.extend(
            (position.x, position.y, position.z, orientation.x, orientation.y, orientation.z, orientation.w)
        )

    def at(self, stamp_ns: int) -> np.ndarray:
        """(4, 4) float64 pose at ``stamp_ns``: position linear, rotation spherical between the two beside it.

        Raises:
            InvalidFrameError: "pose" before the first, after the last, in a gap, or where a pose is no pose.
        """
        stamps, poses = self._sorted
        after = int(np.searchsorted(stamps, stamp_ns))
        if after < len(stamps) and stamps[after] == stamp_ns:
            return rigid_matrix(poses[after, :3], poses[after, 3:])
        if after in (0, len(stamps)):
            side = "before" if after == 0 else "after"
            raise InvalidFrameError(
                "pose", f"{self._name} has no pose {side} the image: record poses for longer than images"
            )
        start, end = int(stamps[after - 1]), int(stamps[after])
        if end - start > LONGEST_GAP_NS:
            raise InvalidFrameError(
                "pose",
                f"{self._name} has a gap of {(end - start) / 1e9:.3g} s around the image, and at most "
                f"{LONGEST_GAP_NS / 1e9:g} s are bridged: publish poses more often",
            )
        first, second = (rigid_matrix(row[:3], row[3:]) for row in poses[after - 1 : after + 1])
        return interpolate(first, second, (stamp_ns - start) / (end - start))

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(N,) stamps and (N, 7) poses in order."""
        stamps = np.array(self._added_stamps, dtype=np.int64)
        order = np.argsort(stamps, kind="stable")
        return stamps[order], np.array(self._added_poses).reshape(-1, 7)[order]
