"""The engine of a cluster: a Ray actor for every worker, with one thread each.

An actor reserves one core and a share of a GPU; Ray places it. It holds the models, gets one unit
at a time, and streams its results back, so that no queue grows on either side. An actor that is
lost, alone or with its node, is replaced wherever there is room.
"""

import contextlib
import logging
import os
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from ncodec.batch.protocols import (
    BROKEN,
    END,
    GONE,
    PROGRESS,
    READY,
    RESULT,
    Messages,
    Task,
    WorkerPool,
)
from ncodec.batch.work_units import WorkUnit
from ncodec.batch.worker import Worker
from ncodec.errors import NcodecError, UsageError
from ncodec.native.threads import set_n_threads

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

MAX_LOSSES = 4  # nodes may be taken away for reasons of their own
IS_ONE_MACHINE = False
_SETTINGS = {  # of a cluster that is started here: no usage reports, no lower priority
    "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0",
}  # fmt: skip
_MOMENT_S = 0.2  # for each object that Ray passes on costs a millisecond or two
_JOINING_S = 10.0
_ENDING_S = 10.0  # to wait for a thread to notice that its actor is gone


@contextlib.contextmanager
def open_pool(pool: WorkerPool) -> Iterator[int]:
    """See Engine: join a cluster, that of this process if it is in one, or start one here."""
    is_ours = not ray.is_initialized()
    address = pool.address or os.environ.get("RAY_ADDRESS")
    if is_ours:
        if address is not None:
            _check_reachable(address)
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            ray.init(
                address=address, include_dashboard=None if address else False,
                log_to_driver=False, logging_level=logging.ERROR,
            )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, RayError) as error:
            raise UsageError(
                f"Ray cluster {address or 'here'}: cannot be joined: {_why(error)}"
            ) from error
    try:
        yield _count_workers(pool)
    finally:
        if is_ours:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise UsageError where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():  # auto, local
        return
    if "/" in host:
        raise UsageError(f"Ray cluster {address}: expected HOST:PORT, of the head node's GCS")
    try:
        socket.create_connection((host, int(port)), _JOINING_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"Ray cluster {address}: cannot be joined: {error}") from error


def _count_workers(pool: WorkerPool) -> int:
    """Return how many workers there is room for."""
    if pool.n_workers is not None:
        return pool.n_workers
    there = ray.cluster_resources()
    most = there.get("CPU", 0.0)
    if pool.gpu > 0:
        most = min(most, there.get("GPU", 0.0) / pool.gpu)
    if most < 1:
        raise UsageError(
            f"Ray cluster: has {there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs, "
            f"expected 1 and {pool.gpu:g} for every worker"
        )
    return int(most + 1e-9)


def spawn(task: Task, pool: WorkerPool, number: int, messages: Messages) -> "_ActorHandle":
    """See Engine."""
    return _ActorHandle(task, pool, messages)


class _Actor:
    """What Ray runs: a worker, whose results come as it makes them."""

    def start(self, task: Task) -> None:
        """Load the models."""
        set_n_threads(1)
        self._worker = Worker(task)

    def work(self, unit: WorkUnit) -> Iterator[list[tuple[str, Any]]]:
        """Yield the messages of a unit, those of a moment together."""
        messages: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        failed: list[Exception] = []

        def work() -> None:
            try:
                for result in self._worker.run(
                    unit, lambda *progress: messages.put((PROGRESS, progress))
                ):
                    messages.put((RESULT, result))
            except Exception as error:
                failed.append(error)
            messages.put(None)

        thread = threading.Thread(target=work)
        thread.start()
        while gathered := _gather(messages):
            yield gathered
        thread.join()
        for error in failed:
            raise error


def _gather(messages: "queue.SimpleQueue[tuple[str, Any] | None]") -> list[tuple[str, Any]]:
    """Return the messages of the next moment, up to the end, which is None; none at the end."""
    gathered: list[tuple[str, Any]] = []
    give_up: float | None = None  # waits for the first
    while True:
        left = None if give_up is None else max(0, give_up - time.monotonic())
        try:
            message = messages.get(timeout=left)
        except queue.Empty:
            return gathered
        if message is None:
            if gathered:
                messages.put(None)
            return gathered
        gathered.append(message)
        give_up = give_up or time.monotonic() + _MOMENT_S


class _ActorHandle:
    """See WorkerHandle: an actor, and a thread here that listens to it."""

    def __init__(self, task: Task, pool: WorkerPool, messages: Messages) -> None:
        self._task, self._messages = task, messages
        self._units: queue.SimpleQueue[WorkUnit | None] = queue.SimpleQueue()
        self._actor: Any = ray.remote(_Actor).options(
            num_cpus=1, num_gpus=pool.gpu, max_restarts=0, max_concurrency=1,
        ).remote()  # fmt: skip
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def give(self, unit: WorkUnit) -> None:
        """See WorkerHandle."""
        self._units.put(unit)

    def kill(self) -> None:
        """See WorkerHandle."""
        self._units.put(None)
        with contextlib.suppress(Exception):
            ray.kill(self._actor)
        self._thread.join(_ENDING_S)

    def _listen(self) -> None:
        try:
            ray.get(self._actor.start.remote(self._task))
        except RayTaskError as error:  # of the worker, not of Ray
            self._messages.put((self, BROKEN, f"{type(error.cause).__name__}: {error.cause}"))
            return
        except Exception as error:
            self._messages.put((self, GONE, _why(error)))
            return
        self._messages.put((self, READY, None))
        try:
            while (unit := self._units.get()) is not None:
                results = self._actor.work.options(num_returns="streaming").remote(unit)
                for messages in results:
                    for message in ray.get(messages):
                        self._messages.put((self, *message))
                self._messages.put((self, END, None))
        except Exception as error:
            with contextlib.suppress(Exception):
                ray.kill(self._actor)
            self._messages.put((self, GONE, _why(error)))


def in_cluster(
    do: Callable[[_Task], _Result], tasks: Iterable[_Task], n_workers: int
) -> Iterator[_Result]:
    """Yield what `do` returns of each task, in their order; a few more than workers are waiting.

    Ray does a task again elsewhere where its node is lost. Raises what `do` raises, NcodecError for
    a loss that Ray gives up on.
    """
    remote: Any = ray.remote(num_cpus=1, max_retries=MAX_LOSSES)(do)
    waiting: deque[Any] = deque()
    left = iter(tasks)
    while True:
        waiting.extend(remote.remote(task) for task in islice(left, n_workers + 1 - len(waiting)))
        if not waiting:
            return
        try:
            yield ray.get(waiting.popleft())
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise NcodecError(f"Ray cluster: {_why(error)}") from None


def _why(error: Exception) -> str:
    """Return what Ray says first of a loss; what follows are hints, over many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
