"""The benchmarks measure what they say, on sizes at which the numbers mean nothing."""

from __future__ import annotations

import json
import math
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from mapping_scenes import plain_sums

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import fusion
import layers
import locate
import pictures
import query
import query_latency
from measure import PeakMemory, cpu_milliseconds, first_and_last
from peers import Baseline, Voxels, compare
from rayfronts_peer import RayFrontiersMap, scatter
from scenes import AMBIGUOUS, CASES, RANGE, ROOM, ROOM_BOXES, VOXEL_SIZE, random_features, room_frame, walk

from ovseg_ros.errors import OvsegError
from ovseg_ros.geometry import transform_points, unpack_keys, unproject
from ovseg_ros.mapping import MappingConfig
from ovseg_ros.query import GoalConfig
from ovseg_ros.simulation import RoomSequence
from ovseg_ros.types import Intrinsics

CONTRACT = {
    "case", "features", "voxels", "ours_ms", "peer_ms", "ratio", "growth", "peak_bytes", "map_bytes", "same_voxels",
    "max_feature_difference",
}  # fmt: skip
SMALL = Intrinsics(28.0, 28.0, 23.5, 15.5, 48, 32)


@pytest.fixture
def small_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """All cases with images of 48x32 pixels."""
    for name, case in CASES.items():
        monkeypatch.setitem(CASES, name, replace(case, camera=SMALL))


def setting(**changes: object) -> fusion.Setting:
    chosen, _ = fusion.parse(["--case", "room320", "--features", "3", "--frames", "4"])
    return replace(chosen, **changes)


def test_fusion_prints_the_contracted_json(capsys: pytest.CaptureFixture[str]) -> None:
    fusion.main(["--case", "room320", "--features", "2", "--frames", "2", "--threads", "1", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result.keys() >= CONTRACT
    assert (result["case"], result["features"], result["peer"]) == ("room320", 2, "baseline")
    assert result["same_voxels"] is True
    assert 0 < result["max_feature_difference"] <= 1e-5
    assert result["peak_bytes"] >= result["map_bytes"] > result["voxels"] * 4 * 2
    assert result["growth"] == result["ours_ms"]["last"] / result["ours_ms"]["first"]
    assert result["ratio"] == result["peer_ms"]["last"] / result["ours_ms"]["last"]


@pytest.mark.usefixtures("small_cases")
def test_both_mappers_see_the_same_frames_in_a_corridor_that_grows() -> None:
    result = fusion.measure_time(setting(case="corridor320", voxels=9000))
    assert result["same_voxels"] is True
    assert result["max_feature_difference"] <= 1e-5
    assert result["voxels"] >= 9000 > result["frame_voxels"] > 100


@pytest.mark.usefixtures("small_cases")
def test_features_are_kept_in_the_precision_asked_for() -> None:
    half = setting(feature_dtype="float16")
    assert half.empty_map().config.feature_dtype == "float16"
    result = fusion.measure_time(half)
    assert result["same_voxels"] is True
    assert result["max_feature_difference"] <= 1e-3


@pytest.mark.usefixtures("small_cases")
def test_ours_alone_has_nothing_to_compare_with() -> None:
    result = fusion.measure_time(setting(peer="none"))
    assert [result[key] for key in ("peer_ms", "ratio", "same_voxels", "max_feature_difference")] == [None] * 4
    table = fusion.table({"peak_bytes": 2, "map_bytes": 1, **vars(setting(peer="none")), **result})
    assert "2.00 times" in table
    assert "same voxels" not in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "1"], "--frames must be 2 or more, got 1"),
        (["--features", "0"], "must be 1 or more, got 0"),
        (["--peer", "rayfronts"], "go together"),
        (["--peer", "none", "--rayfronts", "/nowhere"], "go together"),
        (["--rayfronts", "/nowhere"], "/nowhere has no rayfronts/mapping/semantic_voxel_map.py: clone"),
    ],
)
def test_bad_arguments_are_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as failure:
        fusion.parse(arguments)
    assert failure.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("small_cases")
def test_layers_prints_the_contracted_json(capsys: pytest.CaptureFixture[str]) -> None:
    layers.main(["--case", "corridor320", "--features", "2", "--frames", "16", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result.keys() >= {"case", "features", "voxels", "ours_ms", "voxels_ms", "peer_ms", "ratio", "layers"}
    assert (result["case"], result["features"], result["peer_ms"], result["ratio"]) == ("corridor320", 2, None, None)
    assert all(result[who][end] > 0 for who in ("ours_ms", "voxels_ms") for end in ("first", "last"))
    assert result["layers"]["voxels"] == result["voxels"]
    assert all(count > 0 for count in result["layers"].values())


@pytest.mark.usefixtures("small_cases")
@pytest.mark.parametrize(("reach", "beyond"), [("2.5", True), ("5", False)])
def test_rays_come_from_what_is_beyond_the_range(reach: str, beyond: bool) -> None:
    chosen, _ = layers.parse(["--case", "room320", "--features", "2", "--frames", "16", "--range", reach])
    depths = torch.stack([frame.depth for frame, _ in chosen.sequence()])
    assert depths.isinf().any() == beyond
    assert depths[depths.isfinite()].max() <= float(reach)
    assert (layers.measure(chosen)["layers"]["rays"] > 0) == beyond


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "20"], "--frames must be a multiple of 8, 16 or more, got 20"),
        (["--frames", "8"], "--frames must be a multiple of 8, 16 or more, got 8"),
        (["--range", "6"], "--range must be 2.0 to 5.0 m, got 6.0"),
        (["--range", "nan"], "--range must be 2.0 to 5.0 m, got nan"),
        (["--set", "vox_size=1"], "name its checkout with --rayfronts PATH"),
        (["--set", "vox_size"], "must be NAME=VALUE, got 'vox_size'"),
        (["--rayfronts", "/nowhere"], "/nowhere has no rayfronts/mapping/semantic_voxel_map.py: clone"),
    ],
)
def test_bad_arguments_of_layers_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as failure:
        layers.parse(arguments)
    assert failure.value.code == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """What the peer finds in a checkout of RayFronts, with a mapper in it that keeps what it is given."""
    files = {
        "configs/mapping/semantic_ray_frontiers_map.yaml": """
            defaults: [base_mapping]
            _target_: rayfronts.mapping.SemanticRayFrontiersMap
            vox_size: 0.3
            max_rays_per_frame: -1
            max_depth_sensing: -1
            interp_mode: ${interp_mode}
        """,
        "mapping/semantic_voxel_map.py": "",
        "mapping/semantic_ray_frontiers_map.py": """
            import time

            import openvdb
            import rayfronts_cpp
            import torch
            from rayfronts.image_encoders import ImageEncoder

            class SemanticRayFrontiersMap:
                def __init__(self, intrinsics, **settings):
                    self.intrinsics, self.settings = intrinsics, settings
                    self.global_vox_xyz = torch.zeros(7, 3)
                    self.frontiers = torch.zeros(5, 3)
                    self.global_rays_orig_angles = None
                    self.frames = []

                def process_posed_rgbd(self, rgb, depth, pose, feat_img):
                    self.frames.append((rgb, depth, pose, feat_img))
                    end = time.process_time() + (0.03 if len(self.frames) % 8 == 0 else 0)
                    while time.process_time() < end:
                        pass
        """,
        "openvdb.py": "",
        "rayfronts_cpp.py": "",
    }
    for name, text in files.items():
        path = tmp_path / ("" if name.endswith(("openvdb.py", "cpp.py")) else "rayfronts") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    with mock.patch.dict(sys.modules), mock.patch.object(sys, "path", list(sys.path)):
        yield tmp_path


def test_peer_is_set_up_by_its_own_file_and_what_is_asked_for(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    peer = RayFrontiersMap(checkout, SMALL, 0.05, {"max_depth_sensing": 5})
    expected = {"vox_size": 0.05, "max_rays_per_frame": 1000, "max_depth_sensing": 5}
    given = peer._map.settings
    assert {name: given[name] for name in given.keys() - {"device", "encoder"}} == expected
    assert peer._map.intrinsics.tolist() == [[28, 0, 23.5], [0, 28, 15.5], [0, 0, 1]]
    peer.integrate(room_frame(SMALL, 0.0), random_features(3, SMALL, seed=0).features)
    assert [tuple(part.shape) for part in peer._map.frames[0]] == [
        (1, 3, 32, 48), (1, 1, 32, 48), (1, 4, 4), (1, 3, 2, 3),
    ]  # fmt: skip
    assert peer.counts() == {"voxels": 7, "frontiers": 5, "rays": 0}
    with pytest.raises(OvsegError, match="RayFronts has no setting interp_mode, speed: take one of vox_size, max"):
        RayFrontiersMap(checkout, SMALL, 0.05, {"speed": 9, "interp_mode": 1})


def test_peer_without_its_extension_says_what_to_build(checkout: Path) -> None:
    with pytest.raises(OvsegError, match="needs the module openvdb, which isn't there: build it"):
        RayFrontiersMap(checkout, SMALL, 0.05)


@pytest.mark.usefixtures("small_cases")
def test_work_that_the_peer_saves_up_counts(checkout: Path) -> None:
    arguments = ["--frames", "16", "--rayfronts", str(checkout), "--extension", str(checkout)]
    chosen, _ = layers.parse([*arguments, "--set", "max_depth_sensing=5"])
    assert chosen.empty_mappers()["peer_ms"]._map.settings["max_depth_sensing"] == 5
    result = layers.measure(chosen)
    assert result["peer_ms"]["first"] >= 30 / 8
    assert result["peer_ms"]["last"] >= 30 / 8
    assert result["ratio"] == pytest.approx(sum(result["peer_ms"].values()) / sum(result["ours_ms"].values()))
    assert result["peer_settings"] == {"max_depth_sensing": 5}
    assert result["peer_layers"] == {"voxels": 7, "frontiers": 5, "rays": 0}
    assert "max_depth_sensing=5" in layers.table(result)


def test_query_prints_the_contracted_json(capsys: pytest.CaptureFixture[str]) -> None:
    query.main(["--voxels", "1500", "--features", "8", "--queries", "3", "--rounds", "2", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["voxels"] == 1500
    assert result["ratio"] == result["ours_ms"] / result["matmul_ms"]


def test_locate_prints_the_contracted_json(capsys: pytest.CaptureFixture[str]) -> None:
    locate.main(["--cases", "3", "--frames", "20", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result.keys() >= {"cases", "answered", "refused", "refused_though_possible", *locate.SHARES}
    assert result["cases"] == 3 == result["answered"] + result["refused"]
    assert all(0 <= result[name] <= 1 for name in locate.SHARES)


def test_pictures_prints_the_contracted_json(capsys: pytest.CaptureFixture[str]) -> None:
    pictures.main(["--rooms", "1", "--frames", "4", "--views", "2", "--json"])
    result = json.loads(capsys.readouterr().out)
    for kind in ("boxed", "cropped"):
        assert 0 <= result[kind]["thing"] <= result[kind]["class"] <= 1
        assert (result[kind]["absent"], result[kind]["absent_answered"]) == (0, None)
    assert result["boxed"]["asked"] >= result["cropped"]["asked"] > 0
    looked_up = result["looked_up"]
    # Whatever is looked up, the first match can't be right where none is.
    assert all(looked_up[kind]["first_right"] <= looked_up["asked"]["any_right"] for kind in ("map", "model", "truth"))
    assert 10_000 < result["view_bytes"] < 100_000
    assert pictures.roc_area([(0.9, True), (0.5, False), (0.5, True), (0.1, False)]) == pytest.approx(0.875)


def test_the_true_room_tells_good_places_from_bad() -> None:
    config = GoalConfig()
    sequence = RoomSequence(4000, frames=2, width=64, height=48)
    room = locate.TrueRoom(sequence, config)
    thing = next(entry for entry in room.room.objects if entry.label not in locate.STRUCTURE and entry.lower[2] < 0.1)
    walked = sequence.poses[0][:2, 3]
    assert room.is_free(walked)
    assert room.clearance(walked) > 0.05
    assert room.clearance(thing.centre[:2]) < 0.5 * np.linalg.norm(thing.size[:2])
    assert not room.is_free(np.array([50.0, 0.0]))
    points = room.thing(thing.label, thing.centre)
    assert ((points >= thing.lower - 0.01) & (points <= thing.upper + 0.01)).all()
    assert not room.seen(np.array([50.0, 0.0]), points, thing.label).any()
    assert room.seen(walked, points, "wall").sum() + room.seen(walked, points, thing.label).sum() <= len(points)


def test_every_voxel_of_the_map_that_is_asked_has_features_of_its_own() -> None:
    semantic_map = query.plane_map(1234, 4)
    assert semantic_map.voxel_count == 1234
    assert len(torch.unique(semantic_map.features, dim=0)) == 1234
    assert semantic_map.weights.unique().tolist() == [1]


def voxels(seed: int = 0) -> Voxels:
    generator = torch.Generator().manual_seed(seed)
    return Voxels(torch.arange(20) * 7, torch.arange(20.0) + 1, torch.randn(20, 3, generator=generator))


def test_maps_are_the_same_in_any_order() -> None:
    ours, order = voxels(), torch.randperm(20, generator=torch.Generator().manual_seed(1))
    assert compare(ours, Voxels(ours.keys[order], ours.counts[order], ours.features[order])) == (True, 0.0)


def test_differences_between_maps_are_found() -> None:
    ours = voxels()
    lacks_one = Voxels(ours.keys[1:], ours.counts[1:], ours.features[1:])
    assert compare(ours, lacks_one) == (False, 0.0)
    assert compare(lacks_one, ours) == (False, 0.0)
    moved_one = replace(ours, keys=ours.keys.where(ours.keys != 7, 8))
    assert compare(ours, moved_one) == (False, 0.0)
    assert compare(ours, replace(ours, counts=ours.counts + (ours.keys == 14))) == (False, 0.0)
    off = ours.features.clone()
    off[4, 1] -= 0.5
    assert compare(ours, replace(ours, features=off)) == (True, pytest.approx(0.5))
    off[4, 1] = math.nan
    assert math.isnan(compare(ours, replace(ours, features=off))[1])


def test_baseline_equals_plain_sums() -> None:
    peer, expected = Baseline(VOXEL_SIZE), {}
    for i in range(3):
        frame, segmentation = room_frame(SMALL, 0.05 * i), random_features(3, SMALL, seed=i)
        peer.integrate(frame, segmentation.features)
        for index, (count, feature, _) in plain_sums(frame, segmentation.features, MappingConfig()).items():
            before = expected.get(index, (0, 0.0))
            expected[index] = before[0] + count, before[1] + feature
    found = peer.voxels()
    indices = [tuple(index) for index in unpack_keys(found.keys).tolist()]
    assert sorted(indices) == sorted(expected)
    assert found.counts.tolist() == [expected[index][0] for index in indices]
    means = np.stack([expected[index][1] / expected[index][0] for index in indices])
    np.testing.assert_allclose(found.features.numpy(), means, atol=1e-5)


@pytest.mark.parametrize("heading", [0.0, 0.7, 3.0])
def test_rays_end_where_the_first_surface_is(heading: float) -> None:
    frame = room_frame(SMALL, heading)
    read = torch.isfinite(frame.depth)
    assert read.float().mean() > 0.9
    assert frame.depth[read].max() <= RANGE
    ends = transform_points(frame.pose, unproject(frame.depth.double(), SMALL))[read]
    eye = frame.pose[:3, 3]
    low, high = (torch.tensor(corner, dtype=torch.float64) for corner in ROOM)
    box_low, box_high = (
        torch.tensor(corners, dtype=torch.float64)[:, None] for corners in zip(*ROOM_BOXES, strict=True)
    )

    def free(points: torch.Tensor) -> torch.Tensor:
        in_box = ((points > box_low) & (points < box_high)).all(dim=-1).any(dim=0)
        return ((points > low) & (points < high)).all(dim=-1) & ~in_box

    for part in torch.linspace(0, 0.9999, 50).tolist():
        assert free(eye + part * (ends - eye)).all()
    assert not free(eye + 1.0001 * (ends - eye)).any()
    cells = ends / VOXEL_SIZE
    assert ((cells - cells.floor() - 0.5).abs() * VOXEL_SIZE).min() >= AMBIGUOUS


def test_frames_are_timed_on_both_sides_of_what_fills_the_map() -> None:
    for name, timed in (
        ("corridor320", [False, False, True, True, False, False, False, True, True]),
        ("room320", [False] * 5 + [True] * 4),
    ):
        counts = iter([0, 30_000, 60_000, 90_000, 90_000, 90_000, 100_000] if name == "corridor320" else range(6))
        target = 100_000 if name == "corridor320" else 5
        steps = list(walk(replace(CASES[name], camera=SMALL), 4, target, lambda counts=counts: next(counts)))
        assert [flag for _, flag in steps] == timed
        assert len({frame.stamp_ns for frame, _ in steps}) == len(steps)


def test_ends_of_a_run_do_not_overlap() -> None:
    assert first_and_last([1.0, 3.0, 5.0, 7.0, 11.0]) == {"first": 2.0, "last": 9.0}
    assert first_and_last([float(i) for i in range(100)]) == {"first": 4.5, "last": 94.5}


def test_waiting_is_no_cpu_time() -> None:
    assert cpu_milliseconds(partial(time.sleep, 0.2)) < 100
    assert cpu_milliseconds(partial(sum, range(1_000_000))) > 1


def test_peak_memory_is_that_of_the_job_and_what_it_left() -> None:
    block = 64 << 20
    memory = PeakMemory()
    assert memory.bytes_above_base == 0
    memory.during(lambda: b"x" * block)
    assert memory.bytes_above_base == pytest.approx(block, rel=0.1)
    kept = b"x" * block
    memory.during(lambda: None)
    assert memory.bytes_above_base == pytest.approx(block, rel=0.1)
    memory.during(lambda: b"y" * len(kept))
    assert memory.bytes_above_base == pytest.approx(2 * block, rel=0.1)


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_scatter_adds_into_what_is_there(reduce: str) -> None:
    rng = np.random.default_rng(3)
    rows, index, out = rng.normal(size=(9, 2)), rng.integers(0, 4, 9), rng.normal(size=(5, 2))
    expected = out.copy()
    for row, place in zip(rows, index, strict=True):
        expected[place] += row
    if reduce == "mean":
        expected /= np.maximum(np.bincount(index, minlength=5), 1)[:, None]
    target = torch.from_numpy(out)
    scatter(src=torch.from_numpy(rows), index=torch.from_numpy(index), out=target, reduce=reduce, dim=0)
    np.testing.assert_allclose(target.numpy(), expected)


def test_query_latency_asks_while_the_map_changes(capsys: pytest.CaptureFixture[str]) -> None:
    query_latency.main(["--voxels", "3000", "--queries", "4", "--pause", "0.3", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["voxels"] > 3000
    assert result["frames_hz"] > 0
    for when in ("quiet", "mapping", "unknown"):
        for clock in ("ms", "cpu_ms"):
            assert 0 < result[when][clock]["p50"] <= result[when][clock]["p99"]
