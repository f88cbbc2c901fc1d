"""Damaged and foreign files in every layout: one sentence each, never a traceback, never much memory."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings import NAMES, WRITTEN, make_frame, make_mesh, opened, write

from ovseg_ros.datasets import open_sequence, write_sequence
from ovseg_ros.datasets.ply import read_binary_ply
from ovseg_ros.errors import OvsegError
from ovseg_ros.types import InvalidFrameError

FOREIGN = (
    b"",
    b"\x00" * 64,
    b"\x80\x04\x95 a pickle \x94.",
    b"null",
    b"[" * 100_000,
    b'{"camera": {"w": 1e999, "h": -1, "fx": "x"}, "classes": [{"id": 1e999}], "frames": [{}], "segIndices": [[1], 2]}',
    b"nan " * 16,
    b"-inf " * 9 + b"x\n",
    b"ply\nformat ascii 1.0\nend_header\n",
    "Ünïcode ½ ² ٣\n".encode(),
)


UNREAD = ("extrinsic_color.txt", "extrinsic_depth.txt", "intrinsic_color.txt")
"""Any text may be a class list in top100.txt; these are never looked at."""


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {layout: write(tmp_path_factory.mktemp(layout) / "recording", layout, 2) for layout in WRITTEN}


def read_everything(folder: Path, layout: str) -> list[str]:
    """Whatever can be asked of a recording: what people are told."""
    try:
        recording = open_sequence(folder, layout)
    except OvsegError as error:
        return [str(error)]
    told = []
    for ask in (*(partial(recording.__getitem__, index) for index in range(len(recording))), recording.mesh):
        try:
            ask()
        except OvsegError as error:
            told.append(str(error))
    return told


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), layout=st.sampled_from(WRITTEN))
def test_no_damage_escapes(trees: dict[str, Path], tmp_path: Path, data: st.DataObject, layout: str) -> None:
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(trees[layout], folder)
    file = data.draw(st.sampled_from(sorted(path for path in folder.rglob("*") if path.is_file())))
    whole = file.read_bytes()
    match data.draw(st.sampled_from(["foreign", "short", "flipped", "gone", "folder"])):
        case "foreign":
            file.write_bytes(data.draw(st.sampled_from(FOREIGN)))
        case "short":
            file.write_bytes(whole[: data.draw(st.integers(0, max(len(whole) - 1, 0)))])
        case "flipped":
            spot = data.draw(st.integers(0, max(len(whole) - 1, 0)))
            file.write_bytes(whole[:spot] + data.draw(st.binary(min_size=1, max_size=4)) + whole[spot + 1 :])
        case "gone":
            file.unlink()
        case "folder":
            file.unlink()
            file.mkdir()
    for sentence in (*read_everything(folder, layout), *read_everything(folder, "auto")):
        assert "\n" not in sentence and len(sentence) < 2000


@pytest.mark.parametrize("layout", WRITTEN)
def test_foreign_text_is_said_to_be_none(trees: dict[str, Path], tmp_path: Path, layout: str) -> None:
    shutil.copytree(trees[layout], tmp_path / "foreign")
    files = [file for file in (tmp_path / "foreign").rglob("*.*") if file.suffix in (".txt", ".json", ".ply", ".csv")]
    for file in files:
        whole = file.read_bytes()
        for content in FOREIGN:
            file.write_bytes(content)
            told = read_everything(tmp_path / "foreign", layout)
            assert not any("\n" in sentence for sentence in told)
            assert told or file.name in UNREAD or file.name == "top100.txt", (file, content)
        file.write_bytes(whole)


@settings(deadline=None, max_examples=40)
@given(numbers=st.lists(st.integers(0, 10**9), min_size=1, max_size=6, unique=True))
def test_frames_are_in_the_order_of_their_numbers(tmp_path_factory: pytest.TempPathFactory, numbers: list[int]) -> None:
    root = write(tmp_path_factory.mktemp("scan") / "scan", "scannet", 1)
    for number in numbers:
        for folder, suffix in (("color", ".jpg"), ("depth", ".png"), ("pose", ".txt")):
            if number:
                shutil.copy(root / folder / f"0{suffix}", root / folder / f"{number}{suffix}")
    found = [entry.number for entry in opened(root).files]
    assert found == sorted({0, *numbers})


def header_of(count: int, kind: str = "float") -> bytes:
    return f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\nproperty {kind} x\nend_header\n".encode()


def with_faces(count: int, kinds: str) -> bytes:
    faces = f"element face {count}\nproperty list {kinds} vertex_indices\nend_header"
    return header_of(0).replace(b"end_header", faces.encode())


@pytest.mark.parametrize(
    "text",
    [
        header_of(2**31 - 1),
        header_of(3) + b"\x00" * 11,
        header_of(1).replace(b"property float x\n", b""),
        header_of(1).replace(b"x\n", b"x\nproperty float x\n") + b"\x00" * 8,
        with_faces(1, "uint int") + b"\xff" * 16,
        with_faces(1, "float int") + b"\xff" * 16,
        with_faces(2_000_000_000, "uchar int") + b"\x03" * 13,
    ],
)
def test_sizes_of_a_mesh_are_checked_before_memory_is_taken(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "mesh.ply").write_bytes(text)
    with pytest.raises(OvsegError, match=r"mesh\.ply"):
        read_binary_ply(tmp_path / "mesh.ply")


def test_an_image_of_absurd_size_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "kinect", "posed_rgbd")
    header = struct.pack(">IIBBBBB", 30000, 30000, 16, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (root / "frame-000001.depth.png").write_bytes(bomb + b"\x00" * 100)
    with pytest.raises(InvalidFrameError, match="claims 30000x30000 pixels"):
        opened(root)[1]
    assert opened(root)[2].depth.shape == (24, 32)


def test_images_of_other_formats_are_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "kinect", "posed_rgbd")
    bitmap = cv2.imencode(".bmp", np.zeros((24, 32, 3), np.uint8))[1].tobytes()
    (root / "frame-000001.color.jpg").write_bytes(bitmap)
    with pytest.raises(InvalidFrameError, match="neither PNG nor JPEG"):
        opened(root)[1]


def test_a_vertex_that_is_nowhere_is_refused(tmp_path: Path) -> None:
    mesh = make_mesh()
    mesh.vertices[3, 1] = float("nan")
    write_sequence([make_frame(0)], mesh, tmp_path / "kinect", "posed_rgbd", NAMES)
    with pytest.raises(OvsegError, match="not finite"):
        open_sequence(tmp_path / "kinect").mesh()


def test_class_lists_are_checked(tmp_path: Path) -> None:
    root = write(tmp_path / "kinect", "posed_rgbd", 1)
    for text, said in (
        ('{"classes": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}', "twice"),
        ('{"classes": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}', "twice"),
        ('{"classes": [{"id": 0, "name": "a"}]}', "outside 1..65535"),
        ('{"classes": 3}', "not a class list"),
        ("[]", "not a class list"),
    ):
        (root / "classes.json").write_text(text)
        with pytest.raises(OvsegError, match=said):
            open_sequence(root)


@pytest.mark.parametrize("scale", [None, 0, -6553.5, float("nan"), float("inf"), "much"])
def test_a_depth_scale_is_needed(tmp_path: Path, scale: float | str | None) -> None:
    root = write(tmp_path / "Replica", "replica", 1)
    camera = json.loads((root / "cam_params.json").read_text())["camera"]
    changed = {key: value for key, value in {**camera, "scale": scale}.items() if value is not None}
    (root / "cam_params.json").write_text(json.dumps({"camera": changed}))
    with pytest.raises(OvsegError, match=r"cam_params\.json.*scale"):
        open_sequence(root)


@pytest.mark.parametrize("layout", WRITTEN)
def test_an_image_of_another_size_spoils_only_its_frame(tmp_path: Path, layout: str) -> None:
    sequence = opened(write(tmp_path / "recording", layout))
    depth = sequence.files[1].depth
    cv2.imwrite(str(depth), cv2.imread(str(depth), cv2.IMREAD_UNCHANGED)[::2, ::2])
    with pytest.raises(InvalidFrameError) as caught:
        sequence[1]
    assert caught.value.cause == "size"
    assert sequence[2].depth.shape == (24, 32)
