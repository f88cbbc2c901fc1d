"""What every test runs under: checked ROS messages, a ROS domain of its own, and few threads."""

from __future__ import annotations

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core; set before torch looks, and inherited by the nodes.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

# Before anything imports rclpy, and inherited by the nodes that system tests start.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
fastdds_profiles = (
    "FASTRTPS_DEFAULT_PROFILES_FILE"
    if os.environ.get("ROS_DISTRO") in ("humble", "jazzy")
    else "FASTDDS_DEFAULT_PROFILES_FILE"
)
os.environ[fastdds_profiles] = str(ROOT / "config" / "fastdds_shm.xml")

# Threads that wait for each other on a busy machine make tests many times slower: OMP_NUM_THREADS=1 helps there.
if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers, nodes run one after the other in one of them, and the tests of a file stay together."""
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            # Nodes mostly wait. Building a workspace doesn't, and need not wait for them.
            waits = "system" in item.keywords and item.path.name != "test_colcon.py"
            item.add_marker(pytest.mark.xdist_group("system" if waits else item.path.name))


@pytest.fixture(scope="session")
def root() -> Path:
    """The top folder of the repository."""
    return ROOT
