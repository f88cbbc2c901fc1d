"""`ovseg --help` as a newcomer reads it: every verb is there, explains itself, and its example is one."""

from __future__ import annotations

import re
import shlex

import pytest

from ovseg_ros.cli import main
from ovseg_ros.cli.parser import EVALUATION, parse
from ovseg_ros.query.calibration import MAX_MATCHES, MIN_SCORE


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--help"])
    return capsys.readouterr().out


def verbs(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """All but the evaluation, whose words are Hydra's."""
    names = re.findall(r"^    (\w+) +\S", printed(capsys), re.MULTILINE)
    names.remove(EVALUATION)
    return names


def test_every_example_is_a_command_that_parses(capsys: pytest.CaptureFixture[str]) -> None:
    names = verbs(capsys)
    assert {"demo", "map", "query", "backends"} <= set(names)
    for name in names:
        example = " ".join(printed(capsys, name).partition("example: ")[2].split())
        command, verb, *arguments = shlex.split(example)
        assert (command, verb) == ("ovseg", name)
        assert parse([verb, *arguments]).verb == name
    for line in re.findall(r"^  (ovseg .+?)  ", printed(capsys), re.MULTILINE):
        assert parse(shlex.split(line)[1:])


def test_every_argument_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for name in verbs(capsys):
        body = printed(capsys, name).partition("\n\n")[2]
        entries = re.findall(r"^  (\S.*(?:\n {10,}\S.*)*)", body, re.MULTILINE)
        assert entries
        for entry in entries:
            assert re.search(r"(  +|\n +)\S", entry), f"ovseg {name}: {entry!r} has no explanation"


def test_the_defaults_of_questions_are_those_that_hold(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "query")
    assert f"(default {MAX_MATCHES})" in text
    assert f"(default {MIN_SCORE})" in " ".join(text.split())
