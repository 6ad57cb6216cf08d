"""What runs workers: a module with a function `run`, as `Run` describes it."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

from ncodec.batch.bundles import Bundle
from ncodec.batch.outcome import Item, Outcome
from ncodec.batch.work import Task
from ncodec.errors import UsageError

ENGINES = ("local", "ray")  # modules of ncodec.batch


@dataclass(frozen=True, slots=True)
class Crew:
    """Who is to work."""

    n_workers: int | None = None  # None: one for every core; 0: this process itself
    address: str | None = None  # of a cluster


@dataclass(frozen=True, slots=True)
class Events:
    """What the run wants to know while it goes on."""

    on_begin: Callable[[Sequence[Item]], None]  # before a worker is given these files
    on_progress: Callable[[str, int], None]  # a source, and how many of its bytes were just done


class Run(Protocol):
    """An engine."""

    def __call__(
        self, bundles: Sequence[Bundle], task: Task, crew: Crew, events: Events
    ) -> Generator[Outcome, None, None]:
        """Do all files, and yield what came of each, as it is known.

        A worker that dies costs no more than the file that kills it. Closing the iterator, or an
        exception in it, ends all workers, and what they have in hand is discarded.
        """
        ...


class Engine(Protocol):
    """A module of ENGINES."""

    run: Run

    def count_workers(self, crew: Crew) -> int:
        """Return how many workers there will be at most."""
        ...


def find_engine(name: str) -> Engine:
    """Return the engine of that name. Raises UsageError."""
    module = f"ncodec.batch.{name}"
    if name not in ENGINES or find_spec(module) is None:
        raise UsageError(f"engine {name!r}: is not there")
    return import_module(module)  # pyright: ignore[reportReturnType]
