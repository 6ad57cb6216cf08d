"""Packets, of some seconds of codes each (NCX.md, section 4)."""

import zlib
from dataclasses import dataclass, field
from typing import Self

from ncodec.errors import ChecksumMismatch, InvalidField, LimitExceeded, LostSync
from ncodec.formats.ncx.cursor import Cursor
from ncodec.formats.ncx.layout import Field, pack_bytes, pack_number, pack_scales, unpack_scales

SYNC_WORD = b"\xb5\x6e"
MAX_PACKETS = 1 << 24
MAX_FRAMES = 65535
MAX_PAYLOAD_BYTES = 1 << 22
MAX_SCALES_PER_STREAM = 4096
MIN_PACKET_BYTES = 9
MAX_PACKET_BYTES = 5_242_900

_DEPENDENT = 1
_SCALES = 2

SYNC = Field("sync", "bytes", 2, 2, LostSync)
NUMBER = Field("number", "varint", 0, MAX_PACKETS - 1)
FRAMES_FLAGS = Field("frames_flags", "varint", 1 << 2, MAX_FRAMES << 2 | _DEPENDENT | _SCALES)
PAYLOAD_LENGTH = Field("payload_length", "varint", 0, MAX_PAYLOAD_BYTES, LimitExceeded)
SCALE_COUNT = Field("scale_count", "varint", 1, 64 * MAX_SCALES_PER_STREAM, LimitExceeded)
SCALES = Field("scales", "f32")
PAYLOAD = Field("payload", "bytes", 0, MAX_PAYLOAD_BYTES, LimitExceeded)
PACKET_CRC = Field("packet_crc", "u32", refusal=ChecksumMismatch)

PACKET_FIELDS = (
    SYNC, NUMBER, FRAMES_FLAGS, PAYLOAD_LENGTH, SCALE_COUNT, SCALES, PAYLOAD, PACKET_CRC,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PacketHead:
    """What stands before a packet's scales and payload, and the size that follows from it."""

    number: int
    n_frames: int
    dependent: bool
    n_scales: int
    payload_bytes: int
    n_bytes: int  # of the whole packet, sync word to CRC

    @classmethod
    def parse(cls, cursor: Cursor, n_streams: int) -> Self:
        """Read a packet's head; a file of `n_streams` bounds its number of scales."""
        sync = cursor.raw(SYNC, len(SYNC_WORD))
        if sync != SYNC_WORD:
            fault = f"no packet or trailer starts here: found {sync.hex(' ')}"
            raise cursor.error(LostSync, fault, 0)
        number = cursor.number(NUMBER)
        frames_flags = cursor.number(FRAMES_FLAGS)
        payload_bytes = cursor.number(PAYLOAD_LENGTH)
        n_scales = 0
        if frames_flags & _SCALES:
            at = cursor.at
            n_scales = cursor.number(SCALE_COUNT)
            limit = n_streams * MAX_SCALES_PER_STREAM
            if n_scales > limit:
                fault = f"scale_count is {n_scales}, at most {limit} for {n_streams} streams"
                raise cursor.error(LimitExceeded, fault, at)
        dependent = bool(frames_flags & _DEPENDENT)
        n_bytes = cursor.at + 4 * n_scales + payload_bytes + 4
        return cls(number, frames_flags >> 2, dependent, n_scales, payload_bytes, n_bytes)


@dataclass(frozen=True, slots=True)
class Packet:
    """Some frames of every code stream, as the entropy coder wrote them.

    Raises InvalidField or LimitExceeded for a field out of range, on construction. `scales` are
    rounded to 32-bit floats, as stored.
    """

    number: int  # 0, 1, 2, ...
    n_frames: int
    payload: bytes
    dependent: bool = False  # continues the entropy model's context of the packet before it
    scales: tuple[float, ...] = ()  # the codec's normalisation factors, stream after stream
    offset: int = field(default=0, compare=False)  # in the file, bytes
    n_bytes: int = field(default=0, compare=False)  # in the file, sync word to CRC

    def __post_init__(self) -> None:
        NUMBER.check(self.number)
        if not 1 <= self.n_frames <= MAX_FRAMES:
            raise InvalidField(f"n_frames is {self.n_frames}, expected 1 to {MAX_FRAMES}")
        PAYLOAD_LENGTH.check(len(self.payload))
        if self.scales:
            SCALE_COUNT.check(len(self.scales))
            object.__setattr__(self, "scales", unpack_scales(pack_scales(self.scales)))
        if self.dependent and self.number == 0:
            raise InvalidField("packet 0 cannot be dependent, there is none before it")

    def pack(self) -> bytes:
        """Return the packet's bytes, from the sync word to its CRC."""
        flags = (_DEPENDENT if self.dependent else 0) | (_SCALES if self.scales else 0)
        packed = SYNC_WORD + pack_number(NUMBER, self.number)
        packed += pack_number(FRAMES_FLAGS, self.n_frames << 2 | flags)
        packed += pack_number(PAYLOAD_LENGTH, len(self.payload))
        if self.scales:
            packed += pack_number(SCALE_COUNT, len(self.scales)) + pack_scales(self.scales)
        packed += pack_bytes(PAYLOAD, self.payload)
        return packed + zlib.crc32(packed).to_bytes(4, "little")

    @classmethod
    def parse(cls, cursor: Cursor, n_streams: int, head: PacketHead | None = None) -> Self:
        """Read a packet, or the rest of the one whose `head` has been read."""
        head = head or PacketHead.parse(cursor, n_streams)
        cursor.require(head.n_bytes)
        cursor.verify(PACKET_CRC, head.n_bytes - 4)
        if head.dependent and head.number == 0:
            raise cursor.error(InvalidField, "packet 0 cannot be dependent", 0)
        scales = cursor.scales(SCALES, head.n_scales) if head.n_scales else ()
        payload = cursor.raw(PAYLOAD, head.payload_bytes)
        cursor.number(PACKET_CRC)
        return cls(
            head.number,
            head.n_frames,
            payload,
            head.dependent,
            scales,
            cursor.start,
            head.n_bytes,
        )
