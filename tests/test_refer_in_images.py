"""Sentences about pictures and recordings: masks become boxes, views vote on places, and `ovseg refer` says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ovseg_ros.cli import main
from ovseg_ros.datasets import write_sequence
from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import unpack_keys
from ovseg_ros.mapping import MappingConfig
from ovseg_ros.mapping.view import View
from ovseg_ros.referring import find_in_image, find_in_recording, find_in_views
from ovseg_ros.types import Intrinsics, RefPrediction, RgbdFrame

CAMERA = Intrinsics(fx=100.0, fy=100.0, cx=79.5, cy=59.5, width=160, height=120)
HEIGHT = 12.0
CONFIG = MappingConfig(voxel_size=0.25, max_depth=20.0)
BLOCK = np.array([[2.0, 1.0, 0.0], [3.0, 3.0, 1.5]])
"""What is red: corners in metres, on a grey ground at z = 0."""


def view(x: float, y: float, turn: float = 0.0) -> RgbdFrame:
    """What a drone at (x, y, HEIGHT) sees that looks straight down, turned about its axis."""
    c, s = np.cos(turn), np.sin(turn)
    pose = np.eye(4)
    pose[:3, :3] = [[c, s, 0], [s, -c, 0], [0, 0, -1]]
    pose[:3, 3] = (x, y, HEIGHT)
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    rays = np.stack(((u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)), axis=-1)
    rays = rays @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        crossings = (BLOCK[:, None, None] - pose[:3, 3]) / rays
    near, far = crossings.min(axis=0).max(axis=-1), crossings.max(axis=0).min(axis=-1)
    hit = near < far
    rgb = np.where(hit[..., None], (200, 20, 20), (90, 90, 90)).astype(np.uint8)
    depth = np.where(hit, near, HEIGHT).astype(np.float32)
    return RgbdFrame(torch.from_numpy(rgb), torch.from_numpy(depth), CAMERA, torch.from_numpy(pose), int(1e9 * (x + 9)))


def colourful(frame: RgbdFrame) -> RgbdFrame:
    """A random model finds something in loud colours."""
    colours = torch.randint(0, 256, (6, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return replace(frame, rgb=colours.repeat_interleave(20, dim=0).repeat_interleave(20, dim=1))


FLIGHT = [view(-1.0, 1.0), view(1.0, 2.0, 0.4), view(2.0, 0.0, 1.2), view(4.0, 2.0, -2.0), view(3.0, 4.0, 3.0)]
COLOURFUL = colourful(FLIGHT[0])


class RedReferrer:
    """Finds what is red; in its bad images the upper left quarter, and in blind ones nothing."""

    def __init__(self, bad: Sequence[int] = (), blind: Sequence[int] = ()) -> None:
        self._bad, self._blind, self._calls = bad, blind, 0

    def refer(
        self, rgb: torch.Tensor, expressions: Sequence[str], size: tuple[int, int] | None = None
    ) -> RefPrediction:
        mask = rgb[..., 0] > 150
        if self._calls in self._bad:
            mask = torch.zeros_like(mask)
            mask[: mask.shape[0] // 2, : mask.shape[1] // 2] = True
        mask = mask & (self._calls not in self._blind)
        self._calls += 1
        if size is not None:
            mask = torch.nn.functional.interpolate(mask[None, None].float(), size, mode="nearest-exact")[0, 0] > 0.5
        return RefPrediction(mask.expand(len(expressions), -1, -1), torch.full((len(expressions),), 0.8))


def test_a_thing_seen_from_above_is_where_it_is() -> None:
    search = find_in_recording(FLIGHT, RedReferrer(), "the red block", CONFIG)
    place = search.place
    assert place is not None and (search.frames, search.masks) == (5, 5)
    centre, size = np.array(place.box.centre), np.array(place.box.size)
    assert abs(centre[:2] - BLOCK.mean(axis=0)[:2]).max() < 0.2
    assert centre[2] + size[2] / 2 == pytest.approx(1.5, abs=0.2)
    assert sorted(size[:2]) == pytest.approx([1.0, 2.0], abs=0.4)
    assert place.score > 0.9 and place.views == 5
    points = unpack_keys(place.keys).numpy() * place.voxel_size
    assert (points > BLOCK[0] - 0.3).all() and (points < BLOCK[1] + 0.3).all()


def test_in_the_pictures_of_a_map_it_is_at_the_same_place() -> None:
    views = [View.of(frame, CONFIG.min_depth, CONFIG.max_depth, CONFIG.voxel_size) for frame in FLIGHT]
    assert all(kept.depth_codes.shape[1] < CAMERA.width for kept in views)
    search = find_in_views(views, RedReferrer(bad=(1,)), "the red block", CONFIG)
    exact = find_in_recording(FLIGHT, RedReferrer(), "the red block", CONFIG).place
    assert search.place is not None and exact is not None
    assert (search.frames, search.masks, search.place.views) == (5, 5, 5)
    assert search.place.box.centre == pytest.approx(exact.box.centre, abs=0.15)
    assert search.place.box.size == pytest.approx(exact.box.size, abs=0.3)
    assert find_in_views(views, RedReferrer(blind=range(5)), "it", CONFIG).place is None
    empty = replace(views[0], depth_codes=torch.zeros_like(views[0].depth_codes))
    some = find_in_views([empty, *views], RedReferrer(), "it", CONFIG)
    assert some.place is not None and (some.frames, some.skipped) == (5, {"no_depth": 1})
    with pytest.raises(OvsegError, match="no frame of the map's pictures could be used: picture 0: no depth"):
        find_in_views([empty], RedReferrer(), "it", CONFIG)
    with pytest.raises(OvsegError, match="keeps no pictures to look for 'it' in"):
        find_in_views([], RedReferrer(), "it", CONFIG)


def test_views_that_mean_something_else_are_outvoted() -> None:
    right = find_in_recording(FLIGHT, RedReferrer(), "it", CONFIG).place
    for wrong in (RedReferrer(bad=(1, 3)), RedReferrer(blind=(0, 2))):
        search = find_in_recording(FLIGHT, wrong, "it", CONFIG)
        assert search.place is not None and right is not None
        assert search.place.box.centre[:2] == pytest.approx(right.box.centre[:2], abs=0.15)
        assert search.place.box.size[:2] == pytest.approx(right.box.size[:2], abs=0.3)
        assert search.place.score < right.score
    assert find_in_recording(FLIGHT, RedReferrer(blind=(0, 2, 3)), "it", CONFIG).place is None
    lenient = find_in_recording(FLIGHT, RedReferrer(blind=(0, 2, 3)), "it", CONFIG, min_share=0.4)
    assert lenient.place is not None and lenient.masks == 2


def test_what_one_view_of_several_shows_is_no_place() -> None:
    """A voxel needs two views, but for a recording of one."""
    elsewhere = [view(-40.0, 0.0), view(40.0, 0.0), FLIGHT[1]]
    assert find_in_recording(elsewhere, RedReferrer(), "it", CONFIG).place is None
    assert find_in_recording(FLIGHT[1:2], RedReferrer(), "it", CONFIG).place is not None


def test_frames_without_depth_are_counted_and_left_out() -> None:
    frame = FLIGHT[0]
    empty = RgbdFrame(frame.rgb, torch.full_like(frame.depth, torch.nan), CAMERA, frame.pose, 0)
    search = find_in_recording([*FLIGHT, empty], RedReferrer(), "it", CONFIG)
    assert search.frames == 5 and search.skipped == {"no_depth": 1}
    with pytest.raises(
        OvsegError, match=r"no frame of the recording could be used: frame 0: no depth .* 0.1 to 20.0 m"
    ):
        find_in_recording([empty], RedReferrer(), "it", CONFIG)
    with pytest.raises(OvsegError, match="no frame of the recording could be used: it has none"):
        find_in_recording([], RedReferrer(), "it", CONFIG)
    assert find_in_recording(FLIGHT, RedReferrer(), "it", CONFIG, every=3).frames == 2


@pytest.mark.parametrize("share", [0.0, 1.01, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(OvsegError, match="min_share must be above 0 and at most 1"):
        find_in_recording(FLIGHT, RedReferrer(), "it", CONFIG, min_share=share)


def test_a_mask_has_a_box_and_an_area() -> None:
    rgb = torch.zeros(20, 30, 3, dtype=torch.uint8)
    assert find_in_image(rgb, RedReferrer(), "it").box is None
    rgb[4:9, 10:13, 0] = 200
    rgb[5, 20, 0] = 200
    answer = find_in_image(rgb, RedReferrer(), "it")
    assert (answer.box, answer.area, answer.mask.sum()) == ((10, 4, 11, 5), 16, 16)
    assert answer.score == pytest.approx(0.8)


def test_the_command_answers_about_pictures(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, overlay, mask = tmp_path / "photo", tmp_path / "overlay.png", tmp_path / "mask.png"
    cv2.imwrite(f"{photo}.png", COLOURFUL.rgb.numpy())
    Path(f"{photo}.png").rename(photo)  # What it is shows in what it holds.
    words = [str(photo), "the red car", "--weights", str(weights), "-o", str(overlay), "--mask", str(mask)]
    printed = numbers(capsys, *words)
    assert set(printed) == {"score", "box", "area", "share"}
    drawn = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
    assert drawn.shape == (120, 160, 3) and set(np.unique(drawn)) <= {0, 255}
    assert (drawn[..., 0] > 0).sum() == printed["area"] > 0
    left, top, width, height = printed["box"]
    assert (drawn[top : top + height, left : left + width, 0] > 0).sum() == printed["area"]
    assert cv2.imread(str(overlay)).shape[0] >= 120
    assert main(["refer", *words]) == 0
    assert f"{printed['score']:4.2f}  at column {left}, row {top}" in capsys.readouterr().out


def test_the_command_answers_about_recordings(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sequence([replace(frame, rgb=COLOURFUL.rgb) for frame in FLIGHT], None, tmp_path / "flight", "posed_rgbd")
    words = [str(tmp_path / "flight"), "the bridge on the left", "--weights", str(weights)]
    sizes = ["--max-depth", "20", "--voxel-size", "0.5", "--min-share", "0.2"]
    printed = numbers(capsys, *words, *sizes, "--every", "2", "--dataset", "posed_rgbd")
    assert set(printed) == {"place", "frames", "masks", "skipped"}
    assert printed["frames"] == 3 and printed["skipped"] == {} and printed["masks"] > 0
    assert set(printed["place"]) == {"score", "position", "size", "yaw", "voxels", "views"}
    assert main(["refer", *words, *sizes]) == 0
    assert "5 frames, something was found in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.png", "--from", "0", "0", "0"], "--from goes with a map, and a.png is a picture: drop it"),
        (["a.ovmap", "--weights", "w"], "--weights goes with a picture, and a.ovmap is a map: drop it"),
        (["a.ovmap", "--min-share", "1"], "--min-share goes with a recording, and a.ovmap is a map"),
        ([".", "-o", "b.png"], "--out goes with a picture, and . is a recording"),
        ([".", "--every", "0"], "--every must be at least 1, got 0"),
        (["a.png"], "a.png does not exist"),
        (["a.ovmap"], "a.ovmap"),
    ],
)
def test_what_does_not_go_together_is_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["refer", words[0], "the bridge", *words[1:]]) == 1
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rs2sam2_model import save_small_model

    return save_small_model(tmp_path_factory.mktemp("weights"))


def numbers(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["refer", *arguments, "--json"]) == 0
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return parsed
