"""SAM 3 beside the original: what facebookresearch/sam3 (99d02f2) says with the same random weights.

Its numbers are in tests/data/sam3, written by `python benchmarks/sam3.py --sam3 PATH --save FILE`; none of its code is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from sam3_answers import Answers, our_answers, plain_answers
from sam3_peer import check_checkout
from sam3_weights import Sizes, random_inputs, random_model

from ovseg_ros.errors import OvsegError

ORIGINAL = Path(__file__).parent / "data" / "sam3" / "original.safetensors"


@pytest.fixture(scope="module")
def original() -> Answers:
    return Answers(**load_file(ORIGINAL))


def test_we_say_what_the_original_says(original: Answers) -> None:
    differences = original.differences(our_answers(random_model(Sizes()), random_inputs(Sizes())))
    print(differences)
    assert original.masks.shape == (3, 12, 24, 24) and original.masks.std() > 0.2
    assert max(differences.values()) <= 1e-4


def test_without_a_box_of_padding_transformers_says_something_else(original: Answers) -> None:
    differences = original.differences(plain_answers(random_model(Sizes()), random_inputs(Sizes())))
    assert differences["masks"] > 0.1 and differences["scores"] > 0.01


def test_what_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OvsegError, match=r"has no sam3/model/sam3_image.py: clone https://github.com/facebookresearch"):
        check_checkout(tmp_path)
