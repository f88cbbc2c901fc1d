"""What the documents name exists: parameters, arguments, topics, services, commands, files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

import ovseg_ros.ros.interfaces as interfaces
from ovseg_ros.cli.parser import EVALUATION, parse
from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.interface_tables import BEGIN, END, NODES, main, tables, with_tables
from ovseg_ros.ros.launching import MAPPING_ARGUMENTS, SEGMENTATION_ARGUMENTS

DOCUMENTS = ("README.md", "docs/datasets.md", "docs/recipes.md", "docs/troubleshooting.md")
NODE = {node.name: node for node in NODES}
PARAMETERS = {node.name: {spec.name: spec for spec in node.parameters} for node in NODES}
EVERY_PARAMETER = {name for specs in PARAMETERS.values() for name in specs}
GROUPS = {name.partition(".")[0] for name in EVERY_PARAMETER if "." in name}
ARGUMENTS = {
    "mapping": {argument.name: argument for argument in MAPPING_ARGUMENTS},
    "bag": {argument.name: argument for argument in MAPPING_ARGUMENTS if argument.name != "demo"},
    "segmentation": {argument.name: argument for argument in SEGMENTATION_ARGUMENTS},
}
INPUTS = {name for node in NODES for name in node.subscribed}
PRIVATE = {name for node in NODES for name in (*node.published, *node.services) if name.startswith("~")}


@pytest.fixture(params=DOCUMENTS)
def text(request: pytest.FixtureRequest, root: Path) -> str:
    return (root / request.param).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.+?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[list[str]]:
    """Words of each line in the blocks for a shell, and of what looks like a command in a sentence."""
    lines = "\n".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`((?:ros2|ovseg|make) [^`]+)`", text)
    for line in lines:
        yield shlex.split(re.sub(r"\$\(.*?\)", "output", line), comments=True)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in tree.items():
        values.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return values


def test_the_readme_shows_what_the_code_declares(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert tables() in readme, f"run {BEGIN.removeprefix('<!-- interface: ').removesuffix(' -->')}"


def test_the_tables_are_written_between_their_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.md"
    file.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    assert main(["--write", str(file)]) == 0
    assert file.read_text(encoding="utf-8") == f"before\n{tables()}\nafter\n"
    assert main([]) == 0
    assert capsys.readouterr().out == tables() + "\n"
    for spoilt in ("", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"):
        with pytest.raises(OvsegError, match="once each"):
            with_tables(spoilt)
    file.write_text("nothing", encoding="utf-8")
    assert main(["--write", str(file)]) == 1
    assert "once each" in capsys.readouterr().err


def test_launch_files_and_their_arguments_exist(text: str) -> None:
    for words in commands(text):
        if words[:3] == ["ros2", "launch", "ovseg_ros"]:
            known = ARGUMENTS[words[3].removesuffix(".launch.py")]
            for name, _, value in (word.partition(":=") for word in words[4:] if not word.startswith("--")):
                assert name in known, f"{name} is no argument of {words[3]}"
                assert not known[name].choices or value in known[name].choices, f"{name}:={value}"


def test_arguments_and_parameters_in_sentences_exist(text: str) -> None:
    launch = {name: argument for arguments in ARGUMENTS.values() for name, argument in arguments.items()}
    for name, values in re.findall(r"`(?:-[pr] )?([\w./]+):=([^` ]+)`", text):
        # With several cameras their names come before the topics'; ROS itself knows __ns and the like.
        topics = {name, name.partition("/")[2]}
        assert name in launch or name in EVERY_PARAMETER or topics & INPUTS or name.startswith("__"), name
        if name in launch and launch[name].choices:
            assert set(values.split("|")) <= set(launch[name].choices), name
    for name, value in re.findall(r"`([a-z_.]+): ([^` ]+)`", text):
        specs = [specs[name] for specs in PARAMETERS.values() if name in specs]
        fields = {"min_score", "publish_heatmap"}
        assert specs or name in fields, name
        assert not specs or any(spec.problem(yaml.safe_load(value)) is None for spec in specs), f"{name}: {value}"
    for name in re.findall(rf"(?<![\w./-])((?:{'|'.join(GROUPS)})\.[a-z_]+)\b", text):
        if name.partition(".")[2] not in ("launch", "yaml", "rviz", "json"):
            assert name in EVERY_PARAMETER, name


def test_nodes_are_run_with_parameters_and_remappings_that_exist(text: str) -> None:
    for words in commands(text):
        if words[:3] != ["ros2", "run", "ovseg_ros"] or words[3] == "ovseg":
            continue
        specs, node = PARAMETERS[words[3]], NODE[words[3]]
        for flag, (name, _, value) in zip(words, (word.partition(":=") for word in words[1:]), strict=False):
            if flag == "-p":
                assert specs[name].problem(yaml.safe_load(value)) is None
            if flag == "-r":
                assert name in node.subscribed


def test_parameter_files_hold_parameters_within_their_limits(text: str) -> None:
    for block in blocks(text, "yaml"):
        for name, content in yaml.safe_load(block).items():
            if name == "/**" or name.strip("/") in NODE:
                specs = PARAMETERS["mapping_node" if name == "/**" else name.strip("/")]
                for parameter, value in flat(content["ros__parameters"]).items():
                    assert specs[parameter].problem(value) is None, parameter


def test_topics_and_services_exist(text: str) -> None:
    prose = text.replace(tables(), "")
    for name in re.findall(r"~/[a-z_]+", re.sub(r"~/ros2_ws", "", prose)):
        assert name in PRIVATE, name
    for node, name in re.findall(r"/(mapping_node|segmentation_node)/([a-z_]+)", prose):
        assert f"~/{name}" in {**NODE[node].published, **NODE[node].services}, f"/{node}/{name}"


def test_services_are_called_with_their_type_and_its_fields(text: str) -> None:
    for words in commands(text):
        if words[:3] == ["ros2", "service", "call"]:
            node, name = words[3].strip("/").split("/")
            kind = NODE[node].services[f"~/{name}"].kind
            assert words[4] == f"{kind.__module__.partition('.')[0]}/srv/{kind.__name__}"
            assert yaml.safe_load(words[5]).keys() <= kind.Request.get_fields_and_field_types().keys()
            assert kind.__name__ in interfaces.__all__ or words[4].startswith("std_srvs/")


def test_commands_of_ovseg_and_make_are_ones_that_exist(text: str, root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for words in commands(text):
        if words and Path(words[0]).name == "ovseg" and "--help" not in words and "VERB" not in words:
            if words[1] == EVALUATION:
                assert (root / "evaluation_3d/configs" / f"{words[words.index('--config-name') + 1]}.yaml").is_file()
            else:
                assert parse(words[1:])
        if words[:1] == ["make"]:
            targets = [word for word in words[1:] if re.fullmatch("[a-z]+", word)]
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets), words


def test_files_that_are_linked_or_named_exist(text: str, root: Path, request: pytest.FixtureRequest) -> None:
    here = (root / request.node.callspec.params["text"]).parent
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (here / link).exists(), link
    for name in re.findall(r"`((?:config|launch|rviz|foxglove|docs|scripts)/[\w./-]+\.\w+)`", text):
        assert (root / name).is_file(), name
    for name in re.findall(r"\b(\w+\.launch\.py)", " ".join(re.findall(r"`(\w+\.launch\.py)`", text))):
        assert (root / "launch" / name).is_file(), name
