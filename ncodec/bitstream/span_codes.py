"""The codec of a file and the codes of a span, checked against each other.

Shapes: S streams, Q codebooks, F frames, N scales.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from ncodec.bitstream.access import Packets
from ncodec.bitstream.codes import Codes, Lost, decode_each, open_decoder
from ncodec.bitstream.timeline import Span
from ncodec.errors import (
    FormatError,
    InvalidField,
    LimitExceeded,
    ModelError,
    PayloadError,
    UnsupportedVersion,
)
from ncodec.formats.ncx import REQUIRED_CODEC_PARAMETERS, Header, Packet, Reader
from ncodec.hub.codecs import find_exact, load_codec
from ncodec.models.base import ArrayChunk, Codec, CodedChunk

MAX_PACKET_SECONDS = 40.0  # that are decoded at once: bounds the memory a file can ask for

Found = tuple[int, tuple[Packet, Codes] | Lost]  # with its first frame


def codec_for(reader: Reader) -> Codec:
    """Return the codec that a file was made with.

    Raises ModelMissing, ModelMismatch, InvalidField where the header contradicts it.
    """
    header = reader.header
    try:
        codec = load_codec(find_exact(header.model_id, header.model_fingerprint))
    except ModelError as error:
        raise error.within(reader.name) from None
    if header.extension(REQUIRED_CODEC_PARAMETERS) is not None:  # no architecture has any yet
        raise UnsupportedVersion(
            f"{reader.name}: header: required codec parameters that this version does not know"
        )
    fault = _header_fault(header, codec)
    if fault is not None:
        raise InvalidField(f"{reader.name}: header: {fault}")
    return codec


def _header_fault(header: Header, codec: Codec) -> str | None:
    config = codec.config
    wanted = {
        "architecture": codec.number,
        "sample_rate_hz": config.sample_rate_hz,
        "samples_per_frame": config.samples_per_frame,
        "codebook_size": config.codebook_size,
    }
    if header.n_channels > 1:  # a single one may be coded by a codec of more
        wanted["channels_per_stream"] = config.n_channels
    for name, value in wanted.items():
        if getattr(header, name) != value:
            found = getattr(header, name)
            return f"{name} is {found}, but model {header.model_id!r} has {value}"
    if header.n_codebooks not in config.n_q_choices:
        n_all, choices = config.n_codebooks, config.n_q_choices
        has = n_all if len(choices) == n_all else config.named_n_q_choices
        return f"{header.n_codebooks} codebooks, but model {header.model_id!r} has {has}"
    return None


def place_of(reader: Reader, packet: Packet) -> str:
    """Return what errors call a packet."""
    return f"{reader.name}: packet {packet.number} at byte {packet.offset}"


def chunk_of(packet: Packet, codes: Codes) -> ArrayChunk:
    """Return what the codec takes, of a packet whose scales fit: codes [S, Q, F], scales [S, N]."""
    scales = np.array(packet.scales, np.float32).reshape(len(codes), -1)
    return CodedChunk(codes, scales)


def codes_of(
    packets: Packets, span: Span, reader: Reader, codec: Codec, *, recovering: bool = False
) -> Iterator[Found]:
    """Yield what holds a span, and before it what a dependent packet of it needs.

    Of its last packet, a key packet of a codec without segments, only the span's own frames.

    recovering  what cannot be had, or does not fit, is lost instead of an error

    Raises FormatError.
    """
    if span.is_silence:
        return
    located = _checked(packets, span, reader, codec, recovering)
    may_cut = codec.segment_frames == 1
    for frame, found in decode_located(located, reader, span.end_frame, may_cut=may_cut):
        if isinstance(found, Lost):
            yield frame, found
            continue
        packet, codes = found
        if not isinstance(codes, FormatError):
            yield frame, (packet, codes)
        elif recovering:
            yield frame, Lost(packet.n_frames, codes)
        else:
            raise codes


def decode_located(
    located: Iterable[tuple[int, Packet | Lost]], reader: Reader, end_frame: int | None, *,
    may_cut: bool = True,
) -> Iterator[tuple[int, tuple[Packet, Codes | FormatError] | Lost]]:  # fmt: skip
    """Yield what `decode_each` does of packets, each with its first frame.

    may_cut  of a key packet that goes past `end_frame`, and is the last, only the codes before it
    """
    located = iter(located)
    begins = next(located, None)
    if begins is None:
        return
    coder = open_decoder(reader)
    frames: deque[int] = deque()
    last: list[tuple[int, Packet]] = []  # one that is not needed to its end

    def whole() -> Iterator[Packet | Lost]:
        for frame, item in chain((begins,), located):
            is_beyond = end_frame is not None and frame + item.n_frames > end_frame
            if isinstance(item, Packet) and is_beyond and may_cut and not item.dependent:
                last.append((frame, item))
            else:
                frames.append(frame)
                yield item

    for found in decode_each(whole(), reader.header, coder, reader.name):
        yield frames.popleft(), found
    for frame, packet in last:
        wanted = (end_frame or 0) - frame
        try:
            codes = coder.decode_start(packet.payload, packet.n_frames, wanted)
        except (LimitExceeded, PayloadError) as error:
            codes = error.within(place_of(reader, packet))
        yield frame, (packet, codes)


def _checked(
    packets: Packets, span: Span, reader: Reader, codec: Codec, recovering: bool
) -> Iterator[tuple[int, Packet | Lost]]:
    """Yield what may belong to a span. Raises FormatError, or loses what does not."""
    for frame, item in packets.between(span.start_frame, span.end_frame):
        if isinstance(item, Packet):
            fault = _span_fault(frame, item, span, codec) or _size_fault(item, reader, codec)
            if fault is not None:
                error = fault.within(place_of(reader, item))
                if not recovering:
                    raise error
                item = Lost(item.n_frames, error)
        yield frame, item


def _span_fault(frame: int, packet: Packet, span: Span, codec: Codec) -> FormatError | None:
    """How a packet does not fit to its place, or None."""
    inside = frame - span.edit_start_frame
    end = frame + packet.n_frames
    crosses = span.edit_end_frame is not None and end > span.edit_end_frame
    if crosses or inside < 0 or (packet.dependent and inside == 0):
        return InvalidField("is of more than one edit of the file")
    if inside % codec.segment_frames:
        return InvalidField(
            f"follows one that ends within a segment of {codec.segment_frames} frames"
        )
    return None


def _size_fault(packet: Packet, reader: Reader, codec: Codec) -> FormatError | None:
    """How a packet's frames or scales are not those of the codec, or None."""
    header = reader.header
    limit = round(MAX_PACKET_SECONDS * header.frame_rate_hz)
    if packet.n_frames > limit:
        return LimitExceeded(f"{packet.n_frames} frames, at most {limit} are decoded at once")
    found, odd = divmod(len(packet.scales), header.n_streams)
    counts = codec.scale_counts(packet.n_frames)
    if not odd and found in counts:
        return None
    wanted = " or ".join(str(count * header.n_streams) for count in counts)
    return InvalidField(f"{len(packet.scales)} scales, model {header.model_id!r} has {wanted}")
