"""One thread that works off bounded queues. When one is full its oldest item goes: a robot needs the newest."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Calls ``work`` with one item after the other, on its own thread.

    Items wait in lanes that take turns, each with its own room: whoever puts many items overtakes only himself.

    Args:
        work: must not raise.
        capacity: how many items may wait in a lane.
        on_drop: told the lane of an item that was dropped because newer ones came.
    """

    def __init__(self, work: Callable[[Item], None], *, capacity: int, on_drop: Callable[[str], None]) -> None:
        self._work = work
        self._on_drop = on_drop
        self._lanes: dict[str, deque[Item]] = {}
        self._capacity = capacity
        self._changed = threading.Condition()
        self._stopping = False
        # Not a daemon: Python must not tear itself down while the thread is inside a model.
        self._thread = threading.Thread(target=self._run, name="integrator")
        self._thread.start()

    def put(self, item: Item, lane: str = "") -> None:
        """Add an item to a lane; the lane's oldest waiting one is dropped when there is no room."""
        with self._changed:
            items = self._lanes.setdefault(lane, deque())
            full = len(items) >= self._capacity
            if full:
                items.popleft()
            items.append(item)
            self._changed.notify()
        if full:
            self._on_drop(lane)

    @property
    def waiting(self) -> int:
        """How many items wait."""
        with self._changed:
            return sum(len(items) for items in self._lanes.values())

    def stop(self) -> None:
        """Forget what waits and end the thread after the present item; returns at once."""
        with self._changed:
            self._stopping = True
            self._lanes.clear()
            self._changed.notify()

    def join(self) -> None:
        """Wait until the thread has ended; call `stop` first."""
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: any(self._lanes.values()) or self._stopping)
                if self._stopping:
                    return
                item = self._next()
            self._work(item)

    def _next(self) -> Item:
        """The oldest item of the first lane that has one; the lane goes to the end of the line."""
        lane = next(lane for lane, items in self._lanes.items() if items)
        items = self._lanes.pop(lane)
        self._lanes[lane] = items
        return items.popleft()
