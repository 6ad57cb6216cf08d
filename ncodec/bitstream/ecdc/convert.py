""".ecdc <-> .ncx without touching the codes.

Shapes: S streams, Q codebooks, F frames, C channels, T samples.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ncodec.audio import resampled_length
from ncodec.bitstream.codes import CodesWriter, decode_packets, source_length
from ncodec.bitstream.ecdc.codes import EcdcCodes, Segment, read_ecdc, write_ecdc
from ncodec.errors import (
    InvalidField,
    ModelError,
    ModelInvalid,
    PayloadError,
    UsageError,
    plural,
)
from ncodec.formats.ecdc import CODE_BITS, MODELS, SAMPLES_PER_FRAME, EcdcHeader
from ncodec.formats.ncx import ARCHITECTURES, Header, Reader, Writer
from ncodec.formats.streams import Readable, Replay, Writable
from ncodec.hub.codecs import ModelFile, find, find_exact
from ncodec.hub.entropy_models import choose_entropy

PACKET_SECONDS = 10


def ecdc_model(name: str) -> ModelFile:
    """Return the installed model that the .ecdc files of that name need.

    Raises ModelMissing, ModelInvalid if what has the name is not EnCodec's.
    """
    model = find(name)
    if ecdc_name(model) != name:
        raise ModelInvalid(f"{model.path}: model {name!r} is not the one of .ecdc files")
    return model


def ecdc_name(model: ModelFile) -> str | None:
    """Return what .ecdc files call a model, None for one that they cannot be made with."""
    from ncodec.models.encodec import PRESETS  # which takes torch

    for name, preset in PRESETS.items():
        same = all(
            (list(value) if isinstance(value, tuple) else value) == model.config.get(key)
            for key, value in preset.to_dict().items()
        )
        if name in MODELS and same and model.architecture == "encodec":
            return name
    return None


def ecdc_to_ncx(stream: Readable, name: str, sink: Writable, entropy: str | None = None) -> Header:
    """Write the codes of an .ecdc file as a .ncx file, whose header is returned.

    name     of the file, for errors
    entropy  the coder's name; see `choose_entropy` for none

    Raises FormatError, ModelError, UsageError.
    """
    try:
        ecdc = _read(stream, name)
        model = ecdc_model(ecdc.header.model)
    except ModelError as error:
        raise error.within(name) from None
    geometry, n_q = ecdc.header.geometry, ecdc.header.n_codebooks
    frame_bps = geometry.sample_rate_hz * n_q * CODE_BITS / SAMPLES_PER_FRAME
    header = Header(
        architecture=next(n for n, known in ARCHITECTURES.items() if known == model.architecture),
        model_id=model.model_id,
        model_fingerprint=model.fingerprint,
        sample_rate_hz=geometry.sample_rate_hz,
        n_channels=geometry.n_channels,
        codebook_size=1 << CODE_BITS,
        n_codebooks=n_q,
        samples_per_frame=SAMPLES_PER_FRAME,
        **choose_entropy(model, entropy, n_q).header_fields(),
        bitrate_bps=round(frame_bps),
        source_sample_rate_hz=geometry.sample_rate_hz,
        n_samples=ecdc.header.n_samples,
    )
    packets = CodesWriter(Writer(sink, header))
    n_packet = PACKET_SECONDS * geometry.sample_rate_hz // SAMPLES_PER_FRAME
    for codes, scales in _packed(ecdc.segments, n_packet):
        packets.write(codes[None], scales)
    packets.finish(ecdc.header.n_samples)
    return header


def _read(stream: Readable, name: str) -> EcdcCodes:
    """Return what is in an .ecdc file.

    A language model is tried with one thread first, which all that ncodec writes needs, then with
    as many as torch takes, which EnCodec's own tool does on this machine.
    """
    kept = Replay(stream)
    ecdc = read_ecdc(kept, name)
    if not ecdc.header.lm:
        kept.forget()
        return ecdc
    try:
        return EcdcCodes(ecdc.header, iter(list(ecdc.segments)))
    except PayloadError:
        kept.rewind()
        second = read_ecdc(kept, name, one_thread=False)
        return EcdcCodes(second.header, iter(list(second.segments)))


def _packed(
    segments: Iterator[Segment], n_packet: int
) -> Iterator[tuple[NDArray[np.int64], tuple[float, ...]]]:
    """Join segments to packets of about `n_packet` frames: codes [Q, F] and their scales.

    The last two segments may both be short, and stay together: a packet ends between segments.
    """
    held: list[Segment] = []
    n_held = 0
    for segment in segments:
        if n_held > n_packet:
            yield _joined(held[:-1])
            held = held[-1:]
            n_held = held[0].codes.shape[1]
        held.append(segment)
        n_held += segment.codes.shape[1]
    if held:
        yield _joined(held)


def _joined(segments: list[Segment]) -> tuple[NDArray[np.int64], tuple[float, ...]]:
    scales = tuple(segment.scale for segment in segments if segment.scale is not None)
    return np.concatenate([segment.codes for segment in segments], axis=1), scales


def _model_of(reader: Reader) -> ModelFile:
    try:
        return find_exact(reader.header.model_id, reader.header.model_fingerprint)
    except ModelError as error:
        raise error.within(reader.name) from None


def ncx_of_ecdc(stream: Readable, name: str) -> io.BytesIO:
    """Return the .ncx file, in memory, that an .ecdc file amounts to."""
    held = io.BytesIO()
    ecdc_to_ncx(stream, name, held, "packed")
    held.seek(0)
    return held


@dataclass(frozen=True, slots=True)
class Written:
    """An .ecdc file that was made of a .ncx file."""

    n_bytes: int
    left_out: tuple[str, ...]  # what it has no room for


def ncx_to_ecdc(reader: Reader, sink: Writable, *, lm: bool = False) -> Written:
    """Write the codes of a .ncx file as an .ecdc file.

    lm  code them with EnCodec's language model

    Raises UsageError if the file is not of one of EnCodec's models, or holds more than one stream,
    or an edit list; FormatError, ModelError.
    """
    header = reader.header
    model = _model_of(reader)
    name = ecdc_name(model)
    if name is None:
        raise UsageError(
            f"{reader.name}: made with model {model.model_id!r}; .ecdc files hold codes of "
            f"{' and '.join(MODELS)} only"
        )
    if header.n_streams > 1:
        raise UsageError(f"{reader.name}: {header.n_streams} streams; an .ecdc file holds one")
    if header.edits:
        raise UsageError(
            f"{reader.name}: was cut or joined; an .ecdc file holds what was encoded, all of it"
        )
    packets = [
        (codes[0].astype(np.uint16), packet.scales) for packet, codes in decode_packets(reader)
    ]
    n_samples = source_length(reader)
    n_samples = resampled_length(n_samples, header.source_sample_rate_hz, header.sample_rate_hz)
    target = ecdc_header(reader.name, name, n_samples, header.n_codebooks, lm)
    try:
        n_bytes = write_ecdc(sink, target, cut_segments(target, packets))
    except UsageError as error:  # codes of another number of samples
        raise InvalidField(f"{reader.name}: {error}") from None
    left_out = weights_left_out(model, name)
    if header.tags:
        left_out.append("tags")
    if header.attachments:
        left_out.append(plural(len(header.attachments), "attachment"))
    if header.extensions:
        left_out.append("extensions of the header")
    if header.source_sample_rate_hz != header.sample_rate_hz:
        left_out.append(f"the source's sample rate {header.source_sample_rate_hz} Hz")
    if header.n_channels != target.geometry.n_channels:
        left_out.append("that the source has one channel")
    return Written(n_bytes, tuple(left_out))


def cut_segments(
    header: EcdcHeader, packets: Sequence[tuple[NDArray[np.integer], tuple[float, ...]]]
) -> Iterator[Segment]:
    """Yield the codes [Q, F] of packets, and their scales, by the segments of an .ecdc file."""
    if not header.geometry.has_scales:
        yield from (Segment(codes.astype(np.int64)) for codes, _ in packets)
        return
    codes = np.concatenate([codes for codes, _ in packets] or [np.zeros((1, 0), np.uint16)], axis=1)
    scales = [scale for _, of_packet in packets for scale in of_packet]
    start = 0
    for number, n_frames in enumerate(header.segment_frames()):
        if number >= len(scales):
            raise UsageError(f"{len(scales)} scales, expected more")
        yield Segment(codes[:, start : start + n_frames].astype(np.int64), scales[number])
        start += n_frames
    if start != codes.shape[1] or len(scales) != sum(1 for _ in header.segment_frames()):
        raise UsageError(f"{codes.shape[1]} frames in {len(scales)} segments, expected {start}")


def ecdc_header(file: str, model: str, n_samples: int, n_codebooks: int, lm: bool) -> EcdcHeader:
    """Return the header of what is to be written. Raises UsageError for no samples."""
    if not n_samples:
        raise UsageError(f"{file}: no samples; an .ecdc file has one at least")
    return EcdcHeader(model, n_samples, n_codebooks, lm)


def weights_left_out(model: ModelFile, name: str) -> list[str]:
    """Say what a file does not that is of other weights than all readers will take."""
    if model.model_id == name:
        return []
    return [f"saying that its weights are those of {model.model_id!r}, and not of {name!r}"]
