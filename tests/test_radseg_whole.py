"""RADSeg from image to labels and maps with small models in real files, through the command and the node."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from radseg_models import CHECKPOINT, write_settings
from safetensors.torch import load_file, save_file

from ovseg_ros.cli import main
from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation import label_image, load_segmenter
from ovseg_ros.segmentation.radseg.backend import RadsegSegmenter
from ovseg_ros.segmentation.radseg.checkpoint import read_checkpoint
from ovseg_ros.segmentation.radseg.config import CONFIG_VARIABLE
from ovseg_ros.segmentation.radseg.labelling import class_probabilities, denoise, predict
from ovseg_ros.types import PixelClassifier

SMALL_SAM = Path(__file__).parent / "data" / "radseg_labels" / "sam"
SAM_FEATURES = 64
"""What the sam head of CHECKPOINT gives."""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Settings as a user would write them; texts are cached in the test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def write(**settings: object) -> Path:
        path = write_settings(tmp_path, **settings)
        monkeypatch.setenv(CONFIG_VARIABLE, str(path))
        return path

    return write


def photograph(height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_classifies_as_the_parts_say(installed: Callable[..., Path]) -> None:
    installed()
    segmenter = load_segmenter("radseg", "cpu")
    assert isinstance(segmenter, PixelClassifier)
    image, words = photograph(70, 90), segmenter.space.encode_text(["chair", "red table", "wall"])
    features = segmenter(image).features
    aligned = segmenter.space.align(features.flatten(1).T).T.view(-1, *features.shape[1:])
    expected = predict(denoise(class_probabilities(aligned, words), (70, 90)), (70, 90)).labels
    labels = segmenter.classify(image, words)
    assert labels.dtype == torch.int32 and torch.equal(labels, expected) and labels.amax() > 0


def test_refines_with_a_sam(installed: Callable[..., Path], tmp_path: Path) -> None:
    """RADSeg+: the whole image once more through RADIO, its sam head, and the mask decoder."""
    sam = tmp_path / "sam"
    sam.mkdir()
    config = json.loads((SMALL_SAM / "config.json").read_text())
    config["vision_config"]["hidden_size"] = SAM_FEATURES
    (sam / "config.json").write_text(json.dumps(config))
    tensors = load_file(SMALL_SAM / "model.safetensors")
    name = "vision_encoder.neck.conv1.weight"
    torch.manual_seed(0)
    tensors[name] = torch.randn(tensors[name].shape[0], SAM_FEATURES, 1, 1)
    save_file(tensors, sam / "model.safetensors")
    installed(refine=True, sam_model=str(sam))
    segmenter = load_segmenter("radseg", "cpu")
    labels, shares = label_image(segmenter, photograph(96, 128).numpy(), ["chair", "table"])
    assert labels.shape == (96, 128) and set(np.unique(labels)) <= {0, 1, 2} and shares.keys() == {"chair", "table"}


def test_refining_needs_a_sam_head(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(CHECKPOINT)
    for name in [name for name in checkpoint.tensors if name.startswith("_feature_projections.")]:
        del checkpoint.tensors[name]
    from ovseg_ros.segmentation.radseg.config import RadsegConfig
    from ovseg_ros.segmentation.radseg.refinement import MaskRefiner

    refiner = MaskRefiner.load(str(SMALL_SAM))
    with pytest.raises(OvsegError, match="no sam head, which `refine` needs"):
        RadsegSegmenter(checkpoint, object(), RadsegConfig(), "cpu", refiner)  # type: ignore[arg-type]


@pytest.mark.system
def test_the_command_maps_and_answers(
    installed: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed()
    room, file = tmp_path / "room", tmp_path / "room.ovmap"
    assert main(["rooms", str(room), "--seed", "3", "--frames", "3", "--size", "160x120"]) == 0
    assert main(["map", str(room), "-o", str(file), "--backend", "radseg", "--device", "cpu", "--json"]) == 0
    assert main(["query", str(file), "chair", "--min-score", "0.01", "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["space"].startswith("radseg/checkpoint-") and report["map_revision"] == 3
