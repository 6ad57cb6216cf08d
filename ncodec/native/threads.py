"""How many threads the coders and decoders of this process work with; torch heeds the same."""

import contextlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

_T = TypeVar("_T")

_CGROUP = Path("/sys/fs/cgroup")
_QUOTAS = (  # and periods, in us: of version 2, and of version 1
    ("cpu.max",),
    ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
)


def available() -> int:
    """Return how many cores this process may keep busy: those it has, or its container pays for."""
    n_cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        n_cores = len(os.sched_getaffinity(0))
    for files in _QUOTAS:
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = map(int, " ".join((_CGROUP / f).read_text() for f in files).split())
            if quota > 0:
                n_cores = min(n_cores, max(1, round(quota / period)))
    return n_cores


def n_threads() -> int:
    """Return the number to work with: $OMP_NUM_THREADS, or all that are available."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else available()


def set_n_threads(count: int) -> None:
    """Set the number for this process, its children, and torch, loaded or not yet."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def in_order(tasks: Iterable[Callable[[], _T]]) -> Iterator[_T]:
    """Yield what each task returns, in their order; two or more run on `n_threads` threads.

    The caller's thread makes the tasks, one more ahead than there are threads. What making them
    raises comes after what was made before.
    """
    count, given = n_threads(), _raising_last(tasks)
    few = list(islice(given, 2 if count > 1 else 0))
    if len(few) < 2:
        yield from (task() for task in chain(few, given))
        return
    from concurrent.futures import ThreadPoolExecutor

    pool, waiting = ThreadPoolExecutor(count), deque["Future[_T]"]()
    try:
        for task in chain(few, given):
            waiting.append(pool.submit(task))
            while len(waiting) > count or (waiting and waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _raising_last(tasks: Iterable[Callable[[], _T]]) -> Iterator[Callable[[], _T]]:
    """Yield tasks, and one that raises what making them raises."""
    try:
        yield from tasks
    except Exception as error:  # raised again
        failed = error

        def fail() -> NoReturn:
            raise failed

        yield fail
