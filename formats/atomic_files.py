"""Outputs that appear whole or not at all."""

import contextlib
import errno
import os
import stat
from collections.abc import Generator
from pathlib import Path, PurePosixPath

from ncodec.errors import NcodecError, OutputExists, UsageError

PARTIAL_PREFIX = ".ncodec-"
"""Files so named are unfinished outputs; one that is left over is from a killed process."""


@contextlib.contextmanager
def atomic_output(path: str | os.PathLike[str], overwrite: bool = False) -> Generator[Path]:
    """Give the path of a hidden file next to `path`, which becomes `path` when the block succeeds.

    On any exception, KeyboardInterrupt included, the hidden file is removed and an older `path`
    is left as it was. The hidden file has the suffix of `path`. A link is followed. Something
    that is neither a file nor a directory, such as /dev/null or a FIFO, is given as it is.

    Raises OutputExists if `path` exists, or appears meanwhile, and `overwrite` is false.
    """
    status = _status(path)
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{path}: is a directory")
    if status is not None and not stat.S_ISREG(status.st_mode):
        with _named(path, only=OUTPUT_ERRORS):
            yield Path(path)
        return
    if status is not None and not overwrite:
        raise OutputExists(f"{path}: exists already")
    final = Path(path).resolve()
    partial = final.with_name(PARTIAL_PREFIX + random_name(final.name))
    try:
        with _named(path):
            _create(partial)
        with _named(path, only=OUTPUT_ERRORS):  # any other is about what the block reads
            yield partial
        with _named(path):
            if status is not None:
                partial.chmod(stat.S_IMODE(status.st_mode))
            _sync(partial)
            _publish(partial, final, overwrite)
    finally:
        with contextlib.suppress(OSError):  # where nothing can be removed, nothing was made
            partial.unlink()
    if os.name == "posix":
        with contextlib.suppress(OSError):  # not every file system lets a directory be synced
            _sync(final.parent)


def random_name(name: str) -> str:
    """Return a name that no other file has, with the suffix of `name` if no longer than 16."""
    suffix = PurePosixPath(name).suffix
    return os.urandom(8).hex() + (suffix if len(suffix) <= 16 else "")


OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextlib.contextmanager
def _named(path: str | os.PathLike[str], only: tuple[int, ...] = ()) -> Generator[None]:
    """Turn OSError into an error that names the output, if its number is among `only`."""
    try:
        yield
    except OSError as error:
        if only and error.errno not in only:
            raise
        if isinstance(error, FileExistsError):
            raise OutputExists(f"{path}: exists already") from None
        raise NcodecError(f"{path}: cannot be written: {error.strerror or error}") from error


def _status(path: str | os.PathLike[str]) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _create(partial: Path) -> None:
    try:  # O_CREAT with 0o666, unlike mkstemp, honours the umask
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileNotFoundError:
        if partial.parent.is_dir():  # /proc, say, which makes no files
            raise
        raise UsageError(f"{partial.parent}: no such directory") from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _publish(partial: Path, final: Path, overwrite: bool) -> None:
    if overwrite:
        partial.replace(final)
        return
    try:
        final.hardlink_to(partial)  # fails if `final` exists, unlike rename
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: nothing there both looks and takes the name
        if final.is_symlink() or final.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        partial.rename(final)
