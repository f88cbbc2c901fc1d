"""Recordings on disk: each layout there and back, the published quirks, and what is said about broken trees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from recordings import CAMERA, NAMES, WRITTEN, make_frame, make_mesh

from ovseg_ros.cli import arguments
from ovseg_ros.datasets import LAYOUTS, LabelledMesh, RgbdSequence, open_sequence, write_sequence
from ovseg_ros.datasets.ply import read_binary_ply
from ovseg_ros.errors import OvsegError
from ovseg_ros.types import InvalidFrameError, RgbdFrame

DEPTH_STEP = {"replica": 1 / 6553.5, "tum": 1 / 5000}
ALL_LAYOUTS = pytest.mark.parametrize("layout", WRITTEN)
LABEL_IMAGES = pytest.mark.parametrize("layout", [name for name in WRITTEN if name != "scannetpp"])
QUATERNIONS = ("scannetpp", "tum")


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
        assert (frame.pose - written.pose).abs().max() <= (1e-12 if layout in QUATERNIONS else 0)
        assert (frame.rgb.int() - written.rgb.int()).abs().max() <= 10
        kept = torch.isfinite(written.depth) & (written.depth > 0)
        assert torch.equal(torch.isnan(frame.depth), ~kept)
        assert (frame.depth - written.depth)[kept].abs().max() <= DEPTH_STEP.get(layout, 1e-3) / 2 + 1e-6
        if layout == "scannetpp":
            assert frame.semantics is None
        else:
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
def test_the_command_offers_each_layout(layout: str) -> None:
    assert layout in arguments.WRITTEN and sorted(arguments.WRITTEN) == WRITTEN
    assert set(arguments.RECORDINGS) == {"auto", "rosbag", *LAYOUTS}


@ALL_LAYOUTS
def test_labels_without_names_are_not_written(tmp_path: Path, layout: str) -> None:
    write_sequence([make_frame(0)], None, tmp_path / "nameless", layout)
    assert open_sequence(tmp_path / "nameless")[0].semantics is None


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
    mesh = read_binary_ply(tmp_path / "quad.ply")
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.face_properties["object_id"].tolist() == [9, 9]


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


@LABEL_IMAGES
@pytest.mark.parametrize("part", ["colour", "depth", "labels"])
def test_a_damaged_image_spoils_only_its_frame(recording: Callable[..., RgbdSequence], layout: str, part: str) -> None:
    sequence = recording(layout, count=3)
    file: Path = getattr(sequence.files[1], part)
    file.write_bytes(file.read_bytes()[:20])
    reopened = open_sequence(sequence.root)
    with pytest.raises(InvalidFrameError, match=file.name) as caught:
        reopened[1]
    assert caught.value.cause == "file"
    assert torch.allclose(reopened[2].pose, make_frame(2).pose)


@pytest.mark.parametrize("text", ["", "not a pose", "1 2 3", "nan " * 16, "2 0 0 0 0 2 0 0 0 0 2 0 0 0 0 1"])
@pytest.mark.parametrize("layout", [name for name in WRITTEN if name not in QUATERNIONS])
def test_a_damaged_pose_spoils_only_its_frame(recording: Callable[..., RgbdSequence], layout: str, text: str) -> None:
    sequence = recording(layout, count=3)
    if layout in ("replica", "semantic_nerf"):
        trajectory = sequence.root / ("traj.txt" if layout == "replica" else "traj_w_c.txt")
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
        ("scannet", "classes.json", "scannetv2-labels.combined.tsv"),
        ("semantic_nerf", "room_0/Sequence_1/traj_w_c.txt", "traj_w_c.txt is missing"),
        ("semantic_nerf", "room_0/Sequence_1/rgb/*", "has no rgb_"),
        ("semantic_nerf", "room_0/Sequence_1/depth/*", "depth images can be read"),
        ("tum", "rgb.txt", "rgb.txt is missing"),
        ("tum", "depth.txt", "depth.txt is missing"),
        ("tum", "groundtruth.txt", "groundtruth.txt is missing"),
        ("scannetpp", "data/room0/dslr/undistorted_images", "undistorted_images is missing"),
        ("scannetpp", "data/room0/dslr/undistorted_images/*", "none of the images"),
        ("scannetpp", "data/room0/dslr/nerfstudio/*", "transforms_undistorted.json is missing"),
        ("scannetpp", "data/room0/dslr/colmap/cameras.txt", "cameras.txt"),
        ("scannetpp", "data/room0/dslr/render_depth", "render_depth is missing"),
        ("scannetpp", "metadata/semantic_benchmark/top100.txt", "top100.txt"),
        ("scannetpp", "metadata/semantic_benchmark/map_benchmark.csv", "map_benchmark.csv"),
        ("scannetpp", "data/room0/scans/segments.json", "segments.json isn't"),
        ("scannetpp", "data/room0/scans/mesh_aligned_0.05.ply", "mesh_aligned_0.05.ply isn't"),
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
        open_sequence(root / missing.split("/")[0] if missing.startswith("room") else root, layout).mesh()
    assert "\n" not in str(caught.value)


def test_an_unknown_tree_names_the_layouts(tmp_path: Path) -> None:
    with pytest.raises(OvsegError, match=r"tum.*scannet.*replica.*posed_rgbd.*rosbag"):
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
