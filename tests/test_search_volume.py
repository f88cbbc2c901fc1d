"""The search volume evaluation: cones, claims, counts and areas worked out by hand, and whole runs."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from painted_rooms import CELL, FREE, Painting
from word_space import SPACE

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.search_volume.command import main
from ovseg_ros.evaluation.search_volume.cones import Cone, claimed, half_field_of_view
from ovseg_ros.evaluation.search_volume.counts import Counts, Step
from ovseg_ros.evaluation.search_volume.judge import Judge
from ovseg_ros.evaluation.search_volume.metrics import METRICS, areas
from ovseg_ros.evaluation.search_volume.run import finished, run
from ovseg_ros.evaluation.search_volume.settings import SearchSettings, read_search_settings
from ovseg_ros.evaluation.search_volume.tables import BLIND, BOUND, MODEL
from ovseg_ros.evaluation.search_volume.volume import EMPTY, UNLABELLED, SceneVolume
from ovseg_ros.evaluation.semseg.command import config_folder
from ovseg_ros.evaluation.truth import GroundTruth
from ovseg_ros.geometry import unpack_keys
from ovseg_ros.types import Intrinsics

NAMES = ("chair", "table", "sofa", "plant")
CHAIR, TABLE, SOFA, PLANT = range(4)
ENTRIES: dict[str, Any] = {
    "dataset": {"layout": "replica", "path": "rooms", "truth": "surface", "seen": True},
    "out": "out",
    "device": "cpu",
    "map": {"voxel_size": CELL, "max_depth": 1.5},
}


def rows(*points: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(points, dtype=torch.float64)


@pytest.mark.parametrize(
    ("place", "inside"),
    [
        ((0.0, 0.0, 0.0), True),
        ((0.0, 0.99, 0.0), True),
        ((0.0, 0.0, -1.01), False),
        ((-0.01, 0.0, 0.0), False),
        ((2.0, 2.99, 0.0), True),
        ((2.0, 0.0, 3.01), False),
        ((100.0, 100.0, 0.0), True),
    ],
)
def test_a_cone_of_45_degrees_that_starts_as_a_circle_of_a_metre(
    place: tuple[float, float, float], inside: bool
) -> None:
    cone = Cone(math.radians(45), 1.0)
    far = rows((1000.0, -2000.0, 500.0))
    votes = cone.votes(rows(place) + far, rows((0, 0, 0)) + far, rows((1, 0, 0)))
    assert votes.tolist() == [int(inside)]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(1.0, 85.0), st.floats(0.0, 2.0))
def test_cones_open_by_their_half_angle_about_any_axis(seed: int, degrees: float, radius: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    places, origins, directions = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (50, 4, 4))
    directions /= directions.norm(dim=1, keepdim=True)
    half_angle = math.radians(degrees)
    apexes = origins - directions * radius / math.tan(half_angle)
    apart = places[:, None] - apexes
    angle = torch.acos(((apart * directions).sum(dim=2) / apart.norm(dim=2)).clamp(-1, 1))
    ahead = ((places[:, None] - origins) * directions).sum(dim=2) >= 0
    votes = Cone(half_angle, radius).votes(places, origins, directions)
    assert torch.equal(votes, ((angle <= half_angle) & ahead).sum(dim=1))


def test_a_class_is_searched_for_above_a_share_of_its_most_votes() -> None:
    assert claimed(torch.tensor([0, 1, 2, 20]), 0.05).tolist() == [False, False, True, True]
    assert claimed(torch.tensor([0, 1, 2, 20]), 0.0).tolist() == [False, True, True, True]
    assert not claimed(torch.zeros(3, dtype=torch.int64), 0.0).any()
    assert claimed(torch.zeros(0, dtype=torch.int64), 0.05).shape == (0,)


def test_cones_that_are_none_are_refused() -> None:
    with pytest.raises(OvsegError, match="0 to below 90 degrees, got 90"):
        Cone(math.pi / 2, 1.0)
    with pytest.raises(OvsegError, match="at least 0 m, got -1"):
        Cone(0.1, -1.0)


def test_the_wider_field_of_view_counts() -> None:
    assert half_field_of_view(Intrinsics(100.0, 50.0, 0.0, 0.0, 200, 50)) == pytest.approx(math.pi / 4)


@pytest.fixture
def scene() -> tuple[Painting, GroundTruth]:
    """A sheet of 41 x 21 cells, all of which can be seen, with five things on it."""
    world = Painting((0, -1, 0), (4, 1, 0)).box((0, -1, 0), (4, 1, 0), FREE)
    things = {
        CHAIR: [(0.5, 0.0), (3.0, 0.5), (3.1, 0.5), (3.2, 0.5)],
        TABLE: [(0.5, 0.3), (3.0, -0.5), (3.0, -0.6)],
        PLANT: [(2.0, 0.5)],
    }
    # One unlabelled cell; and unlabelled points in the cell of a chair, which have no say there.
    unlabelled = [(2.0, -0.9, 0.0), (3.0, 0.5, 0.01), (3.0, 0.5, 0.02)]
    points = [(x, y, 0.0) for label in things for x, y in things[label]] + unlabelled
    labels = [label + 1 for label in things for _ in things[label]] + [0] * len(unlabelled)
    return world, GroundTruth(np.array(points), np.array(labels, dtype=np.int32), NAMES)


def volume_of(scene: tuple[Painting, GroundTruth], *ignored: str) -> SceneVolume:
    world, truth = scene
    occupancy = world.map().layers.occupancy
    assert occupancy is not None
    # So that the box around the truth is the sheet.
    corners = np.array([(0.0, -1.0, 0.0), (4.0, 1.0, 0.0)])
    all_of_it = replace(
        truth, points=np.vstack((truth.points, corners)), labels=np.append(truth.labels, [0, 0]).astype(np.int32)
    )
    return SceneVolume.of(all_of_it, ignored, occupancy)


def test_the_volume_is_what_was_seen_around_the_truth(scene: tuple[Painting, GroundTruth]) -> None:
    volume = volume_of(scene, "plant")
    assert len(volume.keys) == 41 * 21
    at = {
        tuple(cell): label
        for cell, label in zip(unpack_keys(volume.keys).tolist(), volume.labels.tolist(), strict=True)
    }
    assert at[5, 0, 0] == at[30, 5, 0] == CHAIR + 1 and at[30, -6, 0] == TABLE + 1 and at[6, 0, 0] == EMPTY
    # Unlabelled, and ignored.
    assert at[20, -9, 0] == UNLABELLED and at[20, 5, 0] == UNLABELLED
    assert volume.present.tolist() == [True, True, False, False]


def test_volumes_without_truth_are_refused(scene: tuple[Painting, GroundTruth]) -> None:
    world, truth = scene
    occupancy = world.map().layers.occupancy
    assert occupancy is not None
    with pytest.raises(OvsegError, match="no ground truth where the frames look"):
        SceneVolume.of(truth.kept(truth.labels < 0), (), occupancy)
    with pytest.raises(OvsegError, match="no labelled surface lies in cells"):
        SceneVolume.of(replace(truth, points=truth.points + 50.0), (), occupancy)


@pytest.fixture
def step(scene: tuple[Painting, GroundTruth]) -> Step:
    """The cells up to x = 1 were seen, with a chair that is one and a sofa that is a table; then rays are cast."""
    seen = Painting((0, -1, 0), (4, 1, 0)).box((0, -1, 0), (1, 1, 0), FREE)
    seen.box((0.5, 0, 0), (0.5, 0, 0), name="chair").box((0.5, 0.3, 0), (0.5, 0.3, 0), name="sofa")
    seen.rays += [((1.0, 0.5, 0), (1, 0, 0), "chair"), ((1.0, -0.5, 0), (-1, 0, 0), "plant")]
    judge = Judge(volume_of(scene), NAMES, read_search_settings(ENTRIES))
    return judge.step(judge.moment(seen.map(), SPACE), Cone(0.0, 0.25), frames=10)  # type: ignore[arg-type]


def test_counts_of_a_step(step: Step) -> None:
    # 30 x 21 cells lie beyond, four of them unlabelled: one thing, and two corners of which one was seen.
    assert (step.frames, step.volume, step.labelled) == (10, 630 - 2, 6)
    assert step.rays.tolist() == [1, 0, 0, 1]
    # The chairs' cone is 5 cells wide; nobody casts rays for tables and sofas; the plants' cone points back.
    assert step.surface.tp.tolist() == [3, 2, 0, 0]
    assert step.surface.fp.tolist() == [1, 4, 6, 0]
    assert step.surface.fn.tolist() == [0, 0, 0, 1]
    assert step.empty.tolist() == [5 * 30 - 4, 622, 622, 0]
    assert step.observed.tp.tolist() == [1, 0, 0, 0]
    assert step.observed.fp.tolist() == [0, 0, 1, 0]
    assert step.observed.fn.tolist() == [0, 1, 0, 0]


def test_numbers_of_a_step(step: Step) -> None:
    numbers = {name: metric(step) for name, metric in METRICS.items()}
    nan = math.nan
    expected = {
        "recall": [1, 1, nan, 0],
        "SCV": [1 - 147 / 628, 1 - 626 / 628, 0, 1],
        "SCV-recall": [1 - 147 / 628, 2 / 628, nan, 0],
        "search-volume": [150 / 628, 1, 1, 0],
        "F0.5": [1.25 * 3 / (1.25 * 3 + 147), 1.25 * 2 / (1.25 * 2 + 626), nan, 0],
        "F1": [6 / (6 + 147), 4 / (4 + 626), nan, 0],
        "F2": [15 / (15 + 147), 10 / (10 + 626), nan, 0],
        "IoU-observed": [1, 0, nan, nan],
        "IoU-unobserved": [3 / 150, 2 / 628, nan, 0],
        "IoU-scene": [4 / 151, 2 / 629, nan, 0],
        "IoU-surface": [4 / 5, 2 / 7, nan, 0],
        "has-rays": [1, 0, 0, 1],
    }
    assert numbers.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(numbers[name], values, atol=1e-12, err_msg=name)


def test_without_rays_every_class_may_be_anywhere(step: Step) -> None:
    blind = step.without_rays()
    assert blind.unobserved.tp.tolist() == [3, 2, 0, 1] and not blind.unobserved.fn.any()
    assert (blind.unobserved.tp + blind.unobserved.fp).tolist() == [628] * 4
    assert not blind.rays.any() and blind.observed is step.observed


def moment(frames: int, seen: list[int], hits: list[int], truths: list[int]) -> Step:
    """Of ``truths`` cells ``seen`` were observed; of the rest ``hits`` are in search volumes without anything else."""
    observed, total, right = np.array(seen), np.array(truths), np.array(hits)
    nothing = np.zeros_like(total)
    return Step(
        frames,
        Counts(observed, nothing, nothing),
        Counts(right, nothing, total - observed - right),
        nothing,
        100,
        100,
        right,
    )


def test_areas_end_when_half_of_a_class_is_found() -> None:
    truths = [10, 10, 10, 0]
    steps = [
        moment(10, [0, 6, 5, 0], [5, 4, 5, 0], truths),
        moment(20, [0, 5, 5, 0], [10, 5, 0, 0], truths),
        moment(50, [6, 4, 10, 0], [4, 4, 0, 0], truths),
    ]
    found = areas(steps)
    # Recall 0.5 for 10 frames and 1.0 for 10; found at once; 1.0 for 10 and 0.0 for 10; nowhere.
    np.testing.assert_allclose(found["recall"], [0.75, math.nan, 0.5, math.nan])
    np.testing.assert_allclose(found["search-volume"], [0.075, math.nan, 0.025, math.nan])
    # Without a value at the second step: nothing of the class is left to be found, nor is it found.
    late = [moment(10, [0], [3], [4]), replace(moment(20, [0], [0], [4]), volume=0), moment(40, [0], [4], [4])]
    np.testing.assert_allclose(areas(late)["SCV-recall"], [(0.75 * 10 + 1.0 * 20) / 30])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the room and a finished run of it are."""
    return tmp_path_factory.mktemp("search")


WORDS = (
    "dataset.rooms.seeds=[9001]", "dataset.rooms.frames=10", "dataset.rooms.size=[96,72]", "device=cpu",
    "map.voxel_size=0.1", "search.period=4", "--json",
)  # fmt: skip


def words(folder: Path) -> list[str]:
    return [*WORDS, f"dataset.path={folder}/rooms", f"out={folder}/out"]


def settings_of(folder: Path, **changes: Any) -> SearchSettings:
    rooms = {"seeds": [9001], "frames": 10, "size": [96, 72]}
    dataset = {**ENTRIES["dataset"], "path": f"{folder}/rooms", "rooms": rooms}
    return read_search_settings(
        ENTRIES | {"dataset": dataset, "out": f"{folder}/out", "search": {"period": 4}} | changes
    )


def test_command_gives_all_files_and_goes_on_where_it_was(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("hydra", reason="hydra-core is not installed")
    assert main(words(folder)) == 0
    tables = json.loads(capsys.readouterr().out)
    assert tables == json.loads((folder / "out" / "results.json").read_text())
    assert tables["settings"]["search"]["period"] == 4 and tables["settings"]["max_depth"] == 1.5
    assert tables["answers"].keys() == {MODEL, BOUND, BLIND}
    mean = {kind: block["mean"] for kind, block in tables["answers"].items()}
    assert mean[BLIND]["recall"] == 1.0 and mean[BLIND]["has-rays"] == 0.0
    assert mean[BOUND]["has-rays"] > 0.1 and mean[BOUND]["SCV-recall"] > 5 * mean[BLIND]["SCV-recall"]
    assert mean[BOUND]["IoU-observed"] > mean[MODEL]["IoU-observed"]
    steps = tables["answers"][MODEL]["steps"]["room-9001"]
    assert [row["frames"] for row in steps] == [4, 8, 10] and steps[-1]["unobserved"] > 1000
    table = list(csv.DictReader((folder / "out" / "scenes.csv").open()))
    assert float(table[0]["SCV-recall"]) == tables["answers"][MODEL]["scenes"]["room-9001"]["SCV-recall"]
    assert len(list(csv.DictReader((folder / "out" / "steps.csv").open()))) == 9
    assert "| without rays, mean of scenes |" in (folder / "out" / "results.md").read_text()

    file = folder / "out" / "scenes" / "room-9001" / "search.json"
    before = file.stat().st_mtime_ns
    assert finished(settings_of(folder), "room-9001") is not None
    assert main(words(folder)) == 0 and json.loads(capsys.readouterr().out) == tables
    assert file.stat().st_mtime_ns == before
    assert finished(settings_of(folder, seed=1), "room-9001") is None
    whole = file.read_text()
    file.write_text(whole[:200])
    assert finished(settings_of(folder), "room-9001") is None
    file.write_text(whole)


def test_processes_give_the_same_and_a_failed_scene_is_named(folder: Path, tmp_path: Path) -> None:
    scenes = ["kitchen", "room-9001"]
    settings = settings_of(folder, out=str(tmp_path), launcher="processes", workers=1)
    alone = run(settings_of(folder))
    tables = run(replace(settings, dataset=replace(settings.dataset, scenes=tuple(scenes))))
    assert tables["failed"] == {"kitchen": "'kitchen' is no generated room: they are called room-SEED"}
    assert json.dumps(tables["answers"]) == json.dumps(alone["answers"])
    assert "- kitchen: 'kitchen' is no generated room" in (tmp_path / "results.md").read_text()
    with pytest.raises(OvsegError, match="none of the 1 scenes could be evaluated; kitchen"):
        run(replace(settings, dataset=replace(settings.dataset, scenes=("kitchen",)), launcher="sequential"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"map": {"max_depth": 10.0}}, "map.max_depth, 10.0 m, must be below search.scene_depth, 10.0 m"),
        ({"search": {"period": 0}}, "search.period must be at least 1 frame, got 0"),
        ({"search": {"half_angle": 90.0}}, "search.half_angle must be 0 to below 90 degrees, got 90.0"),
        ({"search": {"threshold": 1.0}}, "search.threshold must be 0 to below 1, got 1.0"),
        ({"search": {"treshold": 0.1}}, "there is no entry search.treshold: there are search.scene_depth"),
        ({"clouds": True}, "search volumes are not drawn"),
    ],
)
def test_settings_are_checked(folder: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OvsegError, match=sentence):
        settings_of(folder, **changes)


@pytest.mark.parametrize("name", sorted(file.stem for file in config_folder().glob("*_srchvol.yaml")))
def test_every_configuration_is_whole(name: str, tmp_path: Path) -> None:
    hydra = pytest.importorskip("hydra", reason="hydra-core is not installed")
    omegaconf = pytest.importorskip("omegaconf")
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        entries = hydra.compose(name, [f"dataset.path={tmp_path}", f"out={tmp_path}"])
    settings = read_search_settings(omegaconf.OmegaConf.to_container(entries, resolve=True))
    dataset, backend, _ = name.split("_")
    assert settings.backend == backend and settings.dataset.layout == dataset.replace("rooms", "replica")
    assert settings.mapping.layers == "rays" and settings.mapping.max_depth < settings.exploring.max_depth


def test_help_says_how_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("hydra", reason="hydra-core is not installed")
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    printed = capsys.readouterr().out
    names = {file.stem for file in config_folder().glob("*_srchvol.yaml")}
    assert len(names) >= 4 and all(name in printed for name in names)
    assert "half_angle: null" in printed
