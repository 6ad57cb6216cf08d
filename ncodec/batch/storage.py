"""Trees of files: a folder of this machine, or what fsspec reaches (s3://, gs://, memory://, ...).

Paths within a tree have "/" between their parts, on every system.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, Self

from ncodec.errors import UsageError
from ncodec.formats.atomic_files import PARTIAL_PREFIX, random_name

STATE = ".ncodec-batch"  # folder at the top of a target: journals and staged files


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a tree."""

    path: str
    size: int
    mtime_ns: int | None  # None: not known
    problem: str = ""  # why it cannot be read, if that is known already


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a tree."""

    files: list[Entry]  # by path
    problems: list[tuple[str, str]]  # folders that could not be listed, and why


class StagedFile(ABC):
    """A file that is being made; leaving the `with` block without `publish` discards it.

    Attributes:
        path: a file of this machine, to be written.
    """

    def __init__(self, final: str, work: Path) -> None:
        self.path = work / random_name(final)

    @abstractmethod
    def publish(self, mtime_ns: int | None) -> int:
        """Move the file, whole, to its final name, over an older one; return its bytes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()


class Log(Protocol):
    """A file of lines that only grows."""

    def append(self, lines: bytes, *, now: bool) -> None:
        """Add whole lines. `now`: they last before this returns, whatever happens then."""
        ...

    def close(self) -> None:
        """Make all lines durable."""
        ...


class Storage(Protocol):
    """A tree of files. Can be pickled: another process sees the same, if `is_shared`."""

    name: str  # what messages call it
    is_shared: bool

    @property
    def identity(self) -> tuple[str, PurePosixPath]:
        """Of which system, and where in it."""
        ...

    def walk(self, without: "Storage") -> Listing:
        """List all files, but those of `without` and of STATE folders. Raises UsageError."""
        ...

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Return the sizes of those files that exist."""
        ...

    def has_changed(self, path: str, size: int, mtime_ns: int | None) -> bool:
        """Whether a file is known to differ from its listing."""
        ...

    def fetch(self, path: str, work: Path) -> AbstractContextManager[Path]:
        """Give a file as one of this machine; a copy is in the folder `work`, for a while."""
        ...

    def stage(self, path: str, work: Path) -> StagedFile:
        """Begin a file; what is not published yet is in the folder `work`."""
        ...

    def workspace(self, run: str) -> AbstractContextManager[Path]:
        """Give a folder of this machine for staged files; it is gone afterwards."""
        ...

    def enter(self, work: Path) -> None:
        """Use a workspace in a process that may be on another machine."""
        ...

    def logs(self) -> Iterator[bytes]:
        """Yield what all logs hold."""
        ...

    def open_log(self, run: str) -> Log:
        """Begin the log of a run."""
        ...


def check_apart(source: Storage, target: Storage) -> None:
    """Raise UsageError where outputs would stand among the sources."""
    (kind, path), (other_kind, other) = source.identity, target.identity
    if kind == other_kind and path == other:
        raise UsageError(f"{source.name}: is source and target; give a folder of its own")
    if kind == other_kind and path.is_relative_to(other):
        raise UsageError(f"{source.name}: lies in {target.name}, where the outputs are to go")


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that ncodec keeps for itself."""
    return name == STATE or name.startswith(PARTIAL_PREFIX)


def is_plain(path: str) -> bool:
    """Whether a path stays inside its tree, as names of objects in a store need not."""
    return all(part not in ("", ".", "..") for part in path.split("/")) and "\0" not in path
