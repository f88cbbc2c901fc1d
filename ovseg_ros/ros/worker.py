"""One thread that works off a bounded queue. When it is full the oldest item goes: a robot needs the newest."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Calls ``work`` with one item after the other, on its own thread.

    Args:
        work: must not raise.
        capacity: how many items may wait.
        on_drop: told when an item was dropped because newer ones came.
    """

    def __init__(self, work: Callable[[Item], None], *, capacity: int, on_drop: Callable[[], None]) -> None:
        self._work = work
        self._on_drop = on_drop
        self._items: deque[Item] = deque()
        self._capacity = capacity
        self._changed = threading.Condition()
        self._stopping = False
        # Not a daemon: Python must not tear itself down while the thread is inside a model.
        self._thread = threading.Thread(target=self._run, name="integrator")
        self._thread.start()

    def put(self, item: Item) -> None:
        """Add an item; the oldest waiting one is dropped when there is no room."""
        with self._changed:
            full = len(self._items) >= self._capacity
            if full:
                self._items.popleft()
            self._items.append(item)
            self._changed.notify()
        if full:
            self._on_drop()

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return len(self._items)

    def stop(self) -> None:
        """Forget what waits and end the thread after the present item; returns at once."""
        with self._changed:
            self._stopping = True
            self._items.clear()
            self._changed.notify()

    def join(self) -> None:
        """Wait until the thread has ended; call `stop` first."""
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._stopping)
                if self._stopping:
                    return
                item = self._items.popleft()
            self._work(item)
