"""RADSeg's image side: parity with the unmodified reference, and what the reference can't do.

tests/data/radseg: a small random checkpoint in RADIO's container, and what RADSeg (05ec86f) on RADIO (c0f3701) makes of
images with it. The case 224x224:336:224 and the checkpoint are the shared parity data's; the others were made with
`PeerEncoder` of benchmarks/radseg_peer.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as functional
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import radseg
from radseg_weights import TINY, Sizes, write_random_checkpoint

from ovseg_ros.cli import main
from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation import backends, label_image, language_space, load_segmenter
from ovseg_ros.segmentation.radseg import backbone, correlation
from ovseg_ros.segmentation.radseg.aggregation import aggregate_globally
from ovseg_ros.segmentation.radseg.backend import RadsegSegmenter
from ovseg_ros.segmentation.radseg.checkpoint import read_checkpoint
from ovseg_ros.segmentation.radseg.config import CONFIG_VARIABLE, RadsegConfig, read_config
from ovseg_ros.segmentation.radseg.correlation import aggregate_similar
from ovseg_ros.segmentation.radseg.encoder import RadsegEncoder
from ovseg_ros.segmentation.radseg.linear import packing_helps
from ovseg_ros.segmentation.radseg.model import SUMMARY, build_backbone, build_head, language_teacher
from ovseg_ros.segmentation.radseg.windows import Windows
from ovseg_ros.types import LanguageSpace

DATA = Path(__file__).parent / "data" / "radseg"
CHECKPOINT = DATA / "checkpoint.pth.tar"
TOLERANCE = 1e-5
"""Largest difference over largest value."""

few = settings(deadline=None, max_examples=25)


class FewTexts:
    """Unit vectors by the letters of a text, in place of SigLIP2."""

    digest = "letters"

    def __init__(self, width: int = 256) -> None:
        self.width = width

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        seeds = [torch.Generator().manual_seed(sum(map(ord, text))) for text in texts]
        vectors = [torch.randn(self.width, generator=seed) for seed in seeds]
        return functional.normalize(torch.stack(vectors) if vectors else torch.zeros(0, self.width), dim=1)


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(DATA / "reference.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def segmenter() -> RadsegSegmenter:
    return RadsegSegmenter(read_checkpoint(CHECKPOINT), FewTexts(), RadsegConfig(crop=112, stride=64), "cpu")


def make_encoder(crop: int = 0, stride: int = 224, dtype: torch.dtype = torch.float32) -> RadsegEncoder:
    return RadsegEncoder(build_backbone(read_checkpoint(CHECKPOINT)), Windows(crop, stride, 16), dtype)


def error(ours: torch.Tensor, theirs: torch.Tensor | np.ndarray) -> float:
    theirs = torch.as_tensor(theirs)
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def photograph(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """(H, W, 3) uint8 of coloured blocks."""
    coarse = torch.randint(0, 256, (height // 9 + 1, width // 9 + 1, 3), generator=torch.Generator().manual_seed(seed))
    return coarse.repeat_interleave(9, 0).repeat_interleave(9, 1)[:height, :width].to(torch.uint8)


def batch_of(count: int, height: int, width: int) -> torch.Tensor:
    return torch.stack([photograph(height, width, seed).permute(2, 0, 1).float() / 255 for seed in range(count)])


class TestParity:
    def test_features_of_the_shared_case(self, reference: dict[str, np.ndarray]) -> None:
        images = torch.from_numpy(reference["224x224:336:224/image"])
        assert error(make_encoder(336, 224)(images), reference["224x224:336:224/feat_map"]) <= TOLERANCE

    @pytest.mark.parametrize("case", ["96x160:0:224", "120x200:112:64", "150x100:112:64"])
    def test_an_image_through_the_segmenter(self, case: str, reference: dict[str, np.ndarray]) -> None:
        _, crop, stride = (text for text in case.split(":"))
        config = RadsegConfig(crop=int(crop), stride=int(stride))
        segmenter = RadsegSegmenter(read_checkpoint(CHECKPOINT), FewTexts(), config, "cpu")
        features = segmenter(torch.from_numpy(reference[f"{case}/rgb"])).features
        assert error(features, reference[f"{case}/feat_map"][0]) <= TOLERANCE
        theirs = functional.normalize(torch.from_numpy(reference[f"{case}/lang_feat_map"][0]).flatten(1), dim=0)
        assert error(segmenter.space.align(features.flatten(1).T).T, theirs) <= TOLERANCE

    def test_without_packed_weights(self, reference: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backbone, "packing_helps", lambda: False)
        images = torch.from_numpy(reference["224x224:336:224/image"])
        assert error(make_encoder(336, 224)(images), reference["224x224:336:224/feat_map"]) <= TOLERANCE

    def test_bfloat16_stays_near(self, reference: dict[str, np.ndarray]) -> None:
        images = torch.from_numpy(reference["224x224:336:224/image"])
        features = make_encoder(336, 224, torch.bfloat16)(images)
        assert features.dtype == torch.float32
        assert 1e-4 < error(features, reference["224x224:336:224/feat_map"]) < 0.05


class TestBatches:
    @pytest.mark.parametrize(("crop", "size"), [(0, (48, 80)), (112, (128, 192)), (112, (100, 90))])
    def test_three_images_are_three_single_ones(self, crop: int, size: tuple[int, int]) -> None:
        encoder = make_encoder(crop, 64)
        images = batch_of(3, *size)
        together, alone = encoder(images), torch.cat([encoder(image[None]) for image in images])
        assert error(together, alone) <= TOLERANCE
        assert error(alone[:1], alone[1:2]) > 0.01

    def test_nothing_wants_gradients(self) -> None:
        assert not make_encoder()(batch_of(1, 32, 32)).requires_grad


class TestBaseSize:
    """Width, heads, head and position table of C-RADIOv3-B; two blocks of its twelve, to be quick."""

    def test_it_loads_and_batches_are_right(self, tmp_path: Path) -> None:
        checkpoint = read_checkpoint(write_random_checkpoint(tmp_path / "base.pth.tar", Sizes(depth=2)))
        segmenter = RadsegSegmenter(checkpoint, FewTexts(1152), RadsegConfig(crop=0), "cpu")
        features = segmenter(photograph(64, 96)).features
        assert features.shape == (768, 4, 6) and torch.isfinite(features).all()
        aligned = segmenter.space.align(features.flatten(1).T)
        assert aligned.shape == (24, 1152) and torch.allclose(aligned.norm(dim=1), torch.ones(24), atol=1e-5)
        encoder = RadsegEncoder(build_backbone(checkpoint), Windows(64, 32, 16), torch.float32)
        images = batch_of(3, 96, 64)
        assert error(encoder(images), torch.cat([encoder(image[None]) for image in images])) <= TOLERANCE


class TestWindows:
    @few
    @given(st.integers(1, 12), st.data())
    def test_they_cover_the_resized_image(self, crop_patches: int, data: st.DataObject) -> None:
        stride = 16 * data.draw(st.integers(1, crop_patches))
        height, width = (data.draw(st.integers(16, 300)) for _ in range(2))
        windows = Windows(16 * crop_patches, stride, 16)
        images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
        resized = windows.resize(images)
        rows, columns = resized.shape[-2:]
        assert rows % 16 == 0 and columns % 16 == 0
        if height % stride == 0 and width % stride == 0:
            assert resized is images
        # Features that depend on a patch alone are the same in every window, so their mean is what they are.
        means = functional.avg_pool2d(windows.cut(resized), 16).permute(0, 2, 3, 1)
        merged = windows.merge(means, rows, columns)
        torch.testing.assert_close(merged, functional.avg_pool2d(resized, 16))

    @pytest.mark.parametrize(
        ("image", "stride", "resized"),
        [
            ((480, 640), 224, (672, 672)),
            ((480, 640), 112, (560, 672)),
            ((640, 1136), 112, (784, 1232)),
            ((224, 448), 224, (224, 448)),
            ((512, 512), 224, (672, 672)),
        ],
    )
    def test_sizes_are_the_references(self, image: tuple[int, int], stride: int, resized: tuple[int, int]) -> None:
        assert Windows(336, stride, 16).working_size(*image) == resized

    def test_without_windows_an_image_gets_whole_patches(self) -> None:
        assert Windows(0, 224, 16).working_size(100, 17) == (96, 16)

    @pytest.mark.parametrize(("crop", "stride"), [(330, 224), (336, 220), (112, 224), (336, 0), (336, -16)])
    def test_windows_that_leave_gaps_are_refused(self, crop: int, stride: int) -> None:
        with pytest.raises(OvsegError, match=f"{crop} pixels every {stride}"):
            Windows(crop, stride, 16)


class TestAggregation:
    @few
    @given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 400), st.integers(0, 99))
    def test_any_chunking_gives_the_softmax(self, batch: int, count: int, chunk: int, seed: int) -> None:
        noise = torch.Generator().manual_seed(seed)
        directions = functional.normalize(torch.randn(batch, count, 5, generator=noise), dim=-1)
        values, offsets = torch.randn(batch, count, 7, generator=noise), torch.rand(batch, generator=noise) - 0.5
        scores = directions @ directions.transpose(1, 2) - offsets.view(-1, 1, 1)
        plain = torch.where(scores >= 0, 10 * scores, -torch.inf).softmax(dim=-1) @ values
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(correlation, "CHUNK", chunk)
            torch.testing.assert_close(aggregate_similar(directions, values, 10.0, offsets), plain)

    def test_vectors_without_direction_take_part_as_in_the_reference(self) -> None:
        directions = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]]])
        values = torch.tensor([[[3.0], [6.0], [9.0]]])
        assert aggregate_similar(directions, values, 10.0)[0, 1] == pytest.approx(6.0)

    def test_each_image_has_a_mean_of_its_own(self) -> None:
        features = torch.randn(3, 8, 5, 6, generator=torch.Generator().manual_seed(1)) + torch.tensor(
            [0.0, 1.0, 5.0]
        ).view(3, 1, 1, 1)
        cells = features.flatten(2).transpose(1, 2)
        cosines = functional.normalize(cells, dim=-1) @ functional.normalize(cells, dim=-1).transpose(1, 2)
        scores = 10 * (cosines - cosines.mean(dim=(1, 2), keepdim=True))
        plain = scores.masked_fill(scores < 0, -torch.inf).softmax(dim=-1) @ cells
        torch.testing.assert_close(aggregate_globally(features), plain.transpose(1, 2).view_as(features))

    @few
    @given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 999))
    def test_cells_that_are_all_alike_stay_what_they_are(self, rows: int, columns: int, seed: int) -> None:
        features = torch.randn(1, 24, 1, 1, generator=torch.Generator().manual_seed(seed)).expand(1, 24, rows, columns)
        torch.testing.assert_close(aggregate_globally(features), features)
        assert not aggregate_globally(0 * features).any()


class TestSegmenter:
    def test_labels_an_image(self, segmenter: RadsegSegmenter) -> None:
        labels, shares = label_image(segmenter, photograph(70, 90).numpy(), ["chair"])
        assert labels.shape == (70, 90) and shares.keys() == {"chair"}
        labels, shares = label_image(segmenter, photograph(70, 90).numpy(), [f"thing {i}" for i in range(500)])
        assert labels.max() <= 500 and len(shares) == 500
        with pytest.raises(OvsegError, match="nothing to look for"):
            label_image(segmenter, photograph(70, 90).numpy(), [])

    @pytest.mark.parametrize("shape", [(15, 90, 3), (90, 1, 3)])
    def test_an_image_smaller_than_a_patch_is_refused(
        self, shape: tuple[int, int, int], segmenter: RadsegSegmenter
    ) -> None:
        with pytest.raises(OvsegError, match=f"at least 16 pixels on each side, got {shape[1]}x{shape[0]}"):
            segmenter(torch.zeros(shape, dtype=torch.uint8))

    def test_a_patch_is_enough(self, segmenter: RadsegSegmenter) -> None:
        assert torch.isfinite(segmenter(photograph(16, 16)).features).all()

    @pytest.mark.parametrize("image", [torch.zeros(32, 32, 3), torch.zeros(3, 32, 32, dtype=torch.uint8)])
    def test_what_is_no_image_is_refused(self, image: torch.Tensor, segmenter: RadsegSegmenter) -> None:
        with pytest.raises(OvsegError, match=r"\(H, W, 3\) uint8"):
            segmenter(image)

    def test_its_vocabulary_is_that_of_the_settings(self, segmenter: RadsegSegmenter) -> None:
        assert segmenter.vocabulary.names == RadsegConfig().classes


class TestSpace:
    def test_aligned_features_are_unit_or_zero(self, segmenter: RadsegSegmenter) -> None:
        features = torch.randn(5, 96, generator=torch.Generator().manual_seed(0)).half()
        features[2] = 0
        aligned = segmenter.space.align(features)
        assert aligned.dtype == torch.float32
        assert torch.allclose(aligned.norm(dim=1), torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0]), atol=1e-5)
        assert segmenter.space.align(features[:0]).shape == (0, 256)

    def test_it_is_a_space_with_the_published_scale(self, segmenter: RadsegSegmenter) -> None:
        assert isinstance(segmenter.space, LanguageSpace)
        assert segmenter.space.id.startswith("radseg/checkpoint-")
        assert segmenter.space.logit_scale == 100.0
        assert segmenter(photograph(32, 32)).space == segmenter.space.id

    def test_texts_of_another_model_are_refused(self) -> None:
        segmenter = RadsegSegmenter(read_checkpoint(CHECKPOINT), FewTexts(7), RadsegConfig(), "cpu")
        with pytest.raises(OvsegError, match=r"gives 7 numbers and radseg/checkpoint-.* has 256"):
            segmenter.space.encode_text(["chair"])

    def test_the_id_follows_the_file(self, tmp_path: Path) -> None:
        def id_of(name: str, **changes: int) -> str:
            path = write_random_checkpoint(tmp_path / name, Sizes(**(vars(TINY) | changes)))
            return RadsegSegmenter(read_checkpoint(path), FewTexts(), RadsegConfig(), "cpu").space.id

        first, second = id_of("c-radio_v3-b_half.pth.tar"), id_of("c-radio_v3-b_half.pth.tar", depth=2)
        assert first != second
        assert all(name.startswith("radseg/c-radio_v3-b-") for name in (first, second))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings that name the small checkpoint, and texts without SigLIP2."""
    config = tmp_path / "radseg.yaml"
    config.write_text(yaml.safe_dump({"weights": str(CHECKPOINT), "crop": 112, "stride": 64}), encoding="utf-8")
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    module = ModuleType("text")
    module.SiglipText = SimpleNamespace(load=lambda model, templates, device: FewTexts())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ovseg_ros.segmentation.radseg.text", module)
    return config


class TestBackend:
    @pytest.mark.usefixtures("installed")
    def test_it_loads_by_name_and_its_space_by_id(self) -> None:
        segmenter = load_segmenter("radseg", "cpu")
        assert segmenter(photograph(40, 60)).features.shape == (96, 7, 7)
        space = language_space(segmenter.space.id)
        assert space is language_space(segmenter.space.id)
        features = torch.randn(3, 96)
        assert torch.equal(space.align(features), segmenter.space.align(features))
        with pytest.raises(
            OvsegError, match=r"of 'radseg/other-0', the weights .*checkpoint.pth.tar give 'radseg/chec"
        ):
            language_space("radseg/other-0")

    @pytest.mark.usefixtures("installed")
    def test_the_command_line_segments_with_it(self, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "image.png"), photograph(60, 80).numpy())
        out = tmp_path / "labels.png"
        arguments = ["segment", str(tmp_path / "image.png"), "chair", "-o", str(out)]
        assert main([*arguments, "--backend", "radseg", "--device", "cpu"]) == 0
        assert cv2.imread(str(out)).shape[1] >= 80

    def test_backends_say_where_weights_are(self, installed: Path) -> None:
        (entry,) = [info for info in backends() if info.name == "radseg"]
        assert entry.installed and entry.weights == str(CHECKPOINT)
        assert "NVIDIA Open Model License" in entry.licence
        installed.write_text("weights: /nowhere/c-radio_v3-b_half.pth.tar", encoding="utf-8")
        (entry,) = [info for info in backends() if info.name == "radseg"]
        command = "hf download nvidia/C-RADIOv3-B c-radio_v3-b_half.pth.tar --local-dir /nowhere"
        assert not entry.installed and f"`{command}`" in entry.weights
        with pytest.raises(OvsegError, match=command):
            load_segmenter("radseg", "cpu")
        installed.write_text("wheels: 4", encoding="utf-8")
        (entry,) = [info for info in backends() if info.name == "radseg"]
        assert not entry.installed and "unknown entry 'wheels'" in entry.weights


class TestConfig:
    def test_the_file_that_is_shipped_says_the_defaults(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
        assert read_config() == RadsegConfig()
        path = root / "config/backends/radseg.yaml"
        assert list(yaml.safe_load(path.read_text(encoding="utf-8"))) == [field.name for field in fields(RadsegConfig)]
        monkeypatch.setenv(CONFIG_VARIABLE, str(path))
        assert read_config() == RadsegConfig()

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("wheels: 4", "unknown entry 'wheels'.*weights"),
            ("crop: true", "crop in .* is True and should be int"),
            ("crop: big", "crop in .* is 'big' and should be int"),
            ("compile: 1", "compile in .* is 1 and should be bool"),
            ("classes: chair", "classes in .* should be a list of words"),
            ("classes: []", "should be a list of words"),
            ("dtype: float16", "'float16': choose one of auto, float32, bfloat16"),
            ("- crop", "should hold entries"),
            ("crop: [", "can't be read"),
        ],
    )
    def test_mistakes_are_named(
        self, content: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "radseg.yaml").write_text(content, encoding="utf-8")
        monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "radseg.yaml"))
        with pytest.raises(OvsegError, match=words):
            read_config()

    def test_a_missing_file_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(CONFIG_VARIABLE, "/nowhere/radseg.yaml")
        with pytest.raises(OvsegError, match=r"OVSEG_RADSEG_CONFIG names /nowhere/radseg.yaml"):
            read_config()


def test_weights_are_packed_where_they_can_be() -> None:
    network = build_backbone(read_checkpoint(CHECKPOINT))
    network.prepare(torch.float32)
    assert next(iter(network.blocks)).fc1.weight.is_mkldnn == packing_helps()


class TestBenchmark:
    """On sizes at which the numbers mean nothing."""

    def test_ours_alone_has_nothing_to_compare_with(self, capsys: pytest.CaptureFixture[str]) -> None:
        setting, _ = radseg.parse(["--size", "64", "--crop", "48", "--stride", "32", "--rounds", "1"])
        result = radseg.measure(replace(setting, sizes=TINY))
        assert result["ours_ms"] > 0 and result["ours_bytes"] >= 0
        assert [result[key] for key in ("peer_ms", "ratio", "max_error", "labels_equal")] == [None] * 4
        assert "windows of 48 every 32" in radseg.table(result) and "peer" not in radseg.table(result)

    def test_a_peer_is_compared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class OursTwice:
            """Features that are ours but for one cell."""

            def __init__(self, radseg: Path, radio: Path, path: Path, crop: int, stride: int) -> None:
                checkpoint = read_checkpoint(path)
                self._encoder = RadsegEncoder(build_backbone(checkpoint), Windows(crop, stride, 16), torch.float32)
                self._head = build_head(checkpoint, language_teacher(checkpoint), SUMMARY)

            @torch.inference_mode()
            def features(self, images: torch.Tensor) -> torch.Tensor:
                features = self._encoder(images).clone()
                features[..., 0, 0] = -features[..., 0, 0]
                return features

            def aligned(self, features: torch.Tensor) -> torch.Tensor:
                aligned = self._head.align(features[0].flatten(1).T)
                return aligned.T.reshape(1, -1, *features.shape[-2:])

        monkeypatch.setattr(radseg, "PeerEncoder", OursTwice)
        setting, _ = radseg.parse(["--size", "96", "--crop", "0", "--rounds", "2"])
        here = Path(__file__).parent
        result = radseg.measure(replace(setting, sizes=TINY, radseg=here, radio=here))
        assert result["ratio"] == result["peer_ms"] / result["ours_ms"]
        assert result["max_error"] > 0.1 and result["labels_equal"] == pytest.approx(35 / 36)
        assert "peer over ours" in radseg.table(result)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--radseg", "/nowhere"], "go together"),
            (["--radseg", "/nowhere", "--radio", "/nowhere"], "/nowhere has no radseg/radseg.py: clone"),
            (["--rounds", "0"], "--rounds must be 1 or more, got 0"),
            (["--size", "100"], "--size must be a multiple of 16, got 100"),
            (["--stride", "1000"], "windows of 336 pixels every 1000"),
        ],
    )
    def test_bad_arguments_are_named(
        self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            radseg.parse(arguments)
        assert message in capsys.readouterr().err
