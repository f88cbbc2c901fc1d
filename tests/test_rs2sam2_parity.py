"""RS2-SAM2 beside the original: what rongfu-dsb/RS2-SAM2 (7321e75) says with the same random weights.

Its numbers are in tests/data/rs2sam2, written by `python benchmarks/rs2sam2.py --rs2sam2 PATH --save FILE`; none of its
code is.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from rs2sam2 import our_logits
from rs2sam2_peer import check_checkout
from rs2sam2_weights import SMALL, random_inputs, random_weights

from ovseg_ros.errors import OvsegError
from ovseg_ros.segmentation.rs2sam2.tokenizer import UNKNOWN

ORIGINAL = Path(__file__).parent / "data" / "rs2sam2" / "original.safetensors"


@pytest.fixture(scope="module")
def original() -> torch.Tensor:
    return load_file(ORIGINAL)["logits"]


def test_we_say_what_the_original_says(original: torch.Tensor) -> None:
    difference = float((original - our_logits(random_weights(SMALL), SMALL, random_inputs(SMALL))).abs().max())
    print(difference)
    assert original.shape == (1, 1, 32, 32) and original.std() > 0.5
    assert difference <= 2e-5


@pytest.mark.parametrize("token", [1, 3])
def test_every_token_matters(original: torch.Tensor, token: int) -> None:
    """The unknown one at 3 too: the union encoder doesn't see it, but SAM 2's half sees what became of it."""
    inputs = random_inputs(SMALL)
    assert (inputs.ids[0, 3] == UNKNOWN) and (inputs.ids[0, token] != 17)
    changed = replace(inputs, ids=inputs.ids.index_fill(1, torch.tensor([token]), 17))
    assert (original - our_logits(random_weights(SMALL), SMALL, changed)).abs().max() > 1e-3


def test_what_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OvsegError, match=r"has no lib/evf_sam.py: clone https://github.com/rongfu-dsb/RS2-SAM2"):
        check_checkout(tmp_path)
