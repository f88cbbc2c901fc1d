"""Pictures that a map keeps: which ones, what they show of a thing, in files and merged maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from ovseg_ros.cli import main
from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import rigid_transform
from ovseg_ros.mapping import MappingConfig, SemanticMap, Submaps, merge, storage
from ovseg_ros.query import best_views
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import Intrinsics, RgbdFrame, Segmentation

Spoil = Callable[[torch.Tensor], torch.Tensor | None]
CAMERA = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
SEEN = Segmentation(torch.ones(2, 6, 8), "test/1")


def pose_at(degrees: float, distance: float = 2.0) -> torch.Tensor:
    """On a circle around the origin, looking at it, level."""
    angle = math.radians(degrees)
    back = torch.tensor([math.cos(angle), math.sin(angle), 0.0], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    down = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)
    pose[:3, :3] = torch.stack((torch.linalg.cross(down, -back), down, -back), dim=1)
    pose[:3, 3] = distance * back
    return pose


def frame(degrees: float, distance: float = 2.0, stamp: int = 1, radius: float = 0.5) -> RgbdFrame:
    """A ball around the origin, in a colour that says how its camera stands; nothing behind it."""
    v, u = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    x, y = (u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy
    # The nearer solution of |t (x, y, 1) - (0, 0, distance)| = radius.
    a = x.square() + y.square() + 1.0
    root = distance**2 - a * (distance**2 - radius**2)
    depth = torch.where(root > 0, (distance - root.clamp(min=0).sqrt()) / a, math.nan).float()
    rgb = torch.zeros(48, 64, 3, dtype=torch.uint8)
    rgb[..., 0] = round(degrees) % 360 * 255 // 360
    return RgbdFrame(rgb, depth, CAMERA, pose_at(degrees, distance), stamp)


def mapped(frames: list[RgbdFrame], views: int, **settings: float) -> SemanticMap:
    semantic_map = SemanticMap(MappingConfig(views=views, **settings))  # type: ignore[arg-type]
    for one in frames:
        semantic_map.integrate(one, SEEN)
    return semantic_map


def stamps(semantic_map: SemanticMap) -> list[int]:
    return [view.stamp_ns for view in semantic_map.views]


def test_none_are_kept_unless_asked_for() -> None:
    semantic_map = mapped([frame(0)], views=0)
    assert len(semantic_map.views) == 0
    assert not [name for name in semantic_map.columns if name.startswith("views")]
    assert best_views(semantic_map, semantic_map.keys) == ()
    for views in (-1, 1001):
        with pytest.raises(OvsegError, match="views must be at most 1000, or 0 for none"):
            MappingConfig(views=views)


def test_a_view_is_the_frame_as_it_was() -> None:
    original = frame(200.0, stamp=7)
    (view,) = mapped([original], views=3).views
    assert (view.stamp_ns, view.intrinsics) == (7, CAMERA)
    torch.testing.assert_close(view.pose, original.pose)
    assert (view.rgb().int() - original.rgb.int()).abs().max() <= 4
    # Its depth leads to the voxels of the map.
    semantic_map = mapped([original], views=1)
    assert set(view.seen.tolist()) == set(semantic_map.keys.tolist())


def test_large_frames_are_kept_smaller() -> None:
    sequence = RoomSequence(3, frames=2, width=1280, height=960)
    semantic_map = SemanticMap(MappingConfig(views=2, voxel_size=0.1))
    semantic_map.integrate(sequence[0], SEEN)
    (view,) = semantic_map.views
    assert tuple(view.rgb().shape) == (480, 640, 3)
    assert view.intrinsics == sequence.intrinsics.scaled(640, 480)
    assert tuple(view.depth_codes.shape) == (96, 128)
    # What is seen on the coarse grid are voxels of the map.
    assert torch.isin(view.seen, semantic_map.keys).float().mean() > 0.97


def test_other_sides_replace_repetitions_and_near_views_far_ones() -> None:
    same = [frame(0.0 + 0.1 * i, stamp=i) for i in range(5)]
    around = [frame(90.0 * i, stamp=10 + i) for i in range(1, 4)]
    tiny = [
        frame(degrees, stamp=stamp, radius=0.1) for degrees, stamp in ((0, 0), (1, 1), (90, 11), (180, 12), (270, 13))
    ]
    for order in (same + around, around + same, tiny, tiny[::-1]):
        kept = stamps(mapped(order, views=4))
        assert len(set(kept) & {0, 1, 2, 3, 4}) == 1
        assert {11, 12, 13} < set(kept)
    # Two that are hardly better than each other, and a poor one of another side.
    kept = stamps(mapped([frame(-3.0, stamp=1), frame(3.0, stamp=2), frame(90.0, distance=3.9, stamp=3)], views=2))
    assert 3 in kept
    far, near = frame(45.0, distance=4.0, stamp=1), frame(45.0, distance=1.5, stamp=2)
    for order in ([far, near], [near, far]):
        assert stamps(mapped(order, views=1)) == [2]


@given(angles=st.lists(st.integers(0, 359), min_size=1, max_size=12), limit=st.integers(1, 5))
@settings(deadline=None, max_examples=20)
def test_never_more_than_the_limit_and_never_one_that_was_not_seen(angles: list[int], limit: int) -> None:
    frames = [frame(float(angle), stamp=i) for i, angle in enumerate(angles)]
    kept = stamps(mapped(frames, views=limit))
    assert len(kept) == min(limit, len(frames))
    assert len(set(kept)) == len(kept) and set(kept) <= set(range(len(frames)))


def test_the_best_views_of_a_thing_show_its_sides() -> None:
    semantic_map = mapped([frame(90.0 * i, stamp=i) for i in range(4)] + [frame(2.0, distance=3.9, stamp=9)], views=5)
    right = semantic_map.centres[:, 0] > 0.3  # what a camera at 0 degrees looks at
    best = best_views(semantic_map, semantic_map.keys[right], count=2)
    assert best[0].view.stamp_ns == 0
    assert best[0].share > 0.5
    rows, columns = best[0].mask.nonzero().unbind(dim=1)
    assert (rows.float().mean() - 23.5).abs() < 2 and (columns.float().mean() - 31.5).abs() < 2
    assert best[0].mask.sum() < mapped([frame(0.0)], views=1).keys.numel() * 20
    shown = best_views(semantic_map, semantic_map.keys, count=3)
    assert {entry.view.stamp_ns for entry in shown} < {0, 1, 2, 3}
    # One from behind says more than a second one from the front, though it shows less.
    pair = mapped([frame(0.0, stamp=1), frame(3.0, stamp=2), frame(180.0, distance=2.8, stamp=3)], views=3)
    best = best_views(pair, pair.keys, count=2)
    assert {entry.view.stamp_ns for entry in best} in ({1, 3}, {2, 3})


def test_what_is_hidden_or_was_not_there_is_not_seen() -> None:
    semantic_map = mapped([frame(0.0, stamp=1)], views=1)
    back = mapped([frame(180.0)], views=0)
    behind = back.keys[back.centres[:, 0] < -0.2]
    assert len(behind) > 20
    assert best_views(semantic_map, behind) == ()
    # A bit of it isn't enough to judge it by.
    assert best_views(semantic_map, torch.cat((behind, semantic_map.keys[: len(behind) // 8]))) == ()
    assert best_views(semantic_map, torch.cat((behind, semantic_map.keys[: len(behind)]))) != ()


def test_a_file_gives_the_same_views_back(tmp_path: Path) -> None:
    semantic_map = mapped([frame(90.0 * i, stamp=i) for i in range(4)], views=3)
    path = tmp_path / "ball.ovmap"
    storage.save(semantic_map, path)
    loaded = storage.load(path)
    assert stamps(loaded) == stamps(semantic_map)
    for ours, theirs in zip(semantic_map.views, loaded.views, strict=True):
        assert ours.jpeg == theirs.jpeg
        assert ours.intrinsics == theirs.intrinsics
        torch.testing.assert_close(ours.pose, theirs.pose, rtol=0, atol=0)
        assert torch.equal(ours.seen, theirs.seen)
    loaded.integrate(frame(45.0, stamp=9), SEEN)
    assert len(loaded.views) == 3
    loaded.clear()
    assert len(loaded.views) == 0


@pytest.mark.parametrize(
    ("column", "spoil", "words"),
    [
        ("views.stamps", lambda c: c[:-1], "stamps|views"),
        ("views.stamps", lambda c: None, "stamps"),
        ("views.jpegs", lambda c: c[:-5], "without a picture"),
        ("views.jpegs", lambda c: torch.zeros_like(c), "isn't one of 64x48 pixels"),
        ("views.jpeg_sizes", lambda c: c.flip(0) * 0 + 1, "without a picture"),
        ("views.sizes", lambda c: c * 0, "impossible sizes"),
        ("views.sizes", lambda c: c * 0 + 641, "impossible sizes"),
        ("views.sizes", lambda c: c + 1, "depths|isn't one of"),
        ("views.depths", lambda c: c[1:], "depths"),
        ("views.depths", lambda c: c - 1, "below zero"),
        ("views.depth_ranges", lambda c: c * math.nan, "depth range"),
        ("views.poses", lambda c: c * 2, "not a rotation"),
        ("views.cameras", lambda c: c * 0, "focal lengths"),
        ("views.poses", lambda c: c.float(), "poses"),
    ],
)
def test_damaged_views_are_refused(column: str, spoil: Spoil, words: str, tmp_path: Path) -> None:
    path = tmp_path / "ball.ovmap"
    storage.save(mapped([frame(0.0), frame(90.0)], views=2), path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    changed = spoil(columns.pop(column))
    save_file(columns | ({} if changed is None else {column: changed.contiguous()}), path, header)
    with pytest.raises(OvsegError, match=words):
        storage.load(path)


def test_merged_maps_choose_among_the_views_of_both() -> None:
    first = mapped([frame(0.0, stamp=1), frame(1.0, stamp=2), frame(90.0, stamp=3)], views=3)
    second = mapped([frame(180.0, stamp=4)], views=1)
    merged = merge(first, second)
    assert {3, 4} < set(stamps(merged)) and len(merged.views) == 3
    assert len(merge(mapped([frame(0.0)], views=0), second).views) == 0

    turn = rigid_transform((1.0, 2.0, 0.0), (0.0, 0.0, math.sin(math.pi / 4), math.cos(math.pi / 4)))
    moved = merge(mapped([frame(0.0, stamp=1)], views=2), second, turn)
    (view,) = (view for view in moved.views if view.stamp_ns == 4)
    torch.testing.assert_close(view.pose, turn @ pose_at(180.0))
    assert torch.isin(view.seen, moved.keys).float().mean() > 0.6


def test_views_follow_a_corrected_trajectory() -> None:
    submaps = Submaps(SemanticMap(MappingConfig(views=2)))
    number = submaps.begin(pose_at(0.0))
    submaps.integrate(frame(0.0), SEEN)
    corrected = pose_at(0.0)
    corrected[2, 3] += 1.0
    submaps.update_poses({number: corrected})
    (view,) = submaps.fused().views
    torch.testing.assert_close(view.pose, corrected)


def test_readings_out_of_range_are_no_part_of_a_view() -> None:
    far = frame(0.0)
    far = replace(far, depth=torch.where(far.depth.isnan(), 12.0, far.depth))
    ((view,), (plain,)) = (mapped([one], views=1).views for one in (far, frame(0.0)))
    assert torch.equal(view.seen, plain.seen)


def test_the_command_keeps_views_and_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "room.ovmap")
    assert main(["rooms", str(tmp_path / "room"), "--frames", "3", "--size", "64x48", "--layout", "posed_rgbd"]) == 0
    assert main(["map", str(tmp_path / "room"), "-o", path, "--voxel-size", "0.1", "--views", "2"]) == 0
    assert main(["info", path]) == 0
    assert "views        2" in capsys.readouterr().out
    assert len(storage.load(path).views) == 2
