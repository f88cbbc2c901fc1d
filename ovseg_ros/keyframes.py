"""Which frames of a camera are worth a slow model: those that show something new."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovseg_ros.errors import OvsegError

MAX_ANGLE = 180.0
NANOSECONDS = 1e9


@dataclass(frozen=True)
class KeyframeConfig:
    """When a frame is a keyframe: as soon as one of the criteria that are on says so. All off: every frame is one.

    Attributes:
        distance: metres that the camera has moved since the last keyframe, by more than this; 0 is off.
        angle: degrees that it has turned since, by more than this; 0 is off.
        period: seconds that have passed since; 0 is off.

    Raises:
        OvsegError: naming the value, the limit and the fix.
    """

    distance: float = 0.0
    angle: float = 0.0
    period: float = 0.0

    def __post_init__(self) -> None:
        for name, value, unit in (("distance", self.distance, "m"), ("period", self.period, "s")):
            if not 0.0 <= value < math.inf:
                raise OvsegError(f"the keyframes' {name} must be at least 0 {unit}, got {value}: 0 turns it off")
        if not 0.0 <= self.angle < MAX_ANGLE:
            raise OvsegError(
                f"the keyframes' angle must be 0 to less than {MAX_ANGLE:g} degrees, got {self.angle}: 0 turns it off"
            )

    @property
    def every_frame(self) -> bool:
        """Whether no criterion is on."""
        return not (self.distance or self.angle or self.period)


EVERY_FRAME = KeyframeConfig()


class KeyframeSelector:
    """Chooses the keyframes of one camera; several cameras take one selector each.

    `due` only asks. A frame becomes the last keyframe with `accept`, once it is in the map: after one that turned out
    to be damaged, the next one is still due.

    Example:
        >>> selector = KeyframeSelector(KeyframeConfig(distance=0.5, period=10.0))
        >>> selector.accept(np.eye(4), stamp_ns=0)
        >>> selector.due(np.eye(4), stamp_ns=5_000_000_000)
        False
    """

    def __init__(self, config: KeyframeConfig) -> None:
        self._config = config
        self._last: tuple[NDArray[np.float64], int] | None = None

    def due(self, pose: NDArray[np.float64], stamp_ns: int) -> bool:
        """Whether this frame is a keyframe.

        Args:
            pose: (4, 4) camera -> world. One that is not finite is due: whoever fuses it says what is wrong with it.
            stamp_ns: one before the last keyframe's means that the recording began again, and is due.
        """
        if self._config.every_frame or self._last is None or not np.isfinite(pose).all():
            return True
        last_pose, last_stamp_ns = self._last
        passed = (stamp_ns - last_stamp_ns) / NANOSECONDS
        if passed < 0.0:
            return True
        return (
            0.0 < self._config.distance < _distance(last_pose, pose)
            or 0.0 < self._config.angle < _angle(last_pose, pose)
            or 0.0 < self._config.period <= passed
        )

    def accept(self, pose: NDArray[np.float64], stamp_ns: int) -> None:
        """Take this frame as the last keyframe."""
        self._last = (pose, stamp_ns)


def _distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Metres between two poses."""
    return float(np.linalg.norm(second[:3, 3] - first[:3, 3]))


def _angle(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Degrees of the rotation between two poses."""
    cosine = (float(np.sum(first[:3, :3] * second[:3, :3])) - 1.0) / 2.0
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
