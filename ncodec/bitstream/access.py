"""Which packets are needed, and where they come from: front to back, or from where the index says.

Frames are counted over all packets of the file, whatever edit they belong to (NCX.md, section 3).
"""

import bisect
import os
from collections.abc import Iterator
from itertools import accumulate
from typing import Protocol

from ncodec.bitstream.codes import Lost
from ncodec.errors import FormatError, InvalidField
from ncodec.formats.ncx import Header, Packet, Reader, Trailer, read_index, read_packet
from ncodec.formats.streams import Seekable


class Packets(Protocol):
    """The packets of a file, for segments of it that come in order."""

    n_samples: int | None  # of the source, as far as header and index tell

    def between(
        self, start_frame: int, end_frame: int | None
    ) -> Iterator[tuple[int, Packet | Lost]]:
        """Yield what holds frames [start_frame, end_frame), each with its own first frame.

        Before them come those that a dependent one of them needs, as far back as a key packet.
        `end_frame` of None: all that follow.
        """
        ...


class InOrder:
    """From any stream: reads past what is not needed."""

    def __init__(self, items: Iterator[Packet | Lost], n_samples: int | None) -> None:
        self._items = items
        self._frame = 0
        self._left: Lost | None = None  # after the end of the last segment
        self.n_samples = n_samples

    def between(
        self, start_frame: int, end_frame: int | None
    ) -> Iterator[tuple[int, Packet | Lost]]:
        """See Packets."""
        chain: list[tuple[int, Packet | Lost]] = []  # from the last key packet on
        while end_frame is None or self._frame < end_frame:
            item, self._left = self._left or next(self._items, None), None
            if item is None:
                return
            if isinstance(item, Lost) and end_frame and self._frame + item.n_frames > end_frame:
                inside = end_frame - self._frame
                self._left = Lost(item.n_frames - inside, item.error)
                item = Lost(inside, item.error)
            start = self._frame
            self._frame += item.n_frames
            if isinstance(item, Lost) or not item.dependent:
                chain = []
            chain.append((start, item))
            if self._frame > start_frame:
                yield from chain
                chain = []


class Indexed:
    """From a stream that can seek, with an index at its end: reads no more than is needed.

    Attributes:
        packet_frames: frames of each packet.
    """

    def __init__(self, stream: Seekable, header: Header, trailer: Trailer, name: str) -> None:
        self._stream, self._header, self._name = stream, header, name
        self._sizes = trailer.packet_bytes
        self.packet_frames = tuple(trailer.packet_frames)
        self._frames = [0, *accumulate(trailer.packet_frames)]
        self._offsets = trailer.packet_offsets
        self.n_samples = trailer.n_samples if header.n_samples is None else header.n_samples

    def between(self, start_frame: int, end_frame: int | None) -> Iterator[tuple[int, Packet]]:
        """See Packets."""
        number = max(0, bisect.bisect_right(self._frames, start_frame) - 1)
        chain: list[tuple[int, Packet]] = []  # back to a key packet
        while number < len(self._sizes):
            chain.append(self._read(number - len(chain)))
            if not chain[-1][1].dependent:
                break
        yield from reversed(chain)
        for later in range(number + 1, len(self._sizes)):
            if end_frame is not None and self._frames[later] >= end_frame:
                break
            yield self._read(later)

    def _read(self, number: int) -> tuple[int, Packet]:
        offset, n_bytes = self._offsets[number], self._sizes[number]
        packet = read_packet(
            self._stream, self._header, number, offset, self._name, n_bytes=n_bytes
        )
        n_frames = self._frames[number + 1] - self._frames[number]
        if (packet.n_bytes, packet.n_frames) != (n_bytes, n_frames):
            raise InvalidField(
                f"{self._name}: packet {number} at byte {offset}: is listed with {n_bytes} bytes "
                f"and {n_frames} frames, but has {packet.n_bytes} and {packet.n_frames}"
            )
        return self._frames[number], packet


def all_packets(reader: Reader, max_frames: int | None) -> InOrder:
    """Return the packets of a file that is to be read front to back, trailer included.

    Raises InvalidField before a packet beyond `max_frames` frames of all.
    """
    return InOrder(_within(reader, max_frames), reader.header.n_samples)


def _within(reader: Reader, max_frames: int | None) -> Iterator[Packet]:
    n_frames = 0
    for packet in reader:
        n_frames += packet.n_frames
        if max_frames is not None and n_frames > max_frames:
            n_samples = reader.header.n_samples
            wants = "its samples" if n_samples is None else f"{n_samples} samples"
            raise InvalidField(
                f"{reader.name}: packet {packet.number} at byte {packet.offset}: {n_frames} frames "
                f"so far, but {wants} need {max_frames} frames"
            )
        yield packet


def open_packets(reader: Reader) -> Packets:
    """Return the packets of a file that is to be read in part only, by its index if it can be."""
    stream = reader.seekable
    if stream is not None:
        place = stream.seek(0, os.SEEK_CUR)
        try:
            trailer = read_index(stream, reader.name)
            return Indexed(stream, reader.header, trailer, reader.name)
        except FormatError:  # what is intact can still be read
            stream.seek(place)
    return InOrder(iter(reader), reader.header.n_samples)
