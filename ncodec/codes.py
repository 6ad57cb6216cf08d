"""Packets <-> codes, with the entropy coder that the header names. Needs no torch.

Shapes: S streams, Q codebooks, F frames.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ncodec.entropy import EntropyCoder, open_coder
from ncodec.errors import DigestMismatch, InvalidField, LimitExceeded, PayloadError
from ncodec.formats.ncx import CodesDigest, Header, Packet, Reader, Writer

Codes = NDArray[np.int64]  # [S, Q, F]


def coder_for(header: Header) -> EntropyCoder:
    """Return a fresh entropy coder, for one direction, as `header` asks for."""
    return open_coder(
        header.entropy,
        n_streams=header.n_streams,
        n_codebooks=header.n_codebooks,
        codebook_size=header.codebook_size,
    )


def digest_bytes(codes: Codes) -> bytes:
    """Return the bytes that the codes digest covers (NCX.md, section 5) of one packet's codes."""
    return np.ascontiguousarray(codes.transpose(2, 0, 1), dtype="<u2").tobytes()


class CodesWriter:
    """Entropy-codes codes and writes them as key packets."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._coder = coder_for(writer.header)
        self._digest = CodesDigest()

    def write(self, codes: Codes, scales: tuple[float, ...] = ()) -> None:
        """Write [S, Q, F] codes, F > 0, and their scales as one packet."""
        self._digest.update(digest_bytes(codes))
        self.writer.write_packet(codes.shape[-1], self._coder.encode(codes), scales=scales)

    def finish(self, n_samples: int) -> None:
        """Write the trailer."""
        self.writer.finish(self._digest.digest(), n_samples)


def decode_packets(reader: Reader, max_frames: int | None = None) -> Iterator[tuple[Packet, Codes]]:
    """Yield each packet and its codes.

    Raises LimitExceeded or PayloadError, InvalidField before a packet that makes more than
    `max_frames` frames of all, and behind the last packet DigestMismatch.
    """
    try:
        coder = coder_for(reader.header)
    except LimitExceeded as error:
        raise LimitExceeded(f"{reader.name}: {error}") from None
    digest, n_frames = CodesDigest(), 0
    for packet in reader:
        n_frames += packet.n_frames
        if max_frames is not None and n_frames > max_frames:
            raise InvalidField(
                f"{reader.name}: packet {packet.number} at byte {packet.offset}: {n_frames} frames "
                f"so far, but {reader.header.n_samples} samples need {max_frames} frames"
            )
        try:
            codes = coder.decode(packet.payload, packet.n_frames, dependent=packet.dependent)
        except (LimitExceeded, PayloadError) as error:
            place = f"{reader.name}: packet {packet.number} at byte {packet.offset}"
            raise type(error)(f"{place}: {error}") from None
        digest.update(digest_bytes(codes))
        yield packet, codes
    trailer = reader.trailer
    if trailer is not None and trailer.codes_digest != digest.digest():
        raise DigestMismatch(
            f"{reader.name}: the decoded codes have digest {digest.digest().hex()}, "
            f"the trailer says {trailer.codes_digest.hex()}"
        )


def iterate_codes(reader: Reader) -> Iterator[Codes]:
    """Yield the codes of each packet. Raises as `decode_packets` does."""
    return (codes for _, codes in decode_packets(reader))


def join(packets: Sequence[Codes], header: Header) -> Codes:
    """Return the codes of all packets in one array [S, Q, F]."""
    empty = np.zeros((header.n_streams, header.n_codebooks, 0), np.int64)
    return np.concatenate([empty, *packets], axis=-1)
