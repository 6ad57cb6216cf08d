"""What the parts of a run expect of each other: converters, workers, and engines that start them.

conversion -> scheduler -> WorkerHandle (local, ray) -> worker -> Converter (encoder, decoder)
"""

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ncodec.batch.settings import Settings
from ncodec.batch.storage import Storage
from ncodec.batch.work_units import Item, WorkUnit

Progress = Callable[[float], None]  # takes the share of a file that was just done
PathOpener = Callable[[], AbstractContextManager[Path]]
READY, BROKEN, RESULT, PROGRESS, END, GONE = (
    "ready", "broken", "result", "progress", "end", "gone",
)  # fmt: skip

T = TypeVar("T")


CONCEALED = "concealed: "  # how a remark on damage of a source starts


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of a file that was written."""

    seconds: float  # of audio
    remarks: tuple[str, ...] = ()
    model_id: str = ""  # that coded it
    n_coded_channels: int = 0


class Converter(Protocol[T]):
    """Files to files. Short ones are prepared, then computed together, then written one by one."""

    def prepare(self, name: str, path: Path) -> T | None:
        """Read a file if it is short enough to be done with others; None if it is not."""
        ...

    def compute(self, prepared: Sequence[T]) -> list[T]:
        """Do what is done together; return those that succeeded."""
        ...

    def write(self, one: T, path: Path) -> Result:
        """Write one that was computed. Raises NcodecError."""
        ...

    def convert(self, name: str, source: Path, path: Path, on_progress: Progress) -> Result:
        """Convert a file of any length by itself. Raises NcodecError."""
        ...

    def check(self, paths: Sequence[Path]) -> list[str]:
        """Return what is wrong with each of the files that were written; "" for nothing."""
        ...


class SegmentConverter(Protocol):
    """Converts a long file in segments, each by itself, perhaps elsewhere, and joins them."""

    def segment(
        self, name: str, source: Path, number: int, count: int, on_progress: Progress
    ) -> Any:
        """Return one converted segment of `count`; the first may hold all of the file.

        Raises NcodecError.
        """
        ...

    def join(self, name: str, source: Path, contents: Sequence[Any], path: Path) -> Result:
        """Write what `convert` would, from all converted segments. Raises NcodecError."""
        ...


class AlbumConverter(Protocol):
    """Converts files together, as tracks that follow each other."""

    def album(
        self, sources: Sequence[tuple[str, PathOpener]], on_progress: Callable[[int, float], None]
    ) -> Iterator[tuple[int, Callable[[Path], Result]]]:
        """Yield the number of each file, in their order, and what writes it.

        Each is written before the next is asked for; that raises why it could not be converted.

        sources      names, and what gives each file when it is its turn
        on_progress  called with the number of a file and the share of it that was just done
        """
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """What all workers of a run need to know. Can be pickled."""

    source: Storage
    target: Storage
    settings: Settings
    work: Path  # folder for staged files
    verify: bool
    n_threads: int = 1  # for what decodes a long file
    device: str = "cpu"  # of the networks that encode


@dataclass(frozen=True, slots=True)
class WorkerPool:
    """Which workers convert the files, and where.

    n_workers  processes; None: one for every core or GPU share, 0: this process alone
    engine     "local", or "ray" with the `address` of a cluster, HOST:PORT
    gpu        share of a GPU for each worker, on which the networks run that encode
    """

    n_workers: int | None = None
    engine: str = "local"
    address: str | None = None
    gpu: float = 0.0


@dataclass(frozen=True, slots=True)
class Events:
    """What the run wants to know while it goes on."""

    on_begin: Callable[[Sequence[Item]], None]  # before a worker is given these files
    on_progress: Callable[[str, int], None]  # a source, and how many of its bytes were just done


class WorkerHandle(Protocol):
    """A worker, as the scheduler sees it. The worker reports by messages.

    READY     it can be given a unit
    BROKEN    it cannot work, and why: no other here could either
    RESULT    an Outcome or a SegmentResult
    PROGRESS  arguments of Events.on_progress
    END       the unit is done, it can be given the next
    GONE      it was lost, and why; the last message
    """

    def give(self, unit: WorkUnit) -> None:
        """Give it work. If the worker is lost, a message says so."""
        ...

    def kill(self) -> None:
        """End it, whatever it does."""
        ...


Messages = queue.SimpleQueue[tuple[WorkerHandle, str, Any]]


class Engine(Protocol):
    """A module of ncodec.batch that starts workers.

    Attributes:
        MAX_LOSSES: of workers that were given the same file, before that file has failed.
        IS_ONE_MACHINE: so that few workers may use the cores of those that are not started.
    """

    MAX_LOSSES: int
    IS_ONE_MACHINE: bool

    def open_pool(self, pool: WorkerPool) -> AbstractContextManager[int]:
        """Prepare for workers; gives how many there may be. Raises UsageError."""
        ...

    def spawn(self, task: Task, pool: WorkerPool, number: int, messages: Messages) -> WorkerHandle:
        """Start a worker; no two that live have the same number."""
        ...
