"""Where the robot of a request is. Plain objects of the messages' shape: no ROS needed."""

from __future__ import annotations

from types import SimpleNamespace as Fake

import numpy as np
import pytest

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros import robot
from ovseg_ros.ros.robot import RobotPositions

PARAMETERS = {"frames.map": "map", "sync.tf_timeout": 0.5}


def stamped(frame_id: str, x: float = 1.0) -> Fake:
    header = Fake(frame_id=frame_id, stamp=Fake(sec=3, nanosec=7))
    return Fake(header=header, pose=Fake(position=Fake(x=x, y=2.0, z=0.5)))


class Buffer:
    """Listens to transforms: ``base`` is turned by 90 degrees and 10 m away."""

    made = 0

    def __init__(self, node: object, map_frame: str, timeout: float) -> None:
        type(self).made += 1
        assert (node, map_frame, timeout) == ("node", "map", 0.5)

    def lookup(self, frame: str, stamp_ns: int) -> np.ndarray:
        assert (frame, stamp_ns) == ("base", 3_000_000_007)
        return np.array([[0, -1, 0, 10], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def test_a_pose_in_the_map_frame_is_taken_as_it_is_and_an_empty_frame_is_unknown() -> None:
    positions = RobotPositions("node", PARAMETERS)
    assert positions.position(stamped("map")) == (1.0, 2.0, 0.5)
    assert positions.position(stamped("", x=float("nan"))) is None


def test_another_frame_goes_through_tf_which_is_listened_to_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robot, "have_tf2", lambda: True)
    monkeypatch.setattr(robot, "TransformBuffer", Buffer)
    positions = RobotPositions("node", PARAMETERS)
    assert Buffer.made == 0
    for _ in range(2):
        assert positions.position(stamped("base")) == (8.0, 1.0, 0.5)
    assert Buffer.made == 1


def test_another_frame_without_tf_is_refused_with_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robot, "have_tf2", lambda: False)
    with pytest.raises(OvsegError, match=r"in frame 'base' but the map is kept in 'map'.*tf2-ros-py"):
        RobotPositions("node", PARAMETERS).position(stamped("base"))


def test_a_pose_that_is_not_finite_is_refused() -> None:
    with pytest.raises(OvsegError, match="isn't finite"):
        RobotPositions("node", PARAMETERS).position(stamped("map", x=float("inf")))
