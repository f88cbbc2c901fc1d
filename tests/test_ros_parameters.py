"""The declared parameters: limits, typos, and the file that ships their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ovseg_ros.ros.node_parameters import markdown, unknown_names
from ovseg_ros.ros.parameters import MAPPING_PARAMETERS, PLAYER_PARAMETERS, SEGMENTATION_PARAMETERS
from ovseg_ros.ros.processes import yaml_value

ALL = MAPPING_PARAMETERS + PLAYER_PARAMETERS + SEGMENTATION_PARAMETERS
SPECS = {spec.name: spec for spec in SEGMENTATION_PARAMETERS + MAPPING_PARAMETERS + PLAYER_PARAMETERS}


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in tree.items():
        values.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return values


def test_the_shipped_file_holds_every_default(root: Path) -> None:
    shipped = yaml.safe_load((root / "config" / "mapping.yaml").read_text())["/**"]["ros__parameters"]
    assert flat(shipped) == {spec.name: spec.default for spec in MAPPING_PARAMETERS}


@pytest.mark.parametrize("specs", [MAPPING_PARAMETERS, SEGMENTATION_PARAMETERS, PLAYER_PARAMETERS])
def test_the_readme_shows_the_declared_parameters(specs: Any, root: Path) -> None:
    assert markdown(specs) in (root / "README.md").read_text(), (
        "run python -m ovseg_ros.ros.interface_tables --write README.md"
    )


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.name)
def test_defaults_are_within_their_own_limits(spec: Any) -> None:
    assert spec.problem(spec.default) is None
    assert spec.sentence.endswith(".")
    assert f"`{spec.name}`" in markdown([spec])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("mapping.voxel_size", 0.0, "mapping.voxel_size must be 0.005 to 1, got 0.0"),
        ("mapping.voxel_size", 1.5, "0.005 to 1"),
        ("mapping.voxel_size", float("nan"), "0.005 to 1"),
        ("mapping.voxel_size", 1, "must be of type double, got 1: write 1.0"),
        ("sync.queue_size", 0, "1 to 1000"),
        ("sync.queue_size", 1.0, "must be of type integer"),
        ("autostart", 1, "must be of type bool"),
        ("pose_source", "tf3", "must be one of auto, tf, odometry, pose, got 'tf3'"),
        ("backend", "x" * 5000, "the limit is 4096"),
        ("cameras", "front rear", "must be of type string array"),
        ("cameras", ["front", 1], "cameras must be texts"),
    ],
)
def test_values_out_of_limits_are_refused_with_the_limit(name: str, value: object, words: str) -> None:
    problem = SPECS[name].problem(value)
    assert problem is not None
    assert words in problem


def test_a_typo_is_reported_with_the_closest_name() -> None:
    names = [spec.name for spec in MAPPING_PARAMETERS]
    given = ["mapping.voxel_sise", "backend", "use_sim_time", "qos_overrides./rgb/image.subscription.depth"]
    assert unknown_names(given, names, lambda name: name == "use_sim_time") == [
        "the parameter mapping.voxel_sise is unknown and has no effect: did you mean mapping.voxel_size?"
    ]


@pytest.mark.parametrize(
    "value", [True, False, 0, -3, 0.05, 1e-5, 1000.0, "", "320x240", "1.0", "true", 'a "b" \\c', ["", "1", "b"]]
)
def test_values_survive_the_command_line(value: object) -> None:
    read = yaml.safe_load(yaml_value(value))
    assert type(read) is type(value)
    assert read == value
