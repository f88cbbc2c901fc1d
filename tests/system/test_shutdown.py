"""mapping_node ends within two seconds and with status 0 whatever it is doing when the signal comes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 for Python is not installed")

from rig import EVENTUALLY, MAPPING, Camera, room
from test_processes import LOADED_MACHINE, STOP_LIMIT

from ovseg_ros.ros.client import MapClient
from ovseg_ros.ros.processes import yaml_value

pytestmark = pytest.mark.system

PROGRAM = """
import sys, time
from ovseg_ros.ros import mapping_node

moment, *arguments = sys.argv[1:]

def forever(*_, **__):
    print("busy", flush=True)
    time.sleep(600)

class Unfinished:
    def find_spec(self, name, *_):
        return forever() if name == "torch" else None

class Stuck:
    def __init__(self, backend):
        self.space, self.vocabulary = backend.space, backend.vocabulary
    __call__ = forever

if moment == "import":
    sys.meta_path.insert(0, Unfinished())
else:
    from ovseg_ros.ros import mapper, session
    load = mapper.load_segmenter
    if moment == "configure":
        mapper.load_segmenter = forever
    elif moment == "inference":
        mapper.load_segmenter = lambda *of: Stuck(load(*of))
    else:
        session.storage.save = forever
sys.exit(mapping_node.main(arguments))
"""


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("import", signal.SIGTERM),
        ("configure", signal.SIGTERM),
        ("inference", signal.SIGINT),
        ("saving", signal.SIGTERM),
    ],
)
def test_a_signal_ends_the_node_while_it_is_stuck(moment: str, number: signal.Signals, tmp_path: Path) -> None:
    """Whatever it is stuck in would take ten minutes."""
    arguments = [word for name, value in MAPPING.items() for word in ("-p", f"{name}:={yaml_value(value)}")]
    with (tmp_path / "log").open("wb") as log:
        node = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, moment, "--ros-args", *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    printed = (tmp_path / "log").read_text
    try:
        with MapClient() as client:
            if moment in ("inference", "saving"):
                client.wait_until_active(timeout=EVENTUALLY)
            if moment == "inference":
                camera = Camera(client)
                camera.wait_for_listeners()
                camera.send(room()[0])
            if moment == "saving":
                client.save_in_background(str(tmp_path / "a.ovmap"))
            client.wait_for(lambda: "busy" in printed(), f"the {moment}", EVENTUALLY)
        start = time.monotonic()
        node.send_signal(number)
        assert node.wait(EVENTUALLY) == 0
        assert time.monotonic() - start < STOP_LIMIT + LOADED_MACHINE
        assert "Traceback" not in printed(), printed()
    finally:
        node.kill()
