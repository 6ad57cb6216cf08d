"""Codes -> packets of a live stream.

Shapes: S streams, Q codebooks, F frames.
"""

from ncodec.bitstream.codes import CodesWriter
from ncodec.formats.ncx import Writer
from ncodec.models.base import ArrayChunk

KEY_SECONDS = 10.0  # of a live stream, from one key packet to the next


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
