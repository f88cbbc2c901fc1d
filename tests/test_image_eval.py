"""Images and label maps through the command: numbers against hand counts, every layout, and what can be wrong."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from radseg_models import write_settings
from sam3_model import save_tiny_model

from ovseg_ros.evaluation.image_eval.command import main
from ovseg_ros.evaluation.rooms import main as score_rooms
from ovseg_ros.segmentation.radseg.config import CONFIG_VARIABLE as RADSEG_CONFIG
from ovseg_ros.segmentation.sam3.config import CONFIG_VARIABLE as SAM3_CONFIG
from ovseg_ros.types import Segmentation
from ovseg_ros.vocabulary import Vocabulary

WORDS = ("wall", "chair", "sofa", "couch", "lamp")
WALL, CHAIR, SOFA, COUCH, LAMP = range(5)
LIKE_A_CHAIR = {SOFA: 0.4, COUCH: 0.8}
"""How near what shows these is to "chair"."""
CLASSES = "wall\nchair\nsofa\nlamp\n"


class Painted:
    """A model that reads off the red channel which word a pixel shows, and a language of one axis a word."""

    id = "painted/1"
    logit_scale = 100.0
    same_meaning = 0.9
    vocabulary = Vocabulary.from_names(WORDS)

    @property
    def space(self) -> Painted:
        return self

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.eye(len(WORDS))[[WORDS.index(text) for text in texts]]

    def align(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(features, dim=1)

    def __call__(self, rgb: torch.Tensor) -> Segmentation:
        features = torch.eye(len(WORDS))
        for word, cosine in LIKE_A_CHAIR.items():
            features[word, CHAIR] = cosine
        return Segmentation(features[rgb[..., 0].long()].permute(2, 0, 1), self.id)


class Prompted(Painted):
    """The same as a model that is told what to look for, and leaves open what is none of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def look_for(self, vocabulary: Vocabulary) -> None:
        self.asked.append(vocabulary.names)

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        assert set(texts) == set(self.asked[-1])
        return super().encode_text(texts)

    def classify(self, rgb: torch.Tensor, words: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        score, best = (self(rgb).features.permute(1, 2, 0) @ words.T).max(dim=2)
        return torch.where(score > 0, owners[best] + 1, 0).int()


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovseg_ros.evaluation.image_eval.command.load_segmenter", lambda *_: Painted())


def add_pair(
    folder: Path, name: str, shown: object, labels: object, parts: tuple[str, str] = ("images", "labels")
) -> None:
    """Write an image that shows these words, and its label map."""
    for part in parts:
        (folder / part / name).parent.mkdir(parents=True, exist_ok=True)
    red = np.array(shown, dtype=np.uint8)
    cv2.imwrite(str(folder / parts[0] / f"{name}.png"), np.stack((red * 0, red * 0, red), axis=2))
    cv2.imwrite(str(folder / parts[1] / f"{name}.png"), np.array(labels, dtype=np.uint8))


def two_pairs(folder: Path, parts: tuple[str, str] = ("images", "labels")) -> Path:
    add_pair(folder, "a", [[WALL, SOFA, CHAIR, WALL, SOFA, SOFA]], [[1, 1, 2, 2, 0, 255]], parts)
    add_pair(folder, "b", [[SOFA, SOFA, SOFA, SOFA, WALL, WALL]], [[3, 3, 3, 3, 3, 3]], parts)
    return folder


def evaluate(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([str(folder), "-o", str(folder / "out"), "--device", "cpu", "--json", *words]) == 0
    results: dict[str, Any] = json.loads(capsys.readouterr().out)
    return results


def test_numbers_by_hand_in_all_files(painted: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "classes.txt").write_text(CLASSES)
    results = evaluate(two_pairs(tmp_path), capsys)
    # wall: 1 hit of 2, said 4 times; chair: 1 of 2, said once; sofa: 4 of 6, said 5 times. The lamp is nowhere.
    wall, chair, sofa = 1 / 5, 1 / 2, 4 / 7
    assert results["open"] == {
        "mIoU": pytest.approx((wall + chair + sofa) / 3),
        "f-mIoU": pytest.approx((2 * wall + 2 * chair + 6 * sofa) / 10),
        "mAcc": pytest.approx((1 / 2 + 1 / 2 + 4 / 6) / 3),
        "accuracy": pytest.approx(6 / 10),
    }
    # In the first image only wall and chair compete, and a shown sofa is nearer to a chair; in the other just sofa.
    assert results["grounding"]["mIoU"] == pytest.approx((1 / 3 + 1 / 3 + 1) / 3)
    assert results["per_class"]["sofa"] == {
        "IoU": pytest.approx(sofa),
        "recall": pytest.approx(4 / 6),
        "count": 6,
        "grounding-IoU": 1.0,
        "grounding-recall": 1.0,
    }
    assert (results["images"], results["never_there"], results["bad_pairs"]) == (2, ["lamp"], {})
    out = tmp_path / "out"
    assert json.loads((out / "results.json").read_text()) == results
    rows = {row["class"]: row for row in csv.DictReader((out / "classes.csv").open())}
    assert list(rows) == ["wall", "chair", "sofa"] and float(rows["wall"]["IoU"]) == wall
    assert "| classes of the image (Grounding mIoU) | 0.556 |" in (out / "results.md").read_text()
    assert cv2.imread(str(out / "confusion.png")).shape[1] > 100
    assert main([str(tmp_path), "-o", str(out)]) == 0
    assert "| all classes | 0.424 |" in capsys.readouterr().out


def test_a_model_that_is_told_what_to_look_for_is_told_for_each_choice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Prompted()
    monkeypatch.setattr("ovseg_ros.evaluation.image_eval.command.load_segmenter", lambda *_: model)
    (tmp_path / "classes.txt").write_text(CLASSES)
    results = evaluate(two_pairs(tmp_path), capsys)
    everything = ("wall", "chair", "sofa", "lamp")
    assert model.asked == [everything, ("wall", "chair"), everything, ("sofa",)]
    assert results["open"]["accuracy"] == pytest.approx(6 / 10)
    # Where "sofa" alone is asked for and a wall is shown, nothing is answered, which is wrong.
    assert results["grounding"]["accuracy"] == pytest.approx((2 + 4) / 10)


def test_ade20k_as_it_is_downloaded(painted: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["wall", "chair, sofa", "sofa, couch", "lamp, couch"]
    rows = [f"{number} \t0.1\t9\t9\t{name} " for number, name in enumerate(names, 1)]
    (tmp_path / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tName", *rows]))
    two_pairs(tmp_path, ("images/training", "annotations/training"))
    parts = ("images/validation", "annotations/validation")
    add_pair(tmp_path, "x", [[WALL, COUCH, CHAIR, LAMP]], [[1, 3, 2, 4]], parts)
    results = evaluate(tmp_path, capsys)
    assert results["images"] == 1 and results["open"]["mIoU"] == 1.0
    # A word is of the class that it names first, else of the first class that has it.
    assert results["words"] == {"wall": ["wall"], "chair": ["chair"], "sofa": ["sofa", "couch"], "lamp": ["lamp"]}


def test_synonyms_of_a_vocabulary(painted: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "classes.txt").write_text("wall\nchair\nsofa\n")
    (tmp_path / "words.txt").write_text("couch, sofa\nlamp\n")
    words = {"concepts": ["lamp", {"name": "sofa", "synonyms": ["couch", "chair"]}]}
    (tmp_path / "words.yaml").write_text(yaml.safe_dump(words))
    add_pair(tmp_path, "a", [[COUCH, COUCH, CHAIR]], [[3, 3, 2]])
    assert evaluate(tmp_path, capsys)["per_class"]["sofa"]["IoU"] == 0.0
    best = evaluate(tmp_path, capsys, "--vocabulary", str(tmp_path / "words.txt"))
    assert best["open"]["mIoU"] == 1.0 and best["words"]["sofa"] == ["sofa", "couch"]
    # A word that is another class's name stays there.
    same = evaluate(tmp_path, capsys, "--vocabulary", str(tmp_path / "words.yaml"))
    assert same["words"] == best["words"] and same["open"] == best["open"]
    # The mean of two words is nearer to neither: 1 / sqrt(2) < 0.8.
    mean = evaluate(tmp_path, capsys, "--vocabulary", str(tmp_path / "words.txt"), "--ensemble", "mean")
    assert mean["per_class"]["sofa"]["IoU"] == 0.0 and mean["ensemble"] == "mean"


def test_numbers_from_zero_in_arrays_and_named_subfolders(
    painted: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_text(CLASSES)
    add_pair(tmp_path, "val/a", [[WALL, SOFA, CHAIR]], [[0, 0, 0]], ("rgb", "unused"))
    (tmp_path / "truth" / "val").mkdir(parents=True)
    np.save(tmp_path / "truth" / "val" / "a.npy", np.array([[0, 2, -1]], dtype=np.int16))
    words = ["--images", "rgb", "--labels", "truth", "--classes", str(tmp_path / "names.txt"), "--first", "0"]
    results = evaluate(tmp_path, capsys, *words, "--ignore", "-1")
    assert results["open"]["accuracy"] == 1.0 and list(results["per_class"]) == ["wall", "sofa"]
    assert list(evaluate(tmp_path, capsys, *words, "--ignore", "-1", "0")["per_class"]) == ["sofa"]
    np.save(tmp_path / "truth" / "val" / "a.npy", np.array([[0, 2, 255]], dtype=np.int16))
    assert list(evaluate(tmp_path, capsys, *words)["per_class"]) == ["wall", "sofa"]
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), "--images", "rgb"])
    assert caught.value.code == 2


def test_published_numbers_with_gaps(painted: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = [{"id": 7, "name": "wall"}, {"id": 30, "name": "chair"}]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": entries}))
    add_pair(tmp_path, "a", [[WALL, CHAIR]], [[7, 30]])
    assert evaluate(tmp_path, capsys)["open"]["mIoU"] == 1.0
    assert main([str(tmp_path), "--classes", "nyu41"]) == 1
    assert "there is no class list 'nyu41': choose one of nyu40" in capsys.readouterr().err


def test_bad_pairs_are_named_and_left_out(painted: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "classes.txt").write_text(CLASSES)
    expected = evaluate(two_pairs(tmp_path), capsys)
    for name in ("alone", "orphan", "wide", "cut", "colours", "unknown"):
        add_pair(tmp_path, name, [[WALL, WALL]], [[1, 1]])
    images, labels = tmp_path / "images", tmp_path / "labels"
    (labels / "alone.png").unlink()
    (images / "orphan.png").unlink()
    add_pair(tmp_path, "wide", [[WALL, WALL]], [[1, 1, 1]])
    (images / "cut.png").write_bytes((images / "cut.png").read_bytes()[:30])
    cv2.imwrite(str(labels / "colours.png"), np.zeros((1, 2, 3), dtype=np.uint8))
    add_pair(tmp_path, "unknown", [[WALL, WALL]], [[1, 9]])
    cv2.imwrite(str(images / "array.png"), np.zeros((1, 2, 3), dtype=np.uint8))
    (labels / "array.npy").write_bytes(b"\x93NUMPY")
    results = evaluate(tmp_path, capsys)
    assert results["skipped"] == {"missing": 2, "size": 1, "file": 2, "dtype": 1, "class": 1}
    assert {key: results[key] for key in ("open", "grounding", "images")} == {
        key: expected[key] for key in ("open", "grounding", "images")
    }
    reasons = results["bad_pairs"]
    assert set(reasons) == {"alone", "orphan", "wide", "cut", "colours", "unknown", "array"}
    assert reasons["alone"].endswith("alone.png has no label map of its name: add it")
    assert "are 3x1 and 2x1: export them in one size" in reasons["wide"]
    assert "has numbers that no class has (9): name them with --ignore, or mend the list" in reasons["unknown"]
    assert "- and 2 more, in results.json" in (tmp_path / "out" / "results.md").read_text()
    assert evaluate(tmp_path, capsys, "--ignore", "0", "255", "9")["skipped"].get("class") is None


def test_what_is_missing_is_said_in_one_sentence(
    painted: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*words: str) -> str:
        assert main([str(tmp_path), "-o", str(tmp_path / "out"), *words]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "mean: put classes.json or classes.txt or objectInfo150.txt there, or name one with --classes" in error()
    (tmp_path / "classes.txt").write_text("wall\nchair\n")
    assert "should hold images/validation + annotations/validation or images + labels or" in error()
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    assert "holds no image (.jpg, .jpeg, .png)" in error()
    add_pair(tmp_path, "a", [[WALL]], [[0]])
    assert "hold no class: check --classes, --first and --ignore" in error()
    add_pair(tmp_path, "a", [[WALL]], [[3]])
    assert "none of the 1 images of" in error() and "numbers that no class has (3)" in error()
    (tmp_path / "words.txt").write_text("piano\n")
    assert "has words for none of the 2 classes (wall, chair, ...)" in error(
        "--vocabulary", str(tmp_path / "words.txt")
    )
    assert "is there already: name a new folder, or drop --rooms" in error("--rooms", "1")
    (tmp_path / "classes.txt").write_text("wall\nchair, wall\n")
    assert "the word 'wall' is asked for twice" in error()


def test_generated_rooms_with_the_embedded_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "rooms"
    results = evaluate(folder, capsys, "--rooms", "2", "--seed", "9000", "--views", "2", "--size", "96x72")
    assert (
        score_rooms(["--images", "--rooms", "2", "--seed", "9000", "--frames", "2", "--size", "96x72", "--json"]) == 0
    )
    direct = json.loads(capsys.readouterr().out)
    assert (results["open"], results["grounding"], results["images"]) == (direct["open"], direct["grounding"], 4)
    assert results["grounding"]["mIoU"] >= results["open"]["mIoU"] > 0.3
    again = evaluate(folder, capsys, "--every", "2")
    assert again["images"] == 2 and again["open"] != results["open"]


def test_many_words_are_compared_a_part_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rooms"
    whole = evaluate(folder, capsys, "--rooms", "1", "--views", "1", "--size", "96x72")
    monkeypatch.setattr("ovseg_ros.segmentation.upsampling.UPSAMPLED_BYTES", 3 * 4 * 96 * 72)
    assert evaluate(folder, capsys) == whole


@pytest.mark.parametrize("backend", ["radseg", "sam3"])
def test_other_backends(
    backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Small models of random weights, so that only what is counted can be checked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(RADSEG_CONFIG, str(write_settings(tmp_path)))
    save_tiny_model(tmp_path / "sam3")
    (tmp_path / "sam3.yaml").write_text(yaml.safe_dump({"weights": str(tmp_path / "sam3")}))
    monkeypatch.setenv(SAM3_CONFIG, str(tmp_path / "sam3.yaml"))
    (tmp_path / "classes.txt").write_text("chair, red table\nwall\ntable\n")
    rng = np.random.default_rng(0)
    add_pair(tmp_path, "a", rng.integers(0, 256, (64, 80)), rng.integers(1, 3, (64, 80)))
    results = evaluate(tmp_path, capsys, "--backend", backend)
    assert results["space"].startswith(f"{backend}/")
    assert sum(row["count"] for row in results["per_class"].values()) == 64 * 80
    assert results["never_there"] == ["table"]


def test_a_model_that_follows_things_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Following(Painted):
        follows_one_camera = True

    monkeypatch.setattr("ovseg_ros.evaluation.image_eval.command.load_segmenter", lambda *_: Following())
    (tmp_path / "classes.txt").write_text(CLASSES)
    assert main([str(two_pairs(tmp_path)), "--backend", "sam3"]) == 1
    assert "sam3 follows things from image to image here: set its mode to image" in capsys.readouterr().err
