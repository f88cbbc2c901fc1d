"""Stamped poses -> the camera's pose at the stamp of an image. Plain objects of the messages' shape: no ROS needed."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace as Fake
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros import transforms
from ovseg_ros.ros.poses import OdometryPoses, StampedPoses, offset_matrix
from ovseg_ros.ros.synchronizer import Matched, PoseBracket
from ovseg_ros.sensor_messages import interpolate
from ovseg_ros.types import InvalidFrameError

AHEAD = "-0.5 0.5 -0.5 0.5"
"""The orientation of an optical frame on a body that looks along x."""


def pose(position: Any, rotation: Rotation) -> Fake:
    x, y, z = (float(value) for value in position)
    qx, qy, qz, qw = (float(value) for value in rotation.as_quat())
    return Fake(position=Fake(x=x, y=y, z=z), orientation=Fake(x=qx, y=qy, z=qz, w=qw))


def stamped(content: Fake, frame_id: str = "map") -> Fake:
    return Fake(header=Fake(frame_id=frame_id), pose=content)


def odometry(content: Fake, child: str, frame_id: str = "map") -> Fake:
    return Fake(header=Fake(frame_id=frame_id), child_frame_id=child, pose=Fake(pose=content))


def matched(before: Fake, after: Fake | None = None, fraction: float = 0.0) -> Matched:
    colour = Fake(header=Fake(frame_id="camera"))
    return Matched(0, colour, None, PoseBracket(before, before if after is None else after, fraction))


def yaw(degrees: float) -> Rotation:
    return Rotation.from_euler("z", degrees, degrees=True)


def test_between_two_poses_position_is_on_the_line_and_rotation_on_the_shortest_arc() -> None:
    # The second quaternion has its sign turned: the same rotation, the long way round for naive interpolation.
    after = pose((2, 4, 6), yaw(90))
    turned = after.orientation
    turned.x, turned.y, turned.z, turned.w = -turned.x, -turned.y, -turned.z, -turned.w
    read = StampedPoses("map")
    matrix = read(matched(stamped(pose((1, 0, 0), yaw(0))), stamped(after), 0.25))
    np.testing.assert_allclose(matrix[:3, 3], [1.25, 1.0, 1.5])
    np.testing.assert_allclose(matrix[:3, :3], yaw(22.5).as_matrix(), atol=1e-12)
    np.testing.assert_array_equal(matrix[3], [0, 0, 0, 1])


@given(seed=st.integers(0, 10_000), fraction=st.floats(0.0, 1.0))
@settings(deadline=None, max_examples=25)
def test_a_steady_screw_is_followed_and_stays_rigid(seed: int, fraction: float) -> None:
    rng = np.random.default_rng(seed)
    start, axis = Rotation.random(rng=rng), rng.normal(size=3)
    axis *= rng.uniform(0.0, 3.0) / np.linalg.norm(axis)
    origin, velocity = rng.normal(size=(2, 3))

    def at(time: float) -> np.ndarray:
        matrix = np.eye(4)
        matrix[:3, :3] = (start * Rotation.from_rotvec(axis * time)).as_matrix()
        matrix[:3, 3] = origin + velocity * time
        return matrix

    between = interpolate(at(0.0), at(1.0), fraction)
    np.testing.assert_allclose(between, at(fraction), atol=1e-9)
    np.testing.assert_allclose(between[:3, :3] @ between[:3, :3].T, np.eye(3), atol=1e-9)


def test_a_pose_of_the_stamp_itself_is_taken_as_it_is() -> None:
    message = stamped(pose((1, 2, 3), yaw(30)))
    np.testing.assert_allclose(StampedPoses("map")(matched(message))[:3, 3], [1, 2, 3], rtol=0, atol=0)


@pytest.mark.parametrize("read", [StampedPoses("map"), OdometryPoses("map", np.eye(4))])
def test_poses_in_another_frame_are_refused_with_both_names(read: Any) -> None:
    message = stamped if isinstance(read, StampedPoses) else lambda content, frame: odometry(content, "base", frame)
    with pytest.raises(InvalidFrameError, match=r"'odom' but the map is kept in 'map'.*set frames.map") as caught:
        read(matched(message(pose((0, 0, 0), yaw(0)), "odom")))
    assert caught.value.cause == "pose"


def test_one_bad_pose_of_two_is_refused() -> None:
    bad = stamped(pose((float("nan"), 0, 0), yaw(0)))
    with pytest.raises(InvalidFrameError, match="not finite"):
        StampedPoses("map")(matched(stamped(pose((0, 0, 0), yaw(0))), bad, 0.5))


def test_odometry_of_the_camera_needs_no_offset() -> None:
    read = OdometryPoses("map", None)
    np.testing.assert_allclose(read(matched(odometry(pose((1, 2, 3), yaw(0)), "camera")))[:3, 3], [1, 2, 3])


@pytest.mark.parametrize("child", ["base_link", ""])
def test_odometry_of_the_body_is_never_taken_for_the_camera(child: str) -> None:
    with pytest.raises(InvalidFrameError, match=r"of frame '.*' but the images are of 'camera': set odometry.camera"):
        OdometryPoses("map", None)(matched(odometry(pose((1, 2, 3), yaw(0)), child)))


def test_the_offset_puts_the_camera_on_the_body() -> None:
    offset = offset_matrix([float(word) for word in f"0.1 0 0.3 {AHEAD}".split()])
    read = OdometryPoses("map", offset)
    matrix = read(matched(odometry(pose((1, 2, 0), yaw(90)), "base_link")))
    np.testing.assert_allclose(matrix[:3, 3], [1.0, 2.1, 0.3], atol=1e-12)
    # The optical axis looks where the body looks, along y; the image's down is the world's down.
    np.testing.assert_allclose(matrix[:3, 2], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(matrix[:3, 1], [0, 0, -1], atol=1e-12)


@pytest.mark.parametrize(
    "values", [[1.0], [0.0] * 6, [0.0] * 7, [0, 0, 0, 0, 0, 0, 2.0], [float("nan"), 0, 0, 0, 0, 0, 1.0], [0.0] * 8]
)
def test_an_offset_that_is_no_pose_is_refused_with_an_example(values: list[float]) -> None:
    with pytest.raises(OvsegError, match=r"odometry.camera_offset must be x y z and a unit quaternion.*0.1 0 0.3"):
        offset_matrix(values)


def test_no_offset_is_none() -> None:
    assert offset_matrix([]) is None


def test_tf_without_tf2_ros_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, "have_tf2", lambda: False)
    with pytest.raises(OvsegError, match=r"pose_source tf needs .*tf2_ros.*apt install ros-\$ROS_DISTRO-tf2-ros-py"):
        transforms.require_tf2("pose_source tf")


class LateTransforms:
    """tf2_ros with one transform that is there from a moment on."""

    class TransformException(Exception):
        pass

    def __init__(self, moment: float) -> None:
        self._moment = moment
        self.lookups = 0
        self.Buffer = lambda: self
        self.TransformListener = lambda _buffer, _node: Fake(unregister=lambda: None)

    def lookup_transform(self, *_: Any) -> Fake:
        self.lookups += 1
        if time.monotonic() < self._moment:
            raise self.TransformException("extrapolation into the future")
        at = pose((1, 2, 3), yaw(0))
        return Fake(transform=Fake(translation=at.position, rotation=at.orientation))


@pytest.mark.parametrize(("age", "waits"), [(0.0, True), (9.9, False)])
def test_an_image_waits_for_its_transform_from_when_it_is_complete(
    age: float, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has waited for the model in the meantime takes no more of its time: another camera's may be there."""
    pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")
    begin = time.monotonic()
    late = LateTransforms(begin + 0.2)
    monkeypatch.setitem(sys.modules, "tf2_ros", late)
    tree = transforms.TransformBuffer(None, "map", timeout=10.0 if waits else 9.0)
    image = Matched(0, Fake(header=Fake(frame_id="camera")), None, None, since=begin - age)
    if waits:
        np.testing.assert_allclose(tree(image)[:3, 3], [1, 2, 3])
        return
    with pytest.raises(InvalidFrameError, match="no transform from 'camera' to 'map'"):
        tree(image)
    assert late.lookups == 1
