"""The front door: audio -> codes -> .ncx, and back, of arrays, files and streams.

Shapes: C channels, T samples, S streams, Q codebooks, F frames. A stream is what one run of the
codec codes: a mono codec codes stereo as two streams of one file.

All networks run with one thread inside, in pieces whose size depends on nothing but the file, so
that the codes do not depend on the number of threads or on what else is being done. Audio becomes
codes in `ncodec.encoding`; the way back is in `ncodec.decoding`.

Every error is an `ncodec.errors.NcodecError`, or the OSError of a file that cannot be opened.
"""

import contextlib
import io
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ncodec.audio import (
    ArraySource,
    AudioSink,
    AudioSource,
    Source,
    as_audio,
    as_rate,
    resampled_length,
)
from ncodec.audio.stream import stream_name
from ncodec.bitstream import inspect as inspection
from ncodec.bitstream.clips import CodesFacts, read_clip, smallest_type, write_clip
from ncodec.bitstream.codes import Codes, CodesWriter
from ncodec.decoding import DecodeOptions, Decoding
from ncodec.encoding.choice import Choices, are_equal, have_equal_channels
from ncodec.encoding.encoder import PIECE_SECONDS, Encoded, Encoding
from ncodec.encoding.fitting import TagsGiven, as_metadata
from ncodec.encoding.live import LIVE_BLOCK_SECONDS, Live
from ncodec.encoding.options import EncodeKeywords, EncodeOptions, ResolvedOptions
from ncodec.encoding.packets import LivePacketWriter
from ncodec.encoding.whole_file import write_whole
from ncodec.errors import UsageError
from ncodec.formats.atomic_files import atomic_output
from ncodec.formats.ncx import Picture, Reader, Writer
from ncodec.formats.streams import Readable, Seekable, Writable
from ncodec.hub.codecs import (
    DEFAULT_MODEL,
    ModelFile,
    find,
    find_exact,
    load_codec,
    load_torch_codec,
)
from ncodec.models.base import Codec, CodedChunk

if TYPE_CHECKING:
    from ncodec.models.torch_codec import TorchCodec

FilePath = str | os.PathLike[str]
_Stream = TypeVar("_Stream", bound=Readable)


def encode_audio(
    source: Source,
    sink: Writable,
    options: ResolvedOptions,
    *,
    live: Live | None = None,
    on_progress: Callable[[int], None] = lambda n_samples: None,
) -> Encoded:
    """Encode all of `source` into the writable stream `sink`.

    live         short packets that depend on each other, each written when it is known
    on_progress  called with the number of source samples that were just taken

    Raises AudioError if the source changes its length while it is read, or has a number of
    channels that the codec cannot split into streams.
    """
    encoding = Encoding(
        source.name, source.sample_rate_hz, source.n_channels, options,
        piece_samples=live and live.piece_samples,
    )  # fmt: skip
    if live is None:
        writer = write_whole(encoding, source, sink, on_progress)
    else:
        writer = Writer(sink, encoding.header(None, source.metadata))
        packets = LivePacketWriter(writer)
        for chunk in encoding.chunks(source, on_progress, LIVE_BLOCK_SECONDS):
            packets.write(chunk)
        packets.finish(encoding.n_samples)
        encoding.leave_out_late(writer.header, source.metadata)
    return Encoded(
        encoding.n_samples, source.sample_rate_hz, source.n_channels,
        writer.header.n_channels, writer.n_bytes, writer.payload_bytes, encoding.left_out,
        sum(len(picture.data) for picture in writer.header.pictures),
    )  # fmt: skip


def encode(
    wav: ArrayLike,
    sample_rate_hz: int,
    *,
    tags: TagsGiven | None = None,
    pictures: Iterable[Picture] = (),
    **options: Unpack[EncodeKeywords],
) -> bytes:
    """Return `wav` as the bytes of a .ncx file.

    wav       [C, T] or [T] float in [-1, 1], array or tensor
    tags      texts by their keys, or pairs of the two where a key has more than one text
    pictures  `ncodec.Picture`s that belong to the audio
    options   model, bandwidth_kbps, n_q, entropy, denoise, effort, quality: see `EncodeOptions`

    Raises AudioError for other shapes and for values that are not finite, UsageError for a
    bandwidth, effort or quality that there is not, and for tags and pictures that a file cannot
    hold, ModelMissing.
    """
    array = as_audio(wav)
    sink = io.BytesIO()
    metadata = as_metadata(tags, pictures)
    source = ArraySource(array, as_rate(sample_rate_hz), metadata)
    resolved, _ = Choices(EncodeOptions(**options)).options_for(
        source.sample_rate_hz, len(array), equal_channels=are_equal(array)
    )
    encode_audio(source, sink, resolved)
    return sink.getvalue()


def encode_file(
    source: FilePath | bytes | BinaryIO,
    target: FilePath | Writable,
    *,
    overwrite: bool = False,
    **options: Unpack[EncodeKeywords],
) -> Encoded:
    """Encode an audio file into a .ncx file, with its tags; the same bytes as `ncodec encode`.

    source     audio that libsndfile or FFmpeg reads: a path, the bytes of a file, a binary stream
    target     a path, under which the file appears when it is whole, or a binary stream
    overwrite  whether to replace a file that exists
    options    as for `encode`

    Raises AudioError for audio that cannot be read, OutputExists, UsageError, ModelMissing.
    """
    choices, conceal = Choices(EncodeOptions(**options)), options.get("conceal", False)
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    again = io.BytesIO(source) if isinstance(source, bytes) else source  # a stream is read once
    can_look = isinstance(source, bytes | str | os.PathLike)
    with AudioSource(opened, conceal=conceal) as audio, _output(target, overwrite) as sink:
        equal = can_look and audio.n_channels > 1 and have_equal_channels(again, conceal=conceal)
        resolved, _ = choices.options_for(
            audio.sample_rate_hz, audio.n_channels, equal_channels=equal
        )
        done = encode_audio(audio, sink, resolved)
        return replace(done, damage=tuple(audio.damage), remarks=tuple(audio.remarks))


def decode(
    source: FilePath | bytes | Readable, *, start: float = 0, end: float | None = None,
    sample_rate_hz: int | None = None,
) -> tuple[NDArray[np.float32], int]:  # fmt: skip
    """Return the audio [C, T] of a .ncx file, and its sample rate in Hz.

    source          the bytes of a file, its path, or a binary stream at its start
    start, end      seconds: only what lies in [start, end)
    sample_rate_hz  another than the source's

    Raises FormatError for a damaged file, ModelMissing or ModelMismatch without its weights,
    UsageError for a start or end that there is not.
    """
    with _input(source) as (stream, name):
        decoding = Decoding(Reader(stream, name), _decode_options(start, end, sample_rate_hz))
        empty = np.zeros((decoding.n_channels, 0), np.float32)
        return np.concatenate([empty, *decoding.blocks()], axis=1), decoding.sample_rate_hz


def decode_file(
    source: FilePath | bytes | Readable, target: FilePath | BinaryIO, *, start: float = 0,
    end: float | None = None, sample_rate_hz: int | None = None, container: str | None = None,
    subtype: str | None = None, overwrite: bool = False,
) -> int:  # fmt: skip
    """Decode a .ncx file into an audio file, with its tags; the same bytes as `ncodec decode`.

    source, start, end, sample_rate_hz  as for `decode`
    target              a path, whose suffix names the format, or a binary stream (WAV)
    container, subtype  libsndfile's names, where the suffix and 16 bits are not what is wanted
    overwrite           whether to replace a file that exists

    Returns how many values had to be limited to +-1. Raises as `decode` does, and OutputExists,
    AudioError for audio that the format cannot hold, UsageError for a format that there is not.
    """
    with _input(source) as (stream, name):
        decoding = Decoding(Reader(stream, name), _decode_options(start, end, sample_rate_hz))
        with AudioSink(
            target, decoding.sample_rate_hz, decoding.n_channels, n_samples=decoding.n_samples,
            container=container, subtype=subtype, tags=decoding.header.tags,
            pictures=decoding.header.pictures, overwrite=overwrite,
        ) as sink:  # fmt: skip
            for block in decoding.blocks():
                sink.write(block)
    return sink.n_clipped


def _decode_options(start: float, end: float | None, sample_rate_hz: int | None) -> DecodeOptions:
    rate_hz = None if sample_rate_hz is None else as_rate(sample_rate_hz)
    return DecodeOptions(start=start, end=end, n_threads=None, rate_hz=rate_hz)


@overload
def read_codes(
    source: FilePath | bytes | Readable, *, start: float = 0, end: float | None = None,
    n_q: int | None = None, with_facts: Literal[False] = False,
) -> Codes: ...  # fmt: skip
@overload
def read_codes(
    source: FilePath | bytes | Readable, *, start: float = 0, end: float | None = None,
    n_q: int | None = None, with_facts: Literal[True],
) -> tuple[NDArray[np.signedinteger[Any]], CodesFacts]: ...  # fmt: skip
def read_codes(
    source: FilePath | bytes | Readable, *, start: float = 0, end: float | None = None,
    n_q: int | None = None, with_facts: bool = False,
) -> Codes | tuple[NDArray[np.signedinteger[Any]], CodesFacts]:  # fmt: skip
    """Return the codes [S, Q, F] of a .ncx file: its path, bytes, or a binary stream.

    start, end  seconds: the frames that stand for some of [start, end); of a file with an index
                that can seek, only the packets that hold them are read
    n_q         only the first so many codebooks
    with_facts  return codes of int16, or of int32 where the codebooks are larger, and what is
                needed to decode them, for `write_codes`; else the codes alone are returned, int64

    Raises FormatError for a damaged file, ModelMissing or ModelMismatch without the entropy model
    that it names, UsageError for a segment or codebooks that are not there. The codec itself is not
    needed, but for a segment of EnCodec or SNAC, some of whose frames belong together.
    """
    with _input(source) as (stream, name):
        codes, facts = read_clip(Reader(stream, name), start, end, n_q)
    if with_facts:
        return codes.astype(smallest_type(facts.codebook_size)), facts
    return codes


def write_codes(
    target: FilePath | Writable, codes: ArrayLike, *, facts: CodesFacts | None = None,
    model: str | ModelFile | None = None, scales: ArrayLike | None = None,
    n_samples: int | None = None, sample_rate_hz: int | None = None, tags: TagsGiven | None = None,
    entropy: str | None = None, overwrite: bool = False,
) -> None:  # fmt: skip
    """Write codes, of `Codec.encode` or made by other means, as a .ncx file that decodes to audio.

    target          a path, under which the file appears when it is whole, or a binary stream
    codes           [S, Q, F] whole numbers, array or tensor
    facts           of `read_codes`, instead of the arguments that follow up to `tags`: the file
                    then decodes to the same audio; fewer codebooks may be left
    model           by default `spectral`
    scales          [S, N] levels, as `Codec.encode` gives them; 1 by default
    n_samples       that the codes stand for, per channel; by default as many as they can
    sample_rate_hz  that it is decoded to, and `n_samples` counts at; by default the model's
    entropy         as for `encode`

    Raises UsageError for codes that the model cannot have and for tags that a file cannot hold,
    OutputExists, ModelMissing.
    """
    array = np.asarray(codes)
    if array.ndim != 3 or array.dtype.kind not in "iu":
        raise UsageError(
            f"codes of shape {array.shape}, type {array.dtype}: expected [S, Q, F] whole numbers"
        )
    if facts is not None:
        if any(one is not None for one in (model, scales, n_samples, sample_rate_hz, tags)):
            raise UsageError("facts say what model, scales, samples, rate and tags are")
        known = _with_length(facts)
        with _output(target, overwrite) as sink:
            write_clip(sink, array, known, entropy)
        return
    options = EncodeOptions(model or DEFAULT_MODEL, n_q=array.shape[1], entropy=entropy).resolve()
    codec = load_codec(options.model)
    config, n_frames = codec.config, array.shape[2]
    if not ((array >= 0) & (array < config.codebook_size)).all():
        raise UsageError(
            f"codes: model {options.model.model_id!r} has 0 to {config.codebook_size - 1}"
        )
    rate = config.sample_rate_hz if sample_rate_hz is None else as_rate(sample_rate_hz)
    if n_samples is None:
        n_samples = _most_samples(codec, n_frames, rate)
    if _n_frames(codec, n_samples, rate) != n_frames:
        raise UsageError(
            f"{n_frames} frames: {n_samples} samples have {_n_frames(codec, n_samples, rate)}"
        )
    levels = np.ones((len(array), codec.scale_counts(n_frames)[0])) if scales is None else scales
    chunk = CodedChunk(array.astype(np.int64), np.asarray(levels, np.float32))
    encoding = Encoding("codes", rate, len(array) * config.n_channels, options)
    header = encoding.header(n_samples, as_metadata(tags))
    segments = max(1, round(PIECE_SECONDS * config.frame_rate_hz / codec.segment_frames))
    step = segments * codec.segment_frames  # frames of a packet
    with _output(target, overwrite) as sink:
        packets = CodesWriter(Writer(sink, header))
        for first in range(0, n_frames, step):
            part = codec.cut(chunk, first, min(first + step, n_frames))
            packets.write(part.codes, tuple(part.scales.flatten().tolist()))
        packets.finish(n_samples)


def _with_length(facts: CodesFacts) -> CodesFacts:
    """Return facts that tell the number of samples; of a segment, the most that it can stand for.

    Raises UsageError where that is none.
    """
    if facts.n_samples is not None:
        return facts
    header = facts.header
    codec = load_codec(find_exact(header.model_id, header.model_fingerprint))
    n_samples = _most_samples(codec, facts.n_frames, header.source_sample_rate_hz)
    found = _n_frames(codec, n_samples, header.source_sample_rate_hz)
    if found != facts.n_frames:
        raise UsageError(f"{facts.n_frames} frames: {n_samples} samples have {found}")
    return replace(facts, n_samples=n_samples)


def _most_samples(codec: Codec, n_frames: int, rate: int) -> int:
    """Return how many samples at some rate are coded in at most so many frames."""
    config = codec.config
    most = range(n_frames * config.samples_per_frame * rate // config.sample_rate_hz + 1)
    return bisect_right(most, n_frames, key=lambda n: _n_frames(codec, n, rate)) - 1


def _n_frames(codec: Codec, n_samples: int, sample_rate_hz: int) -> int:
    """Return the number of frames that samples at some rate are coded in."""
    return codec.n_frames(resampled_length(n_samples, sample_rate_hz, codec.config.sample_rate_hz))


def load_model(model: str | ModelFile = DEFAULT_MODEL, *, device: str = "cpu") -> "TorchCodec":
    """Return a codec that encodes and decodes tensors at its own sample rate.

    model   a model's id, an architecture's name for its default model, or a model file

    Its `config` has the sizes; `encode` makes a `CodedChunk` of [B, C, T] float32, and `decode`
    the audio of that. Codecs are kept: whoever asks again is given the same, so do not change it.

    Raises ModelMissing, ModelInvalid for a file that cannot be read.
    """
    return load_torch_codec(find(model) if isinstance(model, str) else model, device)


def inspect(
    source: FilePath | bytes | Seekable, *, decode: bool | None = None
) -> inspection.Inspection:
    """Return what can be said of a .ncx file without making audio of it, also of a damaged one.

    source  its path, its bytes, or a binary stream that can seek
    decode  whether the codes are decoded, for their digest and statistics; by default they are
            unless that takes a transformer

    Raises the FormatError of a damaged header: without it nothing is known.
    """
    with _input(source) as (stream, name):
        return inspection.inspect(stream, name, decode=decode)


@contextlib.contextmanager
def _input(source: FilePath | bytes | _Stream) -> Iterator[tuple[BinaryIO | _Stream, str]]:
    """Give a stream of what is to be read, and what errors call it."""
    if isinstance(source, bytes):
        yield io.BytesIO(source), "bytes"
    elif isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as stream:
            yield stream, os.fspath(source)
    else:
        yield source, stream_name(source)


@contextlib.contextmanager
def _output(target: FilePath | Writable, overwrite: bool) -> Iterator[Writable]:
    """Give a stream to write to; a file appears whole or not at all."""
    if isinstance(target, str | os.PathLike):
        with atomic_output(target, overwrite) as partial, partial.open("wb") as stream:
            yield stream
    else:
        yield target
