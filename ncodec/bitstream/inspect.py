"""What can be said of a .ncx file without decoding it to audio, also of a damaged one. No torch.

Shapes: S streams, Q codebooks, F frames, K codes of a codebook.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ncodec.bitstream.codes import Codes, coder_for, decode_group, digest_bytes, packet_groups
from ncodec.entropy import CODER_NUMBERS
from ncodec.errors import FormatError, ModelError
from ncodec.formats.ncx import (
    CODEC_PARAMETERS,
    CodesDigest,
    Damage,
    Header,
    Packet,
    Reader,
    Trailer,
)
from ncodec.formats.streams import Seekable
from ncodec.models.parameters import is_denoised

if TYPE_CHECKING:
    from ncodec.entropy import EntropyCoder

DigestState = Literal["ok", "mismatch", "unchecked"]

MAX_CELLS = 1 << 22  # of the table of how often each code occurs; beyond it there are no statistics


@dataclass(frozen=True, slots=True)
class PacketFacts:
    """One packet, without its payload."""

    number: int
    offset: int
    n_bytes: int
    payload_bytes: int
    n_frames: int
    dependent: bool
    n_scales: int
    start_s: float | None  # None where lost packets before it leave its place unknown


@dataclass(frozen=True, slots=True)
class CodebookFacts:
    """How one codebook of one stream was used."""

    stream: int
    codebook: int
    entropy_bits: float  # of order 0, per code: what an ideal code that knew the counts would need
    n_used: int  # different codes that occur


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is known of a file. Sizes are in bytes, lengths in samples of the source or frames."""

    file_bytes: int
    header: Header
    header_bytes: int
    attached_bytes: int  # of pictures, tags beyond the header and other attachments that are whole
    packets: tuple[PacketFacts, ...]
    trailer: Trailer | None
    damage: tuple[Damage, ...]
    digest: DigestState
    unchecked_because: str | None  # why the digest could not be compared
    codebooks: tuple[CodebookFacts, ...]  # empty without codes

    @property
    def is_whole(self) -> bool:
        """Whether no fault was found."""
        return not self.damage and self.trailer is not None and self.digest != "mismatch"

    @property
    def denoised(self) -> bool:
        """Whether the encoder took noise away (NCX.md, section 3)."""
        parameters = self.header.extension(CODEC_PARAMETERS)
        return is_denoised(self.header.architecture, parameters)

    @property
    def n_frames(self) -> int:
        """Frames of the packets that were read."""
        return sum(packet.n_frames for packet in self.packets)

    @property
    def n_samples(self) -> int | None:
        """Length of the source, None if neither header nor trailer tells."""
        if self.header.n_samples is not None or self.trailer is None:
            return self.header.n_samples
        return self.trailer.n_samples

    @property
    def duration_s(self) -> float:
        """Length of the source; that of the packets read, if it is not known."""
        if self.n_samples is not None:
            return self.n_samples / self.header.source_sample_rate_hz
        return self.n_frames / self.header.frame_rate_hz

    @property
    def payload_bytes(self) -> int:
        """Of the packets that were read."""
        return sum(packet.payload_bytes for packet in self.packets)

    @property
    def trailer_bytes(self) -> int:
        """From the trailer's marker to its end."""
        return self.trailer.n_bytes if self.trailer else 0

    @property
    def framing_bytes(self) -> int:
        """Of the packets that were read, without their payloads."""
        return sum(packet.n_bytes for packet in self.packets) - self.payload_bytes

    @property
    def overhead_bytes(self) -> int:
        """All that is understood but neither payload nor attached."""
        return self.header_bytes + self.framing_bytes + self.trailer_bytes

    @property
    def damaged_bytes(self) -> int:
        """Bytes that belong to no whole structure."""
        whole = self.overhead_bytes + self.attached_bytes + self.payload_bytes
        return self.file_bytes - whole

    @property
    def overhead_share(self) -> float:
        """Overhead as a part of the file."""
        return self.overhead_bytes / self.file_bytes

    @property
    def packed_bits(self) -> int:
        """Bits of one code when packed."""
        return (self.header.codebook_size - 1).bit_length()

    @property
    def spent_bits(self) -> float | None:
        """Bits of payload per code, None without codes."""
        n_codes = self.n_frames * self.header.codes_per_frame
        return 8 * self.payload_bytes / n_codes if n_codes else None

    @property
    def entropy_bits(self) -> float | None:
        """Mean order-0 entropy per code, None without statistics."""
        if not self.codebooks:
            return None
        return sum(book.entropy_bits for book in self.codebooks) / len(self.codebooks)

    def bitrate_bps(self, n_bytes: int) -> float | None:
        """Return the bit rate of so many bytes over the whole duration, None if that is 0."""
        return 8 * n_bytes / self.duration_s if self.duration_s else None


class _Counts:
    """How often each code occurs."""

    def __init__(self, header: Header) -> None:
        self._shape = (header.n_streams, header.n_codebooks, header.codebook_size)
        n_cells = header.codes_per_frame * header.codebook_size
        self._counts: NDArray[np.int64] | None = None
        if n_cells <= MAX_CELLS:
            self._counts = np.zeros(n_cells, np.int64)
        self._is_empty = True

    def add(self, codes: Codes) -> None:
        """Count the codes [S, Q, F] of a packet."""
        if self._counts is not None:
            n_streams, n_codebooks, size = self._shape
            rows = np.arange(n_streams * n_codebooks).reshape(n_streams, n_codebooks, 1)
            np.add.at(self._counts, (rows * size + codes).reshape(-1), 1)
            self._is_empty = False

    def facts(self) -> tuple[CodebookFacts, ...]:
        """Return the statistics, nothing if no code was counted."""
        if self._counts is None or self._is_empty:
            return ()
        table = self._counts.reshape(self._shape)
        return tuple(
            CodebookFacts(stream, codebook, _entropy_bits(row), int(np.count_nonzero(row)))
            for stream, rows in enumerate(table)
            for codebook, row in enumerate(rows)
        )


def _entropy_bits(counts: NDArray[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return abs(float(-(shares * np.log2(shares)).sum()))  # abs: of a single code it is -0.0


class _CodesCheck:
    """Decodes the entropy code as far as it goes, for the digest and the statistics."""

    def __init__(self, header: Header, name: str, *, decode: bool | None) -> None:
        self._header, self._name = header, name
        self._digest = CodesDigest()
        self._next = 0
        self.counts = _Counts(header)
        self.damage: list[Damage] = []
        self.unchecked_because: str | None = None
        self._coder: EntropyCoder | None = None
        if decode is None:
            decode = header.entropy != CODER_NUMBERS["transformer"]
        if not decode:
            self.unchecked_because = "the codes were not decoded"
            return
        try:
            self._coder = coder_for(header)
        except (ModelError, FormatError) as error:
            self.unchecked_because = str(error)

    @property
    def packets_at_once(self) -> int:
        """How many packets are worth giving at once."""
        return self._coder.packets_at_once if self._coder else 1

    def add(self, group: Sequence[Packet]) -> None:
        """Take the next packets that were read, as `packet_groups` makes them."""
        if self._coder is None:
            return
        if group[0].number != self._next:  # what a dependent packet needs is lost
            self._coder = coder_for(self._header)
        self._next = group[-1].number + 1
        for packet, codes in zip(group, decode_group(self._coder, group), strict=True):
            if isinstance(codes, FormatError):
                place = f"{self._name}: packet {packet.number} at byte {packet.offset}"
                lost = range(packet.number, packet.number + 1)
                placed = codes.within(place)
                self.damage.append(Damage(packet.offset, packet.n_bytes, placed, lost))
            else:
                self._digest.update(digest_bytes(codes))
                self.counts.add(codes)

    def digest_state(self, trailer: Trailer | None, *, is_damaged: bool) -> DigestState:
        """Compare the digest, if all the codes it covers were decoded."""
        if self._coder is None:
            return "unchecked"
        if is_damaged or trailer is None:
            self.unchecked_because = "the file is damaged"
            return "unchecked"
        return "ok" if trailer.codes_digest == self._digest.digest() else "mismatch"


def inspect(stream: Seekable, name: str, *, decode: bool | None = None) -> Inspection:
    """Read all of a file, past any damage after its header.

    decode  whether the codes are decoded, for their digest and statistics; by default they are
            unless that takes a transformer, and so torch

    Raises the FormatError of a damaged header: without it nothing is known.
    """
    file_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    damage: list[Damage] = []
    reader = Reader(stream, name, on_damage=damage.append)
    attached_bytes = reader.attached_bytes - sum(lost.n_bytes for lost in damage)
    check = _CodesCheck(reader.header, name, decode=decode)
    read: list[PacketFacts] = []
    for group in packet_groups(reader, reader.header, check.packets_at_once):
        check.add(group)
        read += [
            PacketFacts(
                packet.number, packet.offset, packet.n_bytes, len(packet.payload),
                packet.n_frames, packet.dependent, len(packet.scales), None,
            )
            for packet in group
        ]  # fmt: skip
    trailer = reader.trailer
    damage += check.damage
    digest = check.digest_state(trailer, is_damaged=bool(damage))
    return Inspection(
        file_bytes=file_bytes,
        header=reader.header,
        header_bytes=reader.header_bytes - reader.attached_bytes,
        attached_bytes=attached_bytes,
        packets=tuple(_with_starts(read, trailer, reader.header)),
        trailer=trailer,
        damage=tuple(sorted(damage, key=lambda found: found.offset)),
        digest=digest,
        unchecked_because=check.unchecked_because,
        codebooks=check.counts.facts(),
    )


def _with_starts(
    packets: list[PacketFacts], trailer: Trailer | None, header: Header
) -> Iterator[PacketFacts]:
    """Yield the packets with their time, from the index or by counting while none is missing."""
    index = trailer.packet_frames if trailer else ()
    frames, expected = 0, 0
    known = True
    starts: list[int] = [0]
    for n_frames in index:
        starts.append(starts[-1] + n_frames)
    for packet in packets:
        known = known and packet.number == expected
        expected = packet.number + 1
        start: int | None = frames if known else None
        if packet.number < len(index):
            start = starts[packet.number]
        frames += packet.n_frames
        yield PacketFacts(
            packet.number, packet.offset, packet.n_bytes, packet.payload_bytes, packet.n_frames,
            packet.dependent, packet.n_scales, None if start is None else _seconds(start, header),
        )  # fmt: skip


def _seconds(frame: int, header: Header) -> float:
    """Return when a frame of the file is audible; for one that warms up a decoder, when that is."""
    edits, rate_hz, before_s = header.edits, header.source_sample_rate_hz, 0.0
    if not edits:
        return frame / header.frame_rate_hz
    for edit in edits:
        length_s = edit.n_samples / rate_hz
        if frame < edit.n_frames:
            since_s = (edit.first_frame + frame) / header.frame_rate_hz
            return before_s + min(max(0.0, since_s - edit.first_sample / rate_hz), length_s)
        frame -= edit.n_frames
        before_s += length_s
    return before_s
