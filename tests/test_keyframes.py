"""Keyframes: which frames a slow model sees, from the rule itself to the queue of mapping_node."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_ros.datasets import open_sequence, write_rosbag, write_sequence
from ovseg_ros.errors import OvsegError
from ovseg_ros.keyframes import KeyframeConfig, KeyframeSelector
from ovseg_ros.mapping import MappingConfig
from ovseg_ros.pipeline import PosedSequence, build_map
from ovseg_ros.ros.health import Health
from ovseg_ros.ros.parameters import MAPPING_PARAMETERS
from ovseg_ros.ros.session import MapSession
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import Intrinsics, RgbdFrame, Segmentation
from ovseg_ros.vocabulary import Vocabulary

SECOND = 10**9
EVENTUALLY = 20.0


def pose(x: float = 0.0, degrees: float = 0.0) -> np.ndarray:
    """A camera ``x`` metres along the world's x, turned about the world's z."""
    turned = np.eye(4)
    turn = math.radians(degrees)
    turned[:2, :2] = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    turned[0, 3] = x
    return turned


def chosen(config: KeyframeConfig, frames: list[tuple[np.ndarray, float]]) -> list[int]:
    """Which of these frames, a pose and seconds each, are keyframes."""
    selector = KeyframeSelector(config)
    taken = []
    for index, (where, seconds) in enumerate(frames):
        stamp_ns = round(seconds * SECOND)
        if selector.due(where, stamp_ns):
            selector.accept(where, stamp_ns)
            taken.append(index)
    return taken


def test_each_criterion_counts_from_the_last_keyframe() -> None:
    walk = [(pose(x=0.2 * step), step) for step in range(6)]
    assert chosen(KeyframeConfig(distance=0.3), walk) == [0, 2, 4]
    turn = [(pose(degrees=8.0 * step), step) for step in range(6)]
    assert chosen(KeyframeConfig(angle=15.0), turn) == [0, 2, 4]
    stand = [(pose(), 0.5 * step) for step in range(6)]
    assert chosen(KeyframeConfig(period=1.5), stand) == [0, 3]
    assert chosen(KeyframeConfig(), stand) == [0, 1, 2, 3, 4, 5]


def test_one_criterion_is_enough_and_one_that_is_off_says_nothing() -> None:
    frames = [(pose(), 0), (pose(x=1.0), 1), (pose(x=1.0, degrees=30.0), 2), (pose(x=1.0, degrees=30.0), 9)]
    assert chosen(KeyframeConfig(distance=0.5, angle=10.0, period=5.0), frames) == [0, 1, 2, 3]
    assert chosen(KeyframeConfig(distance=0.5), frames) == [0, 1]
    assert chosen(KeyframeConfig(angle=10.0), frames) == [0, 2]
    assert chosen(KeyframeConfig(period=5.0), frames) == [0, 3]


def test_there_and_back_again_is_no_motion() -> None:
    frames = [(pose(x=x), seconds) for seconds, x in enumerate((0.0, 0.4, 0.0, -0.4, -0.6))]
    assert chosen(KeyframeConfig(distance=0.5), frames) == [0, 4]


@settings(deadline=None, max_examples=50)
@given(st.floats(0.0, 179.0), st.floats(-1e3, 1e3), st.integers(0, 2**32 - 1))
def test_distance_and_angle_are_those_of_the_motion_in_any_frame(degrees: float, x: float, seed: int) -> None:
    """Both stay as they are when the world is chosen anew."""
    generator = np.random.default_rng(seed)
    world = np.eye(4)
    world[:3, :3] = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    world[:3, :3] *= np.linalg.det(world[:3, :3])
    world[:3, 3] = generator.uniform(-100, 100, 3)
    for name, moved, by in (("angle", pose(degrees=degrees), degrees), ("distance", pose(x=x), abs(x))):
        for threshold, due in ((by + 1e-3, False), (by - 1e-3, True)):
            if threshold > 0.0:
                selector = KeyframeSelector(KeyframeConfig(**{name: threshold}))
                selector.accept(world, 0)
                assert selector.due(world @ moved, 1) is due


def test_a_recording_that_restarts_begins_anew() -> None:
    assert chosen(KeyframeConfig(distance=1.0), [(pose(), 5), (pose(), 6), (pose(), 1), (pose(), 2)]) == [0, 2]
    assert chosen(KeyframeConfig(period=4.0), [(pose(), 100), (pose(), 1), (pose(), 4), (pose(), 5)]) == [0, 1, 3]


def test_a_pose_that_is_none_is_left_to_whoever_fuses_it() -> None:
    selector = KeyframeSelector(KeyframeConfig(distance=1.0))
    selector.accept(pose(), 0)
    assert selector.due(np.full((4, 4), np.nan), SECOND)
    assert not selector.due(pose(), 2 * SECOND)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"distance": -0.1}, "distance must be at least 0 m, got -0.1"),
        ({"distance": math.nan}, "distance must be at least 0 m"),
        ({"period": math.inf}, "period must be at least 0 s"),
        ({"angle": 180.0}, "angle must be 0 to less than 180 degrees, got 180.0: 0 turns it off"),
    ],
)
def test_limits_are_named(given_: dict[str, float], words: str) -> None:
    with pytest.raises(OvsegError, match=words):
        KeyframeConfig(**given_)


class Backend:
    """Constant features; remembers what it was given, and ``meanwhile`` happens at each image."""

    id = "one-word/1"
    logit_scale = 10.0
    same_meaning = 0.8
    vocabulary = Vocabulary.from_names(["wall"])

    def __init__(self) -> None:
        self.space = self
        self.seen: list[int] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        self.seen.append(int(rgb[0, 0, 0]))
        self.meanwhile()
        return Segmentation(torch.ones(3, 2, 2), self.id)

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        return torch.eye(3)[:1].repeat(len(texts), 1)

    def align(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(features, dim=1)


def frame(number: int, x: float, depth: float = 2.0) -> RgbdFrame:
    """A wall 2 m ahead of a camera at ``x``; the frame's number is its colour, and its stamp in seconds."""
    return RgbdFrame(
        rgb=torch.full((4, 4, 3), number, dtype=torch.uint8),
        depth=torch.full((4, 4), depth),
        intrinsics=Intrinsics(4.0, 4.0, 1.5, 1.5, 4, 4),
        pose=torch.from_numpy(pose(x)),
        stamp_ns=number * SECOND,
    )


def test_the_model_sees_keyframes_only() -> None:
    backend = Backend()
    frames = [frame(number, x=0.2 * number) for number in range(6)]
    _, report = build_map(frames, backend, MappingConfig(), keyframes=KeyframeConfig(distance=0.3))
    assert backend.seen == [0, 2, 4]
    assert (report.frames, report.passed_over, report.skipped) == (3, 3, {})


def test_a_keyframe_that_is_damaged_is_made_up_for_by_the_next() -> None:
    backend = Backend()
    frames = [frame(0, 0.0), frame(1, 1.0, depth=math.nan), frame(2, 1.0), frame(3, 1.0)]
    _, report = build_map(frames, backend, MappingConfig(), keyframes=KeyframeConfig(distance=0.5))
    assert report.skipped == {"no_depth": 1}
    assert (report.frames, report.passed_over) == (2, 1)
    assert backend.seen[-1] == 2


def test_what_is_passed_over_is_not_even_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = RoomSequence(seed=3, frames=6, width=32, height=24)
    rendered: list[int] = []
    view = sequence.view
    monkeypatch.setattr(sequence, "view", lambda index: rendered.append(index) or view(index))
    build_map(sequence, Backend(), MappingConfig(), keyframes=KeyframeConfig(period=0.25))
    assert rendered == [0, 3]


@pytest.mark.parametrize("layout", ["rooms", "replica", "scannet", "posed_rgbd", "rosbag"])
def test_a_recording_knows_the_poses_and_stamps_of_its_frames(layout: str, tmp_path: Path) -> None:
    sequence: Any = RoomSequence(seed=3, frames=3, width=32, height=24)
    if layout == "rosbag":
        write_rosbag(iter([sequence[index] for index in range(3)]), tmp_path / "bag")
        sequence = open_sequence(tmp_path / "bag")
    elif layout != "rooms":
        frames = (sequence[index] for index in range(3))
        write_sequence(frames, None, tmp_path / "room", layout)
        sequence = open_sequence(tmp_path / "room")
    assert isinstance(sequence, PosedSequence)
    for index in range(3):
        where, stamp_ns = sequence.pose_at(index)
        np.testing.assert_array_equal(where, sequence[index].pose.numpy())
        assert stamp_ns == sequence[index].stamp_ns


@pytest.mark.parametrize("backend", ["sam3", "radseg"])
def test_the_overlays_for_slow_models_are_within_limits(backend: str, root: Path) -> None:
    overlay = yaml.safe_load((root / "config" / f"{backend}.yaml").read_text())["/**"]["ros__parameters"]
    specs = {spec.name: spec for spec in MAPPING_PARAMETERS}
    assert overlay.pop("backend") == backend
    assert overlay["mapping"] == {"queue_size": 1}
    values = {f"{group}.{name}": value for group, part in overlay.items() for name, value in part.items()}
    assert {"keyframes.distance", "keyframes.angle", "keyframes.period"} < set(values)
    assert [problem for name, value in values.items() if (problem := specs[name].problem(value))] == []


class Node:
    """What the inputs need of a node: subscriptions, whose callbacks the test calls."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Callable[[Any], None]] = {}

    def resolve_topic_name(self, topic: str) -> str:
        return topic

    def create_subscription(
        self, _: type, topic: str, callback: Callable[[Any], None], *__: object, **___: object
    ) -> str:
        self.callbacks[topic] = callback
        return topic

    def destroy_subscription(self, _: str) -> None:
        pass


class Rig:
    """The input side of mapping_node around a slow backend, without DDS."""

    def __init__(self, **parameters: Any) -> None:
        pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")
        from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

        from ovseg_ros.ros.inputs import RgbdInputs

        self.node, self.backend, self.health = Node(), Backend(), Health(lambda _: None)
        self.session = MapSession(self.backend, MappingConfig(), device="cpu", frame_id="map")
        values: Any = {spec.name: spec.default for spec in MAPPING_PARAMETERS} | {"pose_source": "pose"} | parameters
        node: Any = self.node
        self.inputs = RgbdInputs(node, values, self.session, self.health, MutuallyExclusiveCallbackGroup())

    def send(self, sent: RgbdFrame) -> None:
        from ovseg_ros.ros import messages

        camera = messages.header_message("camera", sent.stamp_ns)
        self.node.callbacks["rgb/camera_info"](messages.camera_info_message(sent.intrinsics, camera))
        world = messages.header_message("map", sent.stamp_ns)
        self.node.callbacks["camera_pose"](messages.pose_message(sent.pose.numpy(), world))
        self.node.callbacks["depth/image"](messages.depth_message(sent.depth.numpy(), camera, "32FC1"))
        self.node.callbacks["rgb/image"](messages.rgb_message(sent.rgb.numpy(), camera))

    def settle(self, frames: int) -> Any:
        """Wait until so many frames were dealt with, one way or the other."""
        waited = threading.Event()
        for _ in range(round(EVENTUALLY / 0.01)):
            report = self.health.report()
            if report.integrated + report.passed_over + sum(report.dropped.values()) >= frames:
                return report
            waited.wait(0.01)
        raise AssertionError(f"{frames} frames expected, got {report}")


def test_a_slow_model_gets_the_newest_frame_and_it_lands_where_it_was_taken() -> None:
    rig = Rig(**{"mapping.queue_size": 1})
    at_work, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        at_work.set()
        assert go_on.wait(EVENTUALLY)

    rig.backend.meanwhile = slow
    try:
        rig.send(frame(0, x=0.0))
        assert at_work.wait(EVENTUALLY)
        for number in range(1, 6):
            rig.send(frame(number, x=10.0 * number))
        go_on.set()
        report = rig.settle(6)
    finally:
        go_on.set()
        rig.inputs.close()
    assert rig.backend.seen == [0, 5]
    assert (report.integrated, report.dropped) == (2, {"queue_full": 4})
    # Later poses were known when the first frame was fused; each lies at the pose of its own stamp all the same.
    x = rig.session.read(lambda map_, _: map_.centres[:, 0].clone())
    near = [bool(((x - place).abs() < 2.0).any()) for place in (0.0, 10.0, 20.0, 30.0, 40.0, 50.0)]
    assert near == [True, False, False, False, False, True]
    assert rig.session.read(lambda map_, _: map_.voxel_count) > 0


def test_the_node_passes_over_frames_that_show_nothing_new_without_a_warning() -> None:
    rig = Rig(**{"keyframes.distance": 0.5, "keyframes.period": 10.0, "mapping.queue_size": 100})
    try:
        for number, x in enumerate((0.0, 0.1, 0.2, 0.6, 0.6, 0.6)):
            rig.send(frame(number, x))
        rig.send(frame(13, 0.6))
        report = rig.settle(7)
        assert rig.backend.seen == [0, 3, 13]
        assert (report.integrated, report.passed_over, report.dropped) == (3, 4, {})
        assert not report.new_losses
    finally:
        rig.inputs.close()


def test_a_cleared_map_begins_with_a_keyframe() -> None:
    rig = Rig(**{"keyframes.distance": 0.5})
    try:
        rig.send(frame(0, 0.0))
        rig.settle(1)
        rig.session.clear()
        rig.send(frame(1, 0.0))
        report = rig.settle(2)
        assert (report.integrated, report.passed_over) == (2, 0)
        assert rig.session.voxel_count > 0
    finally:
        rig.inputs.close()


def test_diagnostics_count_what_was_passed_over_and_stay_ok() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")
    from builtin_interfaces.msg import Time
    from diagnostic_msgs.msg import DiagnosticStatus

    from ovseg_ros.ros.health import diagnostics_message

    health = Health(lambda _: None)
    health.pass_over()
    health.pass_over()
    status = diagnostics_message("/mapping_node", "mapping", Time(), health.report(), {}).status[0]
    values = {value.key: value.value for value in status.values}
    assert (values["frames_passed_over"], values["frames_dropped"]) == ("2", "0")
    assert status.level == DiagnosticStatus.OK
