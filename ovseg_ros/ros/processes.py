"""Nodes of this package as processes of their own: start, follow, stop."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.node_parameters import Value

STOP_SECONDS = 10.0
"""How long a node may take to end before it is killed; it needs two seconds on an idle machine."""


class NodeProcess:
    """One node in its own process; stops with the ``with`` block.

    Args:
        executable: "mapping_node", "segmentation_node" or "rgbd_player_node".
        log: file that takes what the node prints.
        parameters: name -> value.
        namespace: of the node and so of its relative topics, with a slash first; empty: none.

    Example:
        >>> with NodeProcess("mapping_node", Path("mapping.log")) as node:  # doctest: +SKIP
        ...     node.running
        True
    """

    def __init__(
        self,
        executable: str,
        log: Path,
        *,
        parameters: Mapping[str, Value] | None = None,
        namespace: str = "",
    ) -> None:
        command = [sys.executable, "-m", f"ovseg_ros.ros.{executable}", "--ros-args"]
        command += ["-r", f"__ns:={namespace}"] if namespace else []
        for name, value in (parameters or {}).items():
            command += ["-p", f"{name}:={yaml_value(value)}"]
        self.executable = executable
        self.log = log
        with log.open("wb") as output:
            # A session of its own: Ctrl-C at the terminal then reaches the node through stop() alone.
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def printed(self) -> str:
        """What the node has printed so far."""
        return self.log.read_text(errors="replace")

    def wait(self, timeout: float) -> int:
        """Wait for the node to end by itself; return its exit status.

        Raises:
            OvsegError: it still runs after ``timeout`` seconds.
        """
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise OvsegError(f"{self.executable} still runs after {timeout:g} s: see {self.log}") from error

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and wait; a node that doesn't end in time is killed. Return the exit status."""
        if self.running:
            self._process.send_signal(number)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        return int(self._process.returncode)

    def kill(self) -> None:
        """End the process with SIGKILL, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()


def yaml_value(value: Value) -> str:
    """A parameter as ``-p name:=value`` reads it: a text that looks like a number stays a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.9f}"
    if isinstance(value, list):
        return f"[{', '.join(map(yaml_value, value))}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)
