"""Packets from one file to another.

Shapes: S streams, Q codebooks, F frames.
"""

from typing import Literal

from ncodec.bitstream.codes import Codes, coder_for, digest_bytes
from ncodec.entropy import MAX_CODES
from ncodec.formats.ncx import CodesDigest, Header, Packet, Writer

_CODING = ("entropy", "entropy_model_id", "entropy_fingerprint", "n_codebooks")


class PacketCopier:
    """Writes packets: as they are where they can stay so, else coded again, several at once."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._coder = coder_for(writer.header)
        self._at_once = 1 if writer.header.n_samples is None else self._coder.packets_at_once
        self._waiting: list[tuple[Codes, tuple[float, ...]]] = []  # key packets, to be coded
        self._digest = CodesDigest()
        self._may_copy = False
        self._context: Literal["copied", "coded"] | None = None  # what a dependent one continues

    def take_from(self, header: Header) -> None:
        """What comes next is of a file with this header."""
        ours = self._writer.header
        self._may_copy = all(getattr(header, name) == getattr(ours, name) for name in _CODING)

    def start_edit(self) -> None:
        """The next packet depends on none before it."""
        self._context = None

    def write(self, packet: Packet, codes: Codes, scales: tuple[float, ...]) -> None:
        """Write a packet, of whose frames only those of `codes` [S, Q, F] are left.

        As many codebooks are kept as the header says.
        """
        codes = codes[:, : self._writer.header.n_codebooks]
        self._digest.update(digest_bytes(codes))
        n_frames = codes.shape[-1]
        continues = self._context if packet.dependent else None
        can_copy = self._may_copy and n_frames == packet.n_frames
        if can_copy and (continues == "copied" or not packet.dependent):
            self._flush()
            self._put(codes, packet.payload, scales, dependent=packet.dependent)
            self._context = "copied"
        elif continues == "coded":
            self._flush()
            payload = self._coder.encode(codes, dependent=True)
            self._put(codes, payload, scales, dependent=True)
        else:
            self._context = "coded"
            if sum(some.size for some, _ in self._waiting) + codes.size > MAX_CODES:
                self._flush()
            self._waiting.append((codes, scales))
            if len(self._waiting) >= self._at_once:
                self._flush()

    def finish(self, n_samples: int) -> bytes:
        """Write the trailer, and return the digest of all codes."""
        self._flush()
        digest = self._digest.digest()
        self._writer.finish(digest, n_samples)
        return digest

    def _flush(self) -> None:
        """Write what waits; the coder is then where the last of it left it."""
        if not self._waiting:
            return
        *others, last = [codes for codes, _ in self._waiting]
        payloads = [*self._coder.encode_many(others), self._coder.encode(last)]
        for (codes, scales), payload in zip(self._waiting, payloads, strict=True):
            self._put(codes, payload, scales)
        self._waiting = []

    def _put(
        self, codes: Codes, payload: bytes, scales: tuple[float, ...], *, dependent: bool = False
    ) -> None:
        self._writer.write_packet(codes.shape[-1], payload, dependent=dependent, scales=scales)
