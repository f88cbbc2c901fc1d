"""SigLIP2's text tower as RADIO calls it: tokens, templates, the cache, and what goes wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from radseg_models import END, LENGTH, PADDING, small_siglip2, small_tokenizer, write_siglip2
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.radseg import text as text_module
from ovseg_ros.segmentation.radseg.templates import IMAGENET_TEMPLATES
from ovseg_ros.segmentation.radseg.text import SiglipText
from ovseg_ros.segmentation.radseg.text_cache import TextCache

WIDTH = 48


@pytest.fixture(scope="module")
def model() -> Any:
    return small_siglip2(WIDTH)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return small_tokenizer()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_siglip2(tmp_path_factory.mktemp("siglip2"), WIDTH)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The model's folder, to be broken."""
    return Path(shutil.copytree(folder, tmp_path / "model"))


@pytest.fixture
def encoder(folder: Path, tmp_path: Path) -> Callable[..., SiglipText]:
    def load(**options: Any) -> SiglipText:
        return SiglipText.load(str(folder), **{"templates": False, "cache": tmp_path / "cache"} | options)

    return load


@pytest.fixture
def without_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the tower was loaded")

    monkeypatch.setattr(text_module, "SiglipTower", refuse)


@torch.no_grad()
def tower(
    model: Any, tokenizer: Tokenizer, prompts: Sequence[str], left: bool = False, mask: bool = False
) -> torch.Tensor:
    """(P, D) what the model says of prompts whose tokens are as SigLIP2 was trained; or otherwise."""
    pieces = [[token.id for token in tokenizer.model.tokenize(prompt.replace(" ", "▁"))] for prompt in prompts]
    padding = [[PADDING] * (LENGTH - 1 - len(row)) for row in pieces]
    rows = [[*pad, *row, END] if left else [*row, END, *pad] for row, pad in zip(pieces, padding, strict=True)]
    ids = torch.tensor(rows)
    given = {"attention_mask": (ids != PADDING).long()} if mask else {}
    return functional.normalize(model.text_model(input_ids=ids, **given).pooler_output, dim=-1)


def test_prompts_are_encoded_as_siglip2_was_trained(
    encoder: Callable[..., SiglipText], model: Any, tokenizer: Tokenizer
) -> None:
    prompts = ["a photo of a cat", "sofa", "the red book on the wooden table"]
    vectors = encoder().encode(prompts)

    assert vectors.shape == (3, WIDTH) and vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, tower(model, tokenizer, prompts), atol=1e-5, rtol=0)


@pytest.mark.parametrize("trap", [{"mask": True}, {"left": True}, {"left": True, "mask": True}])
def test_a_mask_or_padding_on_the_left_would_give_other_vectors(
    encoder: Callable[..., SiglipText], model: Any, tokenizer: Tokenizer, trap: dict[str, bool]
) -> None:
    prompt = ["a photo of a cat"]
    assert float((encoder().encode(prompt) * tower(model, tokenizer, prompt, **trap)).sum()) < 0.99


def test_a_class_is_the_mean_over_the_templates(
    encoder: Callable[..., SiglipText], model: Any, tokenizer: Tokenizer
) -> None:
    assert len(set(IMAGENET_TEMPLATES)) == 80
    names = ["sofa", "floor lamp", "cat", "dog"]
    for name, vector in zip(names, encoder(templates=True).encode(names), strict=True):
        prompts = [template.format(name).replace(".", "").replace("-", "") for template in IMAGENET_TEMPLATES]
        mean = tower(model, tokenizer, prompts).mean(dim=0)
        torch.testing.assert_close(vector, functional.normalize(mean, dim=0), atol=1e-5, rtol=0)


def test_case_punctuation_and_underscores_say_nothing(encoder: Callable[..., SiglipText]) -> None:
    vectors = encoder().encode(["floor lamp", "Floor_Lamp!", "  floor   lamp. ", "lamp floor"])
    assert torch.equal(vectors[0], vectors[1]) and torch.equal(vectors[0], vectors[2])
    assert not torch.allclose(vectors[0], vectors[3], atol=1e-3)


def test_no_texts_give_no_rows(encoder: Callable[..., SiglipText], without_tower: None) -> None:
    assert encoder().encode([]).shape == (0, WIDTH)


def test_the_tower_alone_gives_the_same(model: Any, folder: Path, tmp_path: Path) -> None:
    model.text_model.save_pretrained(tmp_path / "text")
    shutil.copy(folder / "tokenizer.json", tmp_path / "text")
    whole, alone = (SiglipText.load(str(path), cache=tmp_path / "cache") for path in (folder, tmp_path / "text"))
    torch.testing.assert_close(whole.encode(["cat"]), alone.encode(["cat"]), atol=1e-6, rtol=0)


def test_known_texts_need_no_tower(
    encoder: Callable[..., SiglipText], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    vectors = encoder().encode(["cat", "sofa"])
    request.getfixturevalue("without_tower")

    assert torch.equal(encoder().encode(["Sofa", "cat", "sofa"]), vectors[[1, 0, 1]])
    with pytest.raises(AssertionError, match="the tower was loaded"):
        encoder().encode(["cat", "dog"])


def test_embeddings_of_other_settings_or_weights_are_others(
    encoder: Callable[..., SiglipText], copy: Path, tmp_path: Path
) -> None:
    weights = load_file(copy / "model.safetensors")
    weights["text_model.head.bias"] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    encoders = [
        encoder(),
        encoder(templates=True),
        SiglipText.load(str(copy), templates=False, cache=tmp_path / "cache"),
    ]

    assert len({each.digest for each in encoders}) == 3
    assert encoder().digest == encoders[0].digest
    one, two, three = (each.encode(["cat"])[0] for each in encoders)
    assert max(float(one @ two), float(one @ three), float(two @ three)) < 0.9999


def test_damaged_cache_files_are_made_anew(encoder: Callable[..., SiglipText], tmp_path: Path) -> None:
    texts = ["cat", "sofa", "dog"]
    vectors = encoder().encode(texts)
    files = sorted((tmp_path / "cache").rglob("*.safetensors"))
    assert len(files) == 3
    whole = [file.read_bytes() for file in files]
    files[0].write_bytes(whole[0][:-5])
    files[1].write_bytes(b"\x00" * 200)
    save_file({"embedding": torch.full((WIDTH,), torch.nan)}, files[2])

    torch.testing.assert_close(encoder().encode(texts), vectors, atol=1e-6, rtol=0)
    assert all(torch.isfinite(load_file(file)["embedding"]).all() for file in files)


def test_a_cache_that_cannot_be_written_is_done_without(encoder: Callable[..., SiglipText], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert torch.equal(encoder(cache=tmp_path / "file").encode(["cat"]), encoder().encode(["cat"]))


def test_the_cache_lies_where_caches_belong(
    encoder: Callable[..., SiglipText], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    encoder(cache=None).encode(["cat"])
    assert len(list((tmp_path / "xdg" / "ovseg_ros").rglob("*.safetensors"))) == 1


def use_cache(folder: Path) -> int:
    """In a process of its own: write and read the same texts again and again; how many reads saw damage."""
    cache = TextCache(folder, "encoder")
    wrong = 0
    for _ in range(50):
        for text in range(4):
            vector = functional.one_hot(torch.tensor(text), 2000).float()
            cache.write(str(text), vector)
            seen = cache.read(str(text))
            wrong += seen is None or not torch.equal(seen, vector)
    return wrong


def test_processes_share_a_cache(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert sum(pool.map(use_cache, [tmp_path] * 2)) == 0
    assert sorted(path.suffix for path in tmp_path.rglob("*.*")) == [".safetensors"] * 4


@pytest.mark.parametrize("text", ["", "   ", "?!_"])
def test_texts_without_words_are_refused(encoder: Callable[..., SiglipText], without_tower: None, text: str) -> None:
    with pytest.raises(OvsegError, match="no letter or digit: write"):
        encoder().encode(["cat", text])


def test_the_longest_text_fits_and_a_longer_one_is_refused(encoder: Callable[..., SiglipText]) -> None:
    assert encoder().encode([" ".join("0" * 32)]).shape == (1, WIDTH)
    with pytest.raises(OvsegError, match="has 65 tokens, the limit is 64: shorten it"):
        encoder().encode(["cat", " ".join("0" * 32) + "z"])


def test_missing_files_are_named(copy: Path, tmp_path: Path) -> None:
    (copy / "tokenizer.json").unlink()
    (copy / "model.safetensors").unlink()
    with pytest.raises(OvsegError, match=r"no tokenizer.json and no \*.safetensors: .*hf download"):
        SiglipText.load(str(copy), cache=tmp_path)


def test_a_folder_that_does_not_exist_is_not_taken_for_an_id(tmp_path: Path) -> None:
    with pytest.raises(OvsegError, match=r"there is no folder .*/nowhere: give"):
        SiglipText.load(str(tmp_path / "nowhere"))


def test_a_model_that_is_not_here_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OvsegError) as caught:
        SiglipText.load()
    command = "`hf download google/siglip2-so400m-patch16-naflex --include '*.json' --include '*.safetensors'`"
    assert f"fetch it with {command}" in str(caught.value)


def test_a_model_in_the_cache_of_the_hub_is_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Callable[..., SiglipText]
) -> None:
    repository = tmp_path / "hub" / "models--some--siglip2"
    shutil.copytree(folder, repository / "snapshots" / "0123abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    found = SiglipText.load("some/siglip2", templates=False, cache=tmp_path / "cache")
    assert found.digest == encoder().digest


def test_importing_the_backend_imports_no_transformers() -> None:
    modules = "text", "labelling", "refinement"
    imports = "".join(f"import ovseg_ros.segmentation.radseg.{module}\n" for module in modules)
    code = imports + "import sys; assert 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def rewrite(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_positions(folder: Path, positions: int) -> None:
    rewrite(folder / "config.json", lambda config: config["text_config"].update(max_position_embeddings=positions))
    weights = load_file(folder / "model.safetensors")
    name = "text_model.embeddings.position_embedding.weight"
    save_file(weights | {name: weights[name][:positions].clone()}, folder / "model.safetensors")


BREAKAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "another model": (
        lambda folder: rewrite(folder / "config.json", lambda config: config.update(model_type="clip")),
        "is not of a SigLIP2 .*'clip'",
    ),
    "a short text tower": (
        lambda folder: rewrite(folder / "config.json", lambda c: c["text_config"].update(num_hidden_layers=3)),
        "disagree about encoder.layers.2",
    ),
    "another width": (
        lambda folder: rewrite(folder / "config.json", lambda c: c["text_config"].update(projection_size=7)),
        "holds no SigLIP2 text model",
    ),
    "a truncated file": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100]),
        "damaged .*fetch it again",
    ),
    "other positions": (
        lambda folder: change_positions(folder, 32),
        "200 tokens in texts of 32, its tokenizer has .* for texts of 64: take all files from one",
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "is not a tokenizer"),
    "a tokenizer without an end": (
        lambda folder: (folder / "tokenizer.json").write_text(
            (folder / "tokenizer.json").read_text().replace("<eos>", "</s>")
        ),
        "has no token <eos>",
    ),
    "a tokenizer that loses spaces": (
        lambda folder: rewrite(folder / "tokenizer.json", lambda tokenizer: tokenizer.update(decoder=None)),
        "doesn't read the same",
    ),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_models_that_cannot_be_used_say_why(copy: Path, tmp_path: Path, breakage: str) -> None:
    change, message = BREAKAGES[breakage]
    change(copy)
    with pytest.raises(OvsegError, match=message):
        SiglipText.load(str(copy), cache=tmp_path / "cache").encode(["cat"])


def test_sentences_are_encoded_as_they_stand(encoder: Callable[..., SiglipText]) -> None:
    plain, templated = encoder(), encoder(templates=True)
    sentences = ["a chair in a scene", "lamp"]
    torch.testing.assert_close(templated.encode_sentences(sentences), plain.encode(sentences))
    assert not torch.allclose(templated.encode(sentences), plain.encode(sentences))
    assert templated.encode_sentences([]).shape == (0, WIDTH)
