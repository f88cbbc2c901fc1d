"""The public workflow, as far as it can be held to this tree without running it: its commands, files and matrix."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def jobs(root: Path) -> dict[str, Any]:
    workflow = yaml.safe_load((root / ".github" / "workflows" / "ci.yaml").read_text(encoding="utf-8"))
    return dict(workflow["jobs"])


def commands(jobs: dict[str, Any]) -> Iterator[list[str]]:
    for job in jobs.values():
        for step in job["steps"]:
            for line in step.get("run", "").splitlines():
                yield from (shlex.split(part) for part in line.split(" && "))


def test_plain_systems_run_what_merging_needs(jobs: dict[str, Any], root: Path) -> None:
    versions = {entry["python"] for entry in jobs["plain"]["strategy"]["matrix"]["include"]}
    assert versions == {"3.11", "3.12", "3.13"}
    assert [".ci/run"] in list(commands(jobs))
    assert os.access(root / ".ci" / "run", os.X_OK)


def test_distributions_are_those_that_the_readme_promises(jobs: dict[str, Any], root: Path) -> None:
    job = jobs["distribution"]
    assert job["strategy"]["matrix"]["distribution"] == ["jazzy", "kilted", "lyrical"]
    assert job["container"] == "ros:${{ matrix.distribution }}"
    readme = (root / "README.md").read_text(encoding="utf-8").splitlines()
    given = [" ".join(command) for command in commands({"distribution": job})]
    for start in ("rosdep install", "make -C src/ovseg_ros", "src/ovseg_ros/.venv/bin/python -m colcon build"):
        (promised,) = (" ".join(shlex.split(line, comments=True)) for line in readme if line.startswith(start))
        assert promised in given


def test_everything_it_calls_is_in_the_tree(jobs: dict[str, Any], root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    executables = re.findall(r'"(\w+) = ', (root / "setup.py").read_text(encoding="utf-8"))
    called = list(commands(jobs))
    assert any(words[-1] == "test" for words in called if words[0] == "make")
    for words in called:
        if words[0] == "make":
            targets = [word for word in words[1:] if re.fullmatch("[a-z]+", word)]
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
        elif words[:3] == ["ros2", "launch", "ovseg_ros"]:
            assert (root / "launch" / words[3]).is_file()
        elif words[:3] == ["ros2", "run", "ovseg_ros"]:
            assert words[3] in executables


def test_every_expression_is_filled_by_the_matrix(jobs: dict[str, Any]) -> None:
    for job in jobs.values():
        matrix = job["strategy"]["matrix"]
        keys = set(matrix) - {"include"} | {key for entry in matrix.get("include", []) for key in entry}
        assert set(re.findall(r"matrix\.(\w+)", str(job))) == keys
