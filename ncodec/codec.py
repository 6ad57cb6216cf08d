"""The main path: audio -> codes -> .ncx, and back.

Shapes: C channels, T samples, S streams, Q codebooks, F frames. A stream is what one run of the
codec codes: a mono codec codes stereo as two streams of one file.

All networks run with one thread inside, in pieces whose size depends on nothing but the file, so
that the codes do not depend on the number of threads or on what else is being done. Audio becomes
codes in `ncodec.encoding`; the way back is in `ncodec.decoding`.
"""

import io
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ncodec.audio import MAX_CHANNELS, ArraySource, Source
from ncodec.codes import Codes, CodesWriter, iterate_codes, join
from ncodec.decoding import Decoding
from ncodec.effort import choose_search, n_q_of_quality
from ncodec.encoding import LIVE_BLOCK_SECONDS, PIECE_SECONDS, Encoding, Live
from ncodec.entropy_models import Entropy, choose_entropy
from ncodec.errors import AudioError, FormatError, UsageError
from ncodec.formats.ncx import CODEC_PARAMETERS, DENOISED, Header, Reader, Writer
from ncodec.models.base import CodedChunk
from ncodec.weights import ModelFile, find, load_codec

KEY_SECONDS = 10.0  # of a live stream, from one key packet to the next
TAG_BYTES = 60_000  # of a header's 65 536
MOST_TAGS = 1024  # of a header
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


def choose_n_q(
    model: ModelFile, bandwidth_kbps: float | None, n_q: int | None, quality: float | None = None
) -> int:
    """Return how many codebooks to use, given at most one of the first two. Raises UsageError.

    quality  from 0 to 10, decides if neither of them is given
    """
    config = load_codec(model).config
    if quality is not None:
        wanted = n_q_of_quality(quality, config.n_codebooks)
        if n_q is None and bandwidth_kbps is None:
            return wanted
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


def encode_audio(
    source: Source,
    sink: Any,
    *,
    model: ModelFile,
    n_q: int,
    entropy: Entropy | None = None,
    denoise: bool = False,
    effort: str | int | None = None,
    quality: float | None = None,
    live: Live | None = None,
    on_progress: Callable[[int], None] = lambda n_samples: None,
) -> Encoded:
    """Encode all of `source` into the writable stream `sink`.

    entropy      the coder; `choose_entropy` says which by default
    denoise      take noise away, for a model that can
    effort       of the search for codes: "fast", "default" or "best"; or 1 to MAX_EFFORT, how many
                 ways to code a frame are followed at once without weighing bits
    quality      0 to 10, what a bit is worth to the search; by default what suits `n_q`
    live         short packets that depend on each other, each written when it is known
    on_progress  called with the number of source samples that were just taken

    Raises AudioError if the source changes its length while it is read, or has a number of
    channels that the codec cannot split into streams, UsageError for a model that cannot denoise
    and for an effort or quality that there is not.
    """
    entropy = entropy or choose_entropy(model, None, n_q)
    search = choose_search(
        effort, load_codec(model), n_q, None if live else entropy, quality=quality
    )
    encoding = Encoding(
        source.name, source.sample_rate_hz, source.n_channels, model, n_q, denoise=denoise,
        effort=search, piece_samples=live and live.piece_samples,
    )  # fmt: skip
    header = describe(
        encoding, source.name, source.sample_rate_hz, source.n_channels, model, n_q,
        n_samples=None if live else source.n_samples, tags=source.tags.items(),
        entropy=entropy, denoise=denoise,
    )  # fmt: skip
    writer = Writer(sink, header)
    packets = PacketWriter(writer, is_live=live is not None)
    block_seconds = PIECE_SECONDS if live is None else LIVE_BLOCK_SECONDS
    for chunk in encoding.chunks(source, on_progress, block_seconds):
        packets.write(chunk)
    packets.finish(encoding.n_samples)
    return Encoded(encoding.n_samples, source.sample_rate_hz, writer.n_bytes, writer.payload_bytes)


class PacketWriter:
    """Writes chunks as packets; those of a live stream depend on each other, for some seconds."""

    def __init__(self, writer: Writer, *, is_live: bool) -> None:
        self._packets = CodesWriter(writer)
        self._frames_left = 0  # until the next key packet
        self._key_frames = round(KEY_SECONDS * writer.header.frame_rate_hz) if is_live else 0

    def write(self, chunk: CodedChunk) -> None:
        """Write a chunk of F > 0 frames."""
        codes, scales = chunk.codes.numpy(), tuple(chunk.scales.flatten().tolist())
        dependent = self._frames_left > 0
        if not dependent:
            self._frames_left = self._key_frames
        self._frames_left -= codes.shape[-1]
        self._packets.write(codes, scales, dependent=dependent)

    def finish(self, n_samples: int) -> None:
        """Write the trailer."""
        self._packets.finish(n_samples)


def describe(
    encoding: Encoding, name: str, sample_rate_hz: int, n_channels: int, model: ModelFile,
    n_q: int, *, n_samples: int | None, tags: Iterable[tuple[str, str]], entropy: Entropy,
    denoise: bool,
) -> Header:  # fmt: skip
    """Return the header of what is being encoded. Raises AudioError."""
    config, n_streams = encoding.codec.config, encoding.n_streams
    try:
        return Header(
            architecture=encoding.codec.number,
            model_id=model.model_id,
            model_fingerprint=model.fingerprint,
            sample_rate_hz=config.sample_rate_hz,
            n_channels=n_channels,
            n_streams=n_streams,
            codebook_size=config.codebook_size,
            n_codebooks=n_q,
            samples_per_frame=config.samples_per_frame,
            **entropy.header_fields(),
            bitrate_bps=round(n_q * config.codebook_bps * n_streams),
            source_sample_rate_hz=sample_rate_hz,
            n_samples=n_samples,
            tags=fitting(tags),
            extensions=((CODEC_PARAMETERS, DENOISED),) if denoise else (),
        )
    except FormatError as error:
        raise AudioError(f"{name}: cannot be described by a .ncx file: {error}") from None


def fitting(
    tags: Iterable[tuple[str, str]], n_bytes: int = TAG_BYTES
) -> tuple[tuple[str, str], ...]:
    """Return the tags, in their order, for which a header with so many bytes for them has room."""
    kept: list[tuple[str, str]] = []
    for key, value in tags:
        size = len(f"{key}={value}".encode()) + 3
        if size <= n_bytes and len(kept) < MOST_TAGS:
            kept.append((key, value))
            n_bytes -= size
    return tuple(kept)


def as_audio(wav: Any) -> NDArray[np.float32]:
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
    effort: str | int | None = None,
    quality: float | None = None,
    tags: dict[str, str] | None = None,
) -> bytes:
    """Return `wav` as the bytes of a .ncx file.

    wav             [C, T] or [T] float in [-1, 1], array or tensor
    bandwidth_kbps  nominal, of each stream; the model's default if neither it nor `n_q` is given
    entropy         "transformer", "adaptive" or "packed"; see `choose_entropy` for none
    denoise         take noise away, for a model that can
    effort          of the search for codes: "fast", "default" or "best", of which the last two
                    weigh the bits that a transformer charges; or 1 to 64, how many ways to code a
                    frame are followed at once without weighing bits
    quality         0 to 10, for a variable bit rate: what a bit is worth to the search, and so how
                    many codebooks are in use where neither bandwidth nor `n_q` says so

    Raises AudioError for other shapes and for values that are not finite, UsageError for a
    bandwidth, effort or quality that there is not, ModelMissing.
    """
    array = as_audio(wav)
    if not isinstance(sample_rate_hz, int) or sample_rate_hz < 1:
        raise UsageError(f"sample rate {sample_rate_hz!r}: expected a positive whole number of Hz")
    found = find(model)
    n_codebooks = choose_n_q(found, bandwidth_kbps, n_q, quality)
    coder = choose_entropy(found, entropy, n_codebooks)
    sink = io.BytesIO()
    source = ArraySource(array, sample_rate_hz, tags or {})
    encode_audio(
        source, sink, model=found, n_q=n_codebooks, entropy=coder, denoise=denoise, effort=effort,
        quality=quality,
    )  # fmt: skip
    return sink.getvalue()


def decode(
    blob: bytes, *, start: float = 0, end: float | None = None
) -> tuple[NDArray[np.float32], int]:
    """Return the audio [C, T] in the bytes of a .ncx file, and its sample rate in Hz.

    start, end  seconds: only what lies between
    """
    reader = Reader(io.BytesIO(blob), "bytes")
    decoding = Decoding(reader, start=start, end=end, n_threads=None)
    empty = np.zeros((decoding.n_channels, 0), np.float32)
    return np.concatenate([empty, *decoding.blocks()], axis=1), decoding.sample_rate_hz


def read_codes(path: str | os.PathLike[str]) -> Codes:
    """Return the codes [S, Q, F] of a .ncx file."""
    with Path(path).open("rb") as stream:
        reader = Reader(stream, os.fspath(path))
        return join(list(iterate_codes(reader)), reader.header)
