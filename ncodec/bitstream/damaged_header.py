"""Reading a file whose header has a damaged byte."""

import io
from collections.abc import Callable
from typing import cast

from ncodec.errors import ChecksumMismatch, FormatError
from ncodec.formats.ncx import Damage, Reader
from ncodec.formats.ncx.correction import correct_header
from ncodec.formats.ncx.source import Readable, Seekable

HEAD_BYTES = 70_000  # more than the longest header
_FROM_HERE = 1


def open_corrected(stream: Readable, name: str, on_damage: Callable[[Damage], None]) -> Reader:
    """Return a reader that goes on behind damage. One damaged byte of the header is corrected.

    Raises the FormatError of a header that cannot be, and of what is no .ncx file.
    """
    seekable = getattr(stream, "seekable", None)
    can_seek = seekable is not None and seekable()
    begun = _File(cast("Seekable", stream)) if can_seek else _Pipe(stream)
    try:
        reader = Reader(begun.stream, name, on_damage=on_damage)
    except FormatError as error:
        start = begun.start()
        corrected = correct_header(start)
        if corrected is None:
            raise error from None
    else:
        begun.forget()
        return reader
    header, at = corrected
    found, right = (content[at] for content in (start, header))
    fault = f"{name}: header: byte {at} is {found:02X}, but was {right:02X}"
    on_damage(Damage(at, 1, ChecksumMismatch(fault), range(0)))
    return Reader(begun.again(at, right), name, on_damage=on_damage)


class _File:
    """The start of a file that can seek."""

    def __init__(self, stream: Seekable) -> None:
        self.stream = stream
        self._place = stream.seek(0, _FROM_HERE)

    def forget(self) -> None:
        """Nothing is kept."""

    def start(self) -> bytes:
        """Return the first bytes."""
        self.stream.seek(self._place)
        return _read_up_to(self.stream.read, HEAD_BYTES)

    def again(self, at: int, right: int) -> "_Changed":
        """Return the file with another byte."""
        self.stream.seek(self._place)
        return _Changed(self.stream, self._place + at, right)


class _Changed:
    """A file that can seek, with another byte at one place."""

    def __init__(self, stream: Seekable, at: int, right: int) -> None:
        self._stream, self._at, self._right = stream, at, right

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place."""
        return self._stream.seek(offset, whence)

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes."""
        inside = self._at - self._stream.seek(0, _FROM_HERE)
        chunk = self._stream.read(size)
        if chunk is None or not 0 <= inside < len(chunk):
            return chunk
        return chunk[:inside] + bytes((self._right,)) + chunk[inside + 1 :]

    read1 = read  # a file has what is asked for


class _Pipe:
    """A stream that cannot seek, whose start can be read again."""

    def __init__(self, stream: Readable) -> None:
        self._read: Callable[[int], bytes | None] = getattr(stream, "read1", stream.read)
        self._kept = bytearray()
        self._again = b""
        self._keeps = True
        if hasattr(stream, "read1") or isinstance(stream, io.RawIOBase):
            self.read1 = self.read  # does not wait for more than there is
        self.stream = self

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes."""
        if self._again:
            given, self._again = self._again[:size], self._again[size:]
            return given
        chunk = self._read(size)
        if self._keeps:
            self._kept += chunk or b""
        return chunk

    def forget(self) -> None:
        """Read on, never again."""
        self._keeps, self._kept = False, bytearray()

    def start(self) -> bytes:
        """Return the first bytes."""
        _read_up_to(self.read, HEAD_BYTES - len(self._kept))
        return bytes(self._kept)

    def again(self, at: int, right: int) -> "_Pipe":
        """Return the stream from its start, with another byte."""
        self._kept[at] = right
        self._again = bytes(self._kept)
        self.forget()
        return self


def _read_up_to(read: Callable[[int], bytes | None], n_bytes: int) -> bytes:
    content = bytearray()
    while len(content) < n_bytes and (chunk := read(n_bytes - len(content))):
        content += chunk
    return bytes(content)
