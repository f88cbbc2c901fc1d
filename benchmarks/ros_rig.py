"""A mapping_node of its own for the benchmarks that need one: on a ROS domain where nobody else is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ovseg_ros.demo.run import LAST_DOMAIN
from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.node_parameters import Value
from ovseg_ros.ros.processes import NodeProcess

START_SECONDS = 120.0

PROFILES = Path(__file__).resolve().parents[1] / "config" / "fastdds_shm.xml"


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has taken so far, all threads together."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def mapping_node(log: Path, parameters: Mapping[str, Value]) -> Iterator[tuple[NodeProcess, MapClient]]:
    """An active node and a client of it."""
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % LAST_DOMAIN)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    older = os.environ.get("ROS_DISTRO") in ("humble", "jazzy")
    os.environ.setdefault(f"FAST{'RTPS' if older else 'DDS'}_DEFAULT_PROFILES_FILE", str(PROFILES))
    with NodeProcess("mapping_node", log, parameters=parameters) as node, MapClient() as client:
        client.wait_until_active(timeout=START_SECONDS)
        yield node, client
