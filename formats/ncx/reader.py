"""Reading .ncx files front to back, also from pipes, with or without damage."""

from array import array
from collections.abc import Callable, Iterator

from ncodec.errors import FormatError, InvalidField, Truncated
from ncodec.formats.ncx.attachments import OnDamage
from ncodec.formats.ncx.cursor import BufferedStream, Cursor, Mark
from ncodec.formats.ncx.header import Header
from ncodec.formats.ncx.packets import Packet
from ncodec.formats.ncx.recovery import Damage, PacketSearch
from ncodec.formats.ncx.trailer import TRAILER_MARKER, Trailer, samples_fault
from ncodec.formats.streams import Readable, Seekable, can_seek


class Reader:
    """Reads the header at once, then yields packets in order; after the last, `trailer` is set.

    Damage raises the FormatError that names it, with file name and offset. With `on_damage`, damage
    after the header is passed to that function instead and reading goes on at the next whole
    packet (NCX.md, section 7); `trailer` stays None if the file has none that is whole.
    """

    def __init__(
        self,
        stream: Readable,
        name: str = "<stream>",
        *,
        on_damage: Callable[[Damage], None] | None = None,
        marks: list[Mark] | None = None,
    ) -> None:
        self.name = name
        self.trailer: Trailer | None = None
        self._on_damage = on_damage
        self._marks = marks  # takes every field that is read, for annotate()
        self._stream = stream
        self._source = BufferedStream(stream, name)
        self._search = PacketSearch(self._source)
        self._ended = False
        self._expected = 0  # number of the next packet
        self._numbers = array("L")  # of the packets read, and their sizes
        self._packet_bytes = array("L")
        self._packet_frames = array("L")
        cursor = Cursor(self._source, "header", marks)
        alone = Header.parse(cursor)
        self._source.drop(cursor.at)
        self.attached_bytes = alone.attached_bytes
        self.header = alone.with_attached(self._source, marks, self._skipped(on_damage))
        self.header_bytes = self._source.offset  # with attachments: where packet 0 starts

    @staticmethod
    def _skipped(on_damage: Callable[[Damage], None] | None) -> OnDamage | None:
        """Return what takes damage of attachments, which costs no packets."""
        if on_damage is None:
            return None
        return lambda offset, n, error: on_damage(Damage(offset, n, error, range(0)))

    @property
    def seekable(self) -> Seekable | None:
        """The stream, if it can seek; the reader then goes on from where it is left."""
        return self._stream if can_seek(self._stream) else None

    @property
    def n_samples(self) -> int | None:
        """Samples of the source per channel; None until the trailer of a live stream is read."""
        if self.header.n_samples is not None or self.trailer is None:
            return self.header.n_samples
        return self.trailer.n_samples

    def __iter__(self) -> Iterator[Packet]:
        """Yield the packets that are left."""
        while not self._ended:
            try:
                found = self._read_next()
            except FormatError as error:
                if self._on_damage is None:
                    self._ended = True
                    raise
                found = self._skip_damage(error, self._on_damage)
            if isinstance(found, Packet):
                self._accept(found)
                yield found
                continue
            self._ended = True
            self.trailer = found
            if found is not None:
                self._source.drop(found.n_bytes)
                self._refuse_rest()

    def _read_next(self) -> Packet | Trailer:
        """Read what must stand at the source's start, without using it up."""
        cursor = Cursor(self._source, f"packet {self._expected}", self._marks)
        if not self._source.need(1):
            raise cursor.error(Truncated, "the file ends here, without a trailer")
        self._source.need(len(TRAILER_MARKER))
        if self._source.buffer.startswith(TRAILER_MARKER):
            cursor.label = "trailer"
            trailer = Trailer.parse(cursor, self.header_bytes, self._only_packet())
            fault = self._index_fault(trailer) or samples_fault(trailer, self.header)
            if fault is not None:
                raise cursor.error(InvalidField, fault, 0)
            return trailer
        packet = Packet.parse(cursor, self.header.n_streams)
        if packet.number != self._expected:
            fault = f"number is {packet.number}, expected {self._expected}"
            raise cursor.error(InvalidField, fault, 0)
        return packet

    def _skip_damage(
        self, error: FormatError, on_damage: Callable[[Damage], None]
    ) -> Packet | Trailer | None:
        """Search on from the source's start, report what was skipped, return what was found."""
        start = self._source.offset
        found = self._search.next_whole(
            self.header.n_streams, self.header_bytes, self._expected, self._only_packet()
        )
        missing = None
        if found is not None:
            end = found.number if isinstance(found, Packet) else found.n_packets
            missing = range(self._expected, end)
        on_damage(Damage(start, self._source.offset - start, error, missing))
        return found

    def _accept(self, packet: Packet) -> None:
        self._source.drop(packet.n_bytes)
        self._expected = packet.number + 1
        self._numbers.append(packet.number)
        self._packet_bytes.append(packet.n_bytes)
        self._packet_frames.append(packet.n_frames)

    def _only_packet(self) -> tuple[int, int] | None:
        """Bytes and frames of packet 0 if it is the only one so far."""
        only = self._expected == 1 and len(self._numbers) == 1
        return (self._packet_bytes[0], self._packet_frames[0]) if only else None

    def _index_fault(self, trailer: Trailer) -> str | None:
        """How the trailer disagrees with the packets, or None."""
        if trailer.n_packets != self._expected:
            return f"counts {trailer.n_packets} packets, but {self._expected} come before it"
        if not trailer.packet_bytes:
            return None
        for number, *read in zip(
            self._numbers, self._packet_bytes, self._packet_frames, strict=True
        ):
            listed = trailer.packet_bytes[number], trailer.packet_frames[number]
            if listed != tuple(read):
                listed_text = "{} bytes and {} frames".format(*listed)
                read_text = "{} and {}".format(*read)
                return f"packet {number} is listed with {listed_text}, but has {read_text}"
        return None

    def _refuse_rest(self) -> None:
        """Raise or report bytes after the trailer."""
        if not self._source.need(1):
            return
        start = self._source.offset
        error = Cursor(self._source, "end").error(InvalidField, "bytes follow the trailer")
        if self._on_damage is None:
            raise error
        while self._source.need(1):
            self._source.drop(len(self._source.buffer))
        self._on_damage(Damage(start, self._source.offset - start, error, range(0)))
