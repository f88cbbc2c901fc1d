"""Receives messages in the thread that waits for them, and answers everything else in a pool of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rclpy.executors import Executor, ExternalShutdownException, ShutdownException, TimeoutException
from rclpy.subscription import Subscription
from rclpy.task import Task


class InputsFirstExecutor(Executor):
    """For nodes whose subscriptions only enqueue, while their services and timers may take their time.

    rclpy's `MultiThreadedExecutor` hands each message to another thread, whose beginning and end make it gather all of
    the node's entities anew, under Python's lock. With four messages a frame that costs more than to receive them.

    Args:
        threads: so many services and timers are answered at once.
    """

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._pool = ThreadPoolExecutor(threads)
        self._passed_on: list[Task[Any]] = []

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for one callback, so many seconds at most, and run it or pass it on. What callbacks raise is raised."""
        try:
            task, entity, _ = self.wait_for_ready_callbacks(timeout_sec=timeout_sec)
        except (TimeoutException, ShutdownException, ExternalShutdownException):
            return
        if isinstance(entity, Subscription):
            task()
            task.result()
            return
        self._pool.submit(task)
        self._passed_on.append(task)
        for ended in [other for other in self._passed_on if other.done()]:
            self._passed_on.remove(ended)
            ended.result()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Take nothing new. What runs in the pool is not waited for."""
        self._pool.shutdown(wait=False)
        return bool(super().shutdown(timeout_sec))
