"""Users' own images: COCO-style folders and label maps to views, teachers, weights in the backend, ablations."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation import backends, language_space, load_segmenter
from ovseg_ros.segmentation.openseg.config import CONFIG_VARIABLE, EXAMPLE, BackendConfig, read_config
from ovseg_ros.segmentation.openseg.model import OpenSeg, OpenSegConfig
from ovseg_ros.segmentation.openseg.space import OpenSegSpace
from ovseg_ros.segmentation.openseg.text import TABLE_FILE, TextTable, file_digest
from ovseg_ros.segmentation.openseg.weights_file import ModelCard, load_weights, save_weights
from ovseg_ros.training import ablations, coco_images, openseg
from ovseg_ros.training.batches import LossWeights, Settings, TrainingViews, batches, class_weights, make_batch
from ovseg_ros.training.captions import CaptionReader
from ovseg_ros.training.losses import IGNORED, UNNAMED
from ovseg_ros.training.pseudo_labels import select_segments
from ovseg_ros.training.trainer import Trainer
from ovseg_ros.training.validation import mask_recall
from ovseg_ros.training.views import View, encode_view, read_classes, read_views, room_vocabulary, write_view
from ovseg_ros.training.words import TrainingWords
from ovseg_ros.vocabulary import Vocabulary

WIDTH, HEIGHT = 64, 48
TINY = OpenSegConfig(
    widths=(8, 8, 12, 16, 16),
    depths=(1, 1, 1, 1),
    pyramid=16,
    queries=8,
    attention_layers=1,
    position_grid=(3, 4),
    long_side=WIDTH,
)
SHORT = Settings(
    steps=8, batch=4, crop=(48, 32), full_share=0.25, warmup=1, cells=64, learning_rate=4e-3, average=0.5, model=TINY
)
COLOURS = {"ball": (200, 30, 30), "box": (30, 30, 200), "plant": (30, 160, 30)}
GREY = 128


def command(module: str, monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr("sys.argv", [module, *map(str, words)])
    importlib.import_module(f"ovseg_ros.training.{module}").main()


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight grey images with two coloured rectangles: a polygon and a mask of run lengths; and a caption."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "annotations").mkdir()
    (folder / "train").mkdir()
    rng = np.random.default_rng(0)
    images, instances, captions = [], [], []
    for image in range(8):
        rgb = np.full((HEIGHT, WIDTH, 3), GREY, dtype=np.uint8)
        names = rng.permutation(list(COLOURS))[:2].tolist()
        for place, name in enumerate(names):
            left, top = 4 + 30 * place + int(rng.integers(0, 6)), int(rng.integers(2, 20))
            mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
            mask[top : top + 24, left : left + 22] = True
            rgb[mask] = COLOURS[name]
            entry: dict[str, Any] = {"id": 10 * image + place, "image_id": image, "category_id": 7 + 2 * place}
            entry["category_id"] = 3 * list(COLOURS).index(name) + 2
            if place:
                changes = np.flatnonzero(np.diff(mask.T.ravel(), prepend=False))
                runs = np.diff(changes, prepend=0, append=mask.size).tolist()
                entry["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": runs}
            else:
                entry["segmentation"] = [[left, top, left + 22, top, left + 22, top + 24, left, top + 24]]
            instances.append(entry)
        instances.append({"id": 1000 + image, "image_id": image, "category_id": 2, "iscrowd": 1, "segmentation": None})
        captions.append({"id": image, "image_id": image, "caption": f"A {names[0]} beside two {names[1]}s."})
        images.append({"id": image, "file_name": f"{image:03d}.png", "height": HEIGHT, "width": WIDTH})
        cv2.imwrite(str(folder / "train" / f"{image:03d}.png"), rgb[..., ::-1])
    categories = [{"id": 3 * index + 2, "name": name} for index, name in enumerate(COLOURS)]
    content = {"images": images, "annotations": instances, "categories": categories}
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(content))
    (folder / "annotations" / "captions_train.json").write_text(
        json.dumps({"images": images, "annotations": captions}), encoding="utf-8"
    )
    return folder


@pytest.fixture(scope="module")
def views(coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("views")
    with pytest.MonkeyPatch.context() as patch:
        command("coco_images", patch, coco, "--out", out, "--size", f"{WIDTH}x{HEIGHT}")
    return out


def trained(folder: Path, **changes: Any) -> tuple[Trainer, list[float]]:
    words = TrainingWords(read_classes(folder), TextTable.packaged())
    data = TrainingViews.load(folder, words.classes)
    trainer = Trainer(replace(SHORT, **changes), words, class_weights(data.pixels), autocast=False)
    totals = [sum(trainer.train_step(batch).values()) for batch in batches(data, trainer.settings, 0)]
    return trainer, totals


class TestCocoImages:
    def test_masks_lie_where_their_colour_is(self, views: Path) -> None:
        assert read_classes(views).names == tuple(COLOURS)
        for view in read_views(views):
            rgb, instances, labels = view.decode()
            assert set(instances.unique().tolist()) == {0, 1, 2}
            palette = torch.tensor([(GREY, GREY, GREY), *COLOURS.values()])
            nearest = (rgb.permute(1, 2, 0)[:, :, None].int() - palette).abs().sum(dim=-1).argmin(dim=-1)
            assert int((nearest != labels).sum()) <= 24, "a JPEG's colours are off by a pixel at most at some corners"
            assert view.caption == tuple(sorted(set(labels.unique().tolist()) - {0}))

    def test_larger_images_are_shrunk_into_the_view(
        self, coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command("coco_images", monkeypatch, coco, "--out", tmp_path, "--split", "train", "--size", "40x40")
        rgb, _, labels = read_views(tmp_path)[0].decode()
        assert rgb.shape == (3, 40, 40) and (labels[:5] == 0).all() and (labels[35:] == 0).all()
        assert int((rgb[:, :3].int() - GREY).abs().max()) < 12, "the border goes on above the image"
        assert labels.bool().float().mean() == pytest.approx(2 * 24 * 22 / (64 * 48) * 0.75, abs=0.03)

    def test_categories_beyond_the_vocabulary_keep_their_outline(
        self, coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "words.txt").write_text("toy, ball\nlamp\n", encoding="utf-8")
        out = tmp_path / "views"
        size = f"{WIDTH}x{HEIGHT}"
        command("coco_images", monkeypatch, coco, "--out", out, "--vocabulary", tmp_path / "words.txt", "--size", size)
        assert read_classes(out).synonyms == (("toy", "ball"), ("lamp",))
        views = read_views(out)
        assert {label for view in views for label in view.decode()[2].unique().tolist()} == {0, 1}
        batch = make_batch(views, torch.ones(len(views)), replace(SHORT, full_share=1.0, batch=16), 0)
        assert set(batch.labels.unique().tolist()) == {0, IGNORED, UNNAMED}
        assert (batch.segments[batch.labels == UNNAMED] > 0).all()
        assert batch.captions[:, 1:].sum() == 0 and 0 < batch.captions[:, 0].sum() < 16

    def test_what_is_wrong_is_named(self, coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(reason: str, *words: object) -> None:
            with pytest.raises(SystemExit, match=reason):
                command("coco_images", monkeypatch, *words, "--out", tmp_path / "out")

        refused("should hold annotations", tmp_path)
        refused("no annotations of the split 'val'", coco, "--split", "val")
        notes = tmp_path / "annotations"
        notes.mkdir()
        (notes / "captions_a.json").write_text('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}')
        refused("words to learn with --vocabulary", tmp_path)
        (notes / "instances_b.json").write_text("[]")
        refused("a, b: choose one with --split", tmp_path)
        refused("not of COCO's form", tmp_path, "--split", "b")
        (tmp_path / "words.txt").write_text("lamp")
        words = ("--split", "a", "--vocabulary", tmp_path / "words.txt")
        refused(r"there is no .*a\.jpg", tmp_path, *words)
        cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((8, 8, 3), dtype=np.uint8))
        notes.joinpath("captions_a.json").write_text(
            '{"images": [{"id": 1, "file_name": "a.jpg", "height": 8, "width": 9}], "annotations": []}'
        )
        refused(r"a\.jpg is \(8, 8\) and its annotations say \(8, 9\)", tmp_path, *words)

    @pytest.mark.parametrize(
        ("segmentation", "reason"),
        [(None, "neither"), ([[1, 2, 3]], "neither"), ({"size": [2, 2], "counts": [4]}, "2, 2"), ("x", "neither")],
    )
    def test_masks_that_are_none_are_refused(self, segmentation: Any, reason: str) -> None:
        with pytest.raises(OvsegError, match=f"annotation 5 has .*{reason}"):
            coco_images.draw_segment({"id": 5, "segmentation": segmentation}, (4, 4), (4, 4))

    def test_polygons_are_drawn_between_pixels(self) -> None:
        entry = {"segmentation": [[2, 2, 10, 2, 10, 8, 2, 8], [12, 0, 16, 0, 16, 4, 12, 4]]}
        mask = coco_images.draw_segment(entry, (16, 32), (16, 32))
        assert mask[3:7, 3:9].all() and mask[1:3, 13:15].all()
        assert not mask[10:].any() and not mask[:, 18:].any() and not mask[:1, :11].any()
        half = coco_images.draw_segment(entry, (16, 32), (8, 16))
        assert half[2:3, 2:4].all() and not half[5:].any()


class TestCaptions:
    READER = CaptionReader(
        Vocabulary((("table",), ("lamp", "table lamp"), ("dog", "puppy"), ("glasses",), ("glass",), ("curtains",)))
    )

    @pytest.mark.parametrize(
        ("captions", "labels"),
        [
            (["Two puppies sleep under a TABLE-LAMP.", "a dog"], (2, 3)),
            (["lamps on tables"], (1, 2)),
            (["a tablet and a dogma"], ()),
            (["sun glasses"], (4,)),
            (["a glass of milk"], (5,)),
            (["the curtain"], (6,)),
            ([""], ()),
            ([], ()),
        ],
    )
    def test_words_of_the_vocabulary_are_found(self, captions: list[str], labels: tuple[int, ...]) -> None:
        assert self.READER.labels(captions) == labels

    @settings(deadline=None, max_examples=25)
    @given(st.sets(st.integers(1, len(room_vocabulary()))), st.randoms())
    def test_every_class_of_the_rooms_is_found_by_any_of_its_words(self, labels: set[int], random: Any) -> None:
        groups = room_vocabulary().synonyms
        words = [random.choice(groups[label - 1]) for label in labels]
        assert set(CaptionReader(room_vocabulary()).labels([" and ".join(words)])) == labels


class TestLabelImages:
    def test_label_maps_become_views(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for part in ("images", "labels"):
            (tmp_path / part).mkdir()
        labels = np.zeros((24, 32), dtype=np.uint8)
        labels[:8, :8], labels[12:, :8], labels[:, 20:24], labels[:, 30:] = 1, 1, 2, 255
        cv2.imwrite(str(tmp_path / "images" / "a.jpg"), np.full((24, 32, 3), GREY, dtype=np.uint8))
        cv2.imwrite(str(tmp_path / "labels" / "a.png"), labels)
        with pytest.raises(SystemExit, match=r"classes\.txt"):
            command("label_images", monkeypatch, tmp_path, "--out", tmp_path / "views")
        (tmp_path / "classes.txt").write_text("sofa, couch\nlamp\n")
        command("label_images", monkeypatch, tmp_path, "--out", tmp_path / "views", "--size", "64x64")
        (view,) = read_views(tmp_path / "views")
        _, instances, seen = view.decode()
        assert view.caption is None and read_classes(tmp_path / "views").names == ("sofa", "lamp")
        assert (seen[8:24, :16] == 1).all() and (seen[8:56, 40:48] == 2).all() and (seen[:8] == 0).all()
        assert (seen[8:56, 60:] == 0).all()
        assert len(instances[seen == 1].unique()) == 2 and len(instances[seen == 2].unique()) == 1
        assert set(instances[seen == 0].tolist()) == {0}
        assert not set(instances[seen == 1].tolist()) & set(instances[seen == 2].tolist())
        (tmp_path / "classes.txt").write_text("sofa\n")
        with pytest.raises(SystemExit, match="the label 2"):
            command("label_images", monkeypatch, tmp_path, "--out", tmp_path / "views")


class TestTraining:
    def test_own_weights_serve_in_the_backend(
        self, views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        trainer, totals = trained(views)
        assert totals[-1] < totals[0] - 0.5
        weights = tmp_path / "own.safetensors"
        card = openseg.finish(trainer, read_views(views), {}, weights)
        assert card.vocabulary.names == tuple(COLOURS) and set(card.quality) == {
            "names_miou",
            "names_grounding_miou",
            "mask_recall",
        }
        (tmp_path / "openseg.yaml").write_text(f"weights: {weights}\n")
        packaged = load_segmenter("openseg", "cpu").space.id
        caplog.clear()
        monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "openseg.yaml"))
        (described,) = [info for info in backends() if info.name == "openseg"]
        assert described.installed and described.weights == str(weights)
        segmenter = load_segmenter("openseg", "cpu")
        assert segmenter.vocabulary.names == tuple(COLOURS)
        assert "generated rooms only" not in caplog.text
        segmentation = segmenter(torch.full((HEIGHT, WIDTH, 3), GREY, dtype=torch.uint8))
        assert segmentation.space == segmenter.space.id != packaged
        assert language_space(segmenter.space.id) is segmenter.space
        with pytest.raises(OvsegError, match=rf"{packaged}.*own\.safetensors.*{CONFIG_VARIABLE}"):
            language_space(packaged)
        (tmp_path / "openseg.yaml").write_text("weights: /nowhere/own.safetensors\n")
        (described,) = [info for info in backends() if info.name == "openseg"]
        assert not described.installed and "missing: /nowhere" in described.weights
        with pytest.raises(OvsegError, match=r"/nowhere/own\.safetensors is missing"):
            load_segmenter("openseg", "cpu")

    def test_training_and_validation_have_the_same_classes(self, views: Path, tmp_path: Path) -> None:
        words = ["--data", str(views), "--validation", str(tmp_path), "--out", str(tmp_path / "a"), "--steps", "1"]
        with pytest.raises(OvsegError, match="different classes"):
            openseg.run(openseg.make_parser().parse_args(words))

    def test_weights_written_anew_have_a_space_of_their_own(self, tmp_path: Path) -> None:
        path = tmp_path / "own.safetensors"
        found = []
        for scale in (10.0, 11.0):
            card = ModelCard(TINY, room_vocabulary(), scale, file_digest(TABLE_FILE), {}, {})
            save_weights(OpenSeg(TINY), card, path)
            found.append(OpenSegSpace.of(path))
        assert [space.logit_scale for space in found] == [10.0, 11.0] and found[0].id != found[1].id

    def test_the_example_of_settings_shows_the_defaults(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(CONFIG_VARIABLE, str(root / EXAMPLE))
        assert read_config() == BackendConfig()

    @pytest.mark.parametrize("layers", [0, 6])
    def test_the_paper_s_objective_needs_no_classes(self, views: Path, layers: int) -> None:
        paper = LossWeights(mask=2.0, region=0.0, cell=0.0, spread=0.0, grounding=1.0)
        model = replace(TINY, attention_layers=layers)
        words = TrainingWords(read_classes(views), TextTable.packaged())
        unlabelled = [View(view.rgb, without_classes(view), view.caption) for view in read_views(views)]
        trainer = Trainer(replace(SHORT, losses=paper, model=model), words, torch.ones(words.classes), autocast=False)
        batch = make_batch(unlabelled, torch.ones(8), SHORT, 0)
        assert int(batch.labels.max()) < 0
        terms = [trainer.train_step(batch) for _ in range(12)]
        assert set(terms[0]) == {"mask", "grounding"}
        assert terms[-1]["mask"] < terms[0]["mask"] - 0.1

    @pytest.mark.parametrize("temperature", [None, 0.5])
    def test_temperatures_are_learned_unless_they_are_given(self, views: Path, temperature: float | None) -> None:
        captions = LossWeights(mask=0.0, region=0.0, cell=0.0, spread=0.0, grounding=1.0)
        trainer, _ = trained(
            views,
            losses=captions,
            caption_temperature=temperature,
            attention_temperature=temperature,
            caption_keep=1.0,
            steps=2,
        )
        assert (trainer.model.log_scale.item() == pytest.approx(2.7)) == (temperature is not None)

    @pytest.mark.parametrize(
        ("text", "weights"),
        [("mask=1", (1, 0, 0, 0, 0)), ("mask=1, grounding=0.5", (1, 0, 0, 0, 0.5)), ("cell=2", (0, 0, 2, 0, 0))],
    )
    def test_losses_are_read(self, text: str, weights: tuple[float, ...]) -> None:
        assert openseg.parse_losses(text) == LossWeights(*weights)

    @pytest.mark.parametrize("text", ["", "mask", "mask=x", "masks=1", "mask=0", "mask=-1", "mask=nan"])
    def test_losses_that_are_none_are_refused(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            openseg.make_parser().parse_args(["--losses", text])
        assert "out of mask, region, cell, spread, grounding" in capsys.readouterr().err

    def test_labels_beyond_the_classes_are_refused(self, tmp_path: Path) -> None:
        ids = np.full((16, 16), 3, dtype=np.int32)
        write_view(tmp_path / "a.jpg", encode_view(np.zeros((16, 16, 3), dtype=np.uint8), ids, ids))
        with pytest.raises(OvsegError, match="the label 3"):
            TrainingViews.load(tmp_path, 2)
        (tmp_path / "a.txt").write_text("5")
        with pytest.raises(OvsegError, match="the label 5"):
            TrainingViews.load(tmp_path, 4)
        (tmp_path / "a.txt").write_text("a sofa")
        with pytest.raises(OvsegError, match="label ids from 1"):
            read_views(tmp_path)
        write_view(tmp_path / "a.jpg", encode_view(np.zeros((16, 16, 3), dtype=np.uint8), ids, ids))
        assert read_views(tmp_path)[0].caption is None, "the caption of the view before is gone"


class TestPseudoLabels:
    def test_a_teacher_of_masks_annotates_images_with_captions(
        self, views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        masks = LossWeights(mask=1.0, region=0.0, cell=0.0, spread=0.0, grounding=0.0)
        teacher, _ = trained(views, losses=masks, steps=60, full_share=1.0, learning_rate=1e-2)
        openseg.finish(teacher, read_views(views), {}, tmp_path / "teacher.safetensors")
        captioned = tmp_path / "captioned"
        captioned.mkdir()
        (captioned / "classes.txt").write_text((views / "classes.txt").read_text())
        known = read_views(views)
        nothing = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
        blank = encode_view(np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8), nothing, nothing).truth
        for index, view in enumerate(known):
            truth = view.truth if index == 0 else blank
            write_view(captioned / f"{index}.jpg", View(view.rgb, truth, view.caption))
        out = tmp_path / "out"
        words = ("--teacher", tmp_path / "teacher.safetensors", "--data", captioned, "--out", out)
        command("pseudo_labels", monkeypatch, *words)
        drawn = read_views(out)
        assert drawn[0] == known[0] and read_classes(out).names == tuple(COLOURS)
        assert [view.rgb for view in drawn] == [view.rgb for view in known]
        assert [view.caption for view in drawn] == [view.caption for view in known]
        assert all(not view.decode()[2].any() for view in drawn[1:])
        model = load_weights(tmp_path / "teacher.safetensors")[0]
        assert mask_recall(model, known, autocast=False) > 0.6, "the teacher knows the shapes"
        found = total = 0
        for view, truth in zip(drawn[1:], known[1:], strict=True):
            ids, true_ids = view.decode()[1], truth.decode()[1]
            for segment in (1, 2):
                overlaps = [((ids == i) & (true_ids == segment)).sum() / ((ids == i) | (true_ids == segment)).sum()
                            for i in ids.unique().tolist() if i]  # fmt: skip
                found, total = found + (max(overlaps, default=0) > 0.5), total + 1
        assert found / total > 0.5
        student, _ = trained(out, losses=LossWeights(mask=1.0, region=0, cell=0, spread=0, grounding=1.0), steps=2)
        assert student.step == 2

    def test_the_best_proposals_are_kept_and_the_smallest_lie_on_top(self) -> None:
        masks = torch.full((6, 24), 0.01)
        masks[0, :20] = 0.9
        masks[1, :19] = 0.8  # The same thing, less certain.
        masks[2, 4:9] = 0.95
        masks[3, 12:18] = 0.6  # Too uncertain.
        masks[4, 20:22] = 0.99  # Too small.
        masks[5, 7:12] = 0.85
        ids = select_segments(masks)
        first, second, large = int(ids[4]), int(ids[10]), int(ids[0])
        assert len({first, second, large, 0}) == 4
        expected = [large] * 4 + [first] * 5 + [second] * 3 + [large] * 8 + [0] * 4
        assert ids.tolist() == expected
        assert select_segments(torch.zeros(3, 5)).tolist() == [0] * 5


def test_ablations_are_done_once_and_tabulated(views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(SHORT, losses=ablations.BASE.losses)
    runs = {"base": short, "L_G only": replace(short, losses=replace(short.losses, mask=0.0))}
    monkeypatch.setattr(ablations, "ABLATIONS", runs)
    words = ("--data", views, "--validation", views, "--out", tmp_path, "--steps", 2)
    command("ablations", monkeypatch, *words)
    table = (tmp_path / "ablations.md").read_text()
    head, _, *rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
    assert [row[0] for row in rows] == list(runs)
    assert head == ["run", *(f"mIoU{kind} {way}" for way in ("pixels", "regions", "reweighted", "blend")
                             for kind in ("", " grounding")), "mask recall"]  # fmt: skip
    assert all(0 <= float(cell) <= 100 for row in rows for cell in row[1:])
    (tmp_path / "L-G-only.json").unlink()
    base = (tmp_path / "base.json").stat().st_mtime_ns
    command("ablations", monkeypatch, *words)
    assert (tmp_path / "ablations.md").read_text() == table and (tmp_path / "base.json").stat().st_mtime_ns == base
    assert (tmp_path / "ablations.csv").read_text().count("\n") == 3 and not list(tmp_path.glob("*.checkpoint"))
    with pytest.raises(SystemExit, match="other settings"):
        command("ablations", monkeypatch, *words[:-1], 3)


def without_classes(view: View) -> bytes:
    instances = view.decode()[1].numpy().astype(np.int32)
    return encode_view(np.zeros((*instances.shape, 3), dtype=np.uint8), np.zeros_like(instances), instances).truth
