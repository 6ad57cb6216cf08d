"""What fsspec reaches as a tree of files."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from ncodec.batch.storage import STATE, Entry, Listing, StagedFile, Storage, is_hidden
from ncodec.errors import NcodecError, UsageError
from ncodec.formats.atomic_files import random_name

_FLUSH_S = 5.0  # after which lines that wait are written with the next
_WORK = "ncodec-batch-"  # what folders of this machine for staged files are called
_FORGOTTEN_S = 2 * 24 * 3600.0  # after which no run uses one any longer
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


class RemoteStorage:
    """See Storage. A file is fetched and published whole; logs are several objects, one a write."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._fs, self._root = _connect(url)
        self._root = self._root.rstrip("/")
        self._folders: set[str] = set()  # that were made
        self.is_shared = not isinstance(self._fs, _memory_file_system())

    def __reduce__(self) -> tuple[type["RemoteStorage"], tuple[str]]:
        return type(self), (self.name,)

    @property
    def identity(self) -> tuple[str, PurePosixPath]:
        """See Storage."""
        protocol = self._fs.protocol
        return protocol if isinstance(protocol, str) else protocol[0], PurePosixPath(self._root)

    def walk(self, without: Storage) -> Listing:
        """See Storage."""
        kind, root = without.identity
        files: list[Entry] = []
        for path, info in self._listed().items():
            parts = path.split("/")
            if kind == self.identity[0] and PurePosixPath(self._root, path).is_relative_to(root):
                continue
            if not any(is_hidden(part) for part in parts):
                files.append(Entry(path, int(info.get("size") or 0), _mtime_ns(info)))
        if not files and not self._fs.exists(self._root):
            raise UsageError(f"{self.name}: no such folder")
        files.sort(key=lambda entry: entry.path)
        return Listing(files, [])

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """See Storage."""
        wanted = set(paths)
        listed = self._listed() if wanted else {}
        return {path: int(info.get("size") or 0) for path, info in listed.items() if path in wanted}

    def names(self) -> set[str]:
        """Return the paths of all files. Raises UsageError."""
        return {*self._listed()}

    def remove(self, path: str) -> None:
        """Remove a file. Raises NcodecError."""
        with _named(f"{path}: cannot be removed"):
            self._fs.rm_file(self._full(path))

    def _listed(self) -> dict[str, Mapping[str, Any]]:
        """Return what is known of all files, by their paths below the root."""
        self._fs.invalidate_cache()
        try:
            found: dict[str, Mapping[str, Any]] = self._fs.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise UsageError(f"{self.name}: cannot be listed: {_why(error)}") from error
        listed: dict[str, Mapping[str, Any]] = {}
        for path, info in found.items():
            inside = path.removeprefix(self._root).removeprefix("/")
            if info.get("type") == "file" and inside and not inside.endswith("/"):
                listed[inside] = info
        return listed

    def has_changed(self, path: str, size: int, mtime_ns: int | None) -> bool:
        """See Storage. What was fetched was whole."""
        return False

    @contextlib.contextmanager
    def fetch(self, path: str, work: Path) -> Iterator[Path]:
        """See Storage."""
        copy = work / random_name(path)
        try:
            with _named("cannot be fetched"):
                self._fs.get_file(self._full(path), str(copy))
            yield copy
        finally:
            with contextlib.suppress(OSError):
                copy.unlink()

    def stage(self, path: str, work: Path) -> "RemoteStagedFile":
        """See Storage."""
        final = self._full(path)
        if (folder := final.rpartition("/")[0]) not in self._folders:
            self._folders.add(folder)
            with contextlib.suppress(Exception):  # many need none, and not all may make any
                self._fs.makedirs(folder, exist_ok=True)
        return RemoteStagedFile(self._fs, final, work)

    @contextlib.contextmanager
    def workspace(self, run: str) -> Iterator[Path]:
        """See Storage. Raises UsageError for a bucket that is not there, rather than make one."""
        top, slash, _ = self._root.partition("/")
        is_there = True
        with contextlib.suppress(Exception):  # not everybody may ask
            is_there = not (top and slash) or self._fs.exists(top)
        if not is_there:
            raise UsageError(f"{self.name}: there is no {top}")
        with tempfile.TemporaryDirectory(prefix=_WORK, ignore_cleanup_errors=True) as work:
            yield Path(work)

    def enter(self, work: Path) -> None:
        """See Storage. Old leavings of killed workers are removed."""
        for old in work.parent.glob(f"{_WORK}*"):
            with contextlib.suppress(OSError):
                if time.time() - old.stat().st_mtime > _FORGOTTEN_S:
                    shutil.rmtree(old)
        work.mkdir(parents=True, exist_ok=True)

    def logs(self) -> Iterator[bytes]:
        """See Storage."""
        folder = self._full(STATE)
        try:
            self._fs.invalidate_cache()
            paths = sorted(self._fs.find(folder))
            contents: dict[str, bytes | Exception] = {}
            if paths:
                contents = self._fs.cat(paths, on_error="return")
        except FileNotFoundError:
            return
        except Exception as error:
            raise UsageError(f"{self.name}: cannot be read: {_why(error)}") from error
        for path in paths:
            content = contents[path]
            if isinstance(content, bytes):
                yield content

    def open_log(self, run: str) -> "RemoteLog":
        """See Storage."""
        return RemoteLog(self._fs, self._full(f"{STATE}/{run}"))

    def _full(self, path: str) -> str:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise NcodecError("its name is not valid Unicode, as names there must be") from None
        return f"{self._root}/{path}"


class RemoteStagedFile(StagedFile):
    """See StagedFile."""

    def __init__(self, fs: Any, final: str, work: Path) -> None:
        super().__init__(final, work)
        self._fs, self._final = fs, final

    def publish(self, mtime_ns: int | None) -> int:
        """See StagedFile. Raises NcodecError. Such places keep times of their own."""
        size = self.path.stat().st_size
        with _named("cannot be written"):
            self._fs.put_file(str(self.path), self._final)
        return size


class RemoteLog:
    """See Log. An object cannot grow, so there are several, put together at the end."""

    def __init__(self, fs: Any, stem: str) -> None:
        self._fs, self._stem = fs, stem
        self._parts: list[str] = []
        self._written: list[bytes] = []
        self._waiting = b""
        self._flushed = time.monotonic()

    def append(self, lines: bytes, *, now: bool) -> None:
        """See Log."""
        self._waiting += lines
        if now or time.monotonic() - self._flushed > _FLUSH_S:
            part = f"{self._stem}-{len(self._parts):06}.jsonl"
            self._put(part, self._waiting)
            self._parts.append(part)
            self._written.append(self._waiting)
            self._waiting = b""
            self._flushed = time.monotonic()

    def close(self) -> None:
        """See Log."""
        if self._written or self._waiting:
            self._put(f"{self._stem}.jsonl", b"".join([*self._written, self._waiting]))
            with contextlib.suppress(Exception):  # the parts say the same again
                self._fs.rm(self._parts)
            self._parts, self._written, self._waiting = [], [], b""

    def _put(self, path: str, content: bytes) -> None:
        with contextlib.suppress(Exception):
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        with _named(f"{path}: cannot be written"):
            self._fs.pipe_file(path, content)


def _connect(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise UsageError(f"{url}: needs fsspec: pip install 'ncodec[remote]'") from None
    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:  # no such protocol, or its package is missing
        raise UsageError(f"{url}: {_why(error)}") from None
    except Exception as error:
        raise UsageError(f"{url}: cannot be reached: {_why(error)}") from error


def _memory_file_system() -> type:
    from fsspec.implementations.memory import MemoryFileSystem

    return MemoryFileSystem


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    """Turn what a file system raises into NcodecError: every kind has errors of its own."""
    try:
        yield
    except NcodecError:
        raise
    except Exception as error:
        raise NcodecError(f"{what}: {_why(error)}") from error


def _why(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error or type(error).__name__).split())


def _mtime_ns(info: Mapping[str, Any]) -> int | None:
    for key in _TIMES:
        value = info.get(key)
        if isinstance(value, datetime):
            return round(value.replace(tzinfo=value.tzinfo or UTC).timestamp() * 1_000_000) * 1000
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                return _mtime_ns({key: datetime.fromisoformat(value)})
        if isinstance(value, int | float) and not isinstance(value, bool):
            return round(value * 1_000_000) * 1000
    return None
