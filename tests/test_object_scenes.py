"""Generated rooms with their true masks: every thing in sight is one object, and stays it when the camera returns."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import objects


@pytest.mark.parametrize("seed", [9000, 9003])
def test_things_in_a_room_are_one_object_each_and_keep_their_ids(seed: int) -> None:
    room = objects.measure(seed, frames=120, width=160, height=120, noise=False)
    assert room["visible"] >= 3
    assert room["once"] == room["ids_kept"] == room["visible"]


def test_the_benchmark_prints_what_it_measured(capsys: pytest.CaptureFixture[str]) -> None:
    objects.main(["--rooms", "1", "--seed", "3", "--frames", "4", "--width", "64", "--noise", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["total"].keys() >= {"visible", "once", "duplicates", "merges", "missed", "ids_kept"}
    assert result["rooms"][0]["seed"] == 3
