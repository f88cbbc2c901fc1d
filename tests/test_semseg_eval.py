"""The evaluation as people run it: two tiny rooms through the command, resumed, launched elsewhere, and broken."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import open3d as o3d
import pytest
import torch

from ovseg_ros.cli import main as ovseg
from ovseg_ros.datasets.ply import read_binary_ply
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.semseg.command import config_folder
from ovseg_ros.evaluation.semseg.data import open_scene, scene_names
from ovseg_ros.evaluation.semseg.features import FeatureCache
from ovseg_ros.evaluation.semseg.launch import launch
from ovseg_ros.evaluation.semseg.result import SceneResult
from ovseg_ros.evaluation.semseg.run import run
from ovseg_ros.evaluation.semseg.settings import RoomSettings, RunSettings, read_settings
from ovseg_ros.evaluation.semseg.work import attempt_scene, finished
from ovseg_ros.segmentation import load_segmenter
from ovseg_ros.segmentation.sam3.space import Sam3Space
from ovseg_ros.types import Intrinsics, RgbdFrame, Segmentation

SEEDS = (9000, 9001)
ROOMS = tuple(f"room-{seed}" for seed in SEEDS)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recordings of the rooms are, written once."""
    return tmp_path_factory.mktemp("rooms")


def settings_of(rooms: Path, folder: Path, **changes: Any) -> RunSettings:
    entries = {
        "dataset": {
            "layout": "replica",
            "path": str(rooms),
            "truth": "surface",
            "seen": True,
            "rooms": {"seeds": list(SEEDS), "frames": 4, "size": [96, 72]},
        },
        "out": str(folder),
        "device": "cpu",
        "clouds": False,
    }
    return read_settings(entries | changes)


@pytest.fixture(scope="module")
def sequential(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunSettings, dict[str, Any]]:
    """A finished run, one scene after the other."""
    settings = settings_of(rooms, tmp_path_factory.mktemp("sequential"), clouds=True)
    return settings, run(settings)


def numbers(tables: dict[str, Any]) -> dict[str, Any]:
    return {key: tables[key] for key in ("scenes", "mean", "pooled", "ground_truth_bound", "variants", "interval")}


def test_command_gives_all_files(rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("hydra", reason="hydra-core is not installed")
    words = [
        "eval", "--config-name", "rooms_openseg", f"dataset.path={rooms}", f"dataset.rooms.seeds=[{SEEDS[0]}]",
        "dataset.rooms.frames=4", "dataset.rooms.size=[96,72]", f"out={tmp_path}/out", "device=cpu", "protocol=ovo",
        "map.every=1", "map.voxel_size=0.1",
    ]  # fmt: skip
    assert ovseg([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out" / "results.json").read_text())
    assert printed["protocol"] == "ovo" and printed["settings"]["voxel_size"] == 0.1
    assert {"scenes", "mean", "pooled", "ground_truth_bound", "versions", "seeds"} <= set(printed)
    assert set(printed["scenes"]["room-9000"]) >= {"mIoU", "f-mIoU", "mAcc", "accuracy", "coverage"}
    assert not list(Path.cwd().glob("outputs"))
    assert ovseg(words) == 0
    assert "| ovo | room-9000 |" in capsys.readouterr().out
    assert ovseg(["eval", "--config-name", "replica_radseg"]) == 1
    assert "dataset.path is not set: add dataset.path=VALUE" in capsys.readouterr().err


CONFIGS = config_folder()
NAMES = sorted(file.stem for file in CONFIGS.glob("*.yaml") if not file.stem.endswith(("base", "srchvol")))


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_is_whole(name: str, tmp_path: Path) -> None:
    hydra = pytest.importorskip("hydra", reason="hydra-core is not installed")
    omegaconf = pytest.importorskip("omegaconf")
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        entries = hydra.compose(name, [f"dataset.path={tmp_path}", f"out={tmp_path}"])
    settings = read_settings(omegaconf.OmegaConf.to_container(entries, resolve=True))
    dataset, backend = name.split("_")
    assert settings.backend == backend and settings.dataset.layout == dataset.replace("rooms", "replica")
    assert scene_names(settings.dataset)


def test_command_without_hydra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hydra", None)
    assert ovseg(["eval"]) == 1
    assert "pip install hydra-core" in capsys.readouterr().err


def test_results_are_the_contract(sequential: tuple[RunSettings, dict[str, Any]]) -> None:
    settings, tables = sequential
    assert tables == json.loads(json.dumps(tables)) and list(tables["scenes"]) == list(ROOMS)
    assert tables["protocol"] == "strict" and tables["seeds"]["rooms"] == list(SEEDS)
    assert {"ovseg_ros", "torch", "numpy", "python"} <= set(tables["versions"])
    assert tables["mean"]["mIoU"] == pytest.approx(np.mean([tables["scenes"][name]["mIoU"] for name in ROOMS]))
    low, high = tables["interval"]["mean"]["mIoU"]
    assert low <= tables["mean"]["mIoU"] <= high
    bound = tables["ground_truth_bound"]
    assert bound["mean"]["mIoU"] > 0.8 > tables["mean"]["mIoU"] and bound["mean"]["accuracy"] > 0.9
    assert tables["mean"]["grounding-mIoU"] >= tables["mean"]["mIoU"]
    assert "wall" not in tables["variants"]["without background"]["pooled"]["per_class"]
    rows = list(csv.DictReader((settings.out / "scenes.csv").open()))
    own = next(
        row for row in rows if (row["variant"], row["answers"], row["scene"]) == ("with background", "model", "mean")
    )
    assert float(own["mIoU"]) == tables["mean"]["mIoU"] and own["protocol"] == "strict"
    assert (settings.out / "results.md").read_text().count("| strict |") == 2 * 6
    assert cv2.imread(str(settings.out / "confusion.png")).shape[1] > 200


def test_clouds_of_each_scene(sequential: tuple[RunSettings, dict[str, Any]]) -> None:
    settings, tables = sequential
    folder = settings.out / "scenes" / ROOMS[0]
    clouds = {name: read_binary_ply(folder / f"{name}.ply")[0] for name in ("prediction", "truth", "errors")}
    assert len(clouds["prediction"]) == tables["facts"][ROOMS[0]]["voxels"]
    right = (clouds["truth"]["label"] == clouds["errors"]["label"]).mean()
    green = ((clouds["errors"]["green"] == 160) & (clouds["errors"]["red"] == 46)).mean()
    assert green == right == pytest.approx(tables["scenes"][ROOMS[0]]["accuracy"])


def test_finished_scenes_are_not_done_again(sequential: tuple[RunSettings, dict[str, Any]]) -> None:
    settings, tables = sequential
    files = [settings.out / "scenes" / name / "scene.json" for name in ROOMS]
    before = [file.stat().st_mtime_ns for file in files]
    files[1].write_text(files[1].read_text()[:100])
    assert numbers(run(settings)) == numbers(tables)
    after = [file.stat().st_mtime_ns for file in files]
    assert after[0] == before[0] and after[1] > before[1]
    assert SceneResult.read(files[1].parent) is not None
    coarse = replace(settings, map=replace(settings.map, voxel_size=0.1))
    other = replace(settings, dataset=replace(settings.dataset, classes="replica101"))
    assert finished(settings, ROOMS[0]) is not None
    assert finished(coarse, ROOMS[0]) is None and finished(other, ROOMS[0]) is None


def test_processes_give_the_same_bits_and_a_killed_one_costs_its_scene_only(
    sequential: tuple[RunSettings, dict[str, Any]], rooms: Path, tmp_path: Path
) -> None:
    settings = settings_of(rooms, tmp_path, launcher="processes", workers=1)
    killed = "its process ended with status -9 before the scene was done"
    assert launched_and_killed(settings) == [(ROOMS[0], killed), (ROOMS[1], None)]
    assert finished(settings, ROOMS[0]) is None and finished(settings, ROOMS[1]) is not None
    tables = run(settings)
    assert not tables["failed"] and numbers(tables) == numbers(sequential[1])


def launched_and_killed(settings: RunSettings) -> list[tuple[str, str | None]]:
    """Launch all scenes, and kill the first process that does one."""

    def kill() -> None:
        while not (children := multiprocessing.active_children()):
            pause.wait(0.01)
        os.kill(int(children[0].pid or 0), signal.SIGKILL)

    pause = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    outcomes = list(launch(settings, ROOMS, attempt_scene))
    killer.join()
    return outcomes


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'ovseg_ros[ray]'"
)
def test_ray_gives_the_same_bits_and_a_killed_worker_costs_its_scene_only(tmp_path: Path) -> None:
    import ray

    settings = settings_of(tmp_path / "rooms", tmp_path / "sequential")
    eight = RoomSettings(tuple(range(9000, 9008)), frames=2, size=(64, 48))
    settings = replace(settings, dataset=replace(settings.dataset, rooms=eight))
    expected = run(settings)
    assert len(expected["scenes"]) == 8
    on_ray = replace(settings, launcher="ray")
    try:
        assert numbers(run(replace(on_ray, out=tmp_path / "ray"))) == numbers(expected)
        broken = replace(on_ray, out=tmp_path / "killed")
        killer = threading.Thread(target=kill_a_ray_worker, args=(broken.out / "scenes",), daemon=True)
        killer.start()
        tables = run(broken)
        killer.join()
        assert list(tables["failed"].values()) == ["its process ended before the scene was done (WorkerCrashedError)"]
        (lost,) = tables["failed"]
        assert tables["scenes"] == {name: row for name, row in expected["scenes"].items() if name != lost}
        assert numbers(run(broken)) == numbers(expected)
    finally:
        ray.shutdown()


def kill_a_ray_worker(scenes: Path) -> None:
    """Once two scenes are finished, kill a process that does another."""
    pause = threading.Event()
    while len(list(scenes.glob("*/scene.json"))) < 2:
        pause.wait(0.01)
    while True:
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if command.read_bytes().startswith(b"ray::attempt_scene"):
                    return os.kill(int(command.parent.name), signal.SIGKILL)
        pause.wait(0.01)


def test_without_ray_one_sentence(rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(OvsegError, match=r"needs Ray, which isn't installed: pip install 'ovseg_ros\[ray\]'"):
        run(settings_of(rooms, tmp_path, launcher="ray"))


def test_export_is_read_as_openlex3d_reads_it(rooms: Path, tmp_path: Path) -> None:
    settings = settings_of(rooms, tmp_path, export=["openlex3d"], clouds=True, map={"voxel_size": 0.1})
    settings = replace(settings, dataset=replace(settings.dataset, scenes=ROOMS[:1]))
    names = open_scene(settings.dataset, ROOMS[0]).class_names
    space = load_segmenter("openseg", "cpu").space
    run(settings)
    folder = tmp_path / "openlex3d" / ROOMS[0]
    cloud = o3d.t.io.read_point_cloud(folder / "point_cloud.pcd")
    points, colours = cloud.point.positions.numpy(), cloud.point.colors.numpy()
    index, embeddings = np.load(folder / "index.npy"), np.load(folder / "embeddings.npy")
    assert len(index) == len(points) == len(colours) and colours.dtype == np.uint8 and colours.std() > 10
    features = torch.from_numpy(embeddings[index.astype(int)])
    labels = torch.cosine_similarity(features[:, None], space.encode_text(names)[None], dim=2).argmax(dim=1) + 1
    mine = read_binary_ply(tmp_path / "scenes" / ROOMS[0] / "prediction.ply")[0]
    voxels = {tuple(place): label for *place, label in mine[["x", "y", "z", "label"]].tolist()}
    assert [voxels[place] for place in map(tuple, points.tolist())] == labels.tolist()
    assert finished(settings, ROOMS[0]) is not None
    shutil.rmtree(folder)
    assert finished(settings, ROOMS[0]) is None


def test_scores_of_concepts_are_not_exported(rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SimpleNamespace(space=Sam3Space("sam3/w"), look_for=lambda _: None)
    monkeypatch.setattr("ovseg_ros.evaluation.semseg.work.load_segmenter", lambda *_: model)
    with pytest.raises(OvsegError, match="OpenLex3D asks for words of its own, sam3/w only has scores"):
        run(settings_of(rooms, tmp_path, export=["openlex3d"], backend="sam3"))


def test_a_failed_scene_is_named_and_the_rest_goes_on(
    sequential: tuple[RunSettings, dict[str, Any]], rooms: Path, tmp_path: Path
) -> None:
    settings = settings_of(rooms, tmp_path)
    broken = replace(settings, dataset=replace(settings.dataset, scenes=("kitchen", ROOMS[0])))
    tables = run(broken)
    assert tables["failed"] == {"kitchen": "'kitchen' is no generated room: they are called room-SEED"}
    assert tables["scenes"] == {ROOMS[0]: sequential[1]["scenes"][ROOMS[0]]}
    assert "- kitchen: 'kitchen' is no generated room" in (tmp_path / "results.md").read_text()
    with pytest.raises(OvsegError, match="none of the 1 scenes could be evaluated; kitchen: 'kitchen' is no"):
        run(replace(broken, dataset=replace(broken.dataset, scenes=("kitchen",))))


def test_a_defect_leaves_its_traceback(rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovseg_ros.evaluation.semseg.work.open_scene", lambda *_: 1 / 0)
    with pytest.raises(OvsegError, match=r"ZeroDivisionError: division by zero \(see .*error.txt\)"):
        run(settings_of(rooms, tmp_path))
    assert "Traceback" in (tmp_path / "scenes" / ROOMS[0] / "error.txt").read_text()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"protokol": "ovo"}, "there is no entry protokol: there are dataset, out, protocol"),
        ({"protocol": "replica"}, "protocol is 'replica': choose one of strict, rayfronts"),
        ({"launcher": "slurm"}, "launcher is 'slurm': choose one of sequential, processes, ray"),
        ({"export": ["ply"]}, "export is 'ply': choose one of openlex3d"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"map": {"every": 0}}, "map.every must be at least 1, got 0"),
        ({"map": {"voxel_size": "small"}}, "map.voxel_size is 'small' and should be float"),
        ({"seed": True}, "seed is True and should be int"),
        ({"out": "???"}, r"out is not set: add out=VALUE"),
        ({"dataset": {"layout": "replica", "path": "x", "truth": "gold"}}, "dataset.truth is 'gold'"),
    ],
)
def test_settings_are_checked(rooms: Path, tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OvsegError, match=sentence):
        settings_of(rooms, tmp_path, **changes)


def test_scenes_are_found_under_either_spelling(tmp_path: Path, rooms: Path) -> None:
    settings = settings_of(rooms, tmp_path)
    recording = open_scene(settings.dataset, ROOMS[0]).frames.root.parent  # type: ignore[attr-defined]
    (tmp_path / "scans").mkdir()
    os.symlink(recording, tmp_path / "scans" / "office_0")
    on_disk = replace(settings.dataset, path=tmp_path, rooms=None)
    assert open_scene(on_disk, "office0").name == "office0"
    assert scene_names(on_disk) == ("scans",)
    with pytest.raises(OvsegError, match="holds no scene 'office1'"):
        open_scene(on_disk, "office1")
    with pytest.raises(OvsegError, match="is no folder"):
        scene_names(replace(on_disk, path=tmp_path / "none"))


def test_images_can_be_resized(rooms: Path, tmp_path: Path) -> None:
    dataset = settings_of(rooms, tmp_path).dataset
    frame = open_scene(replace(dataset, size=(48, 72)), ROOMS[0]).frames[0]
    whole = open_scene(dataset, ROOMS[0]).frames[0]
    assert frame.rgb.shape == (72, 48, 3) and frame.intrinsics.fx == whole.intrinsics.fx / 2
    assert frame.semantics is not None and whole.semantics is not None
    assert set(frame.semantics.unique().tolist()) <= set(whole.semantics.unique().tolist())


class Counting:
    """A model that counts its images."""

    class space:
        id = "counting/1"

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        self.images += 1
        return Segmentation(rgb.permute(2, 0, 1).half(), "counting/1", concepts=("a", "b", "c"))


def test_cached_features_need_no_model(tmp_path: Path) -> None:
    model, image = Counting(), torch.arange(24, dtype=torch.uint8).reshape(2, 4, 3)
    intrinsics = Intrinsics(4.0, 4.0, 1.5, 0.5, 4, 2)
    frame = RgbdFrame(image, torch.ones(2, 4), intrinsics, torch.eye(4, dtype=torch.float64), 1)
    cache = FeatureCache(model, tmp_path)  # type: ignore[arg-type]
    first = cache(frame)
    again = FeatureCache(model, tmp_path)(frame)  # type: ignore[arg-type]
    assert model.images == 1 and torch.equal(first.features, again.features) and again.concepts == ("a", "b", "c")
    assert first.features.dtype == again.features.dtype
    FeatureCache(model, tmp_path, asked=("chair",))(frame)  # type: ignore[arg-type]
    cache(replace(frame, rgb=image + 1))
    cache(replace(frame, depth=torch.zeros(2, 4)))
    assert model.images == 3
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert torch.equal(cache(frame).features, first.features) and model.images == 4
