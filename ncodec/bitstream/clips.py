"""Codes as arrays, with what is needed to decode them; of a whole file, or of some of its frames.

Nothing is decoded to audio, and the codec itself is needed only where its frames belong together.

Shapes: S streams, Q codebooks, F frames.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncodec.bitstream.access import Indexed, open_packets
from ncodec.bitstream.codes import (
    Codes,
    CodesWriter,
    Lost,
    decode_packets,
    join,
    source_length,
)
from ncodec.bitstream.span_codes import chunk_of, codec_for, decode_located
from ncodec.entropy import CODER_NUMBERS, MAX_CODES
from ncodec.errors import (
    FormatError,
    ModelError,
    UsageError,
)
from ncodec.formats.ncx import ARCHITECTURES, EDIT_LIST, Header, Packet, Reader, Writer
from ncodec.formats.streams import Writable
from ncodec.hub.codecs import find_exact
from ncodec.hub.entropy_models import WITHOUT_MODEL, choose_entropy

# Architectures of which some models have frames that belong together, and the size that says so.
_SEGMENTED = {"encodec": "segment_samples", "snac": "window"}
MAX_SMALL = 1 << 15  # codes of an int16

Scales = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class CodesFacts:
    """What codes are of, and what is needed to decode them.

    Attributes:
        header: of the file: model, weights, frame rate, tags, pictures, edits. Its number of
            codebooks is that of the codes.
        packet_frames: frames of each packet of the codes.
        scales: of each packet, those of the first stream before those of the next.
        start_frame: the place of the codes among the frames of the file.
        n_samples: of the source, per channel; None for a segment, which stands for as many as its
            frames can.
    """

    header: Header
    packet_frames: tuple[int, ...]
    scales: Scales
    start_frame: int = 0
    n_samples: int | None = None

    @property
    def model_id(self) -> str:
        """The id of the codec."""
        return self.header.model_id

    @property
    def model_fingerprint(self) -> str:
        """The start of the digest of the codec's weights, in hexadecimal."""
        return self.header.model_fingerprint.hex()

    @property
    def frame_rate_hz(self) -> float:
        """Frames a second."""
        return self.header.frame_rate_hz

    @property
    def codebook_size(self) -> int:
        """Codes are below this."""
        return self.header.codebook_size

    @property
    def n_frames(self) -> int:
        """Of the codes."""
        return sum(self.packet_frames)

    @property
    def duration_s(self) -> float:
        """Seconds of the source, or what the frames of a segment stand for."""
        if self.n_samples is None:
            return self.n_frames / self.frame_rate_hz
        return self.n_samples / self.header.source_sample_rate_hz

    @property
    def tags(self) -> tuple[tuple[str, str], ...]:
        """Keys and values."""
        return self.header.tags


def smallest_type(codebook_size: int) -> type[np.signedinteger[Any]]:
    """Return int16, or int32 where that does not hold all codes."""
    return np.int16 if codebook_size <= MAX_SMALL else np.int32


def read_clip(
    reader: Reader, start: float = 0.0, end: float | None = None, n_q: int | None = None
) -> tuple[Codes, CodesFacts]:
    """Return the codes [S, Q, F] int64 of a file, or of seconds [start, end), and their facts.

    A segment has all frames that stand for some of its samples; of a file with an index only the
    packets that hold them are read. `n_q`: only so many codebooks.

    Raises FormatError; UsageError for a segment or codebooks that are not there; ModelError without
    the entropy model.
    """
    header = reader.header
    kept = header.n_codebooks if n_q is None else n_q
    if not 1 <= kept <= header.n_codebooks:
        raise UsageError(f"{reader.name}: has {header.n_codebooks} codebooks, {kept} are asked for")
    if not 0 <= start < math.inf or not (end is None or start < end):
        raise UsageError(f"from {start:g} s to {'the end' if end is None else end}: nothing there")
    if start == 0 and end in (None, math.inf):
        return _read_whole(reader, kept)
    found = [
        part
        for first, stop in _frames_of(reader, start, None if end == math.inf else end)
        for part in parts_between(reader, first, stop)
    ]
    if not found:
        raise UsageError(f"{reader.name}: ends before {start:g} s")
    plain = tuple(pair for pair in header.extensions if pair[0] != EDIT_LIST)
    facts = CodesFacts(
        replace(_reduced(header, kept), n_samples=None, extensions=plain),
        tuple(part.codes.shape[-1] for part in found),
        tuple(_scales(reader, part) for part in found),
        found[0].frame + found[0].first,
    )
    return join([part.codes for part in found], header)[:, :kept], facts


@dataclass(frozen=True, slots=True)
class Part:
    """Some frames of a packet."""

    packet: Packet
    frame: int  # the packet's first, in the file
    first: int  # of the packet's frames
    codes: Codes  # [S, Q, F]


def parts_between(reader: Reader, start_frame: int, end_frame: int | None) -> Iterator[Part]:
    """Yield frames [start_frame, end_frame) of a file, packet by packet.

    Raises FormatError, ModelError.
    """
    located = open_packets(reader).between(start_frame, end_frame)
    for frame, found in decode_located(located, reader, end_frame):
        assert not isinstance(found, Lost)  # noqa: S101 # nothing was given that is
        packet, codes = found
        if isinstance(codes, FormatError):
            raise codes
        yield from _inside(packet, frame, codes, start_frame, end_frame)


def _inside(
    packet: Packet, frame: int, codes: Codes, start: int, end: int | None
) -> Iterator[Part]:
    """Yield what lies in [start, end) of the codes of a packet, if anything does."""
    low = max(0, start - frame)
    high = codes.shape[-1] if end is None else min(codes.shape[-1], end - frame)
    if low < high:
        yield Part(packet, frame, low, codes[:, :, low:high])


def _scales(reader: Reader, part: Part) -> tuple[float, ...]:
    """Return the scales of some frames of a packet."""
    packet, n_frames = part.packet, part.codes.shape[-1]
    if n_frames == packet.n_frames or len(packet.scales) <= reader.header.n_streams:
        return packet.scales
    whole = np.zeros((reader.header.n_streams, 1, packet.n_frames), np.int64)
    cut = codec_for(reader).cut(chunk_of(packet, whole), part.first, part.first + n_frames)
    return tuple(cut.scales.flatten().tolist())


def packet_frames_of(reader: Reader) -> tuple[int, ...]:
    """Return the frames of each packet; by the index, where there is one. Raises FormatError."""
    packets = open_packets(reader)
    if isinstance(packets, Indexed):
        return packets.packet_frames
    return tuple(item.n_frames for _, item in packets.between(0, None))


def write_clip(
    sink: Writable, codes: NDArray[Any], facts: CodesFacts, entropy: str | None = None
) -> None:
    """Write codes [S, Q, F] as the .ncx file that they are of; nothing need be known of the codec.

    entropy  a coder's name; by default that of the file they were read from, if it is there, else
             mixed

    Raises UsageError for codes that the facts do not fit, ModelMissing.
    """
    header = facts.header
    n_streams, n_q, n_frames = codes.shape
    if n_streams != header.n_streams or n_frames != facts.n_frames:
        raise UsageError(
            f"codes: {n_streams} streams of {n_frames} frames, but their facts are of "
            f"{header.n_streams} of {facts.n_frames}"
        )
    if len(facts.scales) != len(facts.packet_frames):
        raise UsageError(f"{len(facts.scales)} scales for {len(facts.packet_frames)} packets")
    check_codes(codes, header.codebook_size)
    header = replace(_reduced(header, n_q), n_samples=facts.n_samples)
    writer = CodesWriter(Writer(sink, replace(header, **_coding(header, entropy))))
    first = 0
    for size, scales in zip(facts.packet_frames, facts.scales, strict=True):
        if size * n_streams * n_q > MAX_CODES:
            raise UsageError(f"a packet of {size} frames is too long")
        writer.write(codes[:, :, first : first + size].astype(np.int64), scales)
        first += size
    if facts.n_samples is None:
        raise UsageError("how many samples the codes stand for is not known")
    writer.finish(facts.n_samples)


def check_codes(codes: NDArray[Any], codebook_size: int) -> None:
    """Raise UsageError for codes that are not below `codebook_size`."""
    low, high = (int(codes.min()), int(codes.max())) if codes.size else (0, 0)
    if low < 0 or high >= codebook_size:
        raise UsageError(f"codes: {low} to {high}, expected 0 to {codebook_size - 1}")


def _coding(header: Header, entropy: str | None) -> dict[str, Any]:
    """Return what a header says of the entropy coder. Raises ModelMissing, UsageError."""
    plain: dict[str, Any] = {"entropy_model_id": "", "entropy_fingerprint": b""}
    try:
        model = find_exact(header.model_id, header.model_fingerprint)
        return plain | choose_entropy(model, entropy, header.n_codebooks).header_fields()
    except ModelError:
        if entropy == "transformer":
            raise
    if entropy is not None and entropy not in CODER_NUMBERS:
        raise UsageError(f"entropy coder {entropy!r} is unknown")
    return plain | {"entropy": CODER_NUMBERS[entropy or WITHOUT_MODEL]}


def _read_whole(reader: Reader, n_q: int) -> tuple[Codes, CodesFacts]:
    """Return all codes, checked by their digest."""
    found = list(decode_packets(reader))
    packets = [packet for packet, _ in found]
    facts = facts_of_packets(reader.header, packets, n_q, source_length(reader))
    return join([codes for _, codes in found], reader.header)[:, :n_q], facts


def facts_of_packets(
    header: Header, packets: Sequence[Packet], n_q: int, n_samples: int | None
) -> CodesFacts:
    """Return the facts of the first codebooks of whole packets, from the first of a file on."""
    return CodesFacts(
        _reduced(header, n_q),
        tuple(packet.n_frames for packet in packets),
        tuple(packet.scales for packet in packets),
        n_samples=n_samples,
    )


def _reduced(header: Header, n_q: int) -> Header:
    """Return the header of a file of the first codebooks."""
    bitrate_bps = header.bitrate_bps
    if bitrate_bps and n_q != header.n_codebooks:
        bitrate_bps = round(bitrate_bps * n_q / header.n_codebooks)
    return replace(header, n_codebooks=n_q, bitrate_bps=bitrate_bps)


def _frames_of(reader: Reader, start: float, end: float | None) -> Sequence[tuple[int, int | None]]:
    """Return the frames [first, end) of the file that stand for seconds of its audio."""
    header = reader.header
    source_rate = header.source_sample_rate_hz
    if not header.edits:
        return [_frames(reader, start, end)]
    found: list[tuple[int, int | None]] = []
    before, sample = 0, 0  # frames and samples of the edits before
    for edit in header.edits:
        low = max(edit.first_sample, edit.first_sample + round(start * source_rate) - sample)
        high = edit.first_sample + edit.n_samples
        if end is not None:
            high = min(high, edit.first_sample + round(end * source_rate) - sample)
        if low < high and not edit.is_silence:
            first, stop = _frames(reader, low / source_rate, high / source_rate)
            shift = before - edit.first_frame
            end_frame = before + edit.n_frames
            stop = end_frame if stop is None else min(end_frame, stop + shift)
            found.append((max(before, first + shift), stop))
        before, sample = before + edit.n_frames, sample + edit.n_samples
    return found


def _frames(reader: Reader, start: float, end: float | None) -> tuple[int, int | None]:
    """Return the frames [first, end) of a run that stand for seconds of it."""
    header, codec = reader.header, None
    if size := _SEGMENTED.get(ARCHITECTURES.get(header.architecture, "")):
        try:
            model = find_exact(header.model_id, header.model_fingerprint)
        except ModelError as error:
            raise error.within(reader.name) from None
        codec = codec_for(reader) if model.config.get(size) else None
    # Nearly whole numbers are whole: 0.3 s of 10 frames a second is 3 frames.
    first = start * header.sample_rate_hz
    last = None if end is None else end * header.sample_rate_hz
    if codec is not None:
        step = codec.segment_frames
        stop = None if last is None else -(-codec.n_frames(math.ceil(last)) // step) * step
        return codec.frame_at(math.floor(first + 1e-6)), stop
    spf = header.samples_per_frame
    return (
        math.floor(first / spf + 1e-6),
        None if last is None else math.ceil(last / spf - 1e-6),
    )
