"""Outputs that appear whole or not at all."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from ncodec.errors import NcodecError, OutputExists, UsageError

PARTIAL_PREFIX = ".ncodec-"
"""Files so named are outputs in the making; one that stays behind is from a killed process."""


@contextlib.contextmanager
def atomic_output(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Give the path of a hidden file beside `path`, which becomes `path` when the block succeeds.

    On any exception, KeyboardInterrupt included, the hidden file is removed and an older `path`
    is left as it was. The hidden file has the suffix of `path`. A link is followed. Something
    that is neither a file nor a directory, such as /dev/null or a FIFO, is given as it is.

    Raises OutputExists if `path` exists, or appears meanwhile, and `overwrite` is false.
    """
    status = _status(path)
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{path}: is a directory")
    if status is not None and not stat.S_ISREG(status.st_mode):
        yield Path(path)
        return
    if status is not None and not overwrite:
        raise OutputExists(f"{path}: exists already")
    final = Path(path).resolve()
    with _named(path):
        partial = _create_beside(final)
    try:
        with _named(path, only=_OUTPUT_ERRORS):  # any other is about what the block reads
            yield partial
        with _named(path):
            if status is not None:
                partial.chmod(stat.S_IMODE(status.st_mode))
            _sync(partial)
            _publish(partial, final, overwrite)
    finally:
        partial.unlink(missing_ok=True)
    if os.name == "posix":
        with contextlib.suppress(OSError):  # not every file system lets a directory be synced
            _sync(final.parent)


_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextlib.contextmanager
def _named(path: str | os.PathLike[str], only: tuple[int, ...] = ()) -> Iterator[None]:
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


def _create_beside(final: Path) -> Path:
    suffix = final.suffix if len(final.suffix) <= 16 else ""
    while True:
        partial = final.with_name(f"{PARTIAL_PREFIX}{secrets.token_hex(6)}{suffix}")
        try:  # O_CREAT with 0o666, unlike mkstemp, honours the umask
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            continue
        except FileNotFoundError:
            raise UsageError(f"{final.parent}: no such directory") from None
        return partial


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _publish(partial: Path, final: Path, overwrite: bool) -> None:
    if not overwrite:
        try:
            final.hardlink_to(partial)  # fails if `final` exists, unlike rename
            return
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links: take the name first, then fill it
            os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    partial.replace(final)
