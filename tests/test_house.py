"""The house itself: what setup.py, package.xml, the Makefile and the import guard promise each other."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import ovseg_ros

MAKE_INPUTS = (
    "Makefile",
    "scripts",
    "cmake",
    "ovseg_interfaces",
    "requirements.txt",
    "requirements-ros.txt",
    "requirements-dev.txt",
    "requirements-distribution.txt",
    "setup.py",
    "setup.cfg",
    "package.xml",
    "pyproject.toml",
    "ovseg_ros/__init__.py",
)


def run(command: list[str], folder: Path, **variables: str) -> str:
    """Output of a command that must succeed, run outside whatever ROS environment the tests have."""
    ros = ("ROS_", "AMENT_", "CMAKE_", "COLCON_", "PYTHONPATH", "MAKE", "MFLAGS", "LD_LIBRARY_PATH", "_ROS_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ros)} | variables
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def setup_says(root: Path, *questions: str) -> list[str]:
    """What `setup.py` answers to questions such as --name."""
    return run([sys.executable, "setup.py", "--quiet", *questions], root).split()


def entry_points(root: Path) -> dict[str, str]:
    """Executable -> module:function, as setup.py declares them."""
    declared = re.findall(r'"(\w+) = ([\w.]+:\w+)"', (root / "setup.py").read_text(encoding="utf-8"))
    return dict(declared)


def test_name_and_version_are_the_same_everywhere(root: Path) -> None:
    versions = {}
    for manifest in ("package.xml", "ovseg_interfaces/package.xml"):
        package = ElementTree.parse(root / manifest).getroot()
        versions[package.findtext("name")] = package.findtext("version")

    assert versions == {"ovseg_ros": ovseg_ros.__version__, "ovseg_interfaces": ovseg_ros.__version__}
    assert setup_says(root, "--name", "--version") == ["ovseg_ros", ovseg_ros.__version__]


def test_changelog_knows_the_version(root: Path) -> None:
    headings = re.findall(r"^## \[(.+?)\]", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert ovseg_ros.__version__ in headings or len(headings) == 1


def test_every_entry_point_leads_to_a_function(root: Path) -> None:
    points = entry_points(root)
    assert points.keys() >= {"ovseg", "mapping_node", "rgbd_player_node"}
    for executable, target in points.items():
        module, function = target.split(":")
        path = root / module.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        assert path.is_file(), f"{executable} needs {path}"
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert function in {node.name for node in body if isinstance(node, ast.FunctionDef)}, executable


def test_every_message_file_is_built(root: Path) -> None:
    folder = root / "ovseg_interfaces"
    listed = set(re.findall(r'"((?:msg|srv)/\w+\.(?:msg|srv))"', (folder / "CMakeLists.txt").read_text("utf-8")))
    present = {str(path.relative_to(folder)) for kind in ("msg", "srv") for path in (folder / kind).iterdir()}
    assert listed == present


def test_package_data_travels_with_the_package(root: Path, tmp_path: Path) -> None:
    wanted = {
        path.relative_to(root)
        for pattern in ("**/*.safetensors", "**/*.txt", "**/*.json", "**/py.typed")
        for path in (root / "ovseg_ros").glob(pattern)
    }
    assert Path("ovseg_ros/py.typed") in wanted
    run([sys.executable, "setup.py", "--quiet", "egg_info", "-e", str(tmp_path), "build_py", "-d", str(tmp_path)], root)
    assert {path for path in wanted if not (tmp_path / path).is_file()} == set()


@pytest.mark.parametrize(("rclpy", "hint"), [(False, "source "), (True, "colcon build ")])
def test_missing_ros_packages_are_named_with_what_to_type(root: Path, tmp_path: Path, rclpy: bool, hint: str) -> None:
    if rclpy:
        (tmp_path / "rclpy.py").touch()
    program = f"""
import sys
sys.path[:0] = [{str(root)!r}, {str(tmp_path)!r}]
import ovseg_interfaces
assert ovseg_interfaces.__file__ is None, "the source folder should be found here, not a build"
try:
    from ovseg_ros.ros.interfaces import MapFile, Match, QueryMap
except ImportError as error:
    print(error)
"""
    # -S leaves out .venv, where both are installed.
    message = run([sys.executable, "-S", "-c", program], root)
    assert "make setup" in message
    assert hint in message
    assert message.count("\n") == 1


@pytest.fixture
def make_folder(root: Path, tmp_path: Path) -> Path:
    """A copy of all that `make setup` reads, in which every step counts as done; nothing is installed."""
    folder = tmp_path / "a folder"
    for name in MAKE_INPUTS:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (root / name).is_dir():
            shutil.copytree(root / name, target)
        else:
            shutil.copy(root / name, target)
    (folder / ".venv/.setup").mkdir(parents=True)
    run(["make", "--touch", "setup"], folder)
    return folder


def planned(folder: Path) -> set[str]:
    """Which steps `make` would take in this folder."""
    recipe = run(["make", "--dry-run", "setup"], folder)
    signs = {
        "environment": "-m venv",
        "packages": "-r requirements.txt",
        "interfaces": "build_interfaces.sh",
        "project": "-e .",
        "nothing": "Nothing to do",
    }
    return {step for step, sign in signs.items() if sign in recipe}


def test_second_make_does_nothing(make_folder: Path) -> None:
    assert planned(make_folder) == {"nothing"}


@pytest.mark.parametrize(
    ("file", "steps"),
    [
        ("ovseg_interfaces/msg/Match.msg", {"interfaces"}),
        ("requirements-ros.txt", {"packages", "interfaces", "project"}),
        ("setup.py", {"project"}),
    ],
)
def test_edited_input_repeats_its_step_and_those_built_on_it(make_folder: Path, file: str, steps: set[str]) -> None:
    before = (make_folder / file).read_text(encoding="utf-8")
    (make_folder / file).write_text(before + "# edited\n", encoding="utf-8")
    assert planned(make_folder) == steps

    (make_folder / file).write_text(before, encoding="utf-8")
    assert planned(make_folder) == {"nothing"}


def test_interrupted_installation_starts_afresh(make_folder: Path) -> None:
    (make_folder / ".venv/.setup/unfinished").touch()
    assert planned(make_folder) == {"environment", "packages", "interfaces", "project"}


def test_moved_tree_gets_a_new_environment(make_folder: Path) -> None:
    moved = make_folder.with_name("elsewhere")
    make_folder.rename(moved)
    assert "environment" in planned(moved)


def test_a_distribution_without_rclpy_is_not_one(make_folder: Path) -> None:
    recipe = run(["make", "--dry-run", "setup"], make_folder, ROS_DISTRO="jazzy", AMENT_PREFIX_PATH="/opt/ros/jazzy")
    assert "Nothing to do" in recipe


def test_a_distribution_with_rclpy_is_used(make_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rclpy.py").touch()
    sourced = {"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": "/opt/ros/jazzy", "PYTHONPATH": str(tmp_path)}
    recipe = run(["make", "--dry-run", "setup"], make_folder, **sourced)
    assert "--system-site-packages" in recipe
    assert "-r requirements-distribution.txt" in recipe
    assert "-r requirements-ros.txt" not in recipe


def test_python_that_is_too_old_is_refused_in_one_sentence(root: Path, tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text(f"""#!{sys.executable}
import sys
sys.version_info = (3, 10, 12)
exec(sys.argv[2])
""")
    old.chmod(0o755)
    done = subprocess.run(
        ["bash", "scripts/prepare_system.sh", str(old), ""], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch(r"make setup: .*3\.10, and ovseg_ros needs 3\.11 or newer.*\n", done.stderr)


@pytest.mark.skipif(os.environ.get("ROS_DISTRO") is not None, reason="the sourced distribution has its own .venv")
@pytest.mark.skipif(Path(sys.prefix) != Path(__file__).parents[1] / ".venv", reason="not run from this tree's .venv")
def test_this_environment_is_the_one_make_would_prepare(root: Path) -> None:
    assert planned(root) == {"nothing"}, "run make, then the tests"
    assert run(["make", "setup"], root) == "Nothing to do: .venv is up to date.\n"


def test_import_rules_see_every_room(root: Path) -> None:
    """A room that import-linter doesn't know could break the rule that only ros knows ROS."""
    rules = (root / "pyproject.toml").read_text(encoding="utf-8")
    rooms = {path.stem for path in (root / "ovseg_ros").iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms -= {"__init__", "__pycache__", "ros"}
    assert {room for room in rooms if f'"ovseg_ros.{room}"' not in rules} == set()
