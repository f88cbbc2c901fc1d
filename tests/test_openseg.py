"""The embedded model: its words, its parts against plain restatements, its weights file, and the packaged backend."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import BertWordPieceTokenizer

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation import backends, label_image, language_space, load_segmenter, resolve_device
from ovseg_ros.segmentation.openseg import backend as openseg_backend
from ovseg_ros.segmentation.openseg.backend import OpenSegSegmenter
from ovseg_ros.segmentation.openseg.model import (
    MASK_EPSILON,
    CrossAttention,
    OpenSeg,
    OpenSegConfig,
    pool_regions,
    spread_regions,
)
from ovseg_ros.segmentation.openseg.space import WEIGHTS_FILE
from ovseg_ros.segmentation.openseg.text import TABLE_FILE, VOCABULARY_FILE, WEIGHTS_FOLDER, TextTable
from ovseg_ros.segmentation.openseg.weights_file import ModelCard, load_weights, read_card, save_weights
from ovseg_ros.simulation import CLASS_NAMES, CLASSES, RoomSequence
from ovseg_ros.types import LanguageSpace, segment
from ovseg_ros.vocabulary import Vocabulary

TINY = OpenSegConfig(
    widths=(8, 8, 12, 16, 16), depths=(1, 1, 1, 1), pyramid=16, queries=6, attention_layers=2, position_grid=(3, 4)
)
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def table() -> TextTable:
    return TextTable.packaged()


@pytest.fixture(scope="module")
def tiny() -> OpenSeg:
    torch.manual_seed(0)
    model = OpenSeg(TINY)
    for _ in range(3):
        model(torch.rand(4, 3, 32, 48))
    return model.eval()


@pytest.fixture(scope="module")
def segmenter() -> OpenSegSegmenter:
    return OpenSegSegmenter(device="cpu")


def card(**changes: object) -> ModelCard:
    content = {
        "config": TINY,
        "vocabulary": Vocabulary((("sofa", "settee"), ("chair",))),
        "logit_scale": 12.5,
        "text_table": "0123",
        "quality": {"names_miou": 0.5},
        "training": {"seed": 3},
    }
    return ModelCard(**{**content, **changes})  # type: ignore[arg-type]


class TestText:
    def test_words_never_trained_are_nearest_to_their_class(self, table: TextTable) -> None:
        known = torch.stack([table.encode((entry.name, *entry.synonyms)).mean(dim=0) for entry in CLASSES])
        asked = [(index, word) for index, entry in enumerate(CLASSES) for word in entry.held_out]
        vectors = table.encode([word for _, word in asked])
        right = (vectors @ known.T).argmax(dim=1) == torch.tensor([index for index, _ in asked])
        assert right.float().mean() >= 0.8

    @pytest.mark.parametrize(
        ("word", "near", "far"),
        [
            ("couch", "sofa", "toilet"),
            ("fridge", "refrigerator", "sofa"),
            ("tv", "television", "bathtub"),
            ("rubbish bin", "trash can", "lamp"),
            ("writing desk", "desk", "bathtub"),
            ("duvet", "blanket", "oven"),
        ],
    )
    def test_synonyms_are_near(self, table: TextTable, word: str, near: str, far: str) -> None:
        vector, close, distant = table.encode([word, near, far])
        assert vector @ close > 0.4 > vector @ distant

    def test_vectors_are_unit_and_do_not_depend_on_company(self, table: TextTable) -> None:
        texts = ["sofa", "a red chair next to the window", "Fire Extinguisher", "zxqwy"]
        together = table.encode(texts)
        assert together.shape == (4, 256) and together.dtype == torch.float32
        assert torch.allclose(together.norm(dim=1), torch.ones(4), atol=1e-5)
        assert torch.equal(together, torch.cat([table.encode([text]) for text in texts]))

    def test_articles_case_and_punctuation_hardly_count(self, table: TextTable) -> None:
        plain, decorated = table.encode(["fire extinguisher", "The  FIRE extinguisher?"])
        assert plain @ decorated > 0.98

    @pytest.mark.parametrize("text", ["", "   ", "?!", "消火器"])
    def test_a_text_without_a_known_word_is_named(self, table: TextTable, text: str) -> None:
        with pytest.raises(OvsegError, match="no word of") as caught:
            table.encode(["sofa", text])
        assert repr(text) in str(caught.value)

    def test_no_texts_give_no_vectors(self, table: TextTable) -> None:
        assert table.encode([]).shape == (0, 256)

    def test_files_that_do_not_belong_together_are_refused(self, tmp_path: Path) -> None:
        tokenizer = BertWordPieceTokenizer(str(VOCABULARY_FILE), lowercase=True)
        with pytest.raises(OvsegError, match="not of one version"):
            TextTable(torch.zeros(5, 4, dtype=torch.int8), torch.zeros(5), tokenizer)
        with pytest.raises(OvsegError, match="missing"):
            TextTable.load(tmp_path / "nothing", VOCABULARY_FILE)


class TestModel:
    @torch.no_grad()
    def test_cross_attention_is_what_it_says(self) -> None:
        torch.manual_seed(1)
        heads, width = 2, 8
        block = CrossAttention(width, heads).double()
        queries, memory = torch.randn(2, 3, width).double(), torch.randn(2, 5, width).double()

        def normed(x: torch.Tensor, norm: torch.nn.LayerNorm) -> torch.Tensor:
            centred = x - x.mean()
            return centred / (centred.square().mean() + norm.eps).sqrt() * norm.weight + norm.bias

        expected = torch.empty_like(queries)
        for b in range(2):
            read = [block.to_key_value(normed(cell, block.memory_norm)) for cell in memory[b]]
            for n in range(3):
                query = block.to_query(normed(queries[b, n], block.query_norm))
                parts = []
                for h in range(heads):
                    part = slice(h * 4, h * 4 + 4)
                    keys = [row[:width][part] for row in read]
                    values = [row[width:][part] for row in read]
                    weights = [math.exp(float(query[part] @ key) / 2.0) for key in keys]
                    parts.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
                seen = queries[b, n] + block.out(torch.cat(parts))
                expected[b, n] = seen + block.mlp(normed(seen, block.mlp_norm))
        assert torch.allclose(block(queries, memory), expected, atol=1e-12)

    def test_regions_are_means_inside_masks(self) -> None:
        torch.manual_seed(2)
        masks, features = torch.rand(2, 3, 7).double(), torch.randn(2, 7, 4).double()
        regions = pool_regions(masks, features)
        spread = spread_regions(masks, regions)
        for b in range(2):
            for n in range(3):
                total = sum(masks[b, n, p] * features[b, p] for p in range(7))
                assert torch.allclose(regions[b, n], total / (masks[b, n].sum() + MASK_EPSILON))
            for p in range(7):
                total = sum(masks[b, n, p] * regions[b, n] for n in range(3))
                assert torch.allclose(spread[b, p], total / (masks[b, :, p].sum() + MASK_EPSILON))

    @pytest.mark.parametrize("size", [(16, 16), (33, 50), (64, 48)])
    def test_shapes_at_any_size(self, tiny: OpenSeg, size: tuple[int, int]) -> None:
        rows, columns = (math.ceil(side / 4) for side in size)
        output = tiny(torch.rand(2, 3, *size))
        assert output.mask_logits.shape == (2, TINY.queries, rows, columns)
        assert output.regions.shape == (2, TINY.queries, TINY.text_width)
        features = tiny.dense_features(output)
        assert features.shape == (2, TINY.text_width, rows, columns)
        assert torch.allclose(features.norm(dim=1), torch.ones(2, rows, columns), atol=1e-4)

    def test_region_share_blends_regions_and_cells(self, tiny: OpenSeg) -> None:
        output = tiny(torch.rand(1, 3, 32, 32))
        cells = tiny.embed(output.cells).transpose(1, 2).reshape(1, -1, 8, 8)
        assert torch.allclose(tiny.dense_features(output, 0.0), cells, atol=1e-6)
        masks = output.mask_logits.flatten(2).sigmoid()
        spread = spread_regions(masks, output.regions).transpose(1, 2).reshape(1, -1, 8, 8)
        cosine = torch.nn.functional.cosine_similarity(tiny.dense_features(output, 1.0), spread, dim=1)
        assert cosine.min() > 0.9999

    def test_folding_changes_nothing(self) -> None:
        torch.manual_seed(3)
        model, images = OpenSeg(TINY), torch.rand(2, 3, 32, 48)
        for _ in range(3):
            model(images)
        before = model.eval()(images)
        after = model.fold_norms()(images)
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
        assert torch.allclose(before.mask_logits, after.mask_logits, atol=1e-4)
        assert torch.allclose(before.regions, after.regions, atol=1e-4)

    def test_logit_scale_is_bounded(self) -> None:
        model = OpenSeg(TINY)
        model.log_scale.data.fill_(50.0)
        assert model.logit_scale.item() == 60.0


class TestWeightsFile:
    def test_what_is_saved_is_loaded(self, tiny: OpenSeg, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "model.safetensors"
        save_weights(tiny, card(), path)
        model, loaded = load_weights(path)
        assert loaded == card() and read_card(path) == loaded and not model.training
        for name, value in tiny.state_dict().items():
            assert torch.allclose(model.state_dict()[name].float(), value.float(), rtol=1e-3, atol=1e-6), name
        assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name]

    def test_damaged_files_are_refused(self, tiny: OpenSeg, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        save_weights(tiny, card(), path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(OvsegError, match="whole OpenSeg weights"):
            load_weights(path)
        path.write_bytes(b"not weights")
        with pytest.raises(OvsegError, match="whole OpenSeg weights"):
            load_weights(path)
        save_file({"a": torch.zeros(1)}, path)
        with pytest.raises(OvsegError, match="whole OpenSeg weights"):
            read_card(path)
        with pytest.raises(OvsegError, match="missing"):
            read_card(tmp_path / "nothing")

    def test_weights_of_another_size_are_refused(self, tiny: OpenSeg, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        save_weights(tiny, card(config=OpenSegConfig()), path)
        with pytest.raises(OvsegError, match="whole OpenSeg weights"):
            load_weights(path)

    def test_a_newer_format_is_refused(self, tiny: OpenSeg, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        save_weights(tiny, card(), path)
        content = path.read_bytes().replace(rb"\"format_version\": 1", rb"\"format_version\": 9")
        path.write_bytes(content)
        with pytest.raises(OvsegError, match="format 9"):
            read_card(path)

    def test_weights_for_another_text_table_are_refused(self, tiny: OpenSeg, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        save_weights(tiny, card(text_table="of another version"), path)
        with pytest.raises(OvsegError, match="another text table"):
            OpenSegSegmenter(path, device="cpu")


class TestBackend:
    def test_all_shipped_files_are_small(self) -> None:
        files = [path for path in WEIGHTS_FOLDER.iterdir() if path.is_file()]
        assert {TABLE_FILE, VOCABULARY_FILE, WEIGHTS_FILE} <= set(files)
        assert sum(path.stat().st_size for path in files) < 20 * MEGABYTE

    @pytest.mark.parametrize(
        ("height", "width", "grid"),
        [(240, 320, (48, 64)), (480, 640, (48, 64)), (90, 60, (64, 43)), (16, 16, (64, 64)), (16, 900, (4, 64))],
    )
    def test_features_span_any_image(
        self, segmenter: OpenSegSegmenter, height: int, width: int, grid: tuple[int, int]
    ) -> None:
        rgb = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        segmentation = segmenter(rgb)
        assert segmentation.features.shape == (256, *grid) and segmentation.features.dtype == torch.float32
        assert torch.allclose(segmentation.features.norm(dim=0), torch.ones(grid), atol=1e-3)
        assert segmentation.space == segmenter.space.id
        assert torch.equal(segmentation.features, segmenter(rgb).features)

    @pytest.mark.parametrize(
        ("image", "reason"),
        [
            (torch.zeros(15, 40, 3, dtype=torch.uint8), "at least 16 pixels"),
            (torch.zeros(40, 40, 3), "uint8"),
            (torch.zeros(40, 40, 4, dtype=torch.uint8), r"\(H, W, 3\)"),
        ],
    )
    def test_other_images_are_refused(self, segmenter: OpenSegSegmenter, image: torch.Tensor, reason: str) -> None:
        with pytest.raises(OvsegError, match=reason):
            segmenter(image)

    def test_it_labels_a_room_it_has_not_seen(self, segmenter: OpenSegSegmenter) -> None:
        sequence = RoomSequence(seed=11, frames=5)
        words = segmenter.space.encode_text(CLASS_NAMES)
        row, column = (((torch.arange(n) + 0.5) * 5).long() for n in (48, 64))
        hits = {"with depth": 0, "without": 0}
        for index in range(len(sequence)):
            frame = sequence[index]
            assert frame.semantics is not None
            truth = frame.semantics[row[:, None], column]
            for name, seen in (("with depth", segment(segmenter, frame)), ("without", segmenter(frame.rgb))):
                answers = (words @ seen.features.flatten(1)).argmax(dim=0).view(48, 64) + 1
                hits[name] += int((answers == truth).sum())
        shares = {name: count / (len(sequence) * truth.numel()) for name, count in hits.items()}
        assert shares["without"] > 0.7 and shares["with depth"] > shares["without"], shares

    def test_vocabulary_is_the_rooms_without_the_held_out_words(self, segmenter: OpenSegSegmenter) -> None:
        assert segmenter.vocabulary.names == CLASS_NAMES
        known = {word for group in segmenter.vocabulary.synonyms for word in group}
        assert not known & {word for entry in CLASSES for word in entry.held_out}

    def test_it_says_once_what_it_knows(self, caplog: pytest.LogCaptureFixture) -> None:
        openseg_backend._say_what_it_knows.cache_clear()
        with caplog.at_level(logging.WARNING):
            OpenSegSegmenter(device="cpu")
            OpenSegSegmenter(device="cpu")
        assert [record.message for record in caplog.records if "generated rooms only" in record.message] != []
        assert len(caplog.records) == 1

    def test_label_image_names_what_it_finds(self, segmenter: OpenSegSegmenter) -> None:
        frame = RoomSequence(seed=11, frames=5, noise=False)[0]
        rgb = frame.rgb.numpy()
        labels, shares = label_image(segmenter, rgb, ["wall", "floor", "zebra"])
        assert labels.shape == rgb.shape[:2] and labels.dtype == np.int32
        for index, name in enumerate(("wall", "floor", "zebra")):
            assert shares[name] == pytest.approx((labels == index + 1).mean(), abs=1e-6)
        assert shares["wall"] + shares["floor"] > 0.15 and shares["zebra"] < 0.05
        with pytest.raises(OvsegError, match="nothing to look for"):
            label_image(segmenter, rgb, [])


class TestSpace:
    def test_it_is_found_again_by_its_id(self, segmenter: OpenSegSegmenter) -> None:
        space = language_space(segmenter.space.id)
        assert isinstance(space, LanguageSpace)
        assert space.id.startswith("openseg-") and space is language_space(space.id)
        assert 5.0 < space.logit_scale <= 60.0

    def test_aligned_features_are_unit_or_zero(self, segmenter: OpenSegSegmenter) -> None:
        features = torch.randn(5, 256, generator=torch.Generator().manual_seed(0)).half()
        features[2] = 0
        norms = segmenter.space.align(features).norm(dim=1)
        assert torch.allclose(norms, torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0]), atol=1e-5)

    @pytest.mark.parametrize(
        ("text", "name", "same"),
        [
            ("footstool", "stool", True),
            ("coffee table", "table", True),
            ("vegetable", "table", False),
            ("clamp", "lamp", False),
        ],
    )
    def test_the_last_part_of_a_compound_says_what_it_is(
        self, segmenter: OpenSegSegmenter, text: str, name: str, same: bool
    ) -> None:
        assert segmenter.space.means_the_same(text, name) is same

    def test_other_spaces_are_refused(self) -> None:
        with pytest.raises(OvsegError, match="openseg-rooms-v1/000000000000"):
            language_space("openseg-rooms-v1/000000000000")
        with pytest.raises(OvsegError, match="no backend here"):
            language_space("clip/b32")


class TestRegistry:
    def test_backends_are_described(self) -> None:
        (entry,) = [info for info in backends() if info.name == "openseg"]
        assert entry.installed and entry.weights == str(WEIGHTS_FILE)
        assert "Apache-2.0" in entry.licence and "rooms" in entry.summary

    def test_backends_load_by_name(self) -> None:
        assert load_segmenter("openseg", "cpu").space.id.startswith("openseg-")
        with pytest.raises(OvsegError, match=r"no backend 'nothing'.*openseg"):
            load_segmenter("nothing")

    @pytest.mark.parametrize("device", ["tpu", "cuda:x", "cuda:99", ""])
    def test_unknown_devices_are_refused(self, device: str) -> None:
        with pytest.raises(OvsegError):
            resolve_device(device)

    def test_auto_is_a_device(self) -> None:
        assert resolve_device("auto") in ("cpu", "cuda")
        assert resolve_device("cpu") == "cpu"
