"""Depth for the embedded model: in views, in training, in weights, and from a frame to the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.semseg.features import FeatureCache
from ovseg_ros.segmentation.openseg.backend import OpenSegSegmenter
from ovseg_ros.segmentation.openseg.model import OpenSeg, OpenSegConfig, depth_planes
from ovseg_ros.segmentation.openseg.prediction import features_at
from ovseg_ros.segmentation.openseg.space import WEIGHTS_FILE
from ovseg_ros.segmentation.openseg.text import TextTable
from ovseg_ros.segmentation.openseg.weights_file import ModelCard, load_weights, read_card, save_weights
from ovseg_ros.training import openseg
from ovseg_ros.training.augmentation import Augmentation, random_depths
from ovseg_ros.training.batches import Settings, TrainingViews, batches, class_weights
from ovseg_ros.training.room_images import render_room
from ovseg_ros.training.trainer import Trainer
from ovseg_ros.training.validation import score
from ovseg_ros.training.views import View, encode_view, read_views, room_vocabulary, write_view
from ovseg_ros.training.words import TrainingWords
from ovseg_ros.types import Intrinsics, RgbdFrame, Segmentation, segment

WIDTH, HEIGHT = 64, 48
BLIND = OpenSegConfig(
    long_side=WIDTH,
    widths=(8, 8, 12, 16, 16),
    depths=(1, 1, 1, 1),
    pyramid=16,
    queries=8,
    attention_layers=1,
    position_grid=(3, 4),
)
SEEING = replace(BLIND, depth=True)


@pytest.fixture(scope="module")
def words() -> TrainingWords:
    return TrainingWords(room_vocabulary(), TextTable.packaged())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen grey images, each of one of two classes, which only depth tells apart."""
    path = tmp_path_factory.mktemp("views")
    rng = np.random.default_rng(0)
    for index in range(16):
        labels = np.full((HEIGHT, WIDTH), 1 + index % 2, dtype=np.int32)
        rgb = rng.integers(100, 130, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
        depth = np.full((HEIGHT, WIDTH), 1.5 + 2.5 * (index % 2), dtype=np.float32)
        depth[:4] = np.nan
        write_view(path / f"{index:08d}-00.jpg", encode_view(rgb, labels, labels, depth=depth))
    return path


def saved(config: OpenSegConfig, path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    packaged = read_card(WEIGHTS_FILE)
    save_weights(OpenSeg(config), ModelCard(config, packaged.vocabulary, 15.0, packaged.text_table, {}, {}), path)
    return path


def picture(depth: torch.Tensor) -> RgbdFrame:
    rgb = torch.arange(HEIGHT * WIDTH * 3).remainder(251).to(torch.uint8).reshape(HEIGHT, WIDTH, 3)
    intrinsics = Intrinsics(56.0, 56.0, 31.5, 23.5, WIDTH, HEIGHT)
    return RgbdFrame(rgb, depth, intrinsics, torch.eye(4, dtype=torch.float64), 1)


def test_pixels_without_a_reading_are_zero_in_both_planes() -> None:
    depth = torch.tensor([[[1.0, torch.e, 0.0], [torch.nan, torch.inf, -1.0]]])
    distance, read = depth_planes(depth)[0]
    assert torch.allclose(distance, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    assert read.tolist() == [[1, 1, 0], [0, 0, 0]]


def test_readings_near_holes_are_not_mixed_with_them() -> None:
    torch.manual_seed(0)
    model = OpenSeg(SEEING).eval()
    colours = torch.full((1, 3, HEIGHT, WIDTH), 0.5)
    whole = torch.full((1, HEIGHT, WIDTH), 3.0)
    halves = depth_planes(whole) * (torch.arange(WIDTH) % 2)
    mixed = torch.nn.functional.avg_pool2d(halves, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    with torch.inference_mode():
        seen = model._scaled(torch.cat((colours, mixed), dim=1))[:, 3]
        expected = model._scaled(torch.cat((colours, depth_planes(whole)), dim=1))[:, 3]
    assert torch.allclose(seen, expected / 2, rtol=5e-3), "half of the readings, all of the same distance"


def test_depth_comes_back_from_disk_in_millimetres(folder: Path, tmp_path: Path) -> None:
    depth = read_views(folder)[1].decode_depth()
    assert torch.equal(depth[4:], torch.full((HEIGHT - 4, WIDTH), 4.0)) and not depth[:4].any()
    ids = np.ones((16, 16), dtype=np.int32)
    far = np.linspace(-1, 80, 256, dtype=np.float32).reshape(16, 16)
    view = encode_view(np.zeros((16, 16, 3), dtype=np.uint8), ids, ids, depth=far)
    kept = (far > 0) & (far <= 65)
    assert np.abs(view.decode_depth().numpy() - np.where(kept, far, 0)).max() <= 0.0005
    write_view(tmp_path / "a.jpg", view)
    write_view(tmp_path / "a.jpg", replace(view, depth=None))
    (plain,) = read_views(tmp_path)
    assert plain.depth is None and not plain.decode_depth().any()


def test_rendered_rooms_have_depth(tmp_path: Path) -> None:
    render_room(tmp_path, 1_000_000, 1, (32, 24))
    (view,) = read_views(tmp_path)
    depth = view.decode_depth()
    assert (depth > 0.3).float().mean() > 0.5 and depth.max() < 8.1


def test_some_images_of_a_batch_are_blind_and_others_shifted() -> None:
    planes = depth_planes(torch.full((200, 2, 2), torch.e))
    planes[:, :, 0, 0] = 0
    changed = random_depths(planes, Augmentation(blind=0.25, distance=0.1), torch.Generator().manual_seed(0))
    blind = ~changed[:, 1].flatten(1).any(dim=1)
    assert 30 < int(blind.sum()) < 70 and not changed[blind].any() and not changed[:, :, 0, 0].any()
    shift = changed[~blind, 0, 1, 1] - 1
    assert 0.07 < float(shift.std()) < 0.13 and abs(float(shift.mean())) < 0.03


def test_what_only_depth_tells_apart_is_learnt(folder: Path, words: TrainingWords) -> None:
    found = {}
    for config in (BLIND, SEEING):
        augmentation = Augmentation(blind=0.0)
        settings = Settings(40, batch=8, crop=(48, 32), warmup=5, average=0.9, model=config, augmentation=augmentation)
        data = TrainingViews.load(folder, words.classes)
        trainer = Trainer(replace(settings, learning_rate=4e-3), words, class_weights(data.pixels), autocast=False)
        for batch in batches(data, trainer.settings, 0):
            trainer.train_step(batch)
        names = {"names": words.names()[:2]}
        found[config.depth] = score(trainer.average, data.views, names, {"cells": features_at(0.0)}, False)
    assert found[True]["names@cells"] > 0.95 and found[False]["names@cells"] < 0.75


def test_weights_without_depth_start_a_model_with_it(words: TrainingWords, tmp_path: Path) -> None:
    blind = saved(BLIND, tmp_path / "blind.safetensors")
    trainer = Trainer(Settings(1, model=replace(SEEING, long_side=96)), words, torch.ones(words.classes), False)
    trainer.start_from(blind)
    images = torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    depth = torch.rand(2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    plain = Trainer(Settings(1, model=BLIND), words, torch.ones(words.classes), False)
    plain.start_from(blind)
    with torch.inference_mode():
        seen = trainer.average(torch.cat((images, depth_planes(depth)), dim=1)).regions
        assert torch.allclose(seen, plain.average(images).regions, atol=1e-5), "depth counts for nothing at first"


def test_weights_with_depth_start_a_model_without(words: TrainingWords, tmp_path: Path) -> None:
    file = saved(SEEING, tmp_path / "seeing.safetensors")
    plain = Trainer(Settings(1, model=BLIND), words, torch.ones(words.classes), False)
    plain.start_from(file)
    images = torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    depth = torch.full((2, HEIGHT, WIDTH), 2.0)
    seeing, _ = load_weights(file)
    with torch.inference_mode():
        found = plain.average(images).cells
        unseen, seen = (seeing(torch.cat((images, depth_planes(d)), dim=1)).cells for d in (0 * depth, depth))
    assert torch.allclose(found, unseen, atol=1e-5), "as before for images without depth"
    assert (seen - unseen).abs().max() > 1e-3


def test_other_layers_start_nothing(words: TrainingWords, tmp_path: Path) -> None:
    file = saved(SEEING, tmp_path / "seeing.safetensors")
    other = Trainer(Settings(1, model=replace(SEEING, queries=7)), words, torch.ones(words.classes), False)
    with pytest.raises(OvsegError, match="other sizes"):
        other.start_from(file)


def test_frames_are_shown_with_their_depth(tmp_path: Path) -> None:
    near, far = picture(torch.full((HEIGHT, WIDTH), 1.0)), picture(torch.full((HEIGHT, WIDTH), 4.0))
    unread = picture(torch.full((HEIGHT, WIDTH), torch.nan))
    seeing = OpenSegSegmenter(saved(SEEING, tmp_path / "seeing.safetensors"), "cpu")
    features = [segment(seeing, frame).features for frame in (near, far, unread)]
    assert not torch.allclose(features[0], features[1], atol=1e-3)
    assert torch.equal(features[2], seeing(unread.rgb).features), "no reading anywhere is like no depth camera"
    blind = OpenSegSegmenter(saved(BLIND, tmp_path / "blind.safetensors"), "cpu")
    assert torch.equal(segment(blind, near).features, blind(near.rgb).features)


@pytest.mark.parametrize("depth", [torch.ones(HEIGHT, WIDTH, 1), torch.ones(4, 4), torch.ones(HEIGHT, WIDTH).short()])
def test_other_depth_is_refused(depth: torch.Tensor, tmp_path: Path) -> None:
    seeing = OpenSegSegmenter(saved(SEEING, tmp_path / "seeing.safetensors"), "cpu")
    with pytest.raises(OvsegError, match="depth is"):
        seeing.with_depth(picture(torch.ones(HEIGHT, WIDTH)).rgb, depth)


def test_cached_features_are_those_of_the_same_depth(tmp_path: Path) -> None:
    near, far = picture(torch.full((HEIGHT, WIDTH), 1.0)), picture(torch.full((HEIGHT, WIDTH), 4.0))
    seeing = OpenSegSegmenter(saved(SEEING, tmp_path / "seeing.safetensors"), "cpu")
    blind = OpenSegSegmenter(saved(BLIND, tmp_path / "blind.safetensors"), "cpu")
    for segmenter, files in ((seeing, 2), (blind, 1)):
        folder = tmp_path / str(files)
        for frame in (near, far, near):
            assert torch.equal(FeatureCache(segmenter, folder)(frame).features, segment(segmenter, frame).features)
        assert len(list(folder.iterdir())) == files


class TestCommand:
    def arguments(self, folder: Path, out: Path) -> list[str]:
        common = ["--data", str(folder), "--validation", str(folder), "--out", str(out), "--batch", "2"]
        return [*common, "--crop", "48x32", "--steps", "2", "--precision", "float32", "--depth", "--long-side", "64"]

    def test_it_writes_weights_that_look_at_depth(self, folder: Path, tmp_path: Path) -> None:
        out = tmp_path / "weights.safetensors"
        openseg.run(
            openseg.make_parser().parse_args(
                [*self.arguments(folder, out), "--full-share", "0.5", "--learning-rate", "1e-4"]
            )
        )
        card = read_card(out)
        assert card.config.depth and card.config.long_side == 64
        assert card.training["full_share"] == 0.5 and card.training["learning_rate"] == 1e-4
        near, far = picture(torch.full((HEIGHT, WIDTH), 1.0)), picture(torch.full((HEIGHT, WIDTH), 4.0))
        segmenter = OpenSegSegmenter(out, "cpu")
        assert not torch.equal(segment(segmenter, near).features, segment(segmenter, far).features)

    def test_views_without_depth_are_refused(self, folder: Path, tmp_path: Path) -> None:
        blind = tmp_path / "views"
        blind.mkdir()
        for index, view in enumerate(read_views(folder)):
            write_view(blind / f"{index}.jpg", replace(view, depth=None if index else view.depth))
        parse = openseg.make_parser().parse_args
        with pytest.raises(OvsegError, match="of 32 views have no depth"):
            openseg.run(parse(self.arguments(blind, tmp_path / "weights.safetensors")))

    def test_crops_larger_than_the_views_are_refused(self, folder: Path, tmp_path: Path) -> None:
        parse = openseg.make_parser().parse_args
        with pytest.raises(OvsegError, match="crops of 48x32 are larger than the views, which are brought to 40x32"):
            openseg.run(parse([*self.arguments(folder, tmp_path / "w.safetensors"), "--long-side", "40"]))

    @pytest.mark.parametrize(
        "flag", [("--long-side", "30"), ("--long-side", "8"), ("--full-share", "1.5"), ("--learning-rate", "0")]
    )
    def test_values_out_of_range_are_named(
        self, flag: tuple[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", ["openseg", *self.arguments(folder, folder / "w.safetensors"), *flag])
        with pytest.raises(SystemExit):
            openseg.main()
        assert flag[0] in capsys.readouterr().err.splitlines()[-1]


def bits_8(view: View) -> bytes:
    return cv2.imencode(".png", np.ones((HEIGHT, WIDTH), dtype=np.uint8))[1].tobytes()


def other_size(view: View) -> bytes:
    return cv2.imencode(".png", np.ones((HEIGHT, WIDTH + 1), dtype=np.uint16))[1].tobytes()


def colours(view: View) -> bytes:
    return cv2.imencode(".png", np.ones((HEIGHT, WIDTH, 3), dtype=np.uint16))[1].tobytes()


@pytest.mark.parametrize("made", [bits_8, other_size, colours, lambda view: b"", lambda view: view.rgb])
def test_other_depth_files_are_named(made: Callable[[View], bytes], folder: Path, tmp_path: Path) -> None:
    view = read_views(folder)[0]
    write_view(tmp_path / "a.jpg", replace(view, depth=made(view)))
    with pytest.raises(OvsegError, match=r"a\.depth\.png should be a grey PNG of 16 bits"):
        read_views(tmp_path)


def test_a_segmenter_of_colours_is_shown_colours() -> None:
    class Colours:
        def __call__(self, rgb: torch.Tensor) -> Segmentation:
            return Segmentation(rgb.permute(2, 0, 1).float(), "colours/1")

    frame = picture(torch.ones(HEIGHT, WIDTH))
    assert torch.equal(segment(Colours(), frame).features, frame.rgb.permute(2, 0, 1).float())  # type: ignore[arg-type]
