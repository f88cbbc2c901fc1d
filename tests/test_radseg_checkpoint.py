"""Files of RADIO weights: the containers that load, and those that don't, each with what to do."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from radseg_weights import TEACHERS, Sizes, random_checkpoint

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.radseg.checkpoint import read_checkpoint
from ovseg_ros.segmentation.radseg.encoder import RadsegEncoder
from ovseg_ros.segmentation.radseg.locate import RELEASES, fetch_weights, find_weights
from ovseg_ros.segmentation.radseg.model import (
    FEATURES,
    SUMMARY,
    build_backbone,
    build_head,
    language_teacher,
    teachers,
)
from ovseg_ros.segmentation.radseg.space import text_model
from ovseg_ros.segmentation.radseg.windows import Windows

SIZES = Sizes(width=24, depth=2, heads=3, side=8, head_hidden=16, text=20, sam=12)
BLOCK = "base_model.blocks.1."
Change = Callable[[dict[str, Any]], None]


def write(path: Path, *changes: Change) -> Path:
    """A small checkpoint with changes made to ``{"args", "state_dict"}``."""
    content: dict[str, Any] = random_checkpoint(SIZES)
    for change in changes:
        change(content)
    torch.save(content, path)
    return path


def answers(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """What the weights make of an image: features, and those in the space of texts."""
    checkpoint = read_checkpoint(path)
    head = build_head(checkpoint, language_teacher(checkpoint), SUMMARY)
    encoder = RadsegEncoder(build_backbone(checkpoint), Windows(0, 16, 16), torch.float32)
    features = encoder(torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0)))[0].flatten(1).T
    return features, head.align(features)


def assert_same(first: tuple[torch.Tensor, ...], second: tuple[torch.Tensor, ...], tolerance: float = 1e-5) -> None:
    for one, other in zip(first, second, strict=True):
        assert float((one - other).abs().max() / other.abs().max()) <= tolerance


def rename(old: str, new: str) -> Change:
    def change(content: dict[str, Any]) -> None:
        state = content["state_dict"]
        content["state_dict"] = {name.replace(old, new): value for name, value in state.items()}

    return change


def keep(wanted: Callable[[str], bool]) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["state_dict"] = {name: value for name, value in content["state_dict"].items() if wanted(name)}

    return change


def put(name: str, *shape: int) -> Change:
    return lambda content: content["state_dict"].update({name: torch.ones(shape)})


def argue(**arguments: object) -> Change:
    return lambda content: vars(content["args"]).update(arguments)


def call(**arguments: object) -> Change:
    return lambda content: content["args"].model_kwargs.update(arguments)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("weights") / "plain.pth.tar")


class TestContainers:
    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param((rename(".grandma", ".gamma"),), id="older names of LayerScale"),
            pytest.param((rename("_heads.siglip2.", "_heads.1."),), id="heads by index"),
            pytest.param(
                (
                    lambda content: content.update(state_dict_ema=content["state_dict"], state_dict={}),
                    argue(spectral_reparam=True),
                ),
                id="averaged weights",
            ),
            pytest.param((keep(lambda name: ".sam." not in name),), id="without SAM"),
            pytest.param(
                (
                    rename(".siglip2.", ".siglip2-g."),
                    argue(teachers=[{"name": "siglip2-g", "type": "siglip2", "model": "siglip2-g-384"}]),
                ),
                id="C-RADIOv4's teachers",
            ),
            pytest.param((put("_intermediate_feature_normalizer.means", 3), put("summary_idxs", 2)), id="unused"),
        ],
    )
    def test_they_say_the_same(self, changes: tuple[Change, ...], plain: Path, tmp_path: Path) -> None:
        assert_same(answers(write(tmp_path / "other.pth.tar", *changes)), answers(plain))

    def test_half_precision_is_read_as_float32(self, plain: Path, tmp_path: Path) -> None:
        def halve(content: dict[str, Any]) -> None:
            content["state_dict"] = {name: value.half() for name, value in content["state_dict"].items()}

        features, aligned = answers(write(tmp_path / "half.pth.tar", halve))
        assert features.dtype == torch.float32
        assert_same((features, aligned), answers(plain), tolerance=0.01)

    @pytest.mark.parametrize("beside", [True, False])
    def test_safetensors_of_either_naming(self, beside: bool, plain: Path, tmp_path: Path) -> None:
        checkpoint = read_checkpoint(plain)
        arguments = {"model": "vit_x", **{key: checkpoint.arguments[key] for key in ("model_kwargs", "teachers")}}
        tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
        path = tmp_path / "model.safetensors"
        if beside:
            for old, new in (
                ("base_model.", "radio_model.model."),
                ("input_conditioner.", "radio_model.input_conditioner."),
                ("_heads.siglip2.", "radio_model.adaptors.siglip2.head_mlp."),
                ("_heads.sam.", "radio_model.adaptors.sam.head_mlp."),
                ("_feature_projections.siglip2.", "radio_model.adaptors.siglip2.feat_mlp."),
                ("_feature_projections.sam.", "radio_model.adaptors.sam.feat_mlp."),
            ):
                tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
            tensors["radio_model.summary_idxs"] = torch.arange(3)
            assert all(name.startswith("radio_model.") for name in tensors)
            save_file(tensors, path)
            with pytest.raises(OvsegError, match=r"put the config.json of its repository beside it"):
                read_checkpoint(path)
            path.with_name("config.json").write_text(json.dumps({"args": arguments}), encoding="utf-8")
        else:
            save_file(tensors, path, metadata={"args": json.dumps(arguments)})
        assert_same(answers(path), answers(plain))

    def test_layer_scale_matters(self, plain: Path, tmp_path: Path) -> None:
        features, _ = answers(write(tmp_path / "other.pth.tar", keep(lambda name: ".ls1." not in name)))
        assert float((features - answers(plain)[0]).abs().max()) > 0.1

    def test_features_are_normalised_where_the_checkpoint_says_so(self, tmp_path: Path) -> None:
        # One patch: what SCGA does with it is nothing.
        noise = torch.Generator().manual_seed(0)
        image = torch.rand(1, 3, 16, 16, generator=noise)
        mean, transform = torch.randn(24, generator=noise), torch.randn(24, 24, generator=noise)

        def normalise(content: dict[str, Any]) -> None:
            content["state_dict"] |= {"_feature_normalizer.mean": mean, "_feature_normalizer.tx": transform}

        paths = write(tmp_path / "a.pth.tar"), write(tmp_path / "b.pth.tar", normalise)
        without, with_it = (
            RadsegEncoder(build_backbone(read_checkpoint(path)), Windows(0, 16, 16), torch.float32)(image).flatten()
            for path in paths
        )
        assert_same((with_it,), (transform @ (without - mean),))

    def test_scaled_norms_are_those_of_their_depth(self, plain: Path, tmp_path: Path) -> None:
        def shrink(content: dict[str, Any]) -> None:
            for name, value in content["state_dict"].items():
                if name.startswith(BLOCK + "norm"):
                    value.div_(2**0.5)

        scaled = write(tmp_path / "scaled.pth.tar", call(scaled_ln=True))
        assert_same(answers(scaled), answers(write(tmp_path / "shrunk.pth.tar", shrink)))

    @pytest.mark.parametrize(("model", "heads"), [("vit_base_patch16_v2_224", 12), ("vit_so400m_v2_patch16_224", 16)])
    def test_heads_follow_from_the_models_name(self, model: str, heads: int, tmp_path: Path) -> None:
        content = random_checkpoint(Sizes(**(vars(SIZES) | {"width": 48})))
        arguments: Any = content["args"]
        del arguments.model_kwargs["num_heads"]
        arguments.model = model
        torch.save(content, tmp_path / "named.pth.tar")
        assert build_backbone(read_checkpoint(tmp_path / "named.pth.tar")).config.heads == heads

    def test_heads_for_patch_features_load_too(self, plain: Path) -> None:
        checkpoint = read_checkpoint(plain)
        (sam,) = [teacher for teacher in teachers(checkpoint) if teacher.name == "sam"]
        assert build_head(checkpoint, sam, FEATURES)(torch.zeros(4, 24)).shape == (4, 12)


class Touch:
    """Pickled, it would make a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ((keep(lambda name: "_heads.siglip2" not in name),), r"no siglip2 head \(its teachers: clip, siglip2, di"),
            (
                (rename(".siglip2.", ".siglip."), argue(teachers=[{"name": "clip"}, {"name": "siglip"}])),
                r"no siglip2 head \(its teachers: clip, siglip\).*not RADIOv2.5",
            ),
            ((keep(lambda name: name != BLOCK + "norm2.bias"),), "no tensor base_model.blocks.1.norm2.bias"),
            ((keep(lambda name: "norm_std" not in name),), "no tensor input_conditioner.norm_std"),
            ((put(BLOCK + "attn.proj.bias", 23),), r"attn.proj.bias in .* is \(23,\) and should be \(24,\)"),
            ((put(BLOCK + "attn.q_norm.weight", 8),), r"no place here \(base_model.blocks.1.attn.q_norm.weight\)"),
            (tuple(put(f"base_model.extra{i}", 1) for i in range(11)), r"base_model.extra7 and 3 more\)"),
            ((put("_heads.siglip2.pre_norm.0.weight", 24),), r"no place here \(_heads.siglip2.pre_norm"),
            ((call(window_size=7),), "a model with window_size"),
            ((call(num_heads=5),), "number of attention heads isn't known"),
            ((put("base_model.x.parametrizations.weight.original", 1),), "spectrally parametrised"),
            ((argue(teachers=None),), "no RADIO checkpoint"),
            ((keep(lambda name: not name.startswith("base_model.")),), "no RADIO checkpoint"),
            ((lambda content: content.pop("args"),), "no RADIO checkpoint"),
            ((lambda content: content.pop("state_dict"),), "no RADIO checkpoint"),
            ((lambda content: content["state_dict"].update(base_model=3),), "no RADIO checkpoint"),
        ],
    )
    def test_what_is_wrong_is_named(self, changes: tuple[Change, ...], words: str, tmp_path: Path) -> None:
        with pytest.raises(OvsegError, match=words):
            answers(write(tmp_path / "wrong.pth.tar", *changes))

    def test_nothing_in_a_file_is_run(self, tmp_path: Path) -> None:
        trap = tmp_path / "trapped"
        with pytest.raises(OvsegError, match=r"holds a \w+\.mkdir, which might run code.*docs/radseg.md"):
            read_checkpoint(write(tmp_path / "wrong.pth.tar", argue(extra=Touch(trap))))
        assert not trap.exists()

    def test_the_type_that_is_refused_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(OvsegError, match=r"holds a pathlib\.\S*PosixPath, which might run code"):
            read_checkpoint(write(tmp_path / "wrong.pth.tar", argue(output=Path("/somewhere"))))

    @pytest.mark.parametrize("suffix", [".pth.tar", ".safetensors"])
    @pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
    def test_a_truncated_file_is_damaged(self, suffix: str, share: float, plain: Path, tmp_path: Path) -> None:
        path = tmp_path / f"half{suffix}"
        if suffix == ".safetensors":
            save_file({"base_model.x": torch.zeros(1000)}, path, metadata={"args": "{}"})
            whole = path.read_bytes()
        else:
            whole = plain.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(OvsegError, match=r"half.* is damaged or something else, fetch it again"):
            read_checkpoint(path)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("version https://git-lfs.github.com/spec/v1", "is damaged or something else"),
            (torch.zeros(3), "no RADIO checkpoint"),
            ({"args": argparse.Namespace(), "state_dict": []}, "no RADIO checkpoint"),
        ],
    )
    def test_another_kind_of_file_is_refused(self, content: object, words: str, tmp_path: Path) -> None:
        path = tmp_path / "other.pth.tar"
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            torch.save(content, path)
        with pytest.raises(OvsegError, match=words):
            read_checkpoint(path)


class TestWhereWeightsAre:
    def test_a_path_is_itself(self, plain: Path) -> None:
        assert find_weights(str(plain)) == fetch_weights(str(plain)) == plain

    def test_a_missing_path_gives_the_command(self) -> None:
        assert find_weights("/nowhere/x.pth.tar") is None
        command = "hf download nvidia/C-RADIOv3-L c-radio-v3_l_half.pth.tar --local-dir /nowhere"
        with pytest.raises(OvsegError, match=f"no weights at /nowhere/c-radio-v3_l_half.pth.tar: run `{command}`"):
            fetch_weights("/nowhere/c-radio-v3_l_half.pth.tar")

    def test_an_unknown_release_names_those_there_are(self) -> None:
        for ask in (find_weights, fetch_weights):
            with pytest.raises(OvsegError, match=r"no weights 'radio_v2.5-b': give a path, or one of c-radio_v3-b, "):
                ask("radio_v2.5-b")

    @pytest.mark.parametrize("name", ["c-radio_v3-b", "nvidia/C-RADIOv3-B"])
    def test_a_release_comes_from_the_hubs_cache(self, name: str, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, ...]] = []
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *where: asked.append(where) or str(plain))
        assert find_weights(name) == fetch_weights(name) == plain
        assert set(asked) == {("nvidia/C-RADIOv3-B", "c-radio_v3-b_half.pth.tar")}

    def test_a_release_is_downloaded(self, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *where: None)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *where: str(plain) if where else "")
        assert find_weights("c-radio_v4-h") is None
        assert fetch_weights("c-radio_v4-h") == plain

    @pytest.mark.parametrize("name", RELEASES)
    def test_without_network_the_command_is_given(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*where: str) -> str:
            raise LocalEntryNotFoundError("outgoing traffic has been disabled")

        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *where: None)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
        release = RELEASES[name]
        with pytest.raises(OvsegError, match=f"run `hf download {release.repository} {release.file}`.*traffic"):
            fetch_weights(name)


class TestTextModel:
    def test_it_is_the_teachers_or_the_chosen_one(self, plain: Path) -> None:
        teacher = language_teacher(read_checkpoint(plain))
        assert text_model(teacher, "") == "google/siglip2-so400m-patch16-naflex"
        assert text_model(teacher, "/my/folder") == "/my/folder"

    def test_an_unknown_one_has_to_be_named(self, tmp_path: Path) -> None:
        teachers = [{**TEACHERS[1], "model": "siglip2-xxl"}]
        teacher = language_teacher(read_checkpoint(write(tmp_path / "x.pth.tar", argue(teachers=teachers))))
        with pytest.raises(OvsegError, match=r"'siglip2-xxl', whose text model.*name it as text_model"):
            text_model(teacher, "")
