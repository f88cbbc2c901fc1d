"""Several cameras of one map: names, topics, offsets on the robot, and that each keeps to its own messages."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace as Fake

import numpy as np
import pytest

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.camera import MAX_CAMERAS, Camera, Matching, camera_names, check_backend, topic_of
from ovseg_ros.ros.synchronizer import Stream

MATCHING = Matching(slop_ns=10**7, pose_gap_ns=None, queue_size=5)


def at(milliseconds: int, **content: object) -> Fake:
    stamp = Fake(sec=milliseconds // 1000, nanosec=milliseconds % 1000 * 1_000_000)
    return Fake(header=Fake(stamp=stamp), **content)


def test_a_camera_has_its_own_topics_and_the_one_without_a_name_those_of_today() -> None:
    assert camera_names(["front", "rear_2"]) == ("front", "rear_2")
    assert topic_of("front", "rgb/image") == "front/rgb/image"
    assert camera_names([""]) == ("",)
    assert topic_of("", "rgb/image") == "rgb/image"


@pytest.mark.parametrize("names", [[], ["front", "front"], [f"c{i}" for i in range(MAX_CAMERAS + 1)]])
def test_cameras_must_be_some_different_names(names: list[str]) -> None:
    with pytest.raises(OvsegError, match=r"cameras must be 1 to 16 different names.*write \[front, rear\]"):
        camera_names(names)


def test_a_model_that_follows_one_camera_gets_no_others() -> None:
    check_backend(Fake(follows_one_camera=True), [""])
    check_backend(Fake(), ["front", "rear"])
    with pytest.raises(OvsegError, match="cameras names 2: name one, or"):
        check_backend(Fake(follows_one_camera=True), ["front", "rear"])


@pytest.mark.parametrize("name", ["2nd", "front camera", "front/left", "~front", "vorn_ü", "front__left"])
def test_a_name_that_cannot_begin_a_topic_is_refused(name: str) -> None:
    with pytest.raises(OvsegError, match=f"a camera can't be called '{name}'"):
        camera_names(["rear", name])


def test_cameras_of_one_stamp_do_not_share_depth_or_calibration_or_counts() -> None:
    drops: Counter[str] = Counter()
    front, rear = (
        Camera(name, MATCHING, rectified=False, on_drop=lambda _, __, name=name: drops.update([name]))
        for name in ("front", "rear")
    )
    front.calibrate(at(0, name="front info"))
    assert front.add(Stream.DEPTH, at(100)) == []
    assert rear.add(Stream.COLOUR, at(100)) == []
    (complete,) = front.add(Stream.COLOUR, at(100, name="front"))
    assert complete[0].colour.name == "front"
    assert complete[1].name == "front info"
    (other,) = rear.add(Stream.DEPTH, at(100))
    assert other[1] is None
    assert not drops
    rear.add(Stream.COLOUR, at(200))
    rear.add(Stream.DEPTH, at(300))
    assert drops == {"rear": 1}


def test_each_camera_sits_elsewhere_on_the_robot() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")
    from ovseg_ros.ros.pose_sources import camera_offsets

    offsets = camera_offsets("0.1 0 0.3 0 0 0 1; -0.2 0 0.3 0 0 1 0", ["front", "rear"])
    np.testing.assert_allclose(offsets["front"][:3, 3], [0.1, 0, 0.3])
    np.testing.assert_allclose(np.diag(offsets["rear"]), [-1, -1, 1, 1])
    assert camera_offsets(" ", ["front", "rear"]) == {"front": None, "rear": None}
    with pytest.raises(OvsegError, match="has 1 poses but there are 2 cameras: write one for each"):
        camera_offsets("0 0 0 0 0 0 1", ["front", "rear"])
