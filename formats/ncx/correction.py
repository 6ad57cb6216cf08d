"""Correcting one damaged byte of a structure by its CRC, above all of the header.

CRC-32 is linear over XOR: of two structures of the same length, the XOR of their CRCs depends on
the XOR of their bytes alone. If one byte differs by `flip`, with k bytes after it, that is
`_TABLE[flip]` carried through k zero bytes. So carrying the difference of the stored and the
computed CRC back through the structure, one byte per step, meets `flip` where the byte is damaged.

Two different flips have the same effect only at 145 212 bytes or more from each other, so that in a
header, which is shorter, one damaged byte has one correction.
"""

import io
import zlib
from collections.abc import Iterator

from ncodec.errors import FormatError
from ncodec.formats.ncx.cursor import BufferedStream, Cursor
from ncodec.formats.ncx.header import Header
from ncodec.formats.ncx.header_layout import HEADER_LENGTH
from ncodec.formats.ncx.layout import pack_varint
from ncodec.formats.ncx.signature import SIGNATURE

_CRC_BYTES = 4
_LENGTH_AT = len(SIGNATURE) + 1  # after the version
_MOST_LENGTH_BYTES = len(pack_varint(HEADER_LENGTH.high))

_TABLE = tuple(zlib.crc32(bytes((byte,))) ^ zlib.crc32(b"\0") for byte in range(256))
_BACK = tuple(  # undoes a step: the top byte of an entry is that of no other entry
    entry << 8 | byte for byte, entry in sorted(enumerate(_TABLE), key=lambda pair: pair[1] >> 24)
)


def correct_byte(data: bytes, crc: int) -> tuple[int, int] | None:
    """Find the damaged byte of a structure whose CRC does not hold.

    data    the structure without its CRC
    crc     the stored one, which may hold the damaged byte too
    return  position and right value of the only byte that, changed alone, makes the CRC hold; a
            position of len(data) + k is byte k of the CRC, as stored, low byte first. None if the
            CRC holds already, or if no such byte or more than one is there.
    """
    found = list(_corrections(data, crc))
    return found[0] if len(found) == 1 else None


def correct_header(start: bytes) -> tuple[bytes, int] | None:
    """Correct one damaged byte of a header, wherever it is in it.

    start   the first bytes of a file; those after the longest possible header are not looked at
    return  the header, signature to CRC, that Header.parse accepts, and the offset of the byte that
            was damaged. None if the header is whole, or if no change of a single byte gives such a
            header, or more than one does.

    A header with more than one damaged byte can pass for another header with one: in fewer than
    255 * len(header) of 2^32 cases, 1 in 82 000 for 205 bytes and 1 in 257 for the longest.
    """
    if _header_bytes(start) is not None:
        return None
    found = {(fixed, at) for fixed, at in _candidates(start) if _header_bytes(fixed) == len(fixed)}
    return found.pop() if len(found) == 1 else None


def _corrections(data: bytes, crc: int) -> Iterator[tuple[int, int]]:
    """Yield every change of one byte that makes the CRC hold."""
    right = zlib.crc32(data)
    syndrome = right ^ crc
    if syndrome == 0:
        return
    for index in range(_CRC_BYTES):
        if syndrome & ~(0xFF << 8 * index) == 0:
            yield len(data) + index, right >> 8 * index & 0xFF
    for position in range(len(data) - 1, -1, -1):
        syndrome = syndrome << 8 ^ _BACK[syndrome >> 24]
        if syndrome < 256:
            yield position, data[position] ^ syndrome


def _candidates(start: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield every header whose CRC holds that one changed byte makes of `start`, and its place."""
    end = _crc_offset(start)
    if end is not None and len(start) >= end + _CRC_BYTES:
        for at, right in _corrections(start[:end], _stored_crc(start, end)):
            yield _changed(start[: end + _CRC_BYTES], at, right), at
    n_head = _LENGTH_AT + _MOST_LENGTH_BYTES
    for at in range(_LENGTH_AT, min(n_head, len(start))):
        for right in range(256):  # another header_length: the CRC lies elsewhere
            head = _changed(start[:n_head], at, right)
            end = _crc_offset(head)
            if end is None or len(start) < end + _CRC_BYTES:
                continue
            crc = zlib.crc32(memoryview(start)[n_head:end], zlib.crc32(head[:end]))
            if crc == _stored_crc(start, end):
                yield _changed(start[: end + _CRC_BYTES], at, right), at


def _crc_offset(start: bytes) -> int | None:
    """Return where header_length puts the CRC, None if it is not one that is allowed."""
    length = 0
    for index, byte in enumerate(start[_LENGTH_AT : _LENGTH_AT + _MOST_LENGTH_BYTES]):
        length |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if HEADER_LENGTH.fault(length) or (byte == 0 and index):
                return None
            return _LENGTH_AT + index + 1 + length
    return None


def _stored_crc(start: bytes, end: int) -> int:
    return int.from_bytes(start[end : end + _CRC_BYTES], "little")


def _changed(content: bytes, at: int, right: int) -> bytes:
    return content[:at] + bytes((right,)) + content[at + 1 :]


def _header_bytes(content: bytes) -> int | None:
    """Return the length of the header that `content` starts with, None if there is none."""
    cursor = Cursor(BufferedStream(io.BytesIO(content), "<header>"), "header")
    try:
        Header.parse(cursor)
    except FormatError:
        return None
    return cursor.at
