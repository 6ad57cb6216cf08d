"""A folder of this machine as a tree of files."""

import contextlib
import os
import shutil
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from ncodec.batch.storage import STATE, Entry, Listing, StagedFile, Storage, is_hidden
from ncodec.errors import NcodecError, UsageError
from ncodec.formats.atomic_files import atomic_output

_LOG, _LOCK, _WORK = ".jsonl", ".lock", ".work"

if sys.platform == "win32":
    _flock: Callable[[int, bool], None] | None = None
else:
    import fcntl

    def _flock(handle: int, wait: bool) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


class LocalStorage:
    """See Storage. Files are staged in the STATE folder, so that a kill leaves none elsewhere.

    Links are followed. A folder is listed once, under its own name before that of a link to it.
    """

    is_shared = True

    def __init__(self, path: str) -> None:
        self.name = path
        self._root = Path(path)

    def __reduce__(self) -> tuple[type["LocalStorage"], tuple[str]]:
        return type(self), (str(self._root.absolute()),)  # workers may be in other folders

    @property
    def identity(self) -> tuple[str, PurePosixPath]:
        """See Storage."""
        return "file", PurePosixPath(self._root.resolve().as_posix())

    def walk(self, without: Storage) -> Listing:
        """See Storage."""
        if not self._root.is_dir():
            what = "is not a folder" if self._root.exists() else "no such folder"
            raise UsageError(f"{self.name}: {what}")
        walk = _Walk(self._root)
        if isinstance(without, LocalStorage):
            walk.leave_out(without._root)
        return walk.run()

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """See Storage."""
        found: dict[str, int] = {}
        for path in paths:
            with contextlib.suppress(OSError):
                found[path] = (self._root / path).stat().st_size
        return found

    def has_changed(self, path: str, size: int, mtime_ns: int | None) -> bool:
        """See Storage."""
        status = (self._root / path).stat()
        return (status.st_size, status.st_mtime_ns) != (size, mtime_ns)

    @contextlib.contextmanager
    def fetch(self, path: str, work: Path) -> Iterator[Path]:
        """See Storage."""
        yield self._root / path

    def stage(self, path: str, work: Path) -> "LocalStagedFile":
        """See Storage."""
        return LocalStagedFile(self._root / path, work)

    @contextlib.contextmanager
    def workspace(self, run: str) -> Iterator[Path]:
        """See Storage. What runs that were killed left is removed."""
        state = self._root / STATE
        try:
            state.mkdir(parents=True, exist_ok=True)
            lock = _Lock(state / f"{run}{_LOCK}")
        except OSError as error:
            raise UsageError(f"{self.name}: cannot be written: {error.strerror}") from error
        with lock:
            _clear(state)
            work = (state / f"{run}{_WORK}").absolute()
            work.mkdir()
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def enter(self, work: Path) -> None:
        """See Storage. It is there, unless the run has ended: then it must not come back."""

    def logs(self) -> Iterator[bytes]:
        """See Storage."""
        for path in sorted((self._root / STATE).glob(f"*{_LOG}")):
            with contextlib.suppress(FileNotFoundError):
                yield path.read_bytes()

    def open_log(self, run: str) -> "LocalLog":
        """See Storage."""
        return LocalLog(self._root / STATE / f"{run}{_LOG}")


class _Walk:
    """One look through a folder and all below."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: set[tuple[int, int]] = set()
        self._links: deque[str] = deque()
        self._found = Listing([], [])

    def leave_out(self, folder: Path) -> None:
        """Do not look into a folder, if there is one."""
        with contextlib.suppress(OSError):
            self._is_new(folder)

    def run(self) -> Listing:
        """Return what was found: first without links to folders, then through them."""
        self._below("")
        while self._links:
            self._below(self._links.popleft())
        self._found.files.sort(key=lambda entry: entry.path)
        return self._found

    def _is_new(self, folder: Path) -> bool:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        is_new = identity not in self._seen
        self._seen.add(identity)
        return is_new

    def _below(self, start: str) -> None:
        waiting, links = [start], []
        while waiting:
            folder = waiting.pop()
            try:
                if not self._is_new(self._root / folder):
                    continue
                with os.scandir(self._root / folder) as items:
                    found = sorted(items, key=lambda item: item.name)
            except OSError as error:
                why = f"cannot be listed: {error.strerror}"
                self._found.problems.append((folder or ".", why))
                continue
            for item in found:
                if not is_hidden(item.name):
                    path = f"{folder}/{item.name}" if folder else item.name
                    self._take(item, path, waiting, links)
        self._links.extend(sorted(links))

    def _take(
        self, item: os.DirEntry[str], path: str, folders: list[str], links: list[str]
    ) -> None:
        try:
            if item.is_dir():
                (links if item.is_symlink() else folders).append(path)
                return
            status = item.stat()
        except OSError as error:
            is_broken = isinstance(error, FileNotFoundError)
            why = "a link that leads nowhere" if is_broken else f"{error.strerror}"
            self._found.files.append(Entry(path, 0, None, why))
            return
        if stat.S_ISREG(status.st_mode):
            self._found.files.append(Entry(path, status.st_size, status.st_mtime_ns))


class LocalStagedFile(StagedFile):
    """See StagedFile."""

    def __init__(self, final: Path, work: Path) -> None:
        super().__init__(final.name, work)
        self._final = final

    def publish(self, mtime_ns: int | None) -> int:
        """See StagedFile. Raises NcodecError.

        The content lasts before the name does. A name that a failing computer forgets costs the
        next run that file: it looks whether outputs are there, whatever the logs say.
        """
        size = self.path.stat().st_size
        if mtime_ns is not None:
            os.utime(self.path, ns=(mtime_ns, mtime_ns))
        try:
            _sync(self.path)
            self._final.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.path.replace(self._final)
            except OSError as error:
                if self._final.is_dir():
                    raise IsADirectoryError(error.errno, "is a folder") from error
                # Another file system is mounted there.
                with atomic_output(self._final, overwrite=True) as partial:
                    shutil.copyfile(self.path, partial)
                    shutil.copystat(self.path, partial)
        except OSError as error:
            raise NcodecError(f"{self._final}: cannot be written: {error.strerror}") from error
        return size


class LocalLog:
    """See Log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def append(self, lines: bytes, *, now: bool) -> None:
        """See Log. The file is made with its first lines."""
        if self._handle is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._handle = os.open(self._path, flags, 0o666)
        left = memoryview(lines)
        while left:
            left = left[os.write(self._handle, left) :]
        if now:
            os.fsync(self._handle)

    def close(self) -> None:
        """See Log."""
        if self._handle is not None:
            os.fsync(self._handle)
            os.close(self._handle)
            self._handle = None


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _clear(state: Path) -> None:
    """Remove the staged files of runs that are no more."""
    for _ in _unused_locks(state, _LOCK):
        pass
    for work in list(state.glob(f"*{_WORK}")):
        if not work.with_suffix(_LOCK).exists():  # which is made before and removed after it
            shutil.rmtree(work, ignore_errors=True)


class _Lock:
    """A lock file of a run that is alive: the system releases it when the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        while True:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            with contextlib.suppress(OSError):  # a file system without locks: nothing is cleared up
                if _flock is not None:
                    _flock(self._handle, True)
            if _is_still(path, self._handle):
                return
            os.close(self._handle)  # cleared up by another between the two calls

    def __enter__(self) -> "_Lock":
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._handle)


def _unused_locks(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield lock files that no process holds; each is removed when the next one is asked for."""
    for path in sorted(folder.glob(f"*{suffix}")) if _flock is not None else ():
        try:
            handle = os.open(path, os.O_RDWR)
        except OSError:
            continue
        try:
            _flock(handle, False)
            if _is_still(path, handle):
                yield path
                path.unlink()
        except OSError:  # held, or not known
            continue
        finally:
            os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except OSError:
        return False
