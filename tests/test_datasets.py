"""Recordings on disk: each layout there and back, the published quirks, and what is said about broken trees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ovseg_ros.datasets import LAYOUTS, LabelledMesh, RgbdSequence, open_sequence, write_sequence
from ovseg_ros.datasets.ply import read_binary_ply
from ovseg_ros.errors import OvsegError
from ovseg_ros.types import Intrinsics, InvalidFrameError, RgbdFrame

CAMERA = Intrinsics(fx=41.25, fy=40.5, cx=15.75, cy=11.25, width=32, height=24)
NAMES = ("wall", "office chair", "lamp")
DEPTH_STEP = {"posed_rgbd": 1e-3, "scannet": 1e-3, "replica": 1 / 6553.5}
ALL_LAYOUTS = pytest.mark.parametrize("layout", sorted(LAYOUTS))


def make_frame(number: int) -> RgbdFrame:
    """Smooth colours (JPEG keeps them), depth with every kind of missing reading, labels in blocks."""
    rows, columns = np.mgrid[: CAMERA.height, : CAMERA.width]
    rgb = np.stack([columns * 6, rows * 8, np.full_like(rows, 10 * number)], axis=-1).astype(np.uint8)
    depth = (1.0 + rows * 0.05 + columns * 0.0213 + 0.1 * number).astype(np.float32)
    depth[0, :4] = [np.nan, np.inf, -np.inf, 0.0]
    angle = 0.1 * number
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 0] = pose[1, 1] = np.cos(angle)
    pose[0, 1], pose[1, 0] = -np.sin(angle), np.sin(angle)
    pose[:3, 3] = torch.tensor([1.5, -2.25, 1 / 3 + number], dtype=torch.float64)
    labels = torch.from_numpy(((rows // 6 + columns // 8) % 4).astype(np.int32))
    return RgbdFrame(torch.from_numpy(rgb), torch.from_numpy(depth), CAMERA, pose, number, labels)


def make_mesh() -> LabelledMesh:
    generator = np.random.default_rng(1)
    return LabelledMesh(
        vertices=generator.normal(size=(7, 3)).astype(np.float32),
        triangles=np.array([[0, 1, 2], [2, 3, 4], [4, 5, 6]], dtype=np.int32),
        colours=generator.integers(0, 256, (7, 3)).astype(np.uint8),
        labels=np.array([0, 1, 1, 2, 2, 3, 3], dtype=np.int32),
        instances=np.array([0, 1, 1, 2, 2, 300000, 300000], dtype=np.int32),
        class_names=NAMES,
    )


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., RgbdSequence]:
    def write(layout: str, count: int = 12, reopen_as: str = "auto") -> RgbdSequence:
        write_sequence((make_frame(i) for i in range(count)), make_mesh(), tmp_path / "recording", layout, NAMES)
        return open_sequence(tmp_path / "recording", reopen_as)

    return write


@ALL_LAYOUTS
def test_each_layout_gives_back_what_was_written(recording: Callable[..., RgbdSequence], layout: str) -> None:
    sequence = recording(layout)
    assert (sequence.layout, len(sequence), sequence.class_names) == (layout, 12, NAMES)
    for number, frame in enumerate(sequence):
        written = make_frame(number)
        assert frame.intrinsics == CAMERA
        assert torch.equal(frame.pose, written.pose)
        assert (frame.rgb.int() - written.rgb.int()).abs().max() <= 10
        kept = torch.isfinite(written.depth) & (written.depth > 0)
        assert torch.equal(torch.isnan(frame.depth), ~kept)
        assert (frame.depth - written.depth)[kept].abs().max() <= DEPTH_STEP[layout] / 2 + 1e-6
        assert frame.semantics is not None and torch.equal(frame.semantics, written.semantics)
    stamps = [frame.stamp_ns for frame in sequence]
    assert stamps == sorted(set(stamps))


@ALL_LAYOUTS
def test_each_layout_keeps_the_labelled_mesh(recording: Callable[..., RgbdSequence], layout: str) -> None:
    mesh, written = recording(layout, count=1).mesh(), make_mesh()
    assert mesh is not None and mesh.class_names == NAMES
    for column in ("vertices", "triangles", "colours", "labels"):
        np.testing.assert_array_equal(getattr(mesh, column), getattr(written, column))


@ALL_LAYOUTS
def test_a_recording_without_truth_has_none(tmp_path: Path, layout: str) -> None:
    frame = make_frame(0)
    plain = RgbdFrame(frame.rgb, frame.depth, frame.intrinsics, frame.pose, 0)
    assert write_sequence([plain], None, tmp_path / "plain", layout) == 1
    sequence = open_sequence(tmp_path / "plain")
    assert sequence[0].semantics is None and sequence.mesh() is None and sequence.class_names == ()


@ALL_LAYOUTS
def test_depth_that_16_bits_cannot_hold_is_no_reading(tmp_path: Path, layout: str) -> None:
    frame = make_frame(0)
    frame.depth[5, 5] = 100.0
    write_sequence([frame], None, tmp_path / "far", layout, NAMES)
    assert torch.isnan(open_sequence(tmp_path / "far")[0].depth[5, 5])


def test_mesh_file_keeps_instances_and_names(tmp_path: Path) -> None:
    make_mesh().write_ply(tmp_path / "mesh.ply")
    mesh = LabelledMesh.read_ply(tmp_path / "mesh.ply")
    np.testing.assert_array_equal(mesh.instances, make_mesh().instances)
    assert mesh.class_names == NAMES


def test_published_file_names(recording: Callable[..., RgbdSequence], tmp_path: Path) -> None:
    recording("replica", count=2)
    root = tmp_path / "recording"
    camera = json.loads((root / "cam_params.json").read_text())["camera"]
    assert camera == {"w": 32, "h": 24, "fx": 41.25, "fy": 40.5, "cx": 15.75, "cy": 11.25, "scale": 6553.5}
    assert len((root / "room0" / "traj.txt").read_text().splitlines()) == 2
    assert len((root / "room0.txt").read_text().split()) == 7
    raw = cv2.imread(str(root / "room0" / "results" / "depth000001.png"), cv2.IMREAD_UNCHANGED)
    assert raw.dtype == np.uint16 and raw[10, 10] == round(float(make_frame(1).depth[10, 10]) * 6553.5)
    assert open_sequence(root / "room0").root == open_sequence(root).root


def test_replica_quads_become_triangles(tmp_path: Path) -> None:
    header = (
        "ply\nformat binary_little_endian 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        "element face 1\nproperty list uchar int vertex_indices\nproperty int object_id\nend_header\n"
    )
    vertices = np.zeros(4, dtype=[("position", "<f4", 3), ("colour", "u1", 3)])
    face = np.array([(4, [0, 1, 2, 3], 9)], dtype=[("size", "u1"), ("indices", "<i4", 4), ("object", "<i4")])
    (tmp_path / "quad.ply").write_bytes(header.encode() + vertices.tobytes() + face.tobytes())
    _, triangles, _ = read_binary_ply(tmp_path / "quad.ply")
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_replica_class_ids_of_other_numbering(recording: Callable[..., RgbdSequence], tmp_path: Path) -> None:
    sequence = recording("replica", count=1)
    classes = [{"id": 93, "name": "wall"}, {"id": 20, "name": "chair"}]
    (tmp_path / "recording" / "classes.json").write_text(json.dumps({"classes": classes}))
    (tmp_path / "recording" / "room0.txt").write_text("93\n20\n-1\n0\n93\n99999\n5\n")
    reread = open_sequence(sequence.root).mesh()
    assert reread is not None and reread.labels.tolist() == [1, 2, 0, 0, 1, 0, 0]


def test_scannet_sorts_by_number_and_skips_lost_poses(recording: Callable[..., RgbdSequence]) -> None:
    sequence = recording("scannet")
    lost = "\n".join(" ".join(["-inf"] * 4) for _ in range(4))
    (sequence.root / "pose" / "3.txt").write_text(lost)
    reopened = open_sequence(sequence.root)
    assert [entry.number for entry in reopened.files] == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert torch.equal(reopened[3].pose, make_frame(4).pose)


def test_scannet_colour_and_labels_fit_the_depth_image(recording: Callable[..., RgbdSequence]) -> None:
    sequence = recording("scannet", count=1)
    colour = cv2.imread(str(sequence.files[0].colour))
    cv2.imwrite(str(sequence.files[0].colour), cv2.resize(colour, (64, 48), interpolation=cv2.INTER_NEAREST))
    labels = cv2.imread(str(sequence.files[0].labels), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(sequence.files[0].labels), cv2.resize(labels, (64, 48), interpolation=cv2.INTER_NEAREST))
    (sequence.root / "intrinsic" / "intrinsic_color.txt").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    frame, written = open_sequence(sequence.root)[0], make_frame(0)
    assert frame.intrinsics == CAMERA
    assert (frame.rgb.int() - written.rgb.int()).abs().max() <= 12
    assert torch.equal(frame.semantics, written.semantics)


def test_resized_labels_are_never_mixed(recording: Callable[..., RgbdSequence]) -> None:
    sequence = recording("scannet", count=1)
    stripes = np.ones((48, 64), dtype=np.uint16)
    stripes[:, 1::2] = 3
    cv2.imwrite(str(sequence.files[0].labels), stripes)
    semantics = open_sequence(sequence.root)[0].semantics
    assert semantics is not None and set(semantics.unique().tolist()) <= {1, 3}


def test_posed_rgbd_reads_png_colour_and_both_missing_values(recording: Callable[..., RgbdSequence]) -> None:
    sequence = recording("posed_rgbd", count=1)
    colour = sequence.files[0].colour
    cv2.imwrite(str(colour.with_suffix(".png")), cv2.imread(str(colour)))
    colour.unlink()
    depth = np.full((24, 32), 1500, dtype=np.uint16)
    depth[0, 0], depth[0, 1] = 0, 65535
    cv2.imwrite(str(sequence.files[0].depth), depth)
    frame = open_sequence(sequence.root)[0]
    assert torch.isnan(frame.depth).sum() == 2 and torch.isnan(frame.depth[0, :2]).all()
    assert frame.depth[1, 1] == 1.5


@ALL_LAYOUTS
@pytest.mark.parametrize("part", ["colour", "depth", "labels"])
def test_a_damaged_image_spoils_only_its_frame(recording: Callable[..., RgbdSequence], layout: str, part: str) -> None:
    sequence = recording(layout, count=3)
    file: Path = getattr(sequence.files[1], part)
    file.write_bytes(file.read_bytes()[:20])
    reopened = open_sequence(sequence.root)
    with pytest.raises(InvalidFrameError, match=file.name) as caught:
        reopened[1]
    assert caught.value.cause == "file"
    assert torch.equal(reopened[2].pose, make_frame(2).pose)


@pytest.mark.parametrize("text", ["", "not a pose", "1 2 3", "nan " * 16, "2 0 0 0 0 2 0 0 0 0 2 0 0 0 0 1"])
@ALL_LAYOUTS
def test_a_damaged_pose_spoils_only_its_frame(recording: Callable[..., RgbdSequence], layout: str, text: str) -> None:
    sequence = recording(layout, count=3)
    if layout == "replica":
        trajectory = sequence.root / "traj.txt"
        lines = trajectory.read_text().splitlines()
        trajectory.write_text("\n".join([lines[0], text, lines[2]]))
    else:
        name = "pose/1.txt" if layout == "scannet" else "frame-000001.pose.txt"
        (sequence.root / name).write_text(text)
    reopened = open_sequence(sequence.root)
    assert len(reopened) == 3
    with pytest.raises(InvalidFrameError, match="pose"):
        reopened[1]
    assert torch.equal(reopened[2].pose, make_frame(2).pose)


@pytest.mark.parametrize(
    ("layout", "missing", "said"),
    [
        ("posed_rgbd", "camera-intrinsics.txt", "camera-intrinsics.txt is missing"),
        ("posed_rgbd", "*.color.jpg", "no frame-"),
        ("posed_rgbd", "*.depth.png", "depth images can be read"),
        ("scannet", "intrinsic", "intrinsic/ is missing"),
        ("scannet", "intrinsic/intrinsic_depth.txt", "intrinsic_depth.txt is missing"),
        ("scannet", "depth", "depth/ is missing"),
        ("scannet", "color/*", "none of the 0 images"),
        ("replica", "cam_params.json", "cam_params.json is missing"),
        ("replica", "room0/traj.txt", "traj.txt is missing"),
        ("replica", "room0/results/*", "no frame"),
        ("replica", "classes.json", "classes.json"),
    ],
)
def test_a_partial_tree_is_one_sentence(
    recording: Callable[..., RgbdSequence], tmp_path: Path, layout: str, missing: str, said: str
) -> None:
    recording(layout, count=2)
    root = tmp_path / "recording"
    for file in list(root.glob(missing)):
        file.rename(tmp_path / f"gone-{file.name}")
    with pytest.raises(OvsegError, match=said) as caught:
        open_sequence(root / "room0" if "room0" in missing else root).mesh()
    assert "\n" not in str(caught.value)


def test_an_unknown_tree_names_the_layouts(tmp_path: Path) -> None:
    with pytest.raises(OvsegError, match=r"posed_rgbd.*scannet.*replica"):
        open_sequence(tmp_path)
    with pytest.raises(OvsegError, match="not a folder"):
        open_sequence(tmp_path / "nowhere")
    with pytest.raises(OvsegError, match="no layout 'kitti'"):
        open_sequence(tmp_path, "kitti")


def test_several_replica_scenes_need_a_choice(recording: Callable[..., RgbdSequence], tmp_path: Path) -> None:
    recording("replica", count=1)
    other = tmp_path / "recording" / "office_0"
    other.mkdir()
    (other / "traj.txt").write_text("")
    with pytest.raises(OvsegError, match="office_0, room0"):
        open_sequence(tmp_path / "recording")


@ALL_LAYOUTS
def test_writing_never_overwrites(tmp_path: Path, layout: str) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(OvsegError, match="not empty"):
        write_sequence([make_frame(0)], None, tmp_path, layout)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_writing_holds_one_frame_and_one_camera(tmp_path: Path) -> None:
    frame = make_frame(0)
    small = CAMERA.scaled(16, 12)
    other = RgbdFrame(frame.rgb[::2, ::2], frame.depth[::2, ::2], small, frame.pose, 1)
    with pytest.raises(OvsegError, match="frame 1 has another camera"):
        write_sequence([frame, other], None, tmp_path / "mixed", "scannet")
    with pytest.raises(OvsegError, match="no frames"):
        write_sequence([], None, tmp_path / "empty", "scannet")


@pytest.mark.parametrize("length", [0, 3, 200, 400])
def test_a_truncated_mesh_is_one_sentence(tmp_path: Path, length: int) -> None:
    make_mesh().write_ply(tmp_path / "mesh.ply")
    whole = (tmp_path / "mesh.ply").read_bytes()
    assert len(whole) > length
    (tmp_path / "mesh.ply").write_bytes(whole[:length])
    with pytest.raises(OvsegError, match=r"mesh.ply"):
        LabelledMesh.read_ply(tmp_path / "mesh.ply")


def test_a_mesh_checks_itself() -> None:
    mesh = make_mesh()
    with pytest.raises(OvsegError, match="labels 0 to 3 do not fit 2 class names"):
        LabelledMesh(mesh.vertices, mesh.triangles, mesh.colours, mesh.labels, mesh.instances, NAMES[:2])
    with pytest.raises(OvsegError, match="outside the mesh's 3 vertices"):
        LabelledMesh(mesh.vertices[:3], mesh.triangles, mesh.colours[:3], mesh.labels[:3], mesh.instances[:3], NAMES)
