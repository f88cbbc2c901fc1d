"""Messages <-> arrays. The incoming half is tested with plain objects of the messages' shape: it needs no ROS."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace as Fake

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_ros.query import RayMatch
from ovseg_ros.sensor_messages import FrameBuilder, image_to_depth, image_to_rgb, pose_to_matrix
from ovseg_ros.types import Intrinsics, InvalidFrameError, RgbdFrame

MAP_FRAME = "map"


def image(pixels: np.ndarray, encoding: str, *, padding: int = 0, bigendian: bool = False, **changes: object) -> Fake:
    """An Image of (H, W, C) pixels, each row followed by ``padding`` bytes of rubbish."""
    height, width = pixels.shape[:2]
    ordered = pixels.astype(pixels.dtype.newbyteorder(">" if bigendian else "<"))
    rows = np.frombuffer(ordered.tobytes(), np.uint8).reshape(height, -1)
    padded = np.hstack([rows, np.full((height, padding), 0xAB, np.uint8)])
    fields = {
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": int(bigendian),
        "step": padded.shape[1],
        "data": padded.tobytes(),
        "header": header(),
    }
    return Fake(**{**fields, **changes})


def header(frame_id: str = "camera", stamp_ns: int = 3_000_000_007) -> Fake:
    return Fake(frame_id=frame_id, stamp=Fake(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9))


def camera_info(
    width: int, height: int, *, d: tuple[float, ...] = (), model: str = "plumb_bob", f: float = 50.0
) -> Fake:
    cx, cy = (width - 1) / 2, (height - 1) / 2
    return Fake(
        width=width,
        height=height,
        k=[f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0],
        p=[2 * f, 0.0, cx, 0.0, 0.0, 2 * f, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
        d=list(d),
        distortion_model=model,
        header=header(),
    )


def pose(
    position: tuple[float, float, float] = (1.0, 2.0, 3.0),
    quaternion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0),
) -> Fake:
    x, y, z = position
    qx, qy, qz, qw = quaternion
    return Fake(
        pose=Fake(position=Fake(x=x, y=y, z=z), orientation=Fake(x=qx, y=qy, z=qz, w=qw)),
    )


def refused(cause: str, *words: str) -> pytest.RaisesExc[InvalidFrameError]:
    def fits(error: InvalidFrameError) -> bool:
        return error.cause == cause and all(word in str(error) for word in words)

    return pytest.RaisesExc(InvalidFrameError, check=fits)


RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize("padding", [0, 1, 13])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[:, :, ::-1]),
        ("8UC3", RGB[:, :, ::-1]),
        ("rgba8", np.dstack([RGB, RGB[:, :, :1]])),
        ("bgra8", np.dstack([RGB[:, :, ::-1], RGB[:, :, :1]])),
    ],
)
def test_colour_encodings_and_strides(encoding: str, pixels: np.ndarray, padding: int) -> None:
    np.testing.assert_array_equal(image_to_rgb(image(pixels, encoding, padding=padding)), RGB)


def test_grey_images_become_three_equal_channels() -> None:
    grey = RGB[:, :, 0]
    np.testing.assert_array_equal(image_to_rgb(image(grey, "mono8")), np.dstack([grey] * 3))


@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize(("encoding", "pixels"), [("rgb16", RGB), ("bgr16", RGB[:, :, ::-1])])
def test_of_16_bits_the_upper_8_are_kept(encoding: str, pixels: np.ndarray, bigendian: bool) -> None:
    wide = (pixels.astype(np.uint16) << 8) | 0x7F
    np.testing.assert_array_equal(image_to_rgb(image(wide, encoding, padding=3, bigendian=bigendian)), RGB)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_bayer_mosaic_gets_its_colours_back(pattern: str, dtype: type) -> None:
    """A patch of one colour has that colour everywhere away from the border, whatever the interpolation."""
    colour = np.array([200, 120, 40], np.uint8)
    mosaic = np.tile(colour[["rgb".index(letter) for letter in pattern]].reshape(2, 2), (5, 6))[:, :, None]
    bits = 8 * np.dtype(dtype).itemsize
    rgb = image_to_rgb(image(mosaic.astype(dtype) << (bits - 8), f"bayer_{pattern}{bits}", padding=2))
    assert rgb.shape == (10, 12, 3)
    np.testing.assert_array_equal(rgb[2:-2, 2:-2], np.broadcast_to(colour, (6, 8, 3)))


@pytest.mark.parametrize(("encoding", "first"), [("yuv422", 1), ("uyvy", 1), ("yuv422_yuy2", 0), ("yuyv", 0)])
def test_yuv_has_its_brightness_and_hue(encoding: str, first: int) -> None:
    red = np.zeros((4, 6, 2), np.uint8)
    red[:, :, first], red[:, 0::2, 1 - first], red[:, 1::2, 1 - first] = 82, 90, 240  # BT.601's red
    rgb = image_to_rgb(image(red, encoding, padding=4))
    np.testing.assert_allclose(rgb.astype(int), np.broadcast_to([255, 0, 0], (4, 6, 3)), atol=2)


def test_a_width_that_an_encoding_cannot_have_is_refused() -> None:
    with refused("size", "7x5", "yuv422", "check the camera driver"):
        image_to_rgb(image(RGB[:, :, :2], "yuv422"))


@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    padding=st.integers(0, 5),
    bigendian=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_depth_is_metres_at_any_stride_and_endianness(
    height: int, width: int, padding: int, bigendian: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.choice([0, 1, 500, 65534, 65535], (height, width)).astype(np.uint16)
    expected = np.where((raw == 0) | (raw == 65535), np.nan, raw / 1000).astype(np.float32)
    for encoding in ("16UC1", "mono16"):
        depth = image_to_depth(image(raw, encoding, padding=padding, bigendian=bigendian))
        np.testing.assert_allclose(depth, expected, rtol=1e-6)
        assert depth.dtype == np.float32
    metres = rng.choice([0.0, -1.0, 0.7, 3.0, np.nan, np.inf, -np.inf], (height, width)).astype(np.float32)
    expected = np.where((metres <= 0) & np.isfinite(metres), np.nan, metres)
    depth = image_to_depth(image(metres, "32FC1", padding=padding, bigendian=bigendian))
    np.testing.assert_array_equal(depth, expected)
    assert depth.dtype.isnative


def test_encodings_nobody_supports_name_those_that_are() -> None:
    with refused("encoding", "'nv21'", "rgb8"):
        image_to_rgb(image(RGB, "nv21"))
    with refused("encoding", "'rgb8'", "16UC1"):
        image_to_depth(image(RGB, "rgb8"))


@pytest.mark.parametrize(
    "changes", [{"step": 20}, {"data": b""}, {"data": b"\0" * 104}, {"height": 6}, {"width": 0}, {"height": 0}]
)
def test_images_whose_data_do_not_fit_are_refused(changes: dict[str, object]) -> None:
    with refused("size"):
        image_to_rgb(image(RGB, "rgb8", **changes))


POSE = np.array([[0.0, -1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 1.0, 3.0], [0.0, 0.0, 0.0, 1.0]])


def build(rectified: bool = False, **parts: Fake) -> RgbdFrame:
    depth = np.full((5, 7), 2.0, np.float32)
    messages = {
        "colour": image(RGB, "rgb8"),
        "depth": image(depth, "32FC1"),
        "camera_info": camera_info(7, 5),
        "pose": POSE,
    }
    return FrameBuilder(rectified=rectified).build(**{**messages, **parts})


def test_a_frame_carries_what_the_messages_said() -> None:
    frame = build()
    np.testing.assert_array_equal(frame.rgb.numpy(), RGB)
    assert frame.intrinsics == Intrinsics(50.0, 50.0, 3.0, 2.0, 7, 5)
    assert frame.stamp_ns == 3_000_000_007
    np.testing.assert_array_equal(frame.pose.numpy(), POSE)
    assert frame.pose.dtype == torch.float64


def test_camera_info_of_a_larger_image_is_scaled() -> None:
    assert build(camera_info=camera_info(14, 10, f=100.0)).intrinsics == Intrinsics(50.0, 50.0, 3.0, 2.0, 7, 5)
    with refused("size", "7x5", "14x5"):
        build(camera_info=camera_info(14, 5))


@pytest.mark.parametrize("focal", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_focal_lengths_are_refused(focal: float) -> None:
    with refused("intrinsics", "camera_info"):
        build(camera_info=camera_info(7, 5, f=focal))


def test_registered_depth_of_another_size_is_refused() -> None:
    with refused("size", "7x5", "8x5"):
        build(depth=image(np.ones((5, 8), np.float32), "32FC1"))


def test_depth_without_a_reading_is_refused() -> None:
    for empty in (np.full((5, 7), np.nan, np.float32), np.zeros((5, 7), np.float32)):
        with refused("no_depth"):
            build(depth=image(empty, "32FC1"))


@pytest.mark.parametrize(
    "bad",
    [
        pose(position=(float("nan"), 0.0, 0.0)),
        pose(quaternion=(0.0, 0.0, 0.0, float("inf"))),
        pose(quaternion=(0.0, 0.0, 0.0, 0.0)),
        pose(quaternion=(0.0, 0.0, 0.0, 2.0)),
    ],
)
def test_poses_that_are_none_are_refused(bad: Fake) -> None:
    with refused("pose"):
        pose_to_matrix(bad.pose)


def test_a_nearly_unit_quaternion_is_normalised() -> None:
    angle = 0.3
    quaternion = (0.0, 0.0, 1.004 * np.sin(angle / 2), 1.004 * np.cos(angle / 2))
    rotation = pose_to_matrix(pose(quaternion=quaternion).pose)[:3, :3]
    expected = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    np.testing.assert_allclose(rotation, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [("plumb_bob", (-0.3, 0.05, 0.001, -0.001, 0.0)), ("equidistant", (0.15, -0.01, 0.002, 0.0))],
)
def test_distortion_is_taken_out(model: str, coefficients: tuple[float, ...]) -> None:
    """A pixel of the undistorted image holds what the distorted one shows where the lens bends its ray to."""
    width, height, f = 64, 48, 60.0
    across, down = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    rgb = np.dstack([across * 3, down * 3, across * 0]).astype(np.uint8)
    frame = build(
        colour=image(rgb, "rgb8"),
        depth=image(1.0 + across / 100, "32FC1"),
        camera_info=camera_info(width, height, d=coefficients, model=model, f=f),
    )
    matrix = np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])
    for u, v in ((9, 8), (55, 40), (8, 38)):
        ray = np.array([[[(u - matrix[0, 2]) / f, (v - matrix[1, 2]) / f]]])
        if model == "equidistant":
            source = cv2.fisheye.distortPoints(ray, matrix, np.array(coefficients)).ravel()
        else:
            ray3 = np.append(ray.ravel(), 1.0)[None]
            source = cv2.projectPoints(ray3, np.zeros(3), np.zeros(3), matrix, np.array(coefficients))[0].ravel()
        assert np.abs(source - (u, v)).max() > 0.6
        assert np.abs(frame.rgb[v, u, :2].numpy() - source * 3).max() < 0.8
        assert abs(float(frame.depth[v, u]) - (1 + source[0] / 100)) < 0.006


def test_undistorted_depth_is_never_averaged_and_a_new_calibration_is_taken_at_once() -> None:
    width, height = 64, 48
    rgb = np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)
    steps = np.where(np.arange(width)[None] // 5 % 2, 1.0, 3.0).repeat(height, axis=0).astype(np.float32)
    builder = FrameBuilder()
    frames = [
        builder.build(
            image(rgb, "rgb8"), image(steps, "32FC1"), camera_info(width, height, d=(k, 0, 0, 0, 0), f=60.0), POSE
        )
        for k in (0.3, 0.3, -0.3)
    ]
    for frame in frames:
        read = frame.depth[torch.isfinite(frame.depth)]
        assert set(read.tolist()) == {1.0, 3.0}
    assert torch.equal(frames[0].rgb, frames[1].rgb)
    assert not torch.equal(frames[0].rgb, frames[2].rgb)
    # A lens that bends outwards shows less than the pinhole camera would see: nothing is made up there.
    assert torch.isnan(frames[0].depth[0, 0])


def test_rectified_images_use_p_and_no_distortion() -> None:
    info = camera_info(7, 5, d=(0.5, 0.5, 0.0, 0.0, 0.0))
    frame = build(rectified=True, camera_info=info)
    assert frame.intrinsics.fx == 100.0
    np.testing.assert_array_equal(frame.rgb.numpy(), RGB)


def test_an_unknown_lens_is_refused() -> None:
    with refused("intrinsics", "'double_sphere'"):
        build(camera_info=camera_info(7, 5, d=(0.1,), model="double_sphere"))
    with refused("intrinsics", "3 distortion"):
        build(camera_info=camera_info(7, 5, d=(0.1, 0.1, 0.1)))


def test_messages_read_back_as_what_was_written() -> None:
    messages = pytest.importorskip("ovseg_ros.ros.messages")
    depth = np.array([[0.5, np.nan, 70.0, -np.inf, 1.2345, 2.0, np.inf]] * 5, np.float32)
    rotation = cv2.Rodrigues(np.array([0.4, -2.9, 0.3]))[0]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, (0.1, -0.2, 0.3)
    intrinsics = Intrinsics(50.0, 51.0, 3.1, 2.2, 7, 5)
    stamped = messages.header_message("camera", 5_000_000_001)
    frame = FrameBuilder().build(
        messages.rgb_message(RGB, stamped),
        messages.depth_message(depth, stamped, "32FC1"),
        messages.camera_info_message(intrinsics, stamped),
        pose_to_matrix(messages.pose_message(matrix, stamped).pose),
    )
    np.testing.assert_array_equal(frame.rgb.numpy(), RGB)
    np.testing.assert_array_equal(frame.depth.numpy(), depth)
    np.testing.assert_allclose(frame.pose.numpy(), matrix, atol=1e-12)
    assert frame.intrinsics == intrinsics
    assert frame.stamp_ns == 5_000_000_001
    millimetres = image_to_depth(messages.depth_message(depth, stamped, "16UC1"))
    np.testing.assert_allclose(millimetres[0], [0.5, np.nan, np.nan, np.nan, 1.234, 2.0, np.nan], atol=6e-4)


def test_directions_become_messages() -> None:
    messages = pytest.importorskip("ovseg_ros.ros.messages")
    match = RayMatch("chair", 0.75, (1.0, 2.0, 3.0), (0.6, 0.0, -0.8), 0.25, weight=2.0, ray_count=3)
    (message,) = messages.ray_match_messages([match], MAP_FRAME, 5_000_000_001)
    assert (message.header.frame_id, message.header.stamp.nanosec, message.query) == (MAP_FRAME, 1, "chair")
    assert (message.origin.x, message.origin.y, message.origin.z) == match.origin
    assert (message.direction.x, message.direction.y, message.direction.z) == match.direction
    assert (message.score, message.spread) == (0.75, 0.25)


def test_a_summary_tells_far_from_absent() -> None:
    services = pytest.importorskip("ovseg_ros.ros.services")
    session = pytest.importorskip("ovseg_ros.ros.session")
    far = RayMatch("chair", 0.75, (1.0, 2.0, 3.0), (0.6, 0.0, -0.8), 0.25, weight=2.0, ray_count=3)
    answers = session.Answers(revision=1, voxel_count=9, frame_id=MAP_FRAME, stamp_ns=1, matches=(), rays=(far,))
    assert services.summary(["piano"], replace(answers, rays=())) == "no match for 'piano'"
    said = services.summary(["chair", "piano"], answers)
    assert said == "no match for 'chair', 'piano'; beyond depth range was seen 'chair'"


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0, 0.8)])
@pytest.mark.parametrize("angle", [0.0, 1e-6, 1.0, np.pi - 1e-6, np.pi])
def test_quaternions_of_all_rotations(axis: tuple[float, float, float], angle: float) -> None:
    messages = pytest.importorskip("ovseg_ros.ros.messages")
    rotation = cv2.Rodrigues(np.array(axis) * angle)[0]
    x, y, z, w = messages.quaternion(rotation)
    restored = pose_to_matrix(pose(quaternion=(x, y, z, w)).pose)[:3, :3]
    np.testing.assert_allclose(restored, rotation, atol=1e-12)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_clouds_hold_every_field_where_they_say(count: int) -> None:
    messages = pytest.importorskip("ovseg_ros.ros.messages")
    rng = np.random.default_rng(1)
    points = rng.normal(size=(count, 3))
    colours = rng.integers(0, 256, (count, 3), dtype=np.uint8)
    labels = rng.integers(0, 4097, count).astype(np.uint16)
    confidence = rng.random(count).astype(np.float32)
    cloud = messages.cloud_message(
        points, colours, {"label": labels, "confidence": confidence}, messages.header_message(MAP_FRAME, 1)
    )
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb", "label", "confidence"]
    assert (cloud.width, cloud.height, cloud.row_step) == (count, 1, count * cloud.point_step)
    types = {4: "<u2", 7: "<f4"}
    layout = np.dtype(
        {
            "names": [field.name for field in cloud.fields],
            "formats": [types[field.datatype] for field in cloud.fields],
            "offsets": [field.offset for field in cloud.fields],
            "itemsize": cloud.point_step,
        }
    )
    rows = np.frombuffer(bytes(cloud.data), layout)
    np.testing.assert_allclose(np.stack([rows["x"], rows["y"], rows["z"]], axis=1), points, rtol=1e-6)
    packed = np.ascontiguousarray(rows["rgb"]).view(np.uint32)
    np.testing.assert_array_equal(np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1), colours)
    np.testing.assert_array_equal(rows["label"], labels)
    np.testing.assert_array_equal(rows["confidence"], confidence)
