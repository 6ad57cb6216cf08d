"""Reading any packet of a file without reading those before it. Needs a stream that can seek."""

import os
from dataclasses import replace

from ncodec.errors import FormatError, InvalidField, LostSync, Truncated
from ncodec.formats.ncx.cursor import BufferedStream, Cursor
from ncodec.formats.ncx.header import Header
from ncodec.formats.ncx.layout import MAX_VARINT_BYTES
from ncodec.formats.ncx.packets import Packet
from ncodec.formats.ncx.trailer import MIN_TRAILER_BYTES, Trailer, samples_fault
from ncodec.formats.streams import Seekable

MOST_BYTES = 1 << 16  # that are read at once


def read_index(stream: Seekable, name: str = "<stream>") -> Trailer:
    """Return the trailer of the file in `stream`, found from the file's end.

    Raises LostSync if the file ends in no trailer: then only a Reader gets at its packets. The
    packets themselves are not looked at, but for the only one of a file without an index.
    """
    stream.seek(0)
    cursor = Cursor(BufferedStream(stream, name), "header")
    header = Header.parse(cursor)
    header_bytes = cursor.at + header.attached_bytes
    file_bytes = stream.seek(0, os.SEEK_END)
    start = _trailer_start(stream, name, file_bytes)
    if start < header_bytes:
        raise LostSync(f"{name}: no trailer ends at byte {file_bytes}: it would overlap the header")
    stream.seek(start)
    cursor = Cursor(
        BufferedStream(stream, name, start, min(file_bytes - start, MOST_BYTES)), "trailer"
    )
    trailer = Trailer.parse(cursor, header_bytes, None)
    fault = samples_fault(trailer, header)
    if start + trailer.n_bytes != file_bytes:
        fault = f"ends at byte {start + trailer.n_bytes}, but the file at {file_bytes}"
    if trailer.n_packets == 1 and fault is None:
        only = read_packet(stream, header, 0, header_bytes, name)
        sizes = {"packet_bytes": (only.n_bytes,), "packet_frames": (only.n_frames,)}
        trailer = replace(trailer, **sizes)
    if fault is None and sum(trailer.packet_bytes) != start - header_bytes:
        listed = sum(trailer.packet_bytes)
        fault = f"lists {listed} bytes of packets, but {start - header_bytes} come before it"
    if fault is not None:
        raise cursor.error(InvalidField, fault, 0)
    return trailer


def read_packet(
    stream: Seekable, header: Header, number: int, offset: int, name: str = "<stream>",
    n_bytes: int = MOST_BYTES,
) -> Packet:  # fmt: skip
    """Return packet `number`, which starts at byte `offset` (see Trailer.packet_offsets).

    n_bytes  of the packet, where an index tells: no more is read then
    """
    stream.seek(offset)
    source = BufferedStream(stream, name, offset, min(n_bytes, MOST_BYTES))
    cursor = Cursor(source, f"packet {number}")
    packet = Packet.parse(cursor, header.n_streams)
    if packet.number != number:
        raise cursor.error(InvalidField, f"number is {packet.number}, expected {number}", 0)
    return packet


def _trailer_start(stream: Seekable, name: str, file_bytes: int) -> int:
    """Read trailer_length backwards from the file's end; return where the trailer starts."""

    def lost(text: str, refusal: type[FormatError] = LostSync) -> FormatError:
        return refusal(f"{name}: no trailer ends at byte {file_bytes}: {text}")

    n_tail = min(MAX_VARINT_BYTES, file_bytes)
    stream.seek(file_bytes - n_tail)
    source = BufferedStream(stream, name, chunk_bytes=n_tail)
    if not source.need(n_tail):
        raise lost("the file became shorter", Truncated)
    length = 0
    for index in range(n_tail):
        byte = source.buffer[n_tail - 1 - index]
        length |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if length < MIN_TRAILER_BYTES - 1 or length + index + 1 > file_bytes:
                raise lost(f"a length of {length} bytes is not possible")
            return file_bytes - length - index - 1
    raise lost("its length never ends")
