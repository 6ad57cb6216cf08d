"""The main path: audio -> codes -> .ncx, and back.

Shapes: C channels, T samples, S streams, Q codebooks, F frames. A stream is what one run of the
codec codes: a mono codec codes stereo as two streams of one file.

All networks run with one thread inside, in pieces whose size depends on nothing but the file, so
that the codes do not depend on the number of threads or on what else is being done. Audio becomes
codes in `ncodec.encoding`; the way back is in `ncodec.decoding`.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ncodec.audio import ArraySource, Source, as_audio
from ncodec.bitstream.codes import Codes, iterate_codes, join
from ncodec.decoding import DecodeOptions, Decoding
from ncodec.encoding.encoder import PIECE_SECONDS, Encoded, Encoding
from ncodec.encoding.live import LIVE_BLOCK_SECONDS, Live
from ncodec.encoding.options import EncodeKeywords, EncodeOptions, ResolvedOptions
from ncodec.encoding.packets import PacketWriter
from ncodec.errors import UsageError
from ncodec.formats.ncx import Reader, Writer


def encode_audio(
    source: Source,
    sink: Any,
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
    header = encoding.header(None if live else source.n_samples, source.tags.items())
    writer = Writer(sink, header)
    packets = PacketWriter(writer, is_live=live is not None)
    block_seconds = PIECE_SECONDS if live is None else LIVE_BLOCK_SECONDS
    for chunk in encoding.chunks(source, on_progress, block_seconds):
        packets.write(chunk)
    packets.finish(encoding.n_samples)
    return Encoded(encoding.n_samples, source.sample_rate_hz, writer.n_bytes, writer.payload_bytes)


def encode(
    wav: Any,
    sample_rate_hz: int,
    *,
    tags: dict[str, str] | None = None,
    **options: Unpack[EncodeKeywords],
) -> bytes:
    """Return `wav` as the bytes of a .ncx file.

    wav      [C, T] or [T] float in [-1, 1], array or tensor
    options  model, bandwidth_kbps, n_q, entropy, denoise, effort, quality: see `EncodeOptions`

    Raises AudioError for other shapes and for values that are not finite, UsageError for a
    bandwidth, effort or quality that there is not, ModelMissing.
    """
    array = as_audio(wav)
    if not isinstance(sample_rate_hz, int) or sample_rate_hz < 1:
        raise UsageError(f"sample rate {sample_rate_hz!r}: expected a positive whole number of Hz")
    sink = io.BytesIO()
    source = ArraySource(array, sample_rate_hz, tags or {})
    encode_audio(source, sink, EncodeOptions(**options).resolve())
    return sink.getvalue()


def decode(
    blob: bytes, *, start: float = 0, end: float | None = None
) -> tuple[NDArray[np.float32], int]:
    """Return the audio [C, T] in the bytes of a .ncx file, and its sample rate in Hz.

    start, end  seconds: only what lies between
    """
    reader = Reader(io.BytesIO(blob), "bytes")
    decoding = Decoding(reader, DecodeOptions(start=start, end=end, n_threads=None))
    empty = np.zeros((decoding.n_channels, 0), np.float32)
    return np.concatenate([empty, *decoding.blocks()], axis=1), decoding.sample_rate_hz


def read_codes(path: str | os.PathLike[str]) -> Codes:
    """Return the codes [S, Q, F] of a .ncx file."""
    with Path(path).open("rb") as stream:
        reader = Reader(stream, os.fspath(path))
        return join(list(iterate_codes(reader)), reader.header)
