"""Training: data on disk, augmentation, and runs that repeat bit for bit."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.openseg.model import OpenSeg, OpenSegConfig
from ovseg_ros.segmentation.openseg.prediction import PREDICTIONS
from ovseg_ros.segmentation.openseg.text import TextTable
from ovseg_ros.segmentation.openseg.weights_file import ModelCard, load_weights, save_weights
from ovseg_ros.simulation import CLASSES
from ovseg_ros.training import openseg, text_table, validation
from ovseg_ros.training.augmentation import Augmentation, colour_rotation, random_colours, random_views
from ovseg_ros.training.batches import (
    Batch,
    Settings,
    TrainingViews,
    batches,
    class_weights,
    make_batch,
    repeat_factors,
)
from ovseg_ros.training.losses import IGNORED
from ovseg_ros.training.room_images import parse_size, render_rooms
from ovseg_ros.training.trainer import Trainer
from ovseg_ros.training.validation import confusion, mean_iou
from ovseg_ros.training.views import encode_view, read_views, room_vocabulary, write_view
from ovseg_ros.training.words import TrainingWords
from ovseg_ros.vocabulary import GENERIC_NEGATIVES, Vocabulary

WIDTH, HEIGHT = 64, 48
TINY = OpenSegConfig(
    long_side=WIDTH,
    widths=(8, 8, 12, 16, 16),
    depths=(1, 1, 1, 1),
    pyramid=16,
    queries=8,
    attention_layers=1,
    position_grid=(3, 4),
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of coloured rectangles before a wall; the colour is the class."""
    path = tmp_path_factory.mktemp("views")
    rng = np.random.default_rng(0)
    for index in range(8):
        labels = np.ones((HEIGHT, WIDTH), dtype=np.int32)
        instances = np.ones((HEIGHT, WIDTH), dtype=np.int32)
        for instance in (2, 300):
            top, left = int(rng.integers(0, HEIGHT - 20)), int(rng.integers(0, WIDTH - 24))
            area = (slice(top, top + 20), slice(left, left + 24))
            labels[area], instances[area] = rng.integers(2, 6), instance
        colours = np.random.default_rng(1).integers(0, 256, size=(len(CLASSES) + 1, 3))
        write_view(path / f"{index:08d}-00.jpg", encode_view(colours[labels].astype(np.uint8), labels, instances))
    return path


@pytest.fixture(scope="module")
def words() -> TrainingWords:
    return TrainingWords(room_vocabulary(), TextTable.packaged())


def settings(**changes: object) -> Settings:
    base = Settings(
        steps=6, batch=4, crop=(48, 32), full_share=0.34, warmup=1, cells=64, learning_rate=4e-3, model=TINY
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def trained(folder: Path, words: TrainingWords, stop: int | None = None, seed: int = 0) -> tuple[Trainer, list[float]]:
    data = TrainingViews.load(folder, words.classes)
    trainer = Trainer(settings(seed=seed), words, class_weights(data.pixels), autocast=False)
    totals = []
    for batch in batches(data, trainer.settings, 0):
        totals.append(sum(trainer.train_step(batch).values()))
        if trainer.step == stop:
            break
    return trainer, totals


class TestAugmentation:
    def test_cells_keep_the_label_of_what_is_seen_there(self) -> None:
        # Colour and segment tell the label, so that any misplacement shows.
        labels = torch.arange(12).view(3, 4).repeat_interleave(40, 0).repeat_interleave(40, 1)[None].expand(16, -1, -1)
        images = (labels / 11.0)[:, None].expand(-1, 3, -1, -1)
        pictures, segments, cells = random_views(images, labels + 5, labels, (80, 96), (0.6, 1.5), generator())
        assert pictures.shape == (16, 3, 80, 96) and cells.shape == (16, 20 * 24)
        assert (segments[cells != IGNORED] == cells[cells != IGNORED] + 5).all()
        seen = pictures[:, 0].unfold(1, 4, 4).unfold(2, 4, 4).reshape(16, 480, 16)
        flat = (seen.amax(dim=-1) - seen.amin(dim=-1)) < 1e-4
        inside = flat & (cells != IGNORED)
        assert inside.float().mean() > 0.5
        assert ((seen.mean(dim=-1) * 11).round().long() == cells)[inside].all()
        assert (cells == IGNORED).any(), "a crop larger than the image has cells outside"

    def test_some_images_are_mirrored(self) -> None:
        ramp = torch.linspace(0, 1, 64).expand(32, 3, 48, 64)
        ids = torch.zeros(32, 48, 64, dtype=torch.long)
        pictures, _, _ = random_views(ramp, ids, ids, (32, 32), (1.0, 1.0), generator())
        mirrored = pictures[:, 0, 0, 0] > pictures[:, 0, 0, -1]
        assert 5 < int(mirrored.sum()) < 27

    def test_without_any_amount_colours_stay(self) -> None:
        images = torch.rand(4, 3, 8, 8, generator=generator())
        none = Augmentation((1.0, 1.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        assert torch.allclose(random_colours(images, none, generator()), images, atol=1e-5)
        changed = random_colours(images, Augmentation(), generator())
        assert changed.min() >= 0 and changed.max() <= 1
        assert all((changed[i] - images[i]).abs().mean() > 0.005 for i in range(4))

    def test_turning_hue_keeps_grey_and_a_third_of_a_turn_swaps_channels(self) -> None:
        turn = colour_rotation(torch.tensor([2 * math.pi / 3]), torch.ones(1))[0]
        assert torch.allclose(turn @ torch.ones(3), torch.ones(3), atol=1e-6)
        assert torch.allclose(turn @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6)


class TestRoomImages:
    def test_views_come_back(self, folder: Path) -> None:
        views = read_views(folder)
        rgb, instances, labels = views[0].decode()
        assert len(views) == 8
        assert rgb.shape == (3, HEIGHT, WIDTH) and rgb.dtype == torch.uint8
        assert set(instances.unique().tolist()) == {1, 2, 300}
        assert labels.shape == instances.shape == (HEIGHT, WIDTH) and set(labels.unique().tolist()) <= {1, 2, 3, 4, 5}

    def test_half_written_views_are_left_out(self, tmp_path: Path) -> None:
        with pytest.raises(OvsegError, match="holds no views"):
            read_views(tmp_path)
        ids = np.ones((16, 16), dtype=np.int32)
        rgb = np.zeros((16, 16, 3), dtype=np.uint8)
        write_view(tmp_path / "00000001-00.jpg", encode_view(rgb, ids, ids))
        write_view(tmp_path / "00000000-00.jpg", encode_view(rgb + 200, ids, ids))
        whole = (tmp_path / "00000000-00.jpg").read_bytes()
        (tmp_path / "00000002-00.jpg").write_bytes(whole[:-20])
        (tmp_path / "00000002-00.png").write_bytes(b"")
        assert [int(view.decode()[0].float().mean()) for view in read_views(tmp_path)] == [200, 0]

    def test_rendering_continues_where_it_stopped(self, tmp_path: Path) -> None:
        assert render_rooms(tmp_path, rooms=1, views=2, seed=1_000_000, size=(32, 24), workers=1) == 1
        first = (tmp_path / "01000000-01.jpg").read_bytes()
        assert render_rooms(tmp_path, rooms=1, views=2, seed=1_000_000, size=(32, 24), workers=1) == 0
        (tmp_path / "01000000-01.jpg").unlink()
        assert render_rooms(tmp_path, rooms=1, views=2, seed=1_000_000, size=(32, 24), workers=1) == 1
        assert (tmp_path / "01000000-01.jpg").read_bytes() == first
        rgb, _, labels = read_views(tmp_path)[0].decode()
        assert rgb.shape == (3, 24, 32) and labels.max() <= len(CLASSES)

    def test_sizes_are_read(self) -> None:
        assert parse_size("320x240") == (320, 240)
        with pytest.raises(argparse.ArgumentTypeError, match="WIDTHxHEIGHT"):
            parse_size("320")


class TestWords:
    def test_a_draw_names_every_class_by_a_training_word(self) -> None:
        table = TextTable.packaged()
        quiet = TrainingWords(room_vocabulary(), table, noise=0.0)
        for seed in range(3):
            drawn = quiet.draw(generator(seed))
            for vector, entry in zip(drawn, CLASSES, strict=False):
                assert (table.encode((entry.name, *entry.synonyms)) @ vector).max() > 0.9999, entry.name
        assert not torch.equal(quiet.draw(generator(0)), quiet.draw(generator(1)))

    def test_words_that_are_held_out_are_never_taught_as_wrong_answers(self) -> None:
        table = TextTable.packaged()
        held_out = table.encode(sorted({word for entry in CLASSES for word in entry.held_out}))
        quiet = TrainingWords(room_vocabulary(), table, distractors=1000, noise=0.0)
        assert (quiet.draw(generator()) @ held_out.T).max() < 0.999

    def test_what_else_is_drawn_is_far_from_the_classes(self, words: TrainingWords) -> None:
        others = words.draw(generator())[len(CLASSES) + len(GENERIC_NEGATIVES) :]
        assert len(others) == 24
        assert (others @ words.names().T).max() < 0.55

    def test_held_out_words_are_not_trained(self) -> None:
        known = {word for group in room_vocabulary().synonyms for word in group}
        assert not known & {word for entry in CLASSES for word in entry.held_out}


class TestTraining:
    def test_a_few_steps_lower_the_loss(self, folder: Path, words: TrainingWords) -> None:
        trainer, totals = trained(folder, words)
        assert trainer.step == len(totals) == 6
        assert totals[-1] < totals[0] - 0.3

    def test_the_same_seed_gives_the_same_weights(self, folder: Path, words: TrainingWords) -> None:
        first, second, other = (trained(folder, words, seed=seed)[0] for seed in (0, 0, 1))
        for name, value in first.average.state_dict().items():
            assert torch.equal(value, second.average.state_dict()[name]), name
        assert not torch.equal(first.average.queries, other.average.queries)

    def test_a_resumed_run_equals_an_uninterrupted_one(
        self, folder: Path, words: TrainingWords, tmp_path: Path
    ) -> None:
        whole, _ = trained(folder, words)
        half, _ = trained(folder, words, stop=3)
        half.save(tmp_path / "checkpoint")
        state = torch.load(tmp_path / "checkpoint", weights_only=True)
        data = TrainingViews.load(folder, words.classes)
        resumed = Trainer(settings(), words, torch.ones(words.classes), autocast=False)
        resumed.load(state)
        for batch in batches(data, resumed.settings, resumed.step):
            resumed.train_step(batch)
        for name, value in whole.average.state_dict().items():
            assert torch.equal(value, resumed.average.state_dict()[name]), name
        with pytest.raises(OvsegError, match="other settings"):
            Trainer(settings(seed=5), words, torch.ones(words.classes), autocast=False).load(state)

    def test_the_last_steps_see_whole_images(self, folder: Path) -> None:
        views = read_views(folder)
        even = torch.ones(len(views))
        early, late = make_batch(views, even, settings(), 0), make_batch(views, even, settings(), 5)
        assert isinstance(early, Batch)
        assert early.images.shape[-2:] == (32, 48) and late.images.shape[-2:] == (HEIGHT, WIDTH)
        assert not torch.equal(early.images, make_batch(views, even, settings(), 1).images)
        assert early.labels.shape == (4, 8 * 12) and late.labels.shape == (4, 12 * 16)

    def test_views_with_rare_things_are_shown_more_often(self, folder: Path) -> None:
        pixels = torch.tensor([[0, 500, 0], [0, 400, 100], [0, 500, 0], [450, 0, 50], [480, 20, 0]])
        factors = repeat_factors(pixels, repeat_below=0.9)
        assert torch.allclose(factors, torch.tensor([0.6, 0.2, 0.6, 10.0, 10.0]).rsqrt().mul(0.9**0.5).clamp(min=1))

    def test_the_command_writes_weights_that_load(self, folder: Path, tmp_path: Path) -> None:
        out = tmp_path / "weights.safetensors"
        common = ["--data", str(folder), "--validation", str(folder), "--out", str(out), "--batch", "2"]
        common += ["--crop", "32x32", "--steps", "2", "--precision", "float32"]
        parse = openseg.make_parser().parse_args
        with pytest.raises(OvsegError, match="no checkpoint"):
            openseg.run(parse([*common, "--resume"]))
        written = openseg.run(parse(common))
        model, loaded = load_weights(out)
        assert replace(loaded, training={}) == replace(written, training={})
        assert loaded.vocabulary == room_vocabulary()
        assert loaded.training["steps"] == 2 and loaded.training["views"] == 8
        assert loaded.training["parameters"] == sum(value.numel() for value in model.parameters()) < 6e6
        assert all(0 <= value <= 1 for value in loaded.quality.values())
        assert {"names_miou", "names_grounding_miou", "held_out_miou"} <= set(loaded.quality)
        first = out.read_bytes()
        assert openseg.run(parse([*common, "--resume"])) == written and out.read_bytes() == first

    def test_a_run_can_start_from_the_weights_of_another(
        self, folder: Path, words: TrainingWords, tmp_path: Path
    ) -> None:
        first, totals = trained(folder, words)
        card = ModelCard(TINY, room_vocabulary(), 10.0, "", {}, {})
        save_weights(first.model, card, tmp_path / "first.safetensors")
        second = Trainer(settings(), words, torch.ones(words.classes), autocast=False)
        second.start_from(tmp_path / "first.safetensors")
        assert torch.allclose(second.model.queries, first.model.queries, atol=2e-3)
        assert torch.equal(second.average.queries, second.model.queries)
        batch = make_batch(read_views(folder), torch.ones(8), settings(), 0)
        assert sum(second.train_step(batch).values()) < totals[0] - 0.2
        other = replace(settings(), model=replace(TINY, queries=7))
        with pytest.raises(OvsegError, match="other sizes"):
            Trainer(other, words, torch.ones(words.classes), autocast=False).start_from(tmp_path / "first.safetensors")


class TestValidation:
    def test_the_command_measures_weights(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        torch.manual_seed(0)
        path = tmp_path / "model.safetensors"
        save_weights(OpenSeg(TINY), ModelCard(TINY, Vocabulary((("wall",),)), 10.0, "", {}, {}), path)
        monkeypatch.setattr("sys.argv", ["validation", str(folder), "--weights", str(path)])
        validation.main()
        head, *lines = capsys.readouterr().out.splitlines()
        assert head.split() == ["features", *PREDICTIONS]
        table = {name: [float(value) for value in values] for name, *values in map(str.split, lines)}
        assert set(table) == {"names", "names_grounding", "held_out", "held_out_grounding", "mask_recall"}
        for free, given in zip(table["names"], table["names_grounding"], strict=True):
            assert given > free >= 0
        assert len(table["mask_recall"]) == 1 and 0 <= table["mask_recall"][0] <= 1

    def test_mean_iou_of_a_small_table(self) -> None:
        truth = torch.tensor([0, 0, 0, 1, 1, IGNORED])
        answer = torch.tensor([0, 0, 1, 1, 2, 2])
        matrix = confusion(truth, answer, 3)
        assert matrix.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]
        assert mean_iou(matrix) == pytest.approx((2 / 3 + 1 / 3) / 2)


class TestTextTable:
    def test_compression_keeps_directions_and_weighs_by_rarity(self) -> None:
        embeddings = torch.randn(4000, 300, generator=generator())
        rows, scales = text_table.compress(embeddings)
        again = text_table.compress(embeddings)
        assert torch.equal(rows, again[0]) and torch.equal(scales, again[1])
        assert rows.shape == (4000, 256) and rows.dtype == torch.int8 and scales.dtype == torch.float16
        assert (rows[: text_table.FIRST_WORD] == 0).all() and (scales[: text_table.FIRST_WORD] == 0).all()
        lengths = (rows.float() * scales[:, None].float()).norm(dim=1)[text_table.FIRST_WORD :]
        assert lengths[0] < 0.02 * lengths[-1] and lengths[:5].max() < lengths[1500:].min()

    def test_words_that_stay_whole_are_added(self) -> None:
        added = text_table.household_words(["sofa", "lamp"])
        assert "duvet" in added and "sofa" not in added and added == sorted(set(added))

    def test_another_model_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OvsegError, match="missing"):
            text_table.build(tmp_path, tmp_path / "table", tmp_path / "words")
        (tmp_path / "model.safetensors").write_bytes(b"another")
        with pytest.raises(OvsegError, match="not the all-MiniLM"):
            text_table.build(tmp_path, tmp_path / "table", tmp_path / "words")
