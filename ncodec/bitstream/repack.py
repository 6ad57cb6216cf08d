"""Other .ncx files of the same codes: other coders, fewer codebooks, segments, several as one.

Nothing is decoded to audio. What is cut out keeps the frames from which the decoder warms up and
those that it looks ahead to, and the header says what of them is audible (NCX.md, section 3).

Shapes: S streams, Q codebooks, F frames.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ncodec.bitstream.access import all_packets, open_packets
from ncodec.bitstream.codes import (
    Codes,
    Lost,
    check_digest,
    decode_packets,
    digest_bytes,
    source_length,
)
from ncodec.bitstream.copy import PacketCopier
from ncodec.bitstream.span_codes import Found, chunk_of, codec_for, codes_of
from ncodec.bitstream.timeline import Span, Timeline, window, with_edits
from ncodec.errors import FormatError, InvalidField, ModelError, UsageError
from ncodec.formats.ncx import (
    CODEC_PARAMETERS,
    CodesDigest,
    Edit,
    Header,
    Packet,
    Reader,
    Writer,
    read_index,
)
from ncodec.formats.streams import Writable
from ncodec.hub.codecs import ModelFile, choose_n_q, find_exact
from ncodec.hub.entropy_models import choose_entropy
from ncodec.models.base import Codec

Opener = Callable[[], AbstractContextManager[Reader]]  # each time from the file's start

_ALIKE = {  # what files must share to become one, and what it is called
    "model_id": "models", "model_fingerprint": "weights", "sample_rate_hz": "codec's sample rates",
    "source_sample_rate_hz": "sample rates", "n_channels": "numbers of channels",
    "n_output_channels": "numbers of channels", "n_streams": "numbers of streams",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. `n_q` or `bandwidth_kbps`, or all codebooks; see `choose_entropy`."""

    n_q: int | None = None
    bandwidth_kbps: float | None = None  # nominal, of each stream
    start: float = 0.0  # seconds
    end: float | None = None
    entropy: str | None = None


ALL = Wanted()


@dataclass(frozen=True, slots=True)
class Repacked:
    """What was kept."""

    n_frames: int
    of_frames: int
    n_codebooks: int
    of_codebooks: int
    n_samples: int
    sample_rate_hz: int
    digest: bytes  # of the codes that were written

    @property
    def is_all(self) -> bool:
        """Whether all codes were kept; those of each file were then checked by its digest."""
        return (self.n_frames, self.n_codebooks) == (self.of_frames, self.of_codebooks)


def ncx_to_ncx(reader: Reader, sink: Writable, wanted: Wanted = ALL) -> Repacked:
    """Write all packets of a .ncx file again, as they come: also of a live stream.

    Edits and dependent packets stay what they are. Raises FormatError, ModelError, UsageError.
    """
    old, n_q = reader.header, _choose_n_q([reader], wanted)
    header = _coded(old, _model_of(reader), n_q, wanted.entropy)
    packets = PacketCopier(Writer(sink, header))
    packets.take_from(old)
    n_frames = 0
    for packet, codes in decode_packets(reader):
        packets.write(packet, codes, packet.scales)
        n_frames += packet.n_frames
    n_samples = source_length(reader)
    return Repacked(
        n_frames, n_frames, n_q, old.n_codebooks, n_samples, old.source_sample_rate_hz,
        packets.finish(n_samples),
    )  # fmt: skip


def repack(openers: Sequence[Opener], sink: Writable, wanted: Wanted = ALL) -> Repacked:
    """Write a segment of files, one after the other, as one file.

    openers  of the files, each called twice: first for its length. A file whose length its header
             does not know must be able to seek, and have an index

    Tags and extensions are the first file's. Raises FormatError, ModelError, UsageError, also for
    files that cannot be one.
    """
    inputs = [_Input.look_at(opener) for opener in openers]
    first = inputs[0]
    all_codebooks = wanted.n_q is None and wanted.bandwidth_kbps is None
    for sooner, later in pairwise(inputs):
        _check_alike(sooner, later, codebooks=all_codebooks)
    n_q = _choose_n_q(inputs, wanted)
    chosen = [*zip(inputs, _windows(inputs, wanted), strict=True)]
    edits = [edit for _, spans in chosen for edit in map(_edit_of, spans)]
    header = _coded(first.header, _model_of(first), n_q, wanted.entropy)
    header = replace(header, extensions=_common_extensions(inputs))
    header = with_edits(header, edits, first.timeline)
    packets = PacketCopier(Writer(sink, header))
    n_frames = sum(_copy(one, spans, packets) for one, spans in chosen)
    n_samples = sum(edit.n_samples for edit in edits)
    return Repacked(
        n_frames, sum(one.n_frames for one in inputs), n_q,
        max(one.header.n_codebooks for one in inputs), n_samples, header.source_sample_rate_hz,
        packets.finish(n_samples),
    )  # fmt: skip


def cut(opener: Opener, sink: Writable, header: Header, start: int, end: int) -> Writer:
    """Write samples [start, end) of a file, and return what wrote them.

    opener  see `repack`
    header  that of the file that is made, but for its edits: its tags, pictures, entropy coder

    Raises FormatError, ModelError.
    """
    one = _Input.look_at(opener)
    spans = [*one.timeline.spans(start, end)] if start < end else []
    writer = Writer(sink, with_edits(header, [*map(_edit_of, spans)], one.timeline))
    packets = PacketCopier(writer)
    _copy(one, spans, packets)
    packets.finish(end - start)
    return writer


@dataclass(frozen=True, slots=True)
class _Input:
    """A file of known length."""

    open: Opener
    name: str
    header: Header
    codec: Codec
    timeline: Timeline

    @classmethod
    def look_at(cls, opener: Opener) -> "_Input":
        """Find out how long a file is. Raises FormatError, ModelError."""
        with opener() as reader:
            header, codec = reader.header, codec_for(reader)
            n_samples, stream = header.n_samples, reader.seekable
            if n_samples is None and stream is not None:
                n_samples = read_index(stream, reader.name).n_samples
            if n_samples is None:
                raise InvalidField(f"{reader.name}: its length is not known before its end")
        timeline = Timeline(codec, header, header.source_sample_rate_hz, n_samples)
        return cls(opener, reader.name, header, codec, timeline)

    @property
    def n_samples(self) -> int:
        """At the source's rate."""
        return self.timeline.n_samples or 0

    @property
    def n_frames(self) -> int:
        """Of all packets."""
        return self.timeline.n_frames or 0


def _windows(inputs: Sequence[_Input], wanted: Wanted) -> Iterator[list[Span]]:
    """Yield the spans of each file that are wanted."""
    total = sum(one.n_samples for one in inputs)
    name = inputs[0].name if len(inputs) == 1 else "the joined audio"
    rate = inputs[0].header.source_sample_rate_hz
    first, end = window(wanted.start, wanted.end, rate, total, name)
    before = 0
    for one in inputs:
        low, high = max(0, first - before), min(one.n_samples, (end or 0) - before)
        try:
            yield list(one.timeline.spans(low, high)) if low < high else []
        except FormatError as error:
            raise error.within(one.name) from None
        before += one.n_samples


def _edit_of(span: Span) -> Edit:
    """Return what the header says of a span, at the source's rate."""
    n_samples = (span.end_sample or 0) - span.start_sample
    if span.is_silence:
        return Edit(0, 0, 0, n_samples)
    n_frames = (span.end_frame or 0) - span.start_frame
    return Edit(span.start_frame + span.frame_offset, n_frames, span.start_sample, n_samples)


def _copy(one: _Input, spans: Sequence[Span], packets: PacketCopier) -> int:
    """Write the spans of a file, and return how many frames they are. Raises FormatError.

    Of a file with an index no more is read than is wanted; all of it is checked by its digest.
    """
    n_frames = sum((span.end_frame or 0) - span.start_frame for span in spans)
    is_whole = n_frames == one.n_frames
    if not n_frames and not is_whole:
        return 0
    packets.take_from(one.header)
    with one.open() as reader:
        found = all_packets(reader, one.n_frames) if is_whole else open_packets(reader)
        digest = CodesDigest()
        for span in spans:
            packets.start_edit()
            end_frame = span.start_frame
            for frame, packet, codes in _whole(codes_of(found, span, reader, one.codec)):
                end_frame = frame + packet.n_frames
                digest.update(digest_bytes(codes))
                first = max(0, span.start_frame - frame)
                end = min(end_frame, span.end_frame or 0) - frame
                if first < end:
                    packets.write(packet, *_cut(one.codec, packet, codes, first, end))
            if end_frame < (span.end_frame or 0):
                raise InvalidField(
                    f"{one.name}: {one.n_samples} samples need {span.end_frame} frames, "
                    f"the packets hold {end_frame}"
                )
        if is_whole:
            for _ in found.between(0, None):
                pass  # up to the trailer, if all is well
            check_digest(reader, digest)
    return n_frames


def _whole(found: Iterator[Found]) -> Iterator[tuple[int, Packet, Codes]]:
    """Yield what was found; nothing of it may be lost."""
    for frame, item in found:
        assert not isinstance(item, Lost)  # noqa: S101 # that would have been an error
        yield frame, *item


def _cut(
    codec: Codec, packet: Packet, codes: Codes, first: int, end: int
) -> tuple[Codes, tuple[float, ...]]:
    """Return the codes and the scales of some frames of a packet."""
    if (first, end) == (0, packet.n_frames):
        return codes, packet.scales
    chunk = codec.cut(chunk_of(packet, codes), first, end)
    return chunk.codes, tuple(chunk.scales.flatten().tolist())


def _model_of(file: Reader | _Input) -> ModelFile:
    try:
        return find_exact(file.header.model_id, file.header.model_fingerprint)
    except ModelError as error:
        raise error.within(file.name) from None


def _choose_n_q(files: Sequence[Reader | _Input], wanted: Wanted) -> int:
    """Return how many codebooks are kept. Raises UsageError for more than a file has."""
    n_q = files[0].header.n_codebooks
    if wanted.n_q is not None or wanted.bandwidth_kbps is not None:
        n_q = choose_n_q(_model_of(files[0]), wanted.bandwidth_kbps, wanted.n_q)
    for file in files:
        if n_q > file.header.n_codebooks:
            raise UsageError(
                f"{file.name}: has {file.header.n_codebooks} codebooks, {n_q} cannot be kept"
            )
    return n_q


def _check_alike(one: _Input, other: _Input, *, codebooks: bool) -> None:
    """Raise UsageError for files that cannot be joined."""
    names = _ALIKE | ({"n_codebooks": "numbers of codebooks"} if codebooks else {})
    for name, title in names.items():
        values = [getattr(file.header, name) for file in (one, other)]
        if values[0] != values[1]:
            texts = [value.hex() if isinstance(value, bytes) else str(value) for value in values]
            hint = "; fewer can be kept" if name == "n_codebooks" else ""
            raise UsageError(
                f"{one.name} and {other.name} cannot be joined: their {title} are "
                f"{' and '.join(texts)}{hint}"
            )


def _coded(header: Header, model: ModelFile, n_q: int, entropy: str | None) -> Header:
    """Return the header of a file of `n_q` codebooks, coded in another way."""
    fields: dict[str, Any] = {"entropy_model_id": "", "entropy_fingerprint": b""}
    fields |= choose_entropy(model, entropy, n_q).header_fields()
    if n_q != header.n_codebooks and header.bitrate_bps:
        stream_bps = header.frame_rate_hz * header.bits_per_frame / header.n_codebooks * n_q
        fields["bitrate_bps"] = round(stream_bps * header.n_streams)
    return replace(header, n_codebooks=n_q, **fields)


def _common_extensions(inputs: Sequence[_Input]) -> tuple[tuple[int, bytes], ...]:
    """Return the first file's extensions, without codec parameters that not all files share."""
    extensions = dict(inputs[0].header.extensions)
    for one in inputs:
        if one.header.extension(CODEC_PARAMETERS) != extensions.get(CODEC_PARAMETERS):
            extensions.pop(CODEC_PARAMETERS, None)
    return tuple(extensions.items())
