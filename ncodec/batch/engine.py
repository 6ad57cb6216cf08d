"""What hires workers: a module with the functions of `Engine`."""

import queue
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from ncodec.batch.outcome import Item
from ncodec.batch.work_units import WorkUnit
from ncodec.batch.worker import Task
from ncodec.errors import UsageError

ENGINES = ("local", "ray")  # modules of ncodec.batch
READY, BROKEN, RESULT, PROGRESS, END, GONE = (
    "ready", "broken", "result", "progress", "end", "gone",
)  # fmt: skip
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""The environment of a worker."""


@dataclass(frozen=True, slots=True)
class WorkerPool:
    """Who is to work."""

    n_workers: int | None = None  # None: one for every core or GPU share; 0: this process itself
    address: str | None = None  # of a cluster
    gpu: float = 0.0  # share of a GPU for each worker


@dataclass(frozen=True, slots=True)
class Events:
    """What the run wants to know while it goes on."""

    on_begin: Callable[[Sequence[Item]], None]  # before a worker is given these files
    on_progress: Callable[[str, int], None]  # a source, and how many of its bytes were just done


class WorkerHandle(Protocol):
    """A worker. What it has to say comes as messages.

    READY     it can be given a unit
    BROKEN    it cannot work, and why: nobody else here could
    RESULT    an Outcome or a SegmentResult
    PROGRESS  arguments of Events.on_progress
    END       the unit is done, it can be given the next
    GONE      it is no more, and why; the last message
    """

    def give(self, unit: WorkUnit) -> None:
        """Let it work; a worker that is gone will be known to be."""
        ...

    def kill(self) -> None:
        """End it, whatever it does."""
        ...


Messages = queue.SimpleQueue[tuple[WorkerHandle, str, Any]]


class Engine(Protocol):
    """A module of ENGINES.

    Attributes:
        MAX_LOSSES: of workers with one and the same file in hand, before that has failed.
        IS_ONE_MACHINE: so that few workers may use the cores of those that are not hired.
    """

    MAX_LOSSES: int
    IS_ONE_MACHINE: bool

    def open_pool(self, pool: WorkerPool) -> AbstractContextManager[int]:
        """Be there for workers; gives how many there may be. Raises UsageError."""
        ...

    def spawn(self, task: Task, pool: WorkerPool, number: int, messages: Messages) -> WorkerHandle:
        """Start a worker; no two that live have the same number."""
        ...


def find_engine(name: str) -> Engine:
    """Return the engine of that name. Raises UsageError."""
    if name not in ENGINES:
        raise UsageError(f"engine {name!r}: expected one of {', '.join(ENGINES)}")
    try:
        return import_module(f"ncodec.batch.{name}")  # pyright: ignore[reportReturnType]
    except ImportError as error:
        raise UsageError(
            f"engine {name!r}: needs {error.name}: pip install 'ncodec[{name}]'"
        ) from None
