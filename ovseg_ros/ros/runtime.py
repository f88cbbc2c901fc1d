"""Runs one node until it is told to stop: within two seconds, with exit status 0, at any moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

GRACE_SECONDS = 1.5
"""What is left for an orderly end. A running inference can't be interrupted and may take longer."""

WAIT_SECONDS = 0.1
"""How long the executor waits at most before it looks whether it should stop."""


class Runnable(Protocol):
    """What `run_node` needs to know about a node beyond rclpy's own.

    Attributes:
        failure: why its work ended before its time, one sentence; empty while all is well.
    """

    failure: str

    def close(self) -> None:
        """End the node's threads, or at least ask those to end that may be inside a model."""

    def destroy_node(self) -> None:
        """Leave the ROS graph."""


@dataclass(frozen=True)
class Start:
    """How to begin once all is imported: ``create`` makes the node, ``threads`` answer its services and timers."""

    create: Callable[[threading.Event], Runnable]
    threads: int


class StopSignal:
    """SIGINT and SIGTERM set an event. Before `armed`, there is nothing to put in order and they end the process."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._armed = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def arm(self) -> None:
        """From now on an orderly end is worth its time."""
        self._armed = True

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if not self._armed:
            _exit(0)
        if not self.event.is_set():
            self.event.set()
            deadline = threading.Timer(GRACE_SECONDS, _exit, args=(0,))
            deadline.daemon = True
            deadline.start()


def run_node(load: Callable[[], Start], *, args: list[str] | None = None) -> int:
    """Create a node, spin it until a signal or until it sets the stop event itself, and end in good order.

    Args:
        load: imports what the node needs, which takes seconds: a signal is heard from before that.
        args: command line; None takes the process's own.

    Returns:
        The exit status: 0 after a signal or a finished job, 1 with one line on stderr when the node can't run or go on.
    """
    stop = StopSignal()
    try:
        # First, because its error says what to install and what to type.
        import ovseg_ros.ros.interfaces  # noqa: F401

        start = load()
        import rclpy
        from rclpy.signals import SignalHandlerOptions

        from ovseg_ros.errors import OvsegError
        from ovseg_ros.ros.executor import InputsFirstExecutor
    except ImportError as error:
        print(error, file=sys.stderr)
        return 1
    node: Any = None
    stop.arm()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = start.create(stop.event)
        executor = InputsFirstExecutor(start.threads)
        executor.add_node(node)
        while not stop.event.is_set() and rclpy.ok():
            executor.spin_once(timeout_sec=WAIT_SECONDS)
        if node.failure:
            print(node.failure, file=sys.stderr)
            return 1
        return 0
    except OvsegError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()


def _exit(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
