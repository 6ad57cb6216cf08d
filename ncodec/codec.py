"""The main path: audio -> codes -> .ncx, and back.

Shapes: C channels, T samples, S streams, Q codebooks, F frames. A stream is what one run of the
codec codes: a mono codec codes stereo as two streams of one file.

All networks run with one thread inside, in pieces whose size depends on nothing but the file, so
that the codes do not depend on the number of threads or on what else is being done. The way back is
in `ncodec.decoding`.
"""

import io
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ncodec.audio import MAX_CHANNELS, ArraySource, Resampler, Source
from ncodec.codes import Codes, CodesWriter, iterate_codes, join
from ncodec.decoding import Decoding
from ncodec.entropy_models import Entropy, choose_entropy
from ncodec.errors import AudioError, FormatError, UsageError
from ncodec.formats.ncx import CODEC_PARAMETERS, DENOISED, Header, Reader, Writer
from ncodec.models import MAX_EFFORT
from ncodec.models.base import CodedChunk
from ncodec.threads import one_thread
from ncodec.weights import ModelFile, find, load_codec

PIECE_SECONDS = 10.0  # of audio in one pass of the network, and in one packet
BLOCK_VALUES = 1 << 22  # most samples, of all channels, that are read at once
TAG_BYTES = 60_000  # of a header's 65 536
DEFAULT_MODEL = "spectral"


@dataclass(frozen=True, slots=True)
class Encoded:
    """What one encoding came to."""

    n_samples: int
    sample_rate_hz: int
    n_bytes: int
    payload_bytes: int
    left_out: tuple[str, ...] = ()  # of the source, for which the file has no room

    @property
    def seconds(self) -> float:
        """Length of the source."""
        return self.n_samples / self.sample_rate_hz


def pieces(
    blocks: Iterator[NDArray[np.float32]], n_channels: int, n: int
) -> Iterator[tuple[NDArray[np.float32], bool]]:
    """Cut blocks [C, any] into pieces [C, n], and tell of each whether it is the last.

    The last piece has up to an eighth more: a clip just over one packet stays one packet.
    """
    held = np.zeros((n_channels, 0), np.float32)
    for block in blocks:
        held = np.concatenate([held, block], axis=1)
        while held.shape[1] > n + n // 8:
            yield held[:, :n], False
            held = held[:, n:]
    yield held, True


def choose_n_q(model: ModelFile, bandwidth_kbps: float | None, n_q: int | None) -> int:
    """Return how many codebooks to use, given at most one of the two. Raises UsageError."""
    config = load_codec(model).config
    if n_q is None:
        if bandwidth_kbps is None:
            bandwidth_kbps = config.default_bandwidth_kbps
        if not math.isfinite(bandwidth_kbps):
            raise UsageError(f"bandwidth {bandwidth_kbps:g} kbps: expected a number")
        return config.n_q_for(bandwidth_kbps)
    if bandwidth_kbps is not None:
        raise UsageError("give a bandwidth or a number of codebooks, not both")
    if not 1 <= n_q <= config.n_codebooks:
        raise UsageError(f"{n_q} codebooks: model {model.model_id!r} has 1 to {config.n_codebooks}")
    return n_q


class Encoding:
    """Audio on its way to codes.

    Attributes:
        codec: that codes it.
        n_streams: of codes.
        n_samples: of the source, per channel, that were read so far.
    """

    def __init__(
        self, source: Source, model: ModelFile, n_q: int, *, denoise: bool = False,
        effort: int | None = None, on_progress: Callable[[int], None] = lambda n_samples: None,
    ) -> None:  # fmt: skip
        if effort is not None and not 1 <= effort <= MAX_EFFORT:
            raise UsageError(f"effort {effort}: expected 1 to {MAX_EFFORT}")
        self.source, self.n_q, self.denoise, self.effort = source, n_q, denoise, effort
        self.codec = load_codec(model)
        self.n_streams = count_streams(source, model, self.codec.config.n_channels)
        if denoise and not self.codec.can_denoise:
            raise UsageError(f"model {model.model_id!r} does not take noise away")
        self.n_samples = 0
        self._on_progress = on_progress

    def _resampled(self) -> Iterator[NDArray[np.float32]]:
        source, config = self.source, self.codec.config
        resampler = Resampler(source.sample_rate_hz, config.sample_rate_hz, source.n_channels)
        n_block = round(PIECE_SECONDS * source.sample_rate_hz)
        for block in source.blocks(max(1, min(n_block, BLOCK_VALUES // source.n_channels))):
            yield resampler.push(block)
            self.n_samples += block.shape[1]
            self._on_progress(block.shape[1])
        yield resampler.push(np.zeros((source.n_channels, 0), np.float32), last=True)

    def chunks(self) -> Iterator[CodedChunk]:
        """Yield the codes [S, Q, F], F > 0, and scales of pieces of some seconds.

        Raises AudioError if the source changes its length while it is read.
        """
        source, codec, config = self.source, self.codec, self.codec.config
        n_piece = round(PIECE_SECONDS * config.frame_rate_hz) * config.samples_per_frame
        state = codec.start_encoder(self.n_streams, denoise=self.denoise, effort=self.effort)
        for piece, last in pieces(self._resampled(), source.n_channels, n_piece):
            wav = torch.from_numpy(np.ascontiguousarray(piece))
            wav = wav.reshape(self.n_streams, source.n_channels // self.n_streams, piece.shape[1])
            wav = wav.expand(-1, config.n_channels, -1)
            with one_thread, torch.inference_mode():  # and nothing of the caller's
                chunk = codec.encode_chunk(wav, state, self.n_q, last=last)
            if not chunk.scales.isfinite().all():
                raise AudioError(f"{source.name}: its level is beyond what float32 holds")
            if chunk.codes.shape[-1]:
                yield chunk
        if source.n_samples not in (None, self.n_samples):
            raise AudioError(
                f"{source.name}: {source.n_samples} samples were announced, "
                f"{self.n_samples} were read"
            )


def encode_audio(
    source: Source,
    sink: Any,
    *,
    model: ModelFile,
    n_q: int,
    entropy: Entropy | None = None,
    denoise: bool = False,
    effort: int | None = None,
    on_progress: Callable[[int], None] = lambda n_samples: None,
) -> Encoded:
    """Encode all of `source` into the writable stream `sink`.

    entropy      the coder; `choose_entropy` says which by default
    denoise      take noise away, for a model that can
    effort       how many ways to code a frame are followed at once, 1 to MAX_EFFORT: more takes
                 longer and comes nearer, in as many codes; the model's own choice by default
    on_progress  called with the number of source samples that were just taken

    Raises AudioError if the source changes its length while it is read, or has a number of
    channels that the codec cannot split into streams, UsageError for a model that cannot denoise
    and for an effort out of range.
    """
    encoding = Encoding(source, model, n_q, denoise=denoise, effort=effort, on_progress=on_progress)
    config, n_streams = encoding.codec.config, encoding.n_streams
    header = _header(
        source.name,
        architecture=encoding.codec.number,
        model_id=model.model_id,
        model_fingerprint=model.fingerprint,
        sample_rate_hz=config.sample_rate_hz,
        n_channels=source.n_channels,
        n_streams=n_streams,
        codebook_size=config.codebook_size,
        n_codebooks=n_q,
        samples_per_frame=config.samples_per_frame,
        **(entropy or choose_entropy(model, None, n_q)).header_fields(),
        bitrate_bps=round(n_q * config.codebook_bps * n_streams),
        source_sample_rate_hz=source.sample_rate_hz,
        n_samples=source.n_samples,
        tags=fitting(source.tags),
        extensions=((CODEC_PARAMETERS, DENOISED),) if denoise else (),
    )
    writer = Writer(sink, header)
    packets = CodesWriter(writer)
    for chunk in encoding.chunks():
        packets.write(chunk.codes.numpy(), tuple(chunk.scales.flatten().tolist()))
    packets.finish(encoding.n_samples)
    return Encoded(encoding.n_samples, source.sample_rate_hz, writer.n_bytes, writer.payload_bytes)


def count_streams(source: Source, model: ModelFile, channels_per_stream: int) -> int:
    """Return how many streams a source makes; a single channel is repeated to fill one.

    Raises AudioError where they are not whole.
    """
    if source.n_channels == 1:
        return 1
    n_streams, odd = divmod(source.n_channels, channels_per_stream)
    if odd:
        raise AudioError(
            f"{source.name}: {source.n_channels} channels; model {model.model_id!r} codes "
            f"{channels_per_stream} at a time"
        )
    return n_streams


def fitting(tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the tags that a header has room for, in their order."""
    kept, room = [], TAG_BYTES
    for key, value in tags.items():
        n_bytes = len(f"{key}={value}".encode()) + 3
        if n_bytes <= room:
            kept.append((key, value))
            room -= n_bytes
    return tuple(kept)


def _header(name: str, **fields: Any) -> Header:
    try:
        return Header(**fields)
    except FormatError as error:
        raise AudioError(f"{name}: cannot be described by a .ncx file: {error}") from None


def _as_audio(wav: Any) -> NDArray[np.float32]:
    """Return an array or tensor as float32 [C, T]. Raises AudioError."""
    if isinstance(wav, torch.Tensor):
        wav = wav.detach().cpu()
        wav = wav.float().numpy() if wav.is_floating_point() else wav.numpy()
    array = np.asarray(wav)
    if array.dtype.kind != "f":
        raise AudioError(f"array: type {array.dtype}, expected floating point from -1 to 1")
    array = np.atleast_2d(array)
    if array.ndim != 2 or not 1 <= array.shape[0] <= MAX_CHANNELS:
        raise AudioError(
            f"array: shape {array.shape}, expected [channels, samples] with at most {MAX_CHANNELS}"
        )
    if not np.isfinite(array).all():
        raise AudioError("array: holds values that are not finite")
    return array.astype(np.float32)


def encode(
    wav: Any,
    sample_rate_hz: int,
    *,
    model: str = DEFAULT_MODEL,
    bandwidth_kbps: float | None = None,
    n_q: int | None = None,
    entropy: str | None = None,
    denoise: bool = False,
    effort: int | None = None,
    tags: dict[str, str] | None = None,
) -> bytes:
    """Return `wav` as the bytes of a .ncx file.

    wav             [C, T] or [T] float in [-1, 1], array or tensor
    bandwidth_kbps  nominal, of each stream; the model's default if neither it nor `n_q` is given
    entropy         "transformer", "adaptive" or "packed"; see `choose_entropy` for none
    denoise         take noise away, for a model that can
    effort          how many ways to code a frame are followed at once, 1 to 64: more takes longer
                    and comes nearer; the model's own choice by default

    Raises AudioError for other shapes and for values that are not finite, UsageError for a
    bandwidth that the model does not have and for an effort out of range, ModelMissing.
    """
    array = _as_audio(wav)
    if not isinstance(sample_rate_hz, int) or sample_rate_hz < 1:
        raise UsageError(f"sample rate {sample_rate_hz!r}: expected a positive whole number of Hz")
    found = find(model)
    n_codebooks = choose_n_q(found, bandwidth_kbps, n_q)
    coder = choose_entropy(found, entropy, n_codebooks)
    sink = io.BytesIO()
    source = ArraySource(array, sample_rate_hz, tags or {})
    encode_audio(
        source, sink, model=found, n_q=n_codebooks, entropy=coder, denoise=denoise, effort=effort
    )
    return sink.getvalue()


def decode(blob: bytes) -> tuple[NDArray[np.float32], int]:
    """Return the audio [C, T] in the bytes of a .ncx file, and its sample rate in Hz."""
    decoding = Decoding(Reader(io.BytesIO(blob), "bytes"))
    return np.concatenate(list(decoding.blocks()), axis=1), decoding.sample_rate_hz


def read_codes(path: str | os.PathLike[str]) -> Codes:
    """Return the codes [S, Q, F] of a .ncx file."""
    with Path(path).open("rb") as stream:
        reader = Reader(stream, os.fspath(path))
        return join(list(iterate_codes(reader)), reader.header)
