"""The released OpenSeg: what is made of a graph's answers, its texts, and a SavedModel of the published signature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation import backends, language_space, load_segmenter
from ovseg_ros.segmentation.openseg_tf.backend import OpenSegTfSegmenter, OpenSegTfSpace
from ovseg_ros.segmentation.openseg_tf.config import CONFIG_VARIABLE
from ovseg_ros.segmentation.openseg_tf.saved_model import INFO, SIGNATURE, WIDTH
from ovseg_ros.segmentation.openseg_tf.text import SENTENCE, ClipText
from ovseg_ros.vocabulary import Vocabulary

SIDE = 640
WORDS = ("chair", "sofa", "wall")


class Colours:
    """A graph whose features are a pixel's colour, scaled to 640 pixels and padded; black pixels have none."""

    def __call__(self, picture: bytes) -> tuple[np.ndarray, np.ndarray]:
        rgb = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        scale = SIDE / max(rgb.shape[:2])
        height, width = (int(side * scale) for side in rgb.shape[:2])
        features = np.zeros((SIDE, SIDE, WIDTH), np.float32)
        features[:height, :width, :3] = cv2.resize(
            np.ascontiguousarray(rgb), (width, height), interpolation=cv2.INTER_NEAREST
        )
        return features, np.array([rgb.shape[:2], [SIDE, SIDE], [scale, scale], [0, 0]], np.float32)


class Axes:
    """Every word has an axis."""

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.eye(WIDTH)[[WORDS.index(text) for text in texts]]

    encode_sentences = encode


@pytest.fixture
def segmenter() -> OpenSegTfSegmenter:
    return OpenSegTfSegmenter(Colours(), OpenSegTfSpace("openseg_tf/test", Axes()), Vocabulary.from_names(WORDS), "cpu")


@pytest.mark.parametrize(("height", "width", "grid"), [(480, 640, (120, 160)), (50, 20, (160, 64)), (1, 1, (160, 160))])
def test_features_lie_where_the_picture_has_them(
    segmenter: OpenSegTfSegmenter, height: int, width: int, grid: tuple[int, int]
) -> None:
    rgb = torch.zeros(height, width, 3, dtype=torch.uint8)
    rgb[: (height + 1) // 2, :, 0] = 200
    rgb[(height + 1) // 2 :, :, 2] = 90
    found = segmenter(rgb)
    assert found.features.shape == (WIDTH, *grid)
    assert found.space == "openseg_tf/test"
    top, bottom = found.features[:, : grid[0] * 2 // 5].float(), found.features[:, grid[0] * 3 // 5 :].float()
    torch.testing.assert_close(top[0], torch.ones_like(top[0]))
    if height > 1:
        torch.testing.assert_close(bottom[2], torch.ones_like(bottom[2]))


def test_pixels_without_a_region_add_nothing_to_a_mean(segmenter: OpenSegTfSegmenter) -> None:
    rgb = torch.zeros(64, 64, 3, dtype=torch.uint8)
    rgb[:, 32:] = torch.tensor([0, 255, 0], dtype=torch.uint8)
    features = segmenter(rgb).features.float()
    assert features[:, :, :75].abs().max() == 0.0
    fused = segmenter.space.align((features[:, 80, 10] + features[:, 80, 150])[None] / 2)
    torch.testing.assert_close(fused[0, 1], torch.tensor(1.0))


@pytest.mark.parametrize(
    "rgb",
    [
        torch.zeros(4, 4),
        torch.zeros(4, 4, 3),
        torch.zeros(0, 4, 3, dtype=torch.uint8),
        torch.zeros(4, 4, 4, dtype=torch.uint8),
    ],
)
def test_what_is_no_colour_image_is_refused(segmenter: OpenSegTfSegmenter, rgb: torch.Tensor) -> None:
    with pytest.raises(OvsegError, match=r"\(H, W, 3\) uint8, got"):
        segmenter(rgb)


def test_a_picture_that_lies_outside_its_features_is_a_wrong_model() -> None:
    def graph(_: bytes) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((8, 8, WIDTH), np.float32), np.array([[9, 9], [8, 8], [1, 1], [0, 0]], np.float32)

    segmenter = OpenSegTfSegmenter(graph, OpenSegTfSpace("openseg_tf/x", Axes()), Vocabulary.from_names(WORDS), "cpu")
    with pytest.raises(OvsegError, match=r"9x9 doesn't lie in its features \(8, 8, 768\)"):
        segmenter(torch.zeros(4, 4, 3, dtype=torch.uint8))


def clip(folder: Path, width: int = WIDTH, *, safe: bool = True) -> Path:
    """A tiny CLIP with random weights; every letter is a word-piece."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["<|startoftext|>", *letters, *(f"{letter}</w>" for letter in letters), "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(pieces), hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=40, projection_dim=width, bos_token_id=0, eos_token_id=len(pieces) - 1,
    )  # fmt: skip
    model = CLIPTextModelWithProjection(config)
    model.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize("safe", [True, False])
def test_texts_are_those_of_clip_in_the_sentence_of_openscene(tmp_path: Path, safe: bool) -> None:
    text = ClipText.load(str(clip(tmp_path / "clip", safe=safe)), "cpu")
    vectors = text.encode(["sofa", "wall", "sofa"])
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "clip")
    tower = CLIPTextModelWithProjection.from_pretrained(tmp_path / "clip")
    for vector, word in zip(vectors, ("sofa", "wall", "sofa"), strict=True):
        with torch.inference_mode():
            expected = tower(**tokenizer(SENTENCE.format(word), return_tensors="pt")).text_embeds[0]
        torch.testing.assert_close(vector, expected / expected.norm(), atol=1e-5, rtol=0)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    assert not torch.allclose(vectors[:1], text.encode_sentences(["sofa"]))
    assert text.encode([]).shape == (0, WIDTH)
    with pytest.raises(OvsegError, match="word-pieces, the limit is 40"):
        text.encode(["x" * 100])


def test_a_text_model_of_another_width_is_named(tmp_path: Path) -> None:
    space = OpenSegTfSpace("openseg_tf/x", ClipText.load(str(clip(tmp_path / "clip", width=32)), "cpu"))
    with pytest.raises(OvsegError, match="gives 32 numbers and OpenSeg has 768"):
        space.encode_text(["sofa"])


def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **entries: Any) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("".join(f"{name}: {value}\n" for name, value in entries.items()))
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))


def test_without_the_model_everything_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(tmp_path, monkeypatch, saved_model=tmp_path / "nothing")
    (entry,) = (info for info in backends() if info.name == "openseg_tf")
    assert not entry.installed
    assert "gsutil" in entry.weights
    for ask in (lambda: load_segmenter("openseg_tf", "cpu"), lambda: language_space("openseg_tf/ppixel_ave_feat-0")):
        with pytest.raises(OvsegError, match=f"{tmp_path / 'nothing'}: fetch it with `gsutil"):
            ask()


def test_a_feature_that_the_graph_has_not_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(tmp_path, monkeypatch, feature="depth")
    with pytest.raises(OvsegError, match="'depth': choose one of ppixel_ave_feat, image_embedding_feat"):
        load_segmenter("openseg_tf", "cpu")


def export(folder: Path, outputs: Sequence[str]) -> None:
    """A SavedModel with the published signature: the average colour of a picture in every pixel."""
    tensorflow = pytest.importorskip(
        "tensorflow", reason="TensorFlow is not installed: pip install 'ovseg_ros[openseg-tf]'"
    )

    class Graph(tensorflow.Module):  # type: ignore[misc,name-defined]
        @tensorflow.function(
            input_signature=[
                tensorflow.TensorSpec([], tensorflow.string, name="inp_image_bytes"),
                tensorflow.TensorSpec([1, None, WIDTH], tensorflow.float32, name="inp_text_emb"),
            ]
        )
        def serve(self, inp_image_bytes: Any, inp_text_emb: Any) -> dict[str, Any]:
            image = tensorflow.io.decode_image(inp_image_bytes, channels=3, expand_animations=False)
            size = tensorflow.cast(tensorflow.shape(image)[:2], tensorflow.float32)
            scale = SIDE / tensorflow.reduce_max(size)
            mean = tensorflow.reduce_mean(tensorflow.cast(image, tensorflow.float32), axis=(0, 1))
            pixel = tensorflow.pad(mean, [[0, WIDTH - 3]]) + 0 * tensorflow.reduce_sum(inp_text_emb)
            dense = tensorflow.broadcast_to(pixel, [1, SIDE, SIDE, WIDTH])
            info = tensorflow.stack([size, [SIDE, SIDE], [scale, scale], [0.0, 0.0]])
            return {name: info if name == INFO else dense for name in outputs}

    graph = Graph()
    tensorflow.saved_model.save(graph, str(folder), signatures={SIGNATURE: graph.serve})


def test_a_saved_model_of_the_published_signature_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tmp_path / "model", ["ppixel_ave_feat", "image_embedding_feat", INFO])
    settings(tmp_path, monkeypatch, saved_model=tmp_path / "model", text_model=clip(tmp_path / "clip"))
    segmenter = load_segmenter("openseg_tf", "cpu")
    rgb = torch.tensor([30, 60, 60], dtype=torch.uint8).expand(48, 64, 3)
    found = segmenter(rgb)
    assert found.features.shape == (WIDTH, 120, 160)
    torch.testing.assert_close(found.features[:3, 7, 9].float(), torch.tensor([1, 2, 2]) / 3, atol=1e-3, rtol=0)
    assert language_space(found.space).encode_text(["sofa"]).shape == (1, WIDTH)
    assert next(info for info in backends() if info.name == "openseg_tf").installed


def test_a_saved_model_of_another_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tmp_path / "model", [INFO])
    settings(tmp_path, monkeypatch, saved_model=tmp_path / "model", text_model=clip(tmp_path / "clip"))
    with pytest.raises(OvsegError, match=r"gives \['image_info'\], but OpenSeg takes inp_image_bytes"):
        load_segmenter("openseg_tf", "cpu")


def test_a_damaged_saved_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed: pip install 'ovseg_ros[openseg-tf]'")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"no model")
    settings(tmp_path, monkeypatch, saved_model=tmp_path / "model", text_model=clip(tmp_path / "clip"))
    with pytest.raises(OvsegError, match="can't be loaded"):
        load_segmenter("openseg_tf", "cpu")
