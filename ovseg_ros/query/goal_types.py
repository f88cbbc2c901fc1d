"""What a robot needs of a place to stand in, and what such a place is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import OvsegError
from ovseg_ros.query.directions import RayMatch
from ovseg_ros.query.ground import STEP
from ovseg_ros.query.matches import Match


@dataclass(frozen=True)
class GoalConfig:
    """What the robot needs.

    Attributes:
        clearance: metres from the middle of the robot to whatever isn't free, there and on the way.
        min_distance: metres on the ground from the robot to the nearest of the thing, at least.
        max_distance: the same, at most.
        camera_height: metres above the floor from which the thing must be in sight.
        robot_height: metres above the floor that must be free; what is below STEP doesn't count.

    Raises:
        OvsegError: naming the value, the limit and the fix.
    """

    clearance: float = 0.3
    min_distance: float = 0.5
    max_distance: float = 2.0
    camera_height: float = 1.0
    robot_height: float = 1.5

    def __post_init__(self) -> None:
        limits = {
            "clearance": (0.0, 5.0, "0.3 suits a robot half a metre wide"),
            "min_distance": (0.0, 20.0, "0.5 keeps a thing before the camera"),
            "max_distance": (0.1, 20.0, "2 lets it be seen well"),
            "camera_height": (0.05, 5.0, "measure it from the floor"),
            "robot_height": (2 * STEP, 5.0, "measure it from the floor"),
        }
        for name, (least, most, fix) in limits.items():
            if not least <= getattr(self, name) <= most:
                raise OvsegError(f"{name} must be {least:g} to {most:g} m, got {getattr(self, name)}: {fix}")
        if self.min_distance >= self.max_distance:
            raise OvsegError(
                f"min_distance must be below max_distance, {self.max_distance:g} m, got {self.min_distance:g}: "
                "raise max_distance"
            )
        if self.camera_height > self.robot_height:
            raise OvsegError(
                f"camera_height must be at most robot_height, {self.robot_height:g} m, got {self.camera_height:g}: "
                "the robot is as high as its camera"
            )


@dataclass(frozen=True)
class Located:
    """A place to stand.

    Attributes:
        found: what it faces; a RayMatch was seen only from afar: it is somewhere in the direction that is faced.
        position: x, y, z in the map frame, metres; z is the floor.
        yaw: radians about z; x of the robot (REP-103) points at what is in sight of the thing, or along the rays.
        clearance: metres to whatever isn't free, at least.
        distance: metres on the ground to the nearest of the thing, or to where the rays start.
        path: metres that the robot has to go; None where it isn't known where the robot is: nobody has looked
            whether there is a way.
        visible: share of the thing's voxels that is in sight, hidden by nothing else.
    """

    found: Match | RayMatch
    position: tuple[float, float, float]
    yaw: float
    clearance: float
    distance: float
    path: float | None
    visible: float

    @property
    def pose(self) -> npt.NDArray[np.float64]:
        """(4, 4) float64, robot -> map."""
        pose = np.eye(4)
        pose[:2, :2] = [[math.cos(self.yaw), -math.sin(self.yaw)], [math.sin(self.yaw), math.cos(self.yaw)]]
        pose[:3, 3] = self.position
        return pose

    @property
    def sentence(self) -> str:
        """The answer in words."""
        x, y, _ = self.position
        way = "no robot to reach it was named" if self.path is None else f"{self.path:.1f} m to go"
        where = f"stand at ({x:.2f}, {y:.2f}), {self.clearance:.2f} m clear, {way}"
        if isinstance(self.found, RayMatch):
            return f"{self.found.query!r} was seen only from afar, in this direction: {where}"
        return f"{self.found.query!r} is {self.distance:.1f} m ahead: {where}"


class NoGoalError(OvsegError):
    """There is nowhere to stand.

    Attributes:
        found: the best of what fits the query; None if nothing does.
    """

    def __init__(self, sentence: str, found: Match | RayMatch | None = None) -> None:
        super().__init__(sentence)
        self.found = found
