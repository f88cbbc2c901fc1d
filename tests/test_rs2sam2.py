"""RS2-SAM2 on a small random model: loading, expressions, images of any size, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rs2sam2_model import CORPUS, save_small_model
from rs2sam2_weights import SMALL
from safetensors.torch import load_file, save_file

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation import backends, load_referrer
from ovseg_ros.segmentation.rs2sam2.checkpoint import load_network
from ovseg_ros.segmentation.rs2sam2.pixels import normalised
from ovseg_ros.segmentation.rs2sam2.tokenizer import Tokenizer
from ovseg_ros.types import Referrer

BRIDGE, SHIP = CORPUS[:2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("rs2sam2") / "rrsisd")


@pytest.fixture(scope="module")
def referrer(folder: Path) -> Referrer:
    return load_referrer("rs2sam2", "cpu", folder)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    coarse = torch.randint(0, 256, (1, 3, 5, 6), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return torch.nn.functional.interpolate(coarse, (height, width))[0].permute(1, 2, 0).contiguous()


def test_expressions_of_one_call_are_answered_as_in_calls_of_their_own(referrer: Referrer) -> None:
    rgb = picture(48, 64)
    together = referrer.refer(rgb, CORPUS[:3])
    assert together.masks.shape == (3, 48, 64) and together.masks.dtype == torch.bool
    assert together.scores.shape == (3,)
    for index, expression in enumerate(CORPUS[:3]):
        alone = referrer.refer(rgb, [expression])
        assert torch.equal(alone.masks[0], together.masks[index])
        assert torch.equal(alone.scores[0], together.scores[index])
    assert len({mask.numpy().tobytes() for mask in together.masks}) == 3


def test_inside_and_scores_are_what_two_classes_say(folder: Path, referrer: Referrer) -> None:
    """Upstream gives a logit x as the classes 1 - x and x to its losses, and takes the larger."""
    rgb = picture(48, 64)
    network = load_network(folder, "cpu")
    ids, read = Tokenizer(folder, 64)(SHIP)
    image, small = (normalised(rgb, side, torch.device("cpu")) for side in (SMALL.image_size, SMALL.union_image_size))
    with torch.inference_mode():
        logits = network(image, small, ids, read)[0][0, 0]
    classes = torch.stack((1 - logits, logits))
    found = referrer.refer(rgb, [SHIP], tuple(logits.shape))
    assert ((logits > 0) & (logits < 0.5)).any() and found.masks.any()
    assert torch.equal(found.masks[0], classes.argmax(dim=0).bool())
    assert found.scores[0] == pytest.approx(float(classes.softmax(dim=0)[1][found.masks[0]].mean()), abs=1e-6)


def test_scores_are_of_the_pixels_inside(referrer: Referrer) -> None:
    found = referrer.refer(picture(48, 64), CORPUS)
    some = found.masks.any(dim=2).any(dim=1)
    assert some.any()
    assert ((found.scores[some] > 0.5) & (found.scores[some] < 1)).all()
    assert (found.scores[~some] == 0).all()
    nothing = referrer.refer(torch.zeros(20, 20, 3, dtype=torch.uint8), [])
    assert nothing.masks.shape == (0, 20, 20) and nothing.scores.shape == (0,)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (1, 1), (4000, 6000), (3, 500)])
def test_any_size_is_answered_at_its_own(referrer: Referrer, height: int, width: int) -> None:
    assert referrer.refer(picture(height, width), [BRIDGE]).masks.shape == (1, height, width)


def test_a_mask_lies_where_the_same_scene_has_it_in_another_resolution(referrer: Referrer) -> None:
    small, large = (referrer.refer(picture(60 * zoom, 72 * zoom), CORPUS).masks for zoom in (4, 16))
    assert small.any() and not small.all()
    assert (small == large[:, 2::4, 2::4]).float().mean() > 0.97


def test_masks_can_be_asked_for_in_the_size_of_an_evaluation(referrer: Referrer) -> None:
    rgb = picture(48, 64)
    asked = referrer.refer(rgb, [BRIDGE, SHIP], (1024, 1024)).masks
    assert asked.shape == (2, 1024, 1024)
    own = referrer.refer(rgb, [BRIDGE, SHIP]).masks
    assert (asked[:, 10::21, 8::16][:, :48] == own).float().mean() > 0.95


def test_what_is_no_image_is_refused(referrer: Referrer) -> None:
    for wrong in (
        torch.zeros(3, 8, 8, dtype=torch.uint8),
        torch.zeros(8, 8, 3),
        torch.zeros(0, 8, 3, dtype=torch.uint8),
    ):
        with pytest.raises(OvsegError, match=r"an image must be \(H, W, 3\) bytes, got .*: convert it to RGB"):
            referrer.refer(wrong, [BRIDGE])


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "has no words: say what to look for"),
        (" \n ", "has no words"),
        ("the bridge " * 200, r"has \d+ tokens, the limit of the model is 62: shorten it"),
        ("a" * 2000, r"tokens, the limit of the model is 62"),
        ("\ud800 bridge", "is not valid Unicode"),
    ],
    ids=["empty", "blank", "many words", "a long word", "half a letter"],
)
def test_expressions_that_cannot_be_read_are_refused(referrer: Referrer, expression: str, message: str) -> None:
    with pytest.raises(OvsegError, match=message):
        referrer.refer(picture(8, 8), [BRIDGE, expression])


@settings(deadline=None, max_examples=50)
@given(expression=st.text(max_size=30))
def test_tokens_are_those_of_xlm_roberta(folder: Path, expression: str) -> None:
    """Pieces move up by one for ``<pad>``; what is unknown is 3 and isn't attended to."""
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    names = pieces.encode(expression, out_type=str)
    if not names:
        with pytest.raises(OvsegError, match="has no words"):
            Tokenizer(folder, 64)(expression)
        return
    ids, read = Tokenizer(folder, 64)(expression)
    wanted = [0, *(3 if pieces.piece_to_id(name) == 0 else pieces.piece_to_id(name) + 1 for name in names), 2]
    assert ids.tolist() == [wanted]
    assert torch.equal(read, ids != 3)


def test_unknown_letters_are_tokens_that_nothing_attends_to(folder: Path) -> None:
    ids, read = Tokenizer(folder, 64)("the 橋 on the left")
    assert (ids == 3).sum() == 1 and not read[ids == 3].any() and read.sum() == ids.numel() - 1
    assert ids[0, 0] == 0 and ids[0, -1] == 2 and ids.max() < SMALL.vocabulary


def test_the_tokenizer_may_have_the_name_that_beit3_gives_it(copy: Path) -> None:
    (copy / "sentencepiece.bpe.model").rename(copy / "beit3.spm")
    assert load_referrer("rs2sam2", "cpu", copy).refer(picture(8, 8), [BRIDGE]).masks.shape == (1, 8, 8)


def test_weights_of_the_other_kind_say_the_same(referrer: Referrer, copy: Path) -> None:
    """As torch saves them, under the names of training; and in half precision."""
    weights = load_file(copy / "model.safetensors")
    torch.save({f"module.evf_model.{name}": tensor for name, tensor in weights.items()}, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    rgb = picture(48, 64)
    ours = referrer.refer(rgb, CORPUS).masks
    assert torch.equal(load_referrer("rs2sam2", "cpu", copy).refer(rgb, CORPUS).masks, ours)
    (copy / "pytorch_model.bin").unlink()
    save_file({name: tensor.bfloat16() for name, tensor in weights.items()}, copy / "model.safetensors")
    assert (load_referrer("rs2sam2", "cpu", copy).refer(rgb, CORPUS).masks == ours).float().mean() > 0.95


def test_tensors_that_take_no_part_may_be_there(copy: Path) -> None:
    unused = {"visual_model.memory_attention.layers.0.norm1.weight": torch.ones(3), "meo_linear.bias": torch.ones(2)}
    save_file(unused, copy / "model-2.safetensors")
    assert load_referrer("rs2sam2", "cpu", copy)


def spoil_tensor(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")

    return spoil


def spoil_config(**entries: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, r"there is no folder .*copy: give the folder rrsisd or refseg of ReeF2025/RS2-SAM2"),
        (lambda copy: (copy / "config.json").unlink(), "has no config.json: give the folder"),
        (lambda copy: (copy / "config.json").write_text("{"), "config.json can't be read .*: fetch it again"),
        (spoil_config(model_type="sam3"), "is of the model 'sam3', not of 'evf': give the folder"),
        (spoil_config(architecture={"depth": -1}), "has an architecture with a wrong depth: its entries are"),
        (lambda copy: (copy / "model.safetensors").unlink(), r"has no \*.safetensors: give the folder"),
        (lambda copy: (copy / "model.safetensors").write_bytes(b"nothing"), "can't be read as weights"),
        (spoil_tensor(lambda weights: weights.pop("mask_linear.bias")), "lacks the tensor mask_linear.bias"),
        (
            spoil_tensor(lambda weights: weights.update({"mask_linear.bias": torch.ones(3)})),
            r"mask_linear.bias of .* has the shape \(3,\), RS2-SAM2's has \(64,\): it is another model",
        ),
        (
            spoil_tensor(lambda weights: weights.update({"lm_head.weight": torch.ones(3)})),
            "has 1 tensors that RS2-SAM2 doesn't have, lm_head.weight first",
        ),
        (
            lambda copy: (copy / "sentencepiece.bpe.model").unlink(),
            "has no sentencepiece.bpe.model or beit3.spm: copy beit3.spm there",
        ),
        (lambda copy: (copy / "sentencepiece.bpe.model").write_bytes(b"{}"), "is no sentencepiece model"),
        (spoil_config(architecture={}), "of .* has the shape .*: it is another model"),
    ],
)
def test_a_folder_that_is_not_the_model_is_refused_in_one_sentence(
    copy: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(copy)
    with pytest.raises(OvsegError, match=message) as caught:
        load_referrer("rs2sam2", "cpu", copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [{"mask_linear.bias": Path("code")}, {"epoch": 3}, [torch.ones(3)], {3: torch.ones(3)}]
)
def test_a_file_of_more_than_tensors_is_refused(copy: Path, content: object) -> None:
    (copy / "model.safetensors").unlink()
    torch.save(content, copy / "pytorch_model.bin")
    with pytest.raises(OvsegError, match="can't be read as weights"):
        load_referrer("rs2sam2", "cpu", copy)


def test_the_folder_may_be_named_in_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OVSEG_RS2SAM2_WEIGHTS", raising=False)
    with pytest.raises(OvsegError, match="name their folder with --weights or in OVSEG_RS2SAM2_WEIGHTS"):
        load_referrer("rs2sam2", "cpu")
    assert not {info.name: info for info in backends()}["rs2sam2"].installed
    monkeypatch.setenv("OVSEG_RS2SAM2_WEIGHTS", str(folder))
    assert load_referrer("rs2sam2", "cpu")
    assert {info.name: info for info in backends()}["rs2sam2"].installed


def test_only_referring_backends_can_be_asked() -> None:
    with pytest.raises(OvsegError, match="there is no referring backend 'openseg': choose one of rs2sam2"):
        load_referrer("openseg", "cpu")
