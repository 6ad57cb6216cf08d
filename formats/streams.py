"""Streams as they come, and reading them again."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from typing import BinaryIO, Protocol, TypeGuard, cast


class Readable(Protocol):
    """What a reader needs of a stream. Short reads are fine; b"" is the end."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes, None if a stream that does not block has none yet."""
        ...


class Seekable(Readable, Protocol):
    """A stream that can also be read from any position."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to `offset`, return the new position."""
        ...


class Writable(Protocol):
    """What a writer needs of a stream. Short writes are fine."""

    def write(self, chunk: bytes | memoryview, /) -> int | None:
        """Take some of `chunk`, return how many bytes."""
        ...


def can_seek(stream: Readable) -> TypeGuard[Seekable]:
    """Whether a stream can be read from any position."""
    seekable: Callable[[], bool] | None = getattr(stream, "seekable", None)
    return seekable is not None and seekable()


class Replay:
    """A stream that cannot seek, and keeps what is read of it until it is rewound."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._read: Callable[[int], bytes | None] = getattr(stream, "read1", stream.read)
        self._kept = bytearray()
        self._again = b""
        self._keeps = True
        if hasattr(stream, "read1") or isinstance(stream, io.RawIOBase):
            self.read1 = self.read  # does not wait for more than there is

    def seekable(self) -> bool:
        """It is not."""
        return False

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes."""
        if self._again:
            given, self._again = self._again[:size], self._again[size:]
            return given
        chunk = self._read(size)
        if self._keeps:
            self._kept += chunk or b""
        return chunk

    def head(self, n_bytes: int) -> bytes:
        """Return what was read so far, and what it takes to make it `n_bytes`; fewer at the end."""
        while len(self._kept) < n_bytes and self.read(n_bytes - len(self._kept)):
            pass
        return bytes(self._kept)

    def rewind(self, patch: tuple[int, int] | None = None) -> None:
        """Read all again, with another byte at one place, and keep nothing from here on."""
        if patch is not None:
            self._kept[patch[0]] = patch[1]
        self._again = bytes(self._kept)
        self.forget()

    def forget(self) -> None:
        """Keep nothing from here on."""
        self._keeps, self._kept = False, bytearray()


class View:
    """A stream that can seek, read from a position of its own, whatever else is read between."""

    def __init__(self, stream: Seekable, start: int | None = None) -> None:
        self._stream = stream
        self._start = stream.seek(0, os.SEEK_CUR) if start is None else start
        self._position = self._start
        self._patch: tuple[int, int] | None = None

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position."""
        if whence == os.SEEK_CUR:
            offset, whence = self._position + offset, os.SEEK_SET
        self._position = self._stream.seek(offset, whence)
        return self._position

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes."""
        self._stream.seek(self._position)
        chunk = self._stream.read(size)
        if self._patch is not None and chunk:
            inside = self._patch[0] - self._position
            if 0 <= inside < len(chunk):
                chunk = chunk[:inside] + bytes((self._patch[1],)) + chunk[inside + 1 :]
        self._position += len(chunk or b"")
        return chunk

    read1 = read  # a file has what is asked for

    def head(self, n_bytes: int) -> bytes:
        """Return the first bytes."""
        self._position = self._start
        content = bytearray()
        while len(content) < n_bytes and (chunk := self.read(n_bytes - len(content))):
            content += chunk
        return bytes(content)

    def rewind(self, patch: tuple[int, int] | None = None) -> None:
        """Read all again, with another byte at one place."""
        self._position = self._start
        self._patch = patch and (self._start + patch[0], patch[1])

    def forget(self) -> None:
        """Nothing is kept."""


@contextlib.contextmanager
def rewindable(stream: Readable) -> Generator[BinaryIO, None, None]:
    """Give a stream that can seek, or a copy of one that cannot, in a temporary file."""
    if can_seek(stream):
        yield cast("BinaryIO", stream)
        return
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(cast("BinaryIO", stream), file)
        file.seek(0)
        yield file
