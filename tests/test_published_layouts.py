"""Data sets as they are published: trees of the exact layout, their cameras, class lists and ground truth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from recordings import CAMERA, NAMES, make_frame, make_mesh, opened, write

from ovseg_ros.datasets import LabelledMesh, class_list, open_sequence, write_sequence
from ovseg_ros.datasets.ply import write_binary_ply
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.semseg.data import open_scene
from ovseg_ros.evaluation.semseg.settings import DatasetSettings
from ovseg_ros.types import Intrinsics, InvalidFrameError

ROOT = Path(__file__).parents[1]
TSV = "id\traw_category\tcategory\tnyu40id\tnyu40class\n"


def write_mesh(path: Path, **columns: Any) -> None:
    """The vertices and triangles of the small mesh, with more columns."""
    mesh = make_mesh()
    vertices = np.zeros(len(mesh.vertices), dtype=[(n, "f4") for n in "xyz"] + [(n, "i4") for n in columns])
    vertices["x"], vertices["y"], vertices["z"] = mesh.vertices.T
    for name, values in columns.items():
        vertices[name] = values
    write_binary_ply(path, vertices, mesh.triangles)


def write_faces_with_objects(path: Path, quads: list[list[int]], objects: list[int], vertices: int) -> None:
    """As Replica's habitat/mesh_semantic.ply: quads, each with an object id."""
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {vertices}\n"
        + "".join(f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz"))
        + "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
        + f"element face {len(quads)}\nproperty list uchar int vertex_indices\nproperty int object_id\nend_header\n"
    )
    points = np.zeros(vertices, dtype=[("xyz", "<f4", 3), ("normal", "<f4", 3), ("colour", "u1", 3)])
    points["xyz"] = np.arange(vertices * 3).reshape(-1, 3)
    faces = np.zeros(len(quads), dtype=[("size", "u1"), ("corners", "<i4", 4), ("object", "<i4")])
    faces["size"], faces["corners"], faces["object"] = 4, quads, objects
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode() + points.tobytes() + faces.tobytes())


# ---- class lists


@pytest.mark.parametrize(
    ("name", "count", "ids"),
    [
        ("replica51", 51, {"wall": 93, "switch": 79, "tv-screen": 87}),
        ("replica101", 101, {"backpack": 1, "wall": 93, "set-of-clothing": 101}),
        ("nyu40", 40, {"wall": 1, "otherprop": 40, "bathtub": 36}),
        ("scannet20", 20, {"wall": 1, "desk": 14, "otherfurniture": 39}),
        ("scannet200", 200, {"wall": 1, "chair": 2, "mattress": 1191}),
    ],
)
def test_class_lists_have_the_published_ids(name: str, count: int, ids: dict[str, int]) -> None:
    classes = class_list(name)
    assert len(classes.names) == len(set(classes.names)) == len(classes.labels) == count
    for class_name, file_id in ids.items():
        assert classes.names[classes.labels[file_id] - 1] == class_name


@pytest.mark.parametrize(("name", "sizes"), [("replica51", [17, 17, 17]), ("scannet200", [66, 68, 66])])
def test_splits_are_the_published_ones(name: str, sizes: list[int]) -> None:
    classes = class_list(name)
    assert set(classes.groups) == set(classes.names)
    groups = list(classes.groups.values())
    assert [groups.count(group) for group in ("head", "common", "tail")] == sizes


@pytest.mark.parametrize("name", ["scannet20", "scannet200", "replica51"])
def test_vocabularies_name_the_same_classes(name: str) -> None:
    vocabulary = ROOT / "config" / "vocabularies" / f"{name.removesuffix('51')}.yaml"
    concepts = yaml.safe_load(vocabulary.read_text())["concepts"]
    words = {concept if isinstance(concept, str) else concept["name"] for concept in concepts}
    assert words == {class_name.replace("-", " ") for class_name in class_list(name).names} - {"otherfurniture"}


def test_an_unknown_class_list_names_the_others() -> None:
    with pytest.raises(OvsegError, match=r"no class list 'coco'.*replica51.*scannet200"):
        class_list("coco")


# ---- Replica, NICE-SLAM's


@pytest.fixture
def nice_slam(tmp_path: Path) -> Path:
    """NICE-SLAM's download, nothing of ours in it."""
    root = write(tmp_path / "Replica", "replica")
    shutil.rmtree(root / "room0" / "labels")
    for name in ("classes.json", "room0.txt"):
        (root / name).unlink()
    return root


def test_replica_alone_has_no_truth(nice_slam: Path) -> None:
    sequence = opened(nice_slam / "room0")
    assert sequence.class_names == () and sequence.mesh() is None and sequence[0].semantics is None


def test_replica_vertex_labels_are_its_51_classes(nice_slam: Path) -> None:
    (nice_slam / "room0.txt").write_text("93\n20\n-1\n0\n256\n79\n5\n")
    sequence = opened(nice_slam)
    mesh = sequence.mesh()
    assert mesh is not None and mesh.class_names == sequence.class_names == class_list("replica51").names
    assert [([*mesh.class_names][i - 1] if i else None) for i in mesh.labels] == [
        "wall", "chair", None, None, None, "switch", None,
    ]  # fmt: skip
    everything = opened(nice_slam, class_list="replica101").mesh()
    assert everything is not None and everything.class_names[everything.labels[6] - 1] == "beam"


def test_replica_scenes_are_spelt_both_ways(nice_slam: Path) -> None:
    (nice_slam / "room_0.txt").write_text("93\n" * 7)
    assert opened(nice_slam / "room_0").root == nice_slam / "room0"
    (nice_slam / "room0").rename(nice_slam / "room_0")
    sequence = opened(nice_slam / "room0")
    assert sequence.root == nice_slam / "room_0" and sequence.mesh() is not None


def test_replica_objects_of_faces(nice_slam: Path) -> None:
    habitat = nice_slam / "room_0" / "habitat"
    # Three quads in a row: the first two share an edge, and so do the last two.
    quads = [[0, 1, 4, 3], [1, 2, 5, 4], [2, 6, 7, 5]]
    write_faces_with_objects(habitat / "mesh_semantic.ply", quads, [7, 0, 70000], 8)
    objects = [{"id": 7, "class_id": 20, "class_name": "chair"}, {"id": 0, "class_id": -1}, {"id": 3, "class_id": 93}]
    (habitat / "info_semantic.json").write_text(json.dumps({"objects": objects}))
    mesh = opened(nice_slam / "room0").mesh()
    assert mesh is not None and len(mesh.triangles) == 6
    assert len(mesh.vertices) == 12, "shared vertices are there for each object"
    names = [mesh.class_names[i - 1] if i else None for i in mesh.labels[mesh.triangles].reshape(-1)]
    assert names == ["chair"] * 6 + [None] * 12
    assert mesh.instances[mesh.triangles].reshape(-1).tolist() == [7] * 6 + [0] * 6 + [70000] * 6
    corners = mesh.vertices[mesh.triangles[0]]
    np.testing.assert_array_equal(corners, np.arange(24).reshape(-1, 3)[[0, 1, 4]])


HALVES = [("room0_mesh.ply", "room0_mesh.ply"), ("room_0/habitat/info_semantic.json", "info_semantic.json")]


@pytest.mark.parametrize(("missing", "said"), HALVES)
def test_half_a_replica_truth_is_one_sentence(nice_slam: Path, missing: str, said: str) -> None:
    if "habitat" in missing:
        write_faces_with_objects(nice_slam / "room_0" / "habitat" / "mesh_semantic.ply", [[0, 1, 2, 3]], [1], 4)
    else:
        (nice_slam / "room0.txt").write_text("93\n" * 7)
        (nice_slam / missing).unlink()
    with pytest.raises(OvsegError, match=said) as caught:
        opened(nice_slam / "room0").mesh()
    assert "download_replica.sh" in str(caught.value)


def test_generated_ids_are_never_taken_for_published_ones(tmp_path: Path) -> None:
    root = write(tmp_path / "room", "replica")
    with pytest.raises(OvsegError, match=r"classes.json says what the ids"):
        open_sequence(root, class_list="replica51")
    (root / "classes.json").unlink()
    with pytest.raises(OvsegError, match=r"classes.json, which names them, is missing"):
        open_sequence(root)


# ---- Replica, Semantic-NeRF's


def test_semantic_nerf_camera_and_classes(tmp_path: Path) -> None:
    camera = Intrinsics(fx=16.0, fy=16.0, cx=15.5, cy=11.5, width=32, height=24)
    root = tmp_path / "Replica"
    write_sequence((make_frame(i, camera) for i in range(12)), None, root, "semantic_nerf", NAMES)
    sequence = root / "room_0" / "Sequence_1"
    for name in ("camera-intrinsics.txt", "classes.json"):
        (sequence / name).unlink()
    labels = np.zeros((24, 32), dtype=np.uint8)
    labels[:, :8], labels[:, 8:16] = 93, 5
    cv2.imwrite(str(sequence / "semantic_class" / "semantic_class_10.png"), labels)
    for folder in (root, root / "room_0", sequence):
        recording = opened(folder)
        assert recording.root == sequence and recording.intrinsics == camera
    frame = recording[10]
    assert torch.equal(frame.pose, make_frame(10).pose), "numbers, not names, give the order"
    assert frame.semantics is not None and frame.semantics[0, [0, 8, 16]].tolist() == [1, 0, 0]
    assert recording.class_names == class_list("replica51").names
    shutil.copytree(sequence, root / "room_0" / "Sequence_2")
    with pytest.raises(OvsegError, match="Sequence_1, room_0/Sequence_2"):
        open_sequence(root)


# ---- ScanNet


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """An exported scan with all of ScanNet's ground truth, nothing of ours in it."""
    scan = write(tmp_path / "scans" / "scene0011_00", "scannet", 12)
    (scan / "classes.json").unlink()
    (scan / "scene0011_00_2d-label-filt").mkdir()
    (scan / "label-filt").rename(scan / "scene0011_00_2d-label-filt" / "label-filt")
    raw = np.zeros((24, 32), dtype=np.uint16)
    raw[:, :8], raw[:, 8:16], raw[:, 16:24] = 1, 3, 1191
    for number in range(12):
        cv2.imwrite(str(scan / "scene0011_00_2d-label-filt" / "label-filt" / f"{number}.png"), raw)
    # Of office chairs the NYU40 class is chair; a ball is otherprop, which is none of ScanNet20.
    rows = "1\twall\twall\t1\twall\n3\tfloor\tfloor\t2\tfloor\n1191\tmattress\tmattress\t4\tbed\n"
    rows += "10\toffice chair\tchair\t5\tchair\n168\tball\tball\t40\totherprop\n9999\tnothing\tnothing\t\t\n"
    (tmp_path / "scannetv2-labels.combined.tsv").write_text(TSV + rows)
    write_mesh(scan / "scene0011_00_vh_clean_2.labels.ply", label=[0, 1, 5, 40, 4, 2, 39])
    segments = {"segIndices": [3, 3, 7, 7, 7, 100, 8]}
    chair, ball = {"objectId": 0, "label": "office chair", "segments": [7]}, {"label": "ball", "segments": [100]}
    objects = {"segGroups": [chair, ball]}
    (scan / "scene0011_00_vh_clean_2.0.010000.segs.json").write_text(json.dumps(segments))
    (scan / "scene0011_00.aggregation.json").write_text(json.dumps(objects))
    (scan / "scene0011_00_vh_clean.aggregation.json").write_text("{}")
    return scan


def names_of(mesh: LabelledMesh | None) -> list[str | None]:
    assert mesh is not None
    return [mesh.class_names[label - 1] if label else None for label in mesh.labels]


def test_scannet_has_20_classes_of_nyu40(scan: Path) -> None:
    sequence = opened(scan)
    assert sequence.class_names == class_list("scannet20").names
    frame = sequence[11]
    assert frame.semantics is not None
    assert [sequence.class_names[i - 1] for i in frame.semantics[0, [0, 8, 16]]] == ["wall", "floor", "bed"]
    assert frame.semantics[0, 24] == 0
    assert names_of(sequence.mesh()) == [None, "wall", "chair", None, "bed", "floor", "otherfurniture"]
    assert names_of(opened(scan, class_list="nyu40").mesh())[3] == "otherprop"


def test_scannet200_takes_raw_ids_and_objects(scan: Path) -> None:
    sequence = opened(scan, class_list="scannet200")
    frame = sequence[0]
    assert frame.semantics is not None
    assert [sequence.class_names[i - 1] for i in frame.semantics[0, [0, 8, 16]]] == ["wall", "floor", "mattress"]
    mesh = sequence.mesh()
    assert names_of(mesh) == [None, None, "office chair", "office chair", "office chair", "ball", None]
    assert mesh is not None and mesh.instances.tolist() == [0, 0, 1, 1, 1, 2, 0]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("../../scannetv2-labels.combined.tsv", "scannetv2-labels.combined.tsv"),
        ("scene0011_00_vh_clean_2.0.010000.segs.json", "segs.json isn't"),
        ("scene0011_00_vh_clean_2.labels.ply", "vh_clean_2.ply isn't"),
    ],
)
def test_half_a_scannet_truth_is_one_sentence(scan: Path, missing: str, said: str) -> None:
    (scan / missing).unlink()
    with pytest.raises(OvsegError, match=said) as caught:
        opened(scan, class_list="scannet200").mesh()
    assert "download-scannet.py" in str(caught.value) and "\n" not in str(caught.value)


def test_lists_of_other_data_sets_are_refused(scan: Path, nice_slam: Path, tmp_path: Path) -> None:
    with pytest.raises(OvsegError, match=r"'replica51' counts in Replica's ids.*'scannet20'"):
        open_sequence(scan, class_list="replica51")
    with pytest.raises(OvsegError, match=r"'scannet20' counts in NYU40's ids.*'replica51'"):
        open_sequence(nice_slam, class_list="scannet20")
    with pytest.raises(OvsegError, match="not those of 'scannet20'"):
        open_sequence(write(tmp_path / "tum", "tum"), class_list="scannet20")


# ---- ScanNet++


@pytest.fixture
def scannetpp(tmp_path: Path) -> Path:
    return write(tmp_path / "scannet++", "scannetpp") / "data" / "room0"


def test_scannetpp_poses_of_nerfstudio_are_those_of_colmap(scannetpp: Path) -> None:
    with_colmap = opened(scannetpp).poses
    assert with_colmap.shape == (3, 4, 4)
    # nerfstudio's way from COLMAP's poses, step by step.
    there = make_frame(1).pose.numpy().copy()
    there[:3, 1:3] *= -1
    there = there[[1, 0, 2, 3]]
    there[2] *= -1
    transforms = json.loads((scannetpp / "dslr" / "nerfstudio" / "transforms_undistorted.json").read_text())
    np.testing.assert_allclose(transforms["frames"][1]["transform_matrix"], there, atol=1e-15)
    (scannetpp / "dslr" / "colmap" / "images.txt").unlink()
    torch.testing.assert_close(opened(scannetpp).poses, with_colmap, rtol=0, atol=1e-12)


def test_scannetpp_pairs_images_and_poses_by_name(scannetpp: Path) -> None:
    images = scannetpp / "dslr" / "colmap" / "images.txt"
    poses = images.read_text().splitlines()[::2]
    points = "1.5 2.5 -1 3.5 4.5 17"
    missing = "7 1 0 0 0 9 9 9 1 DSC00099.JPG"
    shuffled = [poses[2], points, missing, "", poses[0], points]
    images.write_text("# IMAGE_ID, QW, QX, ...\n#   POINTS2D[]\n" + "\n".join(shuffled) + "\n")
    sequence = opened(scannetpp.parent)
    assert [entry.colour.name for entry in sequence.files] == ["DSC00000.JPG", "DSC00002.JPG"]
    torch.testing.assert_close(sequence[1].pose, make_frame(2).pose, rtol=0, atol=1e-12)


def test_scannetpp_depth_is_undistorted_like_the_images(scannetpp: Path) -> None:
    dslr = scannetpp / "dslr"
    camera = Intrinsics(fx=150.0, fy=152.0, cx=99.5, cy=74.5, width=200, height=150)
    fisheye = np.array([[140.0, 0, 98.0], [0, 141.0, 76.0], [0, 0, 1]])
    bends = np.array([0.03, -0.02, 0.01, -0.002])
    (dslr / "colmap" / "cameras.txt").write_text(
        "# Camera list\n1 OPENCV_FISHEYE 200 150 140 141 98 76 " + " ".join(map(str, bends)) + "\n"
    )
    numbers = {"w": 200, "h": 150, "fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy}
    (dslr / "nerfstudio" / "transforms_undistorted.json").write_text(json.dumps({**numbers, "k1": 0.0, "frames": []}))
    # A slanted wall, z = 2 + 0.5 x + 0.25 y: along the ray (x / z, y / z, 1) it is 2 / (1 - 0.5 x / z - 0.25 y / z).
    rows, columns = np.mgrid[:150, :200]
    pixels = np.stack([columns, rows], axis=-1).reshape(-1, 1, 2).astype(np.float64)
    x, y = cv2.fisheye.undistortPoints(pixels, fisheye, bends).reshape(150, 200, 2).transpose(2, 0, 1)
    cv2.imwrite(
        str(dslr / "render_depth" / "DSC00000.png"), (2000 / (1 - 0.5 * x - 0.25 * y)).round().astype(np.uint16)
    )
    cv2.imwrite(str(dslr / "undistorted_images" / "DSC00000.JPG"), np.zeros((150, 200, 3), np.uint8))
    truth = 2 / (1 - 0.5 * (columns - camera.cx) / camera.fx - 0.25 * (rows - camera.cy) / camera.fy)

    frame = opened(scannetpp)[0]
    assert frame.intrinsics == camera
    error = np.abs(frame.depth.numpy() - truth)
    a_pixel = 0.9 * np.abs(np.gradient(truth)).sum(axis=0) + 1e-3
    assert np.isfinite(error).mean() > 0.85 and np.nanmax(error / a_pixel) < 1

    steps = np.where((columns // 20 + rows // 20) % 2, 3000, 1000).astype(np.uint16)
    cv2.imwrite(str(dslr / "render_depth" / "DSC00002.png"), steps)
    shutil.copy(dslr / "undistorted_images" / "DSC00000.JPG", dslr / "undistorted_images" / "DSC00002.JPG")
    depths = opened(scannetpp)[2].depth.unique().tolist()
    assert {depth for depth in depths if np.isfinite(depth)} == {1.0, 3.0}, "no surface between two"
    with pytest.raises(InvalidFrameError, match=r"\(24, 32\) but .*cameras\.txt says 150x200"):
        opened(scannetpp)[1]

    (dslr / "render_depth").rename(dslr / "undistorted_depths")
    untouched = np.abs(opened(scannetpp)[0].depth.numpy() - truth)
    assert untouched.max() > 0.2, "taken as it is, it lies beside the truth"


def test_scannetpp_depth_where_rayfronts_has_it(scannetpp: Path) -> None:
    beside = scannetpp.parent / "depth" / "room0" / "dslr"
    beside.mkdir(parents=True)
    (scannetpp / "dslr" / "render_depth").rename(beside / "render_depth")
    for folder in (scannetpp, scannetpp.parent, scannetpp.parent.parent):
        assert torch.isfinite(opened(folder)[0].depth).any()


def test_scannetpp_newer_image_folder(scannetpp: Path) -> None:
    (scannetpp / "dslr" / "undistorted_images").rename(scannetpp / "dslr" / "resized_undistorted_images")
    assert len(opened(scannetpp)) == 3


def test_scannetpp_labels_are_mapped_and_the_smallest_object_wins(scannetpp: Path) -> None:
    metadata = scannetpp.parents[1] / "metadata" / "semantic_benchmark"
    (metadata / "top100.txt").write_text("wall\nchair\nbook\n")
    rows = "wall,9,,\nbooks,5,book,book\nfloor,8,None,None\nchair,3,,\n"
    (metadata / "map_benchmark.csv").write_text("class,count,semantic_map_to,instance_map_to\n" + rows)
    groups = [
        {"id": 1, "label": "books", "segments": [4]},
        {"id": 2, "label": "wall", "segments": [1, 2, 4]},
        {"id": 3, "label": "floor", "segments": [1]},
        {"id": 4, "label": "chair", "segments": [2]},
        {"id": 5, "label": "never heard of", "segments": [9]},
        {"id": 6, "label": "wall", "segments": [2]},
    ]
    (scannetpp / "scans" / "segments.json").write_text(json.dumps({"segIndices": [1, 1, 2, 4, 4, 9, 1]}))
    (scannetpp / "scans" / "segments_anno.json").write_text(json.dumps({"segGroups": groups}))
    sequence = opened(scannetpp)
    mesh = sequence.mesh()
    assert sequence.class_names == ("wall", "chair", "book")
    assert names_of(mesh) == ["wall", "wall", "chair", "book", "book", None, "wall"]
    assert mesh is not None and mesh.instances.tolist() == [2, 2, 4, 1, 1, 0, 2]
    (scannetpp / "scans" / "segments.json").write_text(json.dumps({"segIndices": [1, 1, 2]}))
    with pytest.raises(OvsegError, match=r"segments\.json has 3 vertices but the mesh 7"):
        sequence.mesh()


# ---- 7-Scenes and TUM


@pytest.fixture
def seven_scenes(tmp_path: Path) -> Path:
    camera = Intrinsics(fx=585.0, fy=585.0, cx=320.0, cy=240.0, width=640, height=480)
    sequence = tmp_path / "chess" / "seq-01"
    write_sequence([make_frame(0, camera), make_frame(1, camera)], None, sequence, "posed_rgbd")
    (sequence / "camera-intrinsics.txt").unlink()
    for colour in sequence.glob("*.jpg"):
        cv2.imwrite(str(colour.with_suffix(".png")), cv2.imread(str(colour)))
        colour.unlink()
    return sequence


def test_seven_scenes_has_the_published_camera(seven_scenes: Path) -> None:
    for folder in (seven_scenes, seven_scenes.parent):
        sequence = opened(folder)
        assert (sequence.layout, sequence.root, len(sequence)) == ("seven_scenes", seven_scenes, 2)
        assert sequence[1].intrinsics == Intrinsics(585.0, 585.0, 320.0, 240.0, 640, 480)
    shutil.copytree(seven_scenes, seven_scenes.with_name("seq-02"))
    with pytest.raises(OvsegError, match="seq-01, seq-02"):
        open_sequence(seven_scenes.parent)
    (seven_scenes / "camera-intrinsics.txt").write_text("500 0 320\n0 500 240\n0 0 1\n")
    assert opened(seven_scenes).intrinsics.fx == 500


def test_seven_scenes_of_another_size_needs_a_camera(seven_scenes: Path) -> None:
    for image in seven_scenes.glob("*.png"):
        cv2.imwrite(str(image), cv2.imread(str(image), cv2.IMREAD_UNCHANGED)[::2, ::2])
    with pytest.raises(OvsegError, match=r"320x240.*640x480.*camera-intrinsics.txt"):
        open_sequence(seven_scenes)
    with pytest.raises(OvsegError, match="only read: choose one of"):
        write_sequence([make_frame(0)], None, seven_scenes.with_name("new"), "seven_scenes")


def test_tum_pairs_by_time_and_interpolates_poses(tmp_path: Path) -> None:
    root = write(tmp_path / "rgbd_dataset_freiburg2_desk", "tum", 1)
    (image, depth) = (next((root / folder).iterdir()).name for folder in ("rgb", "depth"))
    start = 1311868164
    colours = {"164.10": True, "164.30": False, "164.05": True, "164.20": True}
    (root / "rgb.txt").write_text("# color images\n" + "".join(f"1311868{t} rgb/{image}\n" for t in colours))
    times = ("164.060000", "164.110000", "164.281000", "164.215000")
    (root / "depth.txt").write_text("# depth maps\n\n" + "".join(f"1311868{t} depth/{depth}\n" for t in times))
    poses = [f"{start}.06 0 0 0 0 0 0 1", f"{start}.16 1 2 3 0 0 0.70710678118654752 0.70710678118654752"]
    (root / "groundtruth.txt").write_text("# timestamp tx ...\n" + "\n".join(reversed(poses)) + "\n")
    sequence = opened(root)
    # 164.30 has a partner within 20 ms, but like 164.20 it lies after the last pose.
    assert [entry.stamp_ns for entry in sequence.files] == [start * 10**9 + ms * 10**6 for ms in (60, 110)]
    torch.testing.assert_close(sequence[1].pose[:3, 3], torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64))
    angle = torch.atan2(sequence[1].pose[1, 0], sequence[1].pose[0, 0])
    assert float(angle) == pytest.approx(np.pi / 4)


@pytest.mark.parametrize(
    ("name", "fx", "cy"),
    [("rgbd_dataset_freiburg1_xyz", 525.0, 239.5), ("rgbd_dataset_freiburg3_cabinet", 535.4, 247.6)],
)
def test_tum_cameras(tmp_path: Path, name: str, fx: float, cy: float) -> None:
    camera = Intrinsics(fx=1.0, fy=1.0, cx=0.0, cy=0.0, width=640, height=480)
    write_sequence([make_frame(0, camera)], None, tmp_path / name, "tum")
    assert opened(tmp_path / name).intrinsics == camera
    (tmp_path / name / "camera-intrinsics.txt").unlink()
    assert (opened(tmp_path / name).intrinsics.fx, opened(tmp_path / name).intrinsics.cy) == (fx, cy)


@pytest.mark.parametrize("line", ["12.5", "noon rgb/a.png", "nan rgb/a.png", "1e300 rgb/a.png", "-1 rgb/a.png"])
def test_tum_lines_that_are_none(tmp_path: Path, line: str) -> None:
    root = write(tmp_path / "tum", "tum", 1)
    (root / "rgb.txt").write_text(f"{line}\n")
    with pytest.raises(OvsegError, match=r"rgb\.txt has the line"):
        open_sequence(root)


def test_cameras_are_checked(tmp_path: Path) -> None:
    root = write(tmp_path / "kinect", "posed_rgbd", 1)
    assert opened(root).intrinsics == CAMERA
    for text in ("0 0 1\n0 5 1\n0 0 1\n", "5 0 nan\n0 5 1\n0 0 1\n", "1 2\n3 4\n", "a b c\nd e f\ng h i\n", ""):
        (root / "camera-intrinsics.txt").write_text(text)
        with pytest.raises(OvsegError, match=r"camera-intrinsics\.txt"):
            open_sequence(root)


# ---- in the evaluation


def test_the_evaluation_reads_published_truth_in_the_chosen_classes(nice_slam: Path, scan: Path) -> None:
    (nice_slam / "room0.txt").write_text("93\n20\n-1\n0\n256\n79\n5\n")
    replica = DatasetSettings("replica", nice_slam)
    truth = open_scene(replica, "room_0").ground_truth(0.05, ())
    assert truth.labels.tolist() == [1, 4, 0, 0, 0, 51, 0] and truth.class_names == class_list("replica51").names
    assert replica.split == {}
    scannet = DatasetSettings("scannet", scan.parent, classes="scannet200")
    assert open_scene(scannet, scan.name).class_names == class_list("scannet200").names
    assert scannet.split["wall"] == "head" and scannet.split["luggage"] == "tail"
    with pytest.raises(OvsegError, match="no class list 'coco'"):
        DatasetSettings("scannet", scan.parent, classes="coco")
