"""Scenes one after the other, in processes of this machine, or on the machines of a Ray cluster.

Each launcher yields (scene, what went wrong in one line or None) as scenes end. Scenes share nothing but the files that
they write, so one that fails, or whose process is killed, takes no other with it.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from tqdm import tqdm

from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluation.semseg.scene_run import Progress
from ovseg_ros.evaluation.semseg.settings import RunSettings
from ovseg_ros.segmentation import resolve_device

Settings = TypeVar("Settings", bound=RunSettings)
Outcome = tuple[str, str | None]
Job = Callable[[Settings, str, Progress], str | None]
"""A module's function: does a scene and writes its files; returns what went wrong in one line, or None."""


def launch(settings: Settings, names: Sequence[str], job: Job[Settings]) -> Iterator[Outcome]:
    """Do these scenes, as ``settings.launcher`` says.

    Raises:
        OvsegError: the launcher isn't installed.
    """
    return {"sequential": _sequential, "processes": _processes, "ray": _ray}[settings.launcher](settings, names, job)


def _sequential(settings: Settings, names: Sequence[str], job: Job[Settings]) -> Iterator[Outcome]:
    for name in names:
        frames = partial(tqdm, desc=name, unit="frame", leave=False, disable=None, file=sys.stderr)
        yield name, job(settings, name, frames)


def _processes(settings: Settings, names: Sequence[str], job: Job[Settings]) -> Iterator[Outcome]:
    waiting = deque(names)
    busy: dict[Connection, tuple[str, _Worker]] = {}
    idle: list[_Worker] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < settings.workers:
                worker = idle.pop() if idle else _Worker(settings, job)
                name = waiting.popleft()
                worker.pipe.send(name)
                busy[worker.pipe] = (name, worker)
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                name, worker = busy.pop(pipe)
                try:
                    error = pipe.recv()
                    idle.append(worker)
                except (EOFError, OSError):
                    error = f"its process ended with status {worker.stop()} before the scene was done"
                yield name, error
    finally:
        for worker in (*idle, *(worker for _, worker in busy.values())):
            worker.stop()


class _Worker:
    """A process that does scenes until it is stopped; its model stays loaded between them."""

    def __init__(self, settings: Settings, job: Job[Settings]) -> None:
        # Forked processes can't use CUDA, and inherit threads' locks.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, settings, job), daemon=True)
        self._process.start()
        theirs.close()

    def stop(self) -> int | None:
        """End the process; returns its exit status."""
        self.pipe.close()
        self._process.join(timeout=2)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()
        return self._process.exitcode


def _serve(pipe: Connection, settings: Settings, job: Job[Settings]) -> None:
    while True:
        try:
            name = pipe.recv()
        except EOFError:
            return
        pipe.send(job(settings, name, iter))


def _ray(settings: Settings, names: Sequence[str], job: Job[Settings]) -> Iterator[Outcome]:
    ray = _import_ray()
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    gpus = 1 if resolve_device(settings.device).startswith("cuda") else 0
    # A crashed task is not repeated: what killed it once (memory, mostly) would kill it again.
    task = ray.remote(job).options(max_retries=0, num_cpus=settings.threads, num_gpus=gpus)
    waiting = deque(names)
    pending: dict[Any, str] = {}
    while waiting or pending:
        while waiting and len(pending) < settings.workers:
            name = waiting.popleft()
            pending[task.remote(settings, name, iter)] = name
        (done,), _ = ray.wait(list(pending), num_returns=1)
        name = pending.pop(done)
        try:
            error = ray.get(done)
        except ray.exceptions.RayError as failure:
            error = f"its process ended before the scene was done ({type(failure).__name__})"
        yield name, error


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise OvsegError(
            "launcher=ray needs Ray, which isn't installed: pip install 'ovseg_ros[ray]', or take launcher=processes"
        ) from error
    return ray
