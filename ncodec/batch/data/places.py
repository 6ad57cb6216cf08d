"""Where the files of an export are: folders of this machine, or what fsspec reaches."""

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from ncodec.batch.conversion import open_storage
from ncodec.batch.local_storage import LocalStorage
from ncodec.batch.storage import Entry
from ncodec.errors import NcodecError
from ncodec.formats.atomic_files import PARTIAL_PREFIX, atomic_output

if TYPE_CHECKING:
    from ncodec.batch.remote_storage import RemoteStorage

_NEAR = (".txt", ".json")  # of files that may tell more of another


@dataclass(frozen=True, slots=True)
class Status:
    """What tells whether a file has changed, as in os.stat_result."""

    st_size: int
    st_mtime_ns: int | None


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that fsspec reaches, by those methods of Path that reading clips needs.

    Attributes:
        storage: the tree that it is in.
        entry: what the listing of that says; None for a file that is not there.
        path: within the tree.
        near: files of the same name with other suffixes.
    """

    storage: "RemoteStorage"
    path: str
    entry: Entry | None
    near: tuple[Entry, ...] = ()

    def __str__(self) -> str:
        return f"{self.storage.name.rstrip('/')}/{self.path}"

    @property
    def suffix(self) -> str:
        """As of Path."""
        return PurePosixPath(self.path).suffix

    def with_suffix(self, suffix: str) -> "RemoteFile":
        """Return a file of the same name."""
        path = str(PurePosixPath(self.path).with_suffix(suffix))
        entry = next((entry for entry in self.near if entry.path == path), None)
        return RemoteFile(self.storage, path, entry)

    def is_file(self) -> bool:
        """Whether the listing has it."""
        return self.entry is not None

    def stat(self) -> Status:
        """Return what the listing says. Raises FileNotFoundError."""
        if self.entry is None:
            raise FileNotFoundError(str(self))
        return Status(self.entry.size, self.entry.mtime_ns)

    @contextmanager
    def open(self, mode: str) -> Iterator[BinaryIO]:
        """Give a copy on this machine, for a while. Raises NcodecError."""
        with ExitStack() as stack:
            work = stack.enter_context(_work())
            try:
                copy = stack.enter_context(self.storage.fetch(self.path, work))
            except NcodecError as error:
                raise NcodecError(f"{self}: {error}") from None
            yield stack.enter_context(copy.open("rb"))


def remote_files(storage: "RemoteStorage", suffix: str) -> list[RemoteFile]:
    """Return the files of a tree that have a suffix, by path. Raises UsageError."""
    entries = storage.walk(LocalStorage("")).files
    near: dict[str, list[Entry]] = {}
    for entry in entries:
        if PurePosixPath(entry.path).suffix in _NEAR:
            near.setdefault(str(PurePosixPath(entry.path).with_suffix("")), []).append(entry)
    return [
        RemoteFile(storage, entry.path, entry, tuple(near.get(entry.path[: -len(suffix)], ())))
        for entry in entries
        if entry.path.lower().endswith(suffix) and not entry.path.rpartition("/")[2].startswith(".")
    ]


class Folder(Protocol):
    """A folder that files are written to, each whole or not at all. Can be pickled."""

    @property
    def is_shared(self) -> bool:
        """Whether other processes see the same."""
        ...

    def prepare(self) -> None:
        """Make it ready to be written to. Raises UsageError."""
        ...

    def names(self) -> set[str]:
        """Return the names of its files."""
        ...

    def read(self, name: str) -> bytes:
        """Return what a file of ours holds. Raises NcodecError."""
        ...

    def create(self, name: str) -> AbstractContextManager[Path]:
        """Give a path to write; the file has its name, over an older one, when that is closed."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """See Folder."""

    path: Path

    @property
    def is_shared(self) -> bool:
        """See Folder."""
        return True

    def __str__(self) -> str:
        return str(self.path)

    def prepare(self) -> None:
        """See Folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        for unfinished in self.path.glob(f"{PARTIAL_PREFIX}*"):  # of a run that was killed
            unfinished.unlink(missing_ok=True)

    def names(self) -> set[str]:
        """See Folder."""
        return {path.name for path in self.path.iterdir()}

    def read(self, name: str) -> bytes:
        """See Folder."""
        return (self.path / name).read_bytes()

    def create(self, name: str) -> AbstractContextManager[Path]:
        """See Folder."""
        return atomic_output(self.path / name, overwrite=True)

    def remove(self, name: str) -> None:
        """See Folder."""
        (self.path / name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """See Folder."""

    storage: "RemoteStorage"

    @property
    def is_shared(self) -> bool:
        """See Folder."""
        return self.storage.is_shared

    def __str__(self) -> str:
        return self.storage.name

    def prepare(self) -> None:
        """See Folder; also UsageError for a bucket that is not there."""
        with self.storage.workspace(""):
            pass

    def names(self) -> set[str]:
        """See Folder."""
        return self.storage.names()

    def read(self, name: str) -> bytes:
        """See Folder."""
        with _work() as work, self.storage.fetch(name, work) as copy:
            return copy.read_bytes()

    @contextmanager
    def create(self, name: str) -> Iterator[Path]:
        """See Folder."""
        with _work() as work, self.storage.stage(name, work) as staged:
            yield staged.path
            staged.publish(None)

    def remove(self, name: str) -> None:
        """See Folder."""
        self.storage.remove(name)


def open_folder(out: str | PathLike[str]) -> Folder:
    """Return the folder at a path or URL. Raises UsageError."""
    storage = open_storage(out)
    return LocalFolder(Path(storage.name)) if isinstance(storage, LocalStorage) else RemoteFolder(
        cast("RemoteStorage", storage)
    )  # fmt: skip


@contextmanager
def _work() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX) as work:
        yield Path(work)
