"""`ovseg vocabulary`: what it warns of, in words and in the space of a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sam3_model import save_tiny_model
from word_space import SPACE

from ovseg_ros.cli import main
from ovseg_ros.segmentation.polysemes import POLYSEMES
from ovseg_ros.segmentation.sam3 import config as sam3
from ovseg_ros.segmentation.vocabulary_check import check_meanings, check_words
from ovseg_ros.vocabulary import checked_word
from ovseg_ros.vocabulary_file import Entry, VocabularyFile

Check = Callable[..., dict[str, Any]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    def run(content: str, *options: str) -> dict[str, Any]:
        path = tmp_path / "mine.yaml"
        path.write_text(content)
        assert main(["vocabulary", "check", str(path), *options, "--json"]) == 0
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def kinds(result: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(warning["kind"], *warning["concepts"]) for warning in result["warnings"]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("concepts: [sofa, toilet, {name: bottle, synonyms: [wine bottle]}]", []),
        ("concepts: [fan, toilet]", [("polyseme", "fan")]),
        ("concepts: [{name: fan, say: ceiling fan}, toilet]", []),
        ("concepts: [{name: chair, synonyms: [chairs]}]", [("plural", "chair")]),
        ("concepts: [{name: chair, synonyms: [chairs], plurals: false}]", []),
        ("concepts: [the old chair next to the door]", [("long", "the old chair next to the door")]),
        ("concepts: [sofa, couch]", [("duplicate", "sofa", "couch")]),
        ("concepts: [sofa, {name: couch, overlaps: [sofa]}]", []),
        ("concepts: [{name: sofa, synonyms: [bottle]}, flask]", [("nearer", "sofa", "flask")]),
        ("concepts: [sofa, ꙮ]", [("unknown", "ꙮ")]),
    ],
)
def test_what_is_warned_of_in_the_embedded_models_space(
    check: Check, content: str, expected: list[tuple[str, ...]]
) -> None:
    result = check(content)
    assert kinds(result) == expected
    for warning in result["warnings"]:
        assert all(name in warning["sentence"] for name in warning["concepts"])


def test_people_read_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("concepts: [{name: desk, overlaps: [table]}, table, mouse]")
    assert main(["vocabulary", "check", str(path)]) == 0
    text = capsys.readouterr().out
    assert "3 concepts, 3 words, for openseg" in text and "desk may be table, as noted" in text
    assert "'mouse' means several things: put 'computer mouse' or" in text and "1 warning\n" in text
    path.write_text("concepts: [desk]")
    main(["vocabulary", "check", str(path)])
    assert "nothing to warn of" in capsys.readouterr().out


def test_a_file_that_cannot_be_used_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("concepts: [{name: cup, color: red}]")
    for arguments in (["check", str(path)], ["check", "kitchen"], ["check"], ["check", "household", "--backend", "x"]):
        assert main(["vocabulary", *arguments]) == 1
        error = capsys.readouterr().err
        assert error.startswith("ovseg vocabulary: ") and error.count("\n") == 1


def test_packaged_vocabularies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vocabulary", "list", "--json"]) == 0
    found = {entry["name"]: entry["concepts"] for entry in json.loads(capsys.readouterr().out)["vocabularies"]}
    assert found == {"household": 43, "replica": 51, "scannet20": 19, "scannet200": 200}


def test_words_alone_are_checked_where_a_model_is_not_installed(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    result = check("concepts: [sofa, couch, fan]", "--backend", "sam3")
    assert kinds(result) == [("polyseme", "fan")]
    assert "isn't installed here" in result["note"]


def test_a_model_that_is_told_what_to_find_takes_the_words_or_not(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_model(tmp_path / "model")
    (tmp_path / "sam3.yaml").write_text(f"weights: {tmp_path / 'model'}\n")
    monkeypatch.setenv(sam3.CONFIG_VARIABLE, str(tmp_path / "sam3.yaml"))
    long = "-".join("abcdefghijklmnopqrstuvwxyz" * 2)
    result = check(f"concepts: [sofa, couch, {long}]", "--backend", "sam3")
    assert kinds(result) == [("refused", long)] and "tokens" in result["warnings"][0]["sentence"]
    assert "no space in which words could be compared" in result["note"]


def test_by_hand_in_a_space_of_known_cosines() -> None:
    """ "armchair" is 0.9 of "chair", "couch" 0.6 of "piano", all other words are apart."""
    file = VocabularyFile.of("", [Entry("chair"), Entry("armchair"), Entry("sofa", ("couch",)), Entry("piano")])
    duplicate, nearer = check_meanings(file, SPACE)
    assert (duplicate.kind, duplicate.concepts) == ("duplicate", ("chair", "armchair"))
    assert "cosine 0.90" in duplicate.sentence
    assert (nearer.kind, nearer.concepts) == ("nearer", ("sofa", "piano")) and "0.60" in nearer.sentence


def test_a_made_plural_that_is_another_concept() -> None:
    file = VocabularyFile.of("", [Entry("drinking toy"), Entry("drinking toys")])
    assert [(found.kind, found.concepts) for found in check_words(file)] == [
        ("plural", ("drinking toy", "drinking toys"))
    ]


def test_suggestions_are_no_polysemes_themselves() -> None:
    for name, ways in POLYSEMES.items():
        assert checked_word(name) == name and ways
        assert all(checked_word(way) == way and way not in POLYSEMES for way in ways)
