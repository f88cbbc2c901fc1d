"""A plain colcon workspace, built as the README says: what is installed there runs from there."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from nav_msgs.msg import OccupancyGrid
from rig import EVENTUALLY

from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.declarations import LATCHED

# Compiling the messages takes half a minute of two idle cores, and several on a busy machine.
pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

STOP_SECONDS = 20.0
NOT_CLONED = shutil.ignore_patterns(".*", "build", "install", "log", "runs", "demo_output", "shared", "__pycache__")


def readme_commands(root: Path) -> tuple[dict[str, str], str]:
    """From the section for robots: what to export without a distribution, and the command that builds."""
    section = (root / "README.md").read_text().partition("## Use it on a robot")[2].partition("\n## ")[0]
    exports = dict(re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^export (.+)$", section, re.MULTILINE))))
    (build,) = re.findall(r"^\S+ -m colcon build .+$", section, re.MULTILINE)
    return exports, build


@pytest.fixture(scope="module")
def workspace(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a copy of this tree under src/, built."""
    for tool, there in (
        ("colcon", importlib.util.find_spec("colcon_ros")),
        ("cmake", shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")),
        ("a C++ compiler", shutil.which(os.environ.get("CXX", "c++"))),
    ):
        if not there:
            pytest.skip(f"{tool} is not installed")
    folder = tmp_path_factory.mktemp("ros2_ws")
    clone = folder / "src" / "ovseg_ros"
    shutil.copytree(root, clone, ignore=NOT_CLONED)
    (clone / ".venv").symlink_to(sys.prefix)
    exports, build = readme_commands(root)
    # A distribution that is sourced has set the paths itself.
    missing = {name: value for name, value in exports.items() if name not in os.environ}
    script = "\n".join([*(f"export {name}={value}" for name, value in missing.items()), build])
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    built = subprocess.run(
        ["bash", "-ec", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@contextmanager
def running(workspace: Path, log: Path, *command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the workspace's environment, whose Ctrl-C is ours to send; killed if it is still there."""
    script = f'. "{workspace}/install/setup.bash" && exec "$@"'
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", *command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def says(workspace: Path, log: Path, *command: str | Path) -> str:
    """What a command prints that must succeed."""
    with running(workspace, log, *command) as process:
        assert process.wait(EVENTUALLY) == 0, log.read_text()
    return log.read_text()


def executable(workspace: Path, name: str) -> Path:
    return workspace / "install" / "ovseg_ros" / "lib" / "ovseg_ros" / name


def test_everything_that_ros_looks_for_is_installed(workspace: Path, root: Path) -> None:
    share = workspace / "install" / "ovseg_ros" / "share"
    wanted = {"package.xml"}
    for folder in ("launch", "config", "rviz", "foxglove"):
        wanted |= {str(path.relative_to(root)) for path in (root / folder).rglob("*.*") if path.suffix != ".pyc"}
    assert {path for path in wanted if not (share / "ovseg_ros" / path).is_file()} == set()
    assert (share / "ament_index" / "resource_index" / "packages" / "ovseg_ros").is_file()
    interfaces = workspace / "install" / "ovseg_interfaces" / "share"
    assert (interfaces / "ament_index" / "resource_index" / "rosidl_interfaces" / "ovseg_interfaces").is_file()


def test_the_installed_command_runs_on_what_is_installed(workspace: Path, tmp_path: Path) -> None:
    printed = says(workspace, tmp_path / "log", executable(workspace, "ovseg"), "backends", "--json")
    openseg = next(entry for entry in json.loads(printed)["backends"] if entry["name"] == "openseg")
    assert openseg["installed"]
    assert Path(openseg["weights"]).is_relative_to(workspace / "install")


def test_the_installed_node_becomes_active_answers_and_ends_with_status_0(workspace: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    node = executable(workspace, "mapping_node")
    with running(workspace, log, node, "--ros-args", "-p", "pose_source:=pose") as process, MapClient() as client:
        client.wait_until_active(timeout=EVENTUALLY)
        assert client.query(["chair"]).message.startswith("the map is empty")
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_SECONDS) == 0, log.read_text()


@pytest.mark.skipif(shutil.which("ros2") is None, reason="the ros2 command isn't in the wheels")
@pytest.mark.parametrize("namespace", ["", "/robot"])
def test_ros2_launch_maps_a_generated_room(workspace: Path, tmp_path: Path, namespace: str) -> None:
    log = tmp_path / "log"
    command = ["ros2", "launch", "ovseg_ros", "mapping.launch.py", "demo:=true", "layers:=occupancy"]
    command += [f"namespace:={namespace}"] if namespace else []
    with (
        running(workspace, log, *command) as process,
        MapClient(f"{namespace}/mapping_node") as client,
    ):
        client.wait_until_active(timeout=EVENTUALLY)
        plans: list[OccupancyGrid] = []
        client.node.create_subscription(OccupancyGrid, f"{namespace}/mapping_node/occupancy", plans.append, LATCHED)
        client.wait_for(lambda: any(plan.data for plan in plans), "a plan of the room", EVENTUALLY)
        assert client.query(["chair"]).map_revision > 0
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(STOP_SECONDS) == 0, log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.skipif(shutil.which("ros2") is None, reason="the ros2 command isn't in the wheels")
@pytest.mark.parametrize("name", ["mapping", "bag", "segmentation"])
def test_ros2_launch_explains_the_arguments(workspace: Path, tmp_path: Path, name: str) -> None:
    printed = says(workspace, tmp_path / "log", "ros2", "launch", "ovseg_ros", f"{name}.launch.py", "--show-args")
    assert "'sensor':" in printed
    assert "Model; empty: what the parameters say." in printed
