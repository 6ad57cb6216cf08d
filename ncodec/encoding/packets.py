"""Codes -> packets of a live stream; the tags for which a header has room.

Shapes: S streams, Q codebooks, F frames.
"""

from collections.abc import Iterable

from ncodec.bitstream.codes import CodesWriter
from ncodec.formats.ncx import Tags, Writer
from ncodec.models.base import ArrayChunk

KEY_SECONDS = 10.0  # of a live stream, from one key packet to the next
TAG_BYTES = 60_000  # of a header's 65 536
MOST_TAGS = 1024  # of a header


class LivePacketWriter:
    """Writes chunks as packets that depend on each other, for some seconds."""

    def __init__(self, writer: Writer) -> None:
        self._packets = CodesWriter(writer)
        self._frames_left = 0  # until the next key packet
        self._key_frames = round(KEY_SECONDS * writer.header.frame_rate_hz)

    def write(self, chunk: ArrayChunk) -> None:
        """Write a chunk of F > 0 frames."""
        codes, scales = chunk.codes, tuple(chunk.scales.flatten().tolist())
        dependent = self._frames_left > 0
        if not dependent:
            self._frames_left = self._key_frames
        self._frames_left -= codes.shape[-1]
        self._packets.write(codes, scales, dependent=dependent)

    def finish(self, n_samples: int) -> None:
        """Write the trailer."""
        self._packets.finish(n_samples)


def fitting(tags: Iterable[tuple[str, str]], n_bytes: int = TAG_BYTES) -> tuple[Tags, Tags]:
    """Return the tags for which a header with so many bytes for them has room, and the others."""
    kept: list[tuple[str, str]] = []
    left: list[tuple[str, str]] = []
    for key, value in tags:
        size = len(f"{key}={value}".encode()) + 3
        fits = size <= n_bytes and len(kept) < MOST_TAGS
        (kept if fits else left).append((key, value))
        n_bytes -= size if fits else 0
    return tuple(kept), tuple(left)
