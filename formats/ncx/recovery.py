"""Finding the next whole packet after damage (NCX.md, section 7)."""

from dataclasses import dataclass

from ncodec.errors import FormatError
from ncodec.formats.ncx.cursor import BufferedStream, Cursor
from ncodec.formats.ncx.packets import MAX_PACKET_BYTES, SYNC_WORD, Packet, PacketHead
from ncodec.formats.ncx.trailer import MARKER, TRAILER_MARKER, Trailer, parse_count_flags

# A hostile file may hold a false sync word every few bytes, each with a payload of megabytes to
# check. Bytes checked in vain are therefore limited to a multiple of the bytes searched; real
# packets that the limit hides are lost, which an accident does not come near.
_CHECKS_PER_BYTE = 16
_FREE_CHECKS = 4 * MAX_PACKET_BYTES
_INDEX_COST = 64  # a byte of an index takes about as long as the CRC of so many bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a file that were skipped, and why."""

    offset: int
    n_bytes: int  # may be 0: packets were cut out, or the end is missing
    error: FormatError
    missing: range | None  # numbers of the packets lost here; None if nothing after it says which


#   packet 4 | damaged ... B5 6E ........ B5 6E ... | packet 8
#                          false sync     packet 7: its CRC fits, and its number is not below 5
#
# A sync word may occur anywhere by chance: only the CRC decides. So a candidate is parsed without
# using it up. Where it fails the search goes on one byte later, not after the length it claims.


class PacketSearch:
    """Looks for whole packets and trailers in one source, with bounded work over its life."""

    def __init__(self, source: BufferedStream) -> None:
        self._source = source
        self._checked = 0

    def next_whole(
        self, n_streams: int, header_bytes: int, expected: int, only: tuple[int, int] | None
    ) -> Packet | Trailer | None:
        """Find the next packet numbered `expected` or higher, or the trailer of as many packets.

        Skips the bytes before it but not those of what it found; None: nothing is left to skip.
        """
        while self._skip_to_candidate():
            cursor = Cursor(self._source, "candidate")
            try:
                if self._source.buffer.startswith(TRAILER_MARKER):
                    found = self._trailer(cursor, header_bytes, expected, only)
                else:
                    found = self._packet(cursor, n_streams, expected)
            except FormatError:
                found = None
            if found is not None:
                return found
            self._source.drop(1)
        return None

    def _skip_to_candidate(self) -> bool:
        """Skip to the next sync word or marker; return False at the end."""
        source = self._source
        while source.need(2):
            at = source.buffer.find(SYNC_WORD[0])
            source.drop(len(source.buffer) if at < 0 else at)
            if not source.need(2):
                break
            if source.buffer.startswith((SYNC_WORD, TRAILER_MARKER)):
                return True
            source.drop(1)
        source.drop(len(source.buffer))
        return False

    def _packet(self, cursor: Cursor, n_streams: int, expected: int) -> Packet | None:
        head = PacketHead.parse(cursor, n_streams)
        if head.number < expected or not self._affordable(head.n_bytes):
            return None
        cursor.require(head.n_bytes)
        self._checked += head.n_bytes
        return Packet.parse(cursor, n_streams, head)

    def _trailer(
        self, cursor: Cursor, header_bytes: int, expected: int, only: tuple[int, int] | None
    ) -> Trailer | None:
        cursor.raw(MARKER, len(TRAILER_MARKER))
        n_packets, _ = parse_count_flags(cursor, header_bytes)
        if n_packets < expected or not self._affordable(n_packets * _INDEX_COST):
            return None
        cursor = Cursor(self._source, "candidate")
        try:
            return Trailer.parse(cursor, header_bytes, only)
        finally:
            self._checked += cursor.at * _INDEX_COST

    def _affordable(self, n_bytes: int) -> bool:
        allowed = _FREE_CHECKS + _CHECKS_PER_BYTE * self._source.offset
        return self._checked + n_bytes <= allowed
