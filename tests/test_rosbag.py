"""Bags without ROS: there and back, other people's encodings and topics, poses, what is said about bad ones."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ovseg_ros.cli import arguments, main, parser
from ovseg_ros.datasets import BagOptions, open_sequence, rosbag, write_rosbag
from ovseg_ros.datasets.rosbag.reading import nearest_partners
from ovseg_ros.errors import OvsegError
from ovseg_ros.types import Intrinsics, InvalidFrameError, RgbdFrame

CAMERA = Intrinsics(fx=41.25, fy=40.5, cx=15.75, cy=11.25, width=32, height=24)
PERIOD_NS = 100_000_000
COUNT = 5
STORE = get_typestore(Stores.ROS2_HUMBLE)
T = STORE.types
RGB, DEPTH, INFO, POSE, TF = "/rgb/image", "/depth/image", "/rgb/camera_info", "/camera_pose", "/tf"
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"

Message = tuple[str, str, Any]
Change = Callable[[str, str, Any], Iterable[Message]]


def make_frame(number: int) -> RgbdFrame:
    """Depth with every kind of missing reading; a camera that moves and turns evenly, so that poses interpolate."""
    rows, columns = np.mgrid[: CAMERA.height, : CAMERA.width]
    rgb = np.stack([columns * 6, rows * 8, np.full_like(rows, 10 * number)], axis=-1).astype(np.uint8)
    depth = (1.0 + rows * 0.05 + columns * 0.0213 + 0.1 * number).astype(np.float32)
    depth[0, :4] = [np.nan, np.inf, -np.inf, 0.0]
    angle = 0.1 * number
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 0] = pose[1, 1] = np.cos(angle)
    pose[0, 1], pose[1, 0] = -np.sin(angle), np.sin(angle)
    pose[:3, 3] = torch.tensor([1.5 - 0.2 * number, -2.25, 1 / 3 + number], dtype=torch.float64)
    return RgbdFrame(torch.from_numpy(rgb), torch.from_numpy(depth), CAMERA, pose, 7_000_000_000 + number * PERIOD_NS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag as `write_rosbag` makes it."""
    out = tmp_path_factory.mktemp("bags") / "plain"
    write_rosbag((make_frame(number) for number in range(COUNT)), out)
    return out


@pytest.fixture
def changed(plain: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """The same bag with every message replaced by what ``change`` makes of it."""

    def write(change: Change) -> Path:
        out = tmp_path / "changed"
        connections: dict[str, Any] = {}
        with Reader(plain) as reader, Writer(out, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            for connection, time_ns, raw in reader.messages():
                message = STORE.deserialize_cdr(raw, connection.msgtype)
                for topic, kind, new in change(connection.topic, connection.msgtype, message):
                    if topic not in connections:
                        connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
                    writer.write(connections[topic], time_ns, STORE.serialize_cdr(new, kind))
        return out

    return write


def on(wanted: str, change: Callable[[Any], Iterable[Message]]) -> Change:
    """Change the messages of one topic only."""
    return lambda topic, kind, message: change(message) if topic == wanted else [(topic, kind, message)]


def frame_number(message: Any) -> int:
    stamp = message.header.stamp
    return round((stamp.sec * 10**9 + stamp.nanosec - 7 * 10**9) / PERIOD_NS)


def image_like(message: Any, encoding: str, pixels: np.ndarray, padding: int = 0, big: bool = False) -> Any:
    """An Image with rows padded by rubbish, in either byte order."""
    rows = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))).view(np.uint8)
    rows = np.pad(rows.reshape(len(pixels), -1), ((0, 0), (0, padding)), constant_values=77)
    return T[IMAGE](
        header=message.header, height=len(pixels), width=pixels.shape[1], encoding=encoding, is_bigendian=int(big),
        step=rows.shape[1], data=rows.reshape(-1),
    )  # fmt: skip


def rgb_of(message: Any) -> np.ndarray:
    return message.data.reshape(message.height, message.width, 3)


def depth_of(message: Any) -> np.ndarray:
    return message.data.view("<f4").reshape(message.height, message.width)


def same_depth(depth: torch.Tensor, number: int, tolerance: float) -> None:
    written = make_frame(number).depth
    kept = torch.isfinite(written) & (written > 0)
    assert torch.equal(torch.isfinite(depth), kept)
    assert (depth - written)[kept].abs().max() <= tolerance


@pytest.mark.parametrize("storage", rosbag.STORAGES)
@pytest.mark.parametrize("encoding", rosbag.DEPTH_ENCODINGS)
def test_a_bag_gives_back_what_was_written(tmp_path: Path, storage: str, encoding: str) -> None:
    assert write_rosbag((make_frame(i) for i in range(COUNT)), tmp_path / "bag", storage, encoding) == COUNT
    sequence = open_sequence(tmp_path / "bag")
    assert (sequence.layout, len(sequence), sequence.mesh(), sequence.class_names) == ("rosbag", COUNT, None, ())
    for number, frame in enumerate(sequence):
        written = make_frame(number)
        assert frame.intrinsics == CAMERA and frame.stamp_ns == written.stamp_ns
        assert torch.equal(frame.rgb, written.rgb)
        assert torch.allclose(frame.pose, written.pose, atol=1e-12)
        same_depth(frame.depth, number, 0.0 if encoding == "32FC1" else 0.5e-3 + 1e-6)
        beyond = [np.isposinf(value) for value in frame.depth[0, :4].tolist()]
        assert beyond == [False, encoding == "32FC1", False, False]
    file = next(path for path in (tmp_path / "bag").iterdir() if path.suffix in (".db3", ".mcap"))
    assert torch.equal(open_sequence(file, "rosbag")[2].rgb, make_frame(2).rgb)


@pytest.mark.parametrize(
    ("encoding", "pick"),
    [("bgr8", (2, 1, 0)), ("rgba8", (0, 1, 2, 0)), ("bgra8", (2, 1, 0, 0)), ("mono8", (0,))],
)
def test_colour_encodings_and_padded_rows(changed: Callable[[Change], Path], encoding: str, pick: tuple[int]) -> None:
    bag = changed(on(RGB, lambda m: [(RGB, IMAGE, image_like(m, encoding, rgb_of(m)[:, :, pick], padding=5))]))
    expected = make_frame(1).rgb if encoding != "mono8" else make_frame(1).rgb[:, :, :1].expand(-1, -1, 3)
    assert torch.equal(open_sequence(bag)[1].rgb, expected)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_depth_of_the_other_byte_order(changed: Callable[[Change], Path], encoding: str) -> None:
    def swap(message: Any) -> Iterable[Message]:
        depth = np.nan_to_num(depth_of(message), nan=0, posinf=0, neginf=0)
        pixels = np.rint(depth * 1000).astype(np.uint16) if encoding == "16UC1" else depth
        yield DEPTH, IMAGE, image_like(message, encoding, pixels, padding=6, big=True)

    same_depth(open_sequence(changed(on(DEPTH, swap)))[1].depth, 1, 0.5e-3 + 1e-6)


def compressed_depth(message: Any, encoding: str) -> Any:
    """As image_transport's compressed_depth plug-in writes it, from its description."""
    depth = depth_of(message).astype(np.float64)
    kept = np.isfinite(depth) & (depth > 0)
    a, b = 100.0 * 101.0, 1.0 - 100.0 * 101.0 / 10.0
    raw = np.where(kept, a / np.where(kept, depth, 1) + b if encoding == "32FC1" else depth * 1000, 0)
    png = cv2.imencode(".png", np.rint(raw).astype(np.uint16))[1].tobytes()
    data = np.frombuffer(struct.pack("<iff", 0, a, b) + png, np.uint8)
    return T[COMPRESSED](header=message.header, format=f"{encoding}; compressedDepth png", data=data)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_compressed_images(changed: Callable[[Change], Path], encoding: str, suffix: str) -> None:
    def compress(topic: str, kind: str, message: Any) -> Iterable[Message]:
        if topic == RGB:
            data = cv2.imencode(suffix, np.ascontiguousarray(rgb_of(message)[:, :, ::-1]))[1].reshape(-1)
            message = T[COMPRESSED](header=message.header, format=f"rgb8; {suffix[1:]} compressed bgr8", data=data)
            yield f"{RGB}/compressed", COMPRESSED, message
        elif topic == DEPTH:
            yield f"{DEPTH}/compressedDepth", COMPRESSED, compressed_depth(message, encoding)
        else:
            yield topic, kind, message

    frame = open_sequence(changed(compress))[3]
    limit = 0 if suffix == ".png" else 12
    assert (frame.rgb.int() - make_frame(3).rgb.int()).abs().max() <= limit
    same_depth(frame.depth, 3, 0.5e-3 + 1e-6)


@pytest.mark.parametrize("data", [b"", b"no image", struct.pack("<iff", 0, 1.0, 0.0) + b"no image"])
def test_a_damaged_compressed_image_spoils_only_its_frame(changed: Callable[[Change], Path], data: bytes) -> None:
    def damage(message: Any) -> Iterable[Message]:
        new = compressed_depth(message, "16UC1")
        if frame_number(message) == 1:
            new.data = np.frombuffer(data, np.uint8)
        yield f"{DEPTH}/compressedDepth", COMPRESSED, new

    sequence = open_sequence(changed(on(DEPTH, damage)))
    with pytest.raises(InvalidFrameError, match="can't be decoded") as caught:
        sequence[1]
    assert caught.value.cause == "encoding"
    same_depth(sequence[2].depth, 2, 1e-3)


def test_distortion_is_removed(changed: Callable[[Change], Path]) -> None:
    coefficients = np.array([0.9, 0.2, 0.01, -0.02, 0.0])

    def distort(message: Any) -> Iterable[Message]:
        message.d = coefficients
        yield INFO, "sensor_msgs/msg/CameraInfo", message

    matrix = np.array([[CAMERA.fx, 0, CAMERA.cx], [0, CAMERA.fy, CAMERA.cy], [0, 0, 1]])
    expected = cv2.undistort(make_frame(2).rgb.numpy(), matrix, coefficients)
    error = np.abs(open_sequence(changed(on(INFO, distort)))[2].rgb.numpy().astype(int) - expected)
    assert error.max() <= 4
    assert np.abs(make_frame(2).rgb.numpy().astype(int) - expected).max() > 10


def test_camera_info_that_changes_holds_from_then_on(changed: Callable[[Change], Path]) -> None:
    def zoom(message: Any) -> Iterable[Message]:
        if frame_number(message) >= 3:
            message.k = message.k * np.array([2, 1, 1, 1, 2, 1, 1, 1, 1])
        if frame_number(message) != 2:
            yield INFO, "sensor_msgs/msg/CameraInfo", message

    focal = [frame.intrinsics.fx for frame in open_sequence(changed(on(INFO, zoom)))]
    assert focal == [41.25, 41.25, 41.25, 82.5, 82.5]


def header(frame: str, stamp: Any) -> Any:
    return T["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def static_camera(message: Any) -> Any:
    """A TFMessage that mounts the camera 1 m ahead of base, turned by 90 degrees about x."""
    new = deepcopy(message)
    new.transforms[0].header.frame_id, new.transforms[0].child_frame_id = "base", "camera_optical_frame"
    translation, rotation = new.transforms[0].transform.translation, new.transforms[0].transform.rotation
    translation.x, translation.y, translation.z = 1.0, 0.0, 0.0
    rotation.x, rotation.y, rotation.z, rotation.w = np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)
    return new


MOUNTED = np.array([[1, 0, 0, 1], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


def test_poses_from_tf_alone_are_interpolated_along_the_chain(changed: Callable[[Change], Path]) -> None:
    def tf_only(topic: str, kind: str, message: Any) -> Iterable[Message]:
        if topic == TF:
            number = frame_number(message.transforms[0])
            if number == 0:
                yield "/tf_static", kind, static_camera(message)
            message.transforms[0].child_frame_id = "base"
            if number not in (2, 3):
                yield topic, kind, message
        elif topic != POSE:
            yield topic, kind, message

    sequence = open_sequence(changed(tf_only))
    for number, frame in enumerate(sequence):
        np.testing.assert_allclose(frame.pose.numpy(), make_frame(number).pose.numpy() @ MOUNTED, atol=1e-9)


def odometry(message: Any) -> Any:
    """The pose message as an Odometry of base in odom."""
    zero = T["geometry_msgs/msg/Vector3"](x=0.0, y=0.0, z=0.0)
    twist = T["geometry_msgs/msg/Twist"](linear=zero, angular=zero)
    return T["nav_msgs/msg/Odometry"](
        header=header("odom", message.header.stamp), child_frame_id="base",
        pose=T["geometry_msgs/msg/PoseWithCovariance"](pose=message.pose, covariance=np.zeros(36)),
        twist=T["geometry_msgs/msg/TwistWithCovariance"](twist=twist, covariance=np.zeros(36)),
    )  # fmt: skip


def odometry_bag(mounted: bool) -> Change:
    def change(topic: str, kind: str, message: Any) -> Iterable[Message]:
        if topic == POSE:
            yield "/odom", "nav_msgs/msg/Odometry", odometry(message)
        elif topic != TF:
            yield topic, kind, message
        elif mounted and frame_number(message.transforms[0]) == 0:
            yield "/tf_static", kind, static_camera(message)

    return change


def test_odometry_needs_the_camera_mounted_on_its_body(changed: Callable[[Change], Path]) -> None:
    for number, frame in enumerate(open_sequence(changed(odometry_bag(mounted=True)))):
        np.testing.assert_allclose(frame.pose.numpy(), make_frame(number).pose.numpy() @ MOUNTED, atol=1e-9)


def test_a_camera_that_turns_on_its_body_still_needs_the_odometry(changed: Callable[[Change], Path]) -> None:
    def change(topic: str, kind: str, message: Any) -> Iterable[Message]:
        yield from odometry_bag(mounted=False)(topic, kind, message)
        if topic == TF:
            turning = static_camera(message)
            turning.transforms[0].header.stamp = message.transforms[0].header.stamp
            yield topic, kind, turning

    for number, frame in enumerate(open_sequence(changed(change))):
        np.testing.assert_allclose(frame.pose.numpy(), make_frame(number).pose.numpy() @ MOUNTED, atol=1e-9)


def test_odometry_of_another_body_is_never_taken_for_the_camera(changed: Callable[[Change], Path]) -> None:
    sequence = open_sequence(changed(odometry_bag(mounted=False)))
    with pytest.raises(InvalidFrameError, match="does not connect 'camera_optical_frame' with 'base'") as caught:
        sequence[0]
    assert caught.value.cause == "pose"


def without(*dropped: str) -> Change:
    return lambda topic, kind, message: [] if topic in dropped else [(topic, kind, message)]


def test_the_only_pose_topic_is_found(changed: Callable[[Change], Path]) -> None:
    frame = open_sequence(changed(without(TF)))[4]
    assert torch.allclose(frame.pose, make_frame(4).pose, atol=1e-12)


@pytest.mark.parametrize(
    ("missing", "said"), [({0}, "before"), ({4}, "after"), (set(range(1, 4)), "gap of"), (None, "length 0")]
)
def test_frames_without_a_pose_are_skipped_and_counted(
    changed: Callable[[Change], Path], missing: set[int] | None, said: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def lose(topic: str, kind: str, message: Any) -> Iterable[Message]:
        if topic == POSE and missing is None and frame_number(message) == 1:
            message.pose.orientation.x = message.pose.orientation.y = 0.0
            message.pose.orientation.z = message.pose.orientation.w = 0.0
        if topic == POSE and missing is not None and frame_number(message) in missing:
            return
        if said == "gap of" and topic == POSE and frame_number(message) == 4:
            message.header.stamp.sec += 1
        if topic != TF:
            yield topic, kind, message

    bag = changed(lose)
    sequence = open_sequence(bag)
    refused: dict[int, str] = {}
    for number in range(COUNT):
        try:
            sequence[number]
        except InvalidFrameError as error:
            refused[number] = str(error)
    assert set(refused) == {"gap of": {1, 2, 3, 4}, "length 0": {1}}.get(said, missing)
    assert all(said in sentence for sentence in refused.values())
    assert main(["map", str(bag), "-o", str(tmp_path / "x.ovmap"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["frames"], printed["skipped"]) == (COUNT - len(refused), {"pose": len(refused)})


def test_depth_too_late_is_unmatched_unless_slop_allows(changed: Callable[[Change], Path]) -> None:
    def delay(message: Any) -> Iterable[Message]:
        message.header.stamp.nanosec += 30_000_000
        if frame_number(message) != 2:
            yield DEPTH, IMAGE, message

    bag = changed(on(DEPTH, delay))
    sequence = open_sequence(bag)
    same_depth(sequence[1].depth, 1, 0.0)
    with pytest.raises(InvalidFrameError, match=r"within 0.05 s") as caught:
        sequence[2]
    assert caught.value.cause == "unmatched"
    with pytest.raises(InvalidFrameError, match=r"within 0.01 s"):
        open_sequence(bag, bag=BagOptions(slop=0.01))[1]


STAMPS = st.lists(st.integers(0, 300), max_size=12).map(lambda values: np.array(sorted(values), dtype=np.int64))


@settings(deadline=None, max_examples=60)
@given(STAMPS, STAMPS.filter(len), st.integers(0, 60))
def test_partners_are_the_nearest_and_used_once(stamps: np.ndarray, others: np.ndarray, slop: int) -> None:
    partners = nearest_partners(stamps, others, slop)
    used = partners[partners >= 0]
    assert len(set(used.tolist())) == len(used)
    for stamp, partner in zip(stamps, partners, strict=True):
        distances = np.abs(others - stamp)
        if partner >= 0:
            assert distances[partner] == distances.min() <= slop
        elif distances.min() <= slop:
            rivals = np.abs(stamps[partners >= 0] - others[used])
            nearest = np.flatnonzero(distances == distances.min())
            assert any(index in used and rivals[used == index] <= distances.min() for index in nearest)


def test_the_topics_of_a_camera_with_many(changed: Callable[[Change], Path]) -> None:
    def realsense(topic: str, kind: str, message: Any) -> Iterable[Message]:
        names = {
            RGB: "/camera/color/image_raw",
            DEPTH: "/camera/aligned_depth_to_color/image_raw",
            INFO: "/camera/color/camera_info",
        }
        yield names.get(topic, topic), kind, message
        other = deepcopy(message)
        if topic == RGB:
            yield "/camera/infra1/image_rect_raw", kind, image_like(message, "mono8", rgb_of(message)[:, :, :1])
        if topic == DEPTH:
            other.data = np.zeros_like(other.data)
            yield "/camera/depth/image_rect_raw", kind, other
        if topic == INFO:
            other.k = np.zeros(9)
            yield "/camera/infra1/camera_info", kind, other

    frame = open_sequence(changed(realsense))[2]
    assert frame.intrinsics == CAMERA and torch.equal(frame.rgb, make_frame(2).rgb)
    same_depth(frame.depth, 2, 0.0)


def two_cameras(topic: str, kind: str, message: Any) -> Iterable[Message]:
    if topic in (RGB, DEPTH, INFO):
        yield f"/front{topic}", kind, message
        yield f"/rear{topic}", kind, message
    elif topic == POSE:
        yield "/front_pose", kind, message
        yield "/rear_pose", kind, message


def test_several_cameras_need_names(changed: Callable[[Change], Path], tmp_path: Path) -> None:
    bag = changed(two_cameras)
    named: dict[str, str] = {}
    for role, topic in (("rgb", RGB), ("depth", DEPTH), ("pose", "_pose")):
        with pytest.raises(OvsegError, match=rf"several topics for {role}.*--topic {role}=NAME.*/front.*/rear"):
            open_sequence(bag, bag=BagOptions(topics=named))
        named[role] = f"/rear{topic}"
    frame = open_sequence(bag, bag=BagOptions(topics=named))[1]
    assert frame.intrinsics == CAMERA
    options = [word for role, topic in named.items() for word in ("--topic", f"{role}={topic}")]
    assert main(["map", str(bag), "-o", str(tmp_path / "x.ovmap"), *options]) == 0


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        ({"rgb": "/nowhere"}, r"no messages on /nowhere.*/rgb/image"),
        ({"depth": "/tf"}, r"/tf is of type tf2_msgs/msg/TFMessage, but depth must be sensor_msgs/msg/Image"),
        ({"colour": "/rgb/image"}, r"'colour' is no role.*rgb, depth"),
    ],
)
def test_a_wrong_topic_is_one_sentence(plain: Path, topics: dict[str, str], said: str) -> None:
    with pytest.raises(OvsegError, match=said):
        open_sequence(plain, bag=BagOptions(topics=topics))


@pytest.mark.parametrize(
    ("dropped", "role"), [((RGB,), "rgb"), ((DEPTH,), "depth"), ((INFO,), "camera_info"), ((POSE, TF), "pose")]
)
def test_a_missing_topic_names_those_that_are_there(
    changed: Callable[[Change], Path], dropped: tuple[str, ...], role: str
) -> None:
    with pytest.raises(OvsegError, match=rf"no topic for {role} .*--topic {role}=NAME.*/rgb/") as caught:
        open_sequence(changed(without(*dropped)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("storage", rosbag.STORAGES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_bag_is_one_sentence(tmp_path: Path, storage: str, share: float) -> None:
    write_rosbag((make_frame(number) for number in range(COUNT)), tmp_path / "bag", storage)
    file = next(path for path in (tmp_path / "bag").iterdir() if path.suffix in (".db3", ".mcap"))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(OvsegError, match=r"bag is damaged or incomplete .*copy it again") as caught:
        open_sequence(tmp_path / "bag")
    assert "\n" not in str(caught.value)


def test_bags_of_other_kinds_say_what_to_do(tmp_path: Path, plain: Path) -> None:
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(OvsegError, match=r"rosbags-convert --src old\.bag"):
        open_sequence(tmp_path / "old.bag")
    interrupted = tmp_path / "interrupted"
    interrupted.mkdir()
    (interrupted / "bag.db3").write_bytes((plain / "plain.db3").read_bytes())
    with pytest.raises(OvsegError, match=r"no metadata.yaml.*ros2 bag reindex interrupted"):
        open_sequence(interrupted)
    assert len(open_sequence(interrupted / "bag.db3")) == COUNT
    (interrupted / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    with pytest.raises(OvsegError, match="damaged or incomplete"):
        open_sequence(interrupted)
    with pytest.raises(OvsegError, match="not a bag"):
        open_sequence(tmp_path, bag=BagOptions(slop=0.1))


def test_writing_never_overwrites_and_needs_frames(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(OvsegError, match="nothing is overwritten"):
        write_rosbag([make_frame(0)], tmp_path / "mine")
    with pytest.raises(OvsegError, match="no frames"):
        write_rosbag([], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_record_and_map_agree_with_the_folder_it_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    room = tmp_path / "room"
    assert main(["rooms", str(room), "--seed", "4", "--frames", "4", "--size", "64x48"]) == 0
    (room / "room0" / "results" / "depth000002.png").write_bytes(b"damaged")
    capsys.readouterr()
    assert main(["record", str(room), "-o", str(tmp_path / "bag"), "--storage", "mcap", "--json"]) == 0
    recorded = json.loads(capsys.readouterr().out)
    assert recorded == {"out": str(tmp_path / "bag"), "frames": 3, "skipped": {"file": 1}}
    maps = {}
    for source in (room, tmp_path / "bag"):
        assert main(["map", str(source), "-o", str(tmp_path / f"{source.name}.ovmap"), "--json"]) == 0
        maps[source.name] = json.loads(capsys.readouterr().out)
    assert maps["bag"]["voxels"] == maps["room"]["voxels"] > 100
    assert maps["bag"]["frames"] == maps["room"]["frames"] == 3


def test_the_command_line_knows_what_the_library_knows() -> None:
    assert arguments.BAG_ROLES == rosbag.ROLES
    assert (arguments.BAG_STORAGES, arguments.BAG_DEPTHS) == (rosbag.STORAGES, rosbag.DEPTH_ENCODINGS)
    options = parser.parse(["map", "b", "-o", "m.ovmap", "--topic", "rgb=/a", "--topic", "pose=/b", "--slop", "0.1"])
    assert options.topic == [("rgb", "/a"), ("pose", "/b")]
    with pytest.raises(SystemExit):
        parser.parse(["map", "b", "-o", "m.ovmap", "--topic", "colour=/a"])
