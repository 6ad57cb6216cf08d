"""Codes -> packets: the header of what is encoded, key packets and dependent ones.

Shapes: S streams, Q codebooks, F frames.
"""

from collections.abc import Iterable

from ncodec.bitstream.codes import CodesWriter
from ncodec.encoding.encoder import Encoding
from ncodec.errors import AudioError, FormatError
from ncodec.formats.ncx import CODEC_PARAMETERS, DENOISED, Header, Writer
from ncodec.hub.codecs import ModelFile
from ncodec.hub.entropy_models import Entropy
from ncodec.models.base import CodedChunk

KEY_SECONDS = 10.0  # of a live stream, from one key packet to the next
TAG_BYTES = 60_000  # of a header's 65 536
MOST_TAGS = 1024  # of a header


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
