"""Reading fields from a stream that may be a pipe, without taking more memory than arrives."""

import io
import zlib
from typing import TYPE_CHECKING, NamedTuple

from ncodec.errors import ChecksumMismatch, FormatError, InvalidField, Truncated
from ncodec.formats.ncx.layout import MAX_VARINT_BYTES, Field, pack_number, unpack_scales
from ncodec.formats.streams import Readable

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_CHUNK_BYTES = 1 << 12  # so that the start of a file can be read alone
CHUNK_BYTES = 1 << 16


class BufferedStream:
    """A stream and the bytes of it that have been read but not yet used.

    `offset` is the file offset of the first byte in the buffer.
    """

    def __init__(
        self, stream: Readable, name: str, offset: int = 0, chunk_bytes: int = FIRST_CHUNK_BYTES
    ) -> None:
        self.name = name
        self._chunk_bytes = chunk_bytes
        self.offset = offset
        self.buffer = bytearray()
        self.ended = False
        # Where a read returns what has arrived, more may be asked for than is needed; elsewhere
        # that would hold back a live stream.
        read1: Callable[[int], bytes] | None = getattr(stream, "read1", None)
        self._read: Callable[[int], bytes | None] = read1 or stream.read
        self._reads_ahead = read1 is not None or isinstance(stream, io.RawIOBase)

    def need(self, n_bytes: int) -> bool:
        """Read until the buffer holds `n_bytes`; return whether it does."""
        while len(self.buffer) < n_bytes and not self.ended:
            missing = n_bytes - len(self.buffer)
            most = self._chunk_bytes
            chunk = self._read(most if self._reads_ahead else min(missing, most))
            if chunk is None:
                raise BlockingIOError(f"{self.name}: the stream is not blocking and has no data")
            self._chunk_bytes = min(2 * most, CHUNK_BYTES)
            self.ended = not chunk
            self.buffer += chunk
        return len(self.buffer) >= n_bytes

    def drop(self, n_bytes: int) -> None:
        """Forget the first `n_bytes` of the buffer."""
        del self.buffer[:n_bytes]
        self.offset += n_bytes


class Mark(NamedTuple):
    """A field as it was read: where it lies in the file and what it holds."""

    offset: int
    n_bytes: int
    field: Field
    value: int | str | bytes | tuple[float, ...]


class Cursor:
    """Reads one structure, field by field, from the start of a source's buffer.

    Nothing is used up, so that a structure that turns out damaged can be searched again: the
    caller drops `at` bytes from the source when it accepts it. With `marks`, notes every field.
    """

    def __init__(self, source: BufferedStream, label: str, marks: list[Mark] | None = None) -> None:
        self.source = source
        self.label = label
        self.marks = marks
        self.start = source.offset
        self.at = 0
        self.end: int | None = None  # of an enclosing length, relative to start

    def error(self, refusal: type[FormatError], text: str, at: int | None = None) -> FormatError:
        """Return the error `refusal`, with file name, structure and offset."""
        offset = self.start + (self.at if at is None else at)
        return refusal(f"{self.source.name}: {self.label} at byte {offset}: {text}")

    def require(self, n_bytes: int) -> None:
        """Raise Truncated unless the file holds `n_bytes` from the structure's start on."""
        if not self.source.need(n_bytes):
            left = len(self.source.buffer)
            raise self.error(Truncated, f"needs {n_bytes} bytes, {left} left", 0)

    def number(self, field: Field) -> int:
        """Read a u8, varint or u32."""
        at = self.at
        if field.kind == "varint":
            value = self._varint(field)
        else:
            value = int.from_bytes(self._take(1 if field.kind == "u8" else 4, field), "little")
        if field.kind != "u32":
            self._check(field, value, at)
        self._mark(at, field, value)
        return value

    def raw(self, field: Field, n_bytes: int) -> bytes:
        """Read a bytes field."""
        at = self.at
        content = self._take(n_bytes, field)
        self._mark(at, field, content)
        return content

    def blob(self, field: Field) -> bytes:
        """Read a length and that many bytes."""
        at = self.at
        content = self._counted(field)
        self._mark(at, field, content)
        return content

    def text(self, field: Field) -> str:
        """Read a length and that many bytes of UTF-8."""
        at = self.at
        try:
            text = self._counted(field).decode()
        except UnicodeDecodeError as error:
            fault = f"{field.name} is not UTF-8: {error.reason}"
            raise self.error(InvalidField, fault, at) from None
        self._mark(at, field, text)
        return text

    def scales(self, field: Field, count: int) -> tuple[float, ...]:
        """Read `count` floats."""
        at = self.at
        try:
            scales = unpack_scales(self._take(4 * count, field))
        except InvalidField as error:
            raise self.error(InvalidField, str(error), at) from None
        self._mark(at, field, scales)
        return scales

    def verify(self, field: Field, n_bytes: int) -> None:
        """Compare the CRC that follows the structure's first `n_bytes` with them."""
        self.require(n_bytes + 4)
        with memoryview(self.source.buffer) as view:
            stored = int.from_bytes(view[n_bytes : n_bytes + 4], "little")
            computed = zlib.crc32(view[:n_bytes])
        if stored != computed:
            fault = f"{field.name} is {stored:08X}, but its {n_bytes} bytes have {computed:08X}"
            raise self.error(ChecksumMismatch, fault, n_bytes)

    def expect(self, field: Field, value: int) -> None:
        """Read a tnirav that must hold `value`."""
        at = self.at
        expected = pack_number(field, value)
        found = self._take(len(expected), field)
        if found != expected:
            fault = f"{field.name} is {found.hex(' ')}, expected {expected.hex(' ')}"
            raise self.error(InvalidField, fault, at)
        self._mark(at, field, value)

    def _check(self, field: Field, value: int, at: int) -> None:
        fault = field.fault(value)
        if fault is not None:
            raise self.error(field.refusal, fault, at)

    def _mark(self, at: int, field: Field, value: int | str | bytes | tuple[float, ...]) -> None:
        if self.marks is not None and self.at > at:  # an empty payload has no place
            self.marks.append(Mark(self.start + at, self.at - at, field, value))

    def _take(self, n_bytes: int, field: Field) -> bytes:
        """The next `n_bytes`, checked against the enclosing length and the file's end."""
        stop = self.at + n_bytes
        if self.end is not None and stop > self.end:
            fault = (
                f"{field.name} needs {n_bytes} bytes, {self.end - self.at} left in the {self.label}"
            )
            raise self.error(InvalidField, fault)
        if not self.source.need(stop):
            left = max(0, len(self.source.buffer) - self.at)
            raise self.error(Truncated, f"{field.name} needs {n_bytes} bytes, {left} left")
        with memoryview(self.source.buffer) as view:
            taken = bytes(view[self.at : stop])
        self.at = stop
        return taken

    def _varint(self, field: Field) -> int:
        at = self.at
        value = 0
        for shift in range(0, 7 * MAX_VARINT_BYTES, 7):
            byte = self._take(1, field)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    fault = f"{field.name} is a varint with a needless last byte"
                    raise self.error(InvalidField, fault, at)
                return value
        fault = f"{field.name} is a varint of more than {MAX_VARINT_BYTES} bytes"
        raise self.error(InvalidField, fault, at)

    def _counted(self, field: Field) -> bytes:
        at = self.at
        length = self._varint(field)
        self._check(field, length, at)
        return self._take(length, field)
