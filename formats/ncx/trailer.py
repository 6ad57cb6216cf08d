"""The trailer: index, counts and a digest of the codes (NCX.md, section 5)."""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Self

from ncodec.errors import ChecksumMismatch, InvalidField, LimitExceeded, LostSync
from ncodec.formats.ncx.cursor import Cursor
from ncodec.formats.ncx.header import Header
from ncodec.formats.ncx.layout import VARINT_LIMIT, Field, pack_bytes, pack_number
from ncodec.formats.ncx.packets import MAX_FRAMES, MAX_PACKET_BYTES, MAX_PACKETS, MIN_PACKET_BYTES

TRAILER_MARKER = b"\xb5\x91"
DIGEST_BYTES = 4
MIN_TRAILER_BYTES = 12

_UNIFORM = 1
_SAMPLES = 2
_RESERVED = 4

MARKER = Field("marker", "bytes", 2, 2, LostSync)
COUNT_FLAGS = Field("count_flags", "varint", 0, MAX_PACKETS << 3 | 7, LimitExceeded)
TOTAL_SAMPLES = Field("total_samples", "varint", 0, VARINT_LIMIT - 2)
FIRST_FRAMES = Field("first_frames", "varint", 1, MAX_FRAMES)
LAST_FRAMES = Field("last_frames", "varint", 1, MAX_FRAMES)
PACKET_BYTES = Field("packet_bytes", "varint", MIN_PACKET_BYTES, MAX_PACKET_BYTES)
PACKET_FRAMES = Field("packet_frames", "varint", 1, MAX_FRAMES)
CODES_DIGEST = Field("codes_digest", "bytes", DIGEST_BYTES, DIGEST_BYTES)
TRAILER_CRC = Field("trailer_crc", "u32", refusal=ChecksumMismatch)
TRAILER_LENGTH = Field("trailer_length", "tnirav", MIN_TRAILER_BYTES - 1, VARINT_LIMIT - 1)

TRAILER_FIELDS = (
    MARKER, COUNT_FLAGS, TOTAL_SAMPLES, FIRST_FRAMES, LAST_FRAMES, PACKET_BYTES, PACKET_FRAMES,
    CODES_DIGEST, TRAILER_CRC, TRAILER_LENGTH,
)  # fmt: skip


class CodesDigest:
    """The digest of a file's codes, fed packet by packet.

    Codes are unsigned 16-bit little-endian, ordered by frame, stream, codebook within a packet.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, codes: bytes | bytearray | memoryview) -> None:
        """Add the codes of the next packet."""
        self._hash.update(codes)

    def digest(self) -> bytes:
        """Return the 4 bytes that a trailer stores."""
        return self._hash.digest()[:DIGEST_BYTES]


@dataclass(frozen=True, slots=True)
class Trailer:
    """What a file says about itself at its end.

    `packet_bytes` and `packet_frames` have an entry for every packet. Only the trailer of a single
    packet that was lost leaves them empty, as it has no index.
    """

    n_packets: int
    packet_bytes: tuple[int, ...]
    packet_frames: tuple[int, ...]
    codes_digest: bytes  # 4 bytes
    n_samples: int | None = None  # of the source; None where only the header has it
    offset: int = field(default=0, compare=False)  # in the file, bytes
    n_bytes: int = field(default=0, compare=False)  # in the file, marker to its end

    def __post_init__(self) -> None:
        COUNT_FLAGS.check(self.n_packets << 3)
        lengths = {len(self.packet_bytes), len(self.packet_frames)}
        if lengths != {self.n_packets} and not (self.n_packets == 1 and lengths == {0}):
            raise InvalidField(f"the index of {self.n_packets} packets has not as many entries")
        CODES_DIGEST.check(len(self.codes_digest))
        if self.n_samples is not None:
            TOTAL_SAMPLES.check(self.n_samples)
        for entry, values in (PACKET_BYTES, self.packet_bytes), (PACKET_FRAMES, self.packet_frames):
            if values:
                entry.check(min(values))
                entry.check(max(values))

    @property
    def n_frames(self) -> int:
        """Frames of all packets, per stream."""
        return sum(self.packet_frames)

    @property
    def packet_offsets(self) -> tuple[int, ...]:
        """Where each packet starts in the file, bytes."""
        first = self.offset - sum(self.packet_bytes)
        return tuple(accumulate(self.packet_bytes[:-1], initial=first)) if self.packet_bytes else ()

    def pack(self) -> bytes:
        """Return the trailer's bytes."""
        uniform = self.n_packets > 1 and _is_uniform(self.packet_frames)
        flags = (_UNIFORM if uniform else 0) | (0 if self.n_samples is None else _SAMPLES)
        packed = bytearray(TRAILER_MARKER)
        packed += pack_number(COUNT_FLAGS, self.n_packets << 3 | flags)
        if self.n_samples is not None:
            packed += pack_number(TOTAL_SAMPLES, self.n_samples)
        if uniform:
            packed += pack_number(FIRST_FRAMES, self.packet_frames[0])
            packed += pack_number(LAST_FRAMES, self.packet_frames[-1])
        if self.n_packets > 1:
            for n_bytes, n_frames in zip(self.packet_bytes, self.packet_frames, strict=True):
                packed += pack_number(PACKET_BYTES, n_bytes)
                if not uniform:
                    packed += pack_number(PACKET_FRAMES, n_frames)
        packed += pack_bytes(CODES_DIGEST, self.codes_digest)
        packed += zlib.crc32(packed).to_bytes(4, "little")
        return bytes(packed + pack_number(TRAILER_LENGTH, len(packed)))

    @classmethod
    def parse(cls, cursor: Cursor, header_bytes: int, only: tuple[int, int] | None) -> Self:
        """Read a trailer. `only`: bytes and frames of the only packet, which has no index."""
        marker = cursor.raw(MARKER, len(TRAILER_MARKER))
        if marker != TRAILER_MARKER:
            raise cursor.error(LostSync, f"no trailer starts here: found {marker.hex(' ')}", 0)
        n_packets, flags = parse_count_flags(cursor, header_bytes)
        n_samples = cursor.number(TOTAL_SAMPLES) if flags & _SAMPLES else None
        if n_packets > 1:
            packet_bytes, packet_frames = _parse_index(cursor, n_packets, bool(flags & _UNIFORM))
        elif flags & _UNIFORM:
            raise cursor.error(InvalidField, "count_flags has bit 0 set without an index")
        else:
            entry = only if n_packets == 1 else None
            packet_bytes, packet_frames = ((entry[0],), (entry[1],)) if entry else ((), ())
        codes_digest = cursor.raw(CODES_DIGEST, DIGEST_BYTES)
        cursor.verify(TRAILER_CRC, cursor.at)
        cursor.number(TRAILER_CRC)
        cursor.expect(TRAILER_LENGTH, cursor.at)
        place = cursor.start, cursor.at
        return cls(n_packets, packet_bytes, packet_frames, codes_digest, n_samples, *place)


def samples_fault(trailer: Trailer, header: Header) -> str | None:
    """How the trailer's number of samples disagrees with the header's, or None."""
    if trailer.n_samples is None and header.n_samples is None:
        return "total_samples is missing, and the header does not know it either"
    if None not in (trailer.n_samples, header.n_samples) and trailer.n_samples != header.n_samples:
        return f"total_samples is {trailer.n_samples}, but the header says {header.n_samples}"
    return None


def parse_count_flags(cursor: Cursor, header_bytes: int) -> tuple[int, int]:
    """Read a trailer's number of packets, which must fit before it, and its flags."""
    at = cursor.at
    count_flags = cursor.number(COUNT_FLAGS)
    n_packets = count_flags >> 3
    if count_flags & _RESERVED:
        raise cursor.error(InvalidField, "count_flags has bit 2 set, which is reserved", at)
    room = cursor.start - header_bytes
    if n_packets * MIN_PACKET_BYTES > room:
        raise cursor.error(InvalidField, f"{n_packets} packets cannot fit in {room} bytes", at)
    return n_packets, count_flags & 7


def _parse_index(
    cursor: Cursor, n_packets: int, uniform: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    at = cursor.at
    packet_bytes: list[int] = []
    packet_frames: list[int] = []
    if uniform:
        packet_frames = [cursor.number(FIRST_FRAMES)] * (n_packets - 1)
        packet_frames.append(cursor.number(LAST_FRAMES))
    for _ in range(n_packets):
        packet_bytes.append(cursor.number(PACKET_BYTES))
        if not uniform:
            packet_frames.append(cursor.number(PACKET_FRAMES))
    if uniform != _is_uniform(packet_frames):
        raise cursor.error(InvalidField, "the packets are uniform, but bit 0 is clear", at)
    return tuple(packet_bytes), tuple(packet_frames)


def _is_uniform(packet_frames: Sequence[int]) -> bool:
    return all(n_frames == packet_frames[0] for n_frames in packet_frames[:-1])
