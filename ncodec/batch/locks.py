"""Which runs are alive: each holds a lock, which the system takes from it when it dies."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

if sys.platform == "win32":
    _flock: Callable[[int, bool], None] | None = None
else:
    import fcntl

    def _flock(handle: int, wait: bool) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


class Lock:
    """A lock file, held until the `with` block is left or the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        while True:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            with contextlib.suppress(OSError):  # a file system without locks: then nobody clears up
                if _flock is not None:
                    _flock(self._handle, True)
            if _is_still(path, self._handle):
                return
            os.close(self._handle)  # cleared up by another between the two calls

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._handle)


def unused_locks(folder: Path, suffix: str) -> Iterator[Path]:
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
        except OSError:  # held, or it cannot be told
            continue
        finally:
            os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except OSError:
        return False
