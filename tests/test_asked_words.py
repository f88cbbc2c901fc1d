"""The score of words held out of training, over a small room."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ovseg_ros.evaluation import asked_words


def test_a_room_is_asked_in_known_words_and_in_others(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rooms", "1", "--seed", "9000", "--frames", "6", "--size", "160x120", "--json"]
    assert asked_words.main(arguments) == 0
    results = json.loads(capsys.readouterr().out)
    assert 0.2 < results["asked_held_out"] <= results["asked_names"] < 1.0
    assert 0.2 < results["labelled_held_out"] <= results["labelled_names"] < 1.0
    assert 0.0 < results["other_things_taken_for_known"] < 0.5
    assert asked_words.main(["--backend", "none"]) == 1


def test_overlaps_by_hand() -> None:
    overlaps = asked_words.Overlaps(3)
    found = np.array([[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=bool)
    overlaps.add(found, np.array([1, 2, 1, 0], dtype=np.int32))
    # The first: 1 hit, 2 found, 2 there. The second: there once and missed; unlabelled places don't count. No third.
    assert overlaps.mean == pytest.approx((1 / 3 + 0.0) / 2)
