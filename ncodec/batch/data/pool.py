"""Tasks in processes or in a cluster, their results in order."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from typing import TypeVar

from ncodec.batch.conversion import find_engine
from ncodec.batch.protocols import WorkerPool
from ncodec.errors import NcodecError, UsageError
from ncodec.native.threads import available, set_n_threads

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def in_workers(
    do: Callable[[_Task], _Result], tasks: Iterable[_Task], pool: WorkerPool
) -> Iterator[_Result]:
    """Yield what `do` returns of each task, in their order; see `in_processes`.

    Raises UsageError for a cluster that cannot be joined.
    """
    if pool.engine == "local":
        if pool.address is not None:
            raise UsageError("an address is for the engine ray")
        yield from in_processes(do, tasks, pool.n_workers)
        return
    engine = find_engine(pool.engine)
    from ncodec.batch.ray import in_cluster

    with engine.open_pool(pool) as n_workers:
        yield from in_cluster(do, tasks, n_workers) if n_workers else map(do, tasks)


def in_processes(
    do: Callable[[_Task], _Result], tasks: Iterable[_Task], n_workers: int | None
) -> Iterator[_Result]:
    """Yield what `do` returns of each task, in their order.

    n_workers  processes of one thread each; by default one per core. 0: this process

    What a task raises ends all. Raises NcodecError where a worker is lost.
    """
    given = iter(tasks)
    few = list(islice(given, 2))
    count = available() if n_workers is None else n_workers
    if count == 0 or len(few) < 2:
        yield from map(do, chain(few, given))
        return
    pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=_start)
    try:
        waiting: deque[Future[_Result]] = deque()
        for task in chain(few, given):
            waiting.append(pool.submit(do, task))
            if len(waiting) > count + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise NcodecError("a worker process was lost, such as for lack of memory") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    """Prepare a worker: one thread, and no longer than its parent."""
    set_n_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
