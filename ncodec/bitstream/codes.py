"""Packets <-> codes, with the entropy coder that the header names.

Shapes: S streams, Q codebooks, F frames.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ncodec.entropy import CODER_NUMBERS, MAX_CODES, EntropyCoder, open_coder
from ncodec.errors import (
    DigestMismatch,
    FormatError,
    InvalidField,
    LimitExceeded,
    ModelError,
    PayloadError,
    Truncated,
    UsageError,
)
from ncodec.formats.ncx import CodesDigest, Header, Packet, Reader, Writer
from ncodec.hub.entropy_models import find_exact, load_network

Codes = NDArray[np.int64]  # [S, Q, F]


def coder_for(header: Header) -> EntropyCoder:
    """Return a fresh entropy coder, for one direction, as `header` asks for.

    Raises ModelMissing or ModelMismatch without the exact entropy model that it names.
    """
    network = None
    if header.entropy == CODER_NUMBERS["transformer"]:
        network = load_network(find_exact(header.entropy_model_id, header.entropy_fingerprint))
    try:
        return open_coder(
            header.entropy,
            n_streams=header.n_streams,
            n_codebooks=header.n_codebooks,
            codebook_size=header.codebook_size,
            network=network,
        )
    except UsageError as error:  # sizes that the model does not have
        raise InvalidField(f"header: {error}") from None


def digest_bytes(codes: Codes) -> bytes:
    """Return the bytes that the codes digest covers (NCX.md, section 5) of one packet's codes."""
    return np.ascontiguousarray(codes.transpose(2, 0, 1), dtype="<u2").tobytes()


@dataclass(frozen=True, slots=True)
class CodedPacket:
    """A packet to be written, and what the digest of all codes takes of it."""

    n_frames: int
    payload: bytes
    scales: tuple[float, ...]
    digest_bytes: bytes


def code_packet(
    coder: EntropyCoder, codes: Codes, scales: tuple[float, ...], *, dependent: bool = False
) -> CodedPacket:
    """Return the packet of [S, Q, F] codes, F > 0, and their scales."""
    payload = coder.encode(codes, dependent=dependent)
    return CodedPacket(codes.shape[-1], payload, scales, digest_bytes(codes))


class CodesWriter:
    """Entropy-codes codes and writes them as packets.

    Attributes:
        coder: with which it does.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.coder = coder_for(writer.header)
        self._digest = CodesDigest()

    def write(
        self, codes: Codes, scales: tuple[float, ...] = (), *, dependent: bool = False
    ) -> None:
        """Write [S, Q, F] codes, F > 0, and their scales as one packet."""
        self.put(code_packet(self.coder, codes, scales, dependent=dependent), dependent=dependent)

    def put(self, packet: CodedPacket, *, dependent: bool = False) -> None:
        """Write a packet that was coded before."""
        self._digest.update(packet.digest_bytes)
        self.writer.write_packet(
            packet.n_frames, packet.payload, dependent=dependent, scales=packet.scales
        )

    def finish(self, n_samples: int) -> None:
        """Write the trailer."""
        self.writer.finish(self._digest.digest(), n_samples)


@dataclass(frozen=True, slots=True)
class Lost:
    """Frames that stood in packets that cannot be had."""

    n_frames: int
    error: FormatError


def open_decoder(reader: Reader) -> EntropyCoder:
    """Return what decodes a file's codes. Raises as `coder_for` does, with the file's name."""
    try:
        return coder_for(reader.header)
    except (FormatError, ModelError) as error:
        raise error.within(reader.name) from None


def decode_each(
    items: Iterable[Packet | Lost], header: Header, coder: EntropyCoder, name: str
) -> Iterator[tuple[Packet, Codes | FormatError] | Lost]:
    """Yield each packet and its codes, or why there are none; what is lost is passed on.

    Without the codes of a packet, the dependent packets after it cannot be decoded either.
    """
    broken: FormatError | None = None
    for is_lost, run in groupby(items, lambda item: isinstance(item, Lost)):
        if is_lost:
            for lost in cast("Iterator[Lost]", run):
                broken = lost.error
                yield lost
            continue
        packets = cast("Iterator[Packet]", run)
        for group in packet_groups(packets, header, coder.packets_at_once):
            broken = broken if group[0].dependent else None
            found = [broken] * len(group) if broken else decode_group(coder, group)
            for packet, codes in zip(group, found, strict=True):
                if isinstance(codes, FormatError) and codes is not broken:
                    place = f"{name}: packet {packet.number} at byte {packet.offset}"
                    broken = codes = codes.within(place)
                yield packet, codes


def decode_packets(reader: Reader) -> Iterator[tuple[Packet, Codes]]:
    """Yield each packet and its codes.

    Raises LimitExceeded or PayloadError, and after the last packet DigestMismatch. A model that is
    not there is named with the file.
    """
    coder = open_decoder(reader)
    digest = CodesDigest()
    for item in decode_each(reader, reader.header, coder, reader.name):
        assert not isinstance(item, Lost)  # noqa: S101 # nothing was given that is
        packet, codes = item
        if isinstance(codes, FormatError):
            raise codes
        digest.update(digest_bytes(codes))
        yield packet, codes
    check_digest(reader, digest)


def check_digest(reader: Reader, digest: CodesDigest) -> None:
    """Raise DigestMismatch where the trailer has another digest of all codes."""
    trailer = reader.trailer
    if trailer is not None and trailer.codes_digest != digest.digest():
        raise DigestMismatch(
            f"{reader.name}: the decoded codes have digest {digest.digest().hex()}, "
            f"the trailer says {trailer.codes_digest.hex()}"
        )


def source_length(reader: Reader) -> int:
    """Return the samples of the source, once all packets are read. Raises Truncated."""
    if reader.n_samples is None:
        raise Truncated(f"{reader.name}: no trailer, so the length is not known")
    return reader.n_samples


def packet_groups(
    packets: Iterable[Packet], header: Header, at_once: int
) -> Iterator[list[Packet]]:
    """Yield the packets in groups of at most `at_once` that can be decoded side by side.

    A group is of key packets that no dependent one follows, with MAX_CODES codes and bytes at
    most, or it is one packet. The packets of a live stream, whose length the header does not know,
    come one by one: none waits for a later one. What `packets` raises comes after all groups.
    """
    if header.n_samples is None:
        at_once = 1
    group: list[Packet] = []
    size = 0  # codes and bytes of the group: bounds the memory for it
    try:
        for packet in packets:
            if packet.dependent:
                yield from (some for some in (group[:-1], group[-1:], [packet]) if some)
                group, size = [], 0
                continue
            more = packet.n_frames * header.codes_per_frame + len(packet.payload)
            if group and (len(group) >= at_once or size + more > MAX_CODES):
                yield group
                group, size = [], 0
            group.append(packet)
            size += more
            if at_once == 1:
                yield group
                group, size = [], 0
    except FormatError:
        if group:
            yield group
        raise
    if group:
        yield group


def decode_group(coder: EntropyCoder, group: Sequence[Packet]) -> list[Codes | FormatError]:
    """Return the codes of packets that `packet_groups` put together, or why there are none."""
    try:
        if len(group) > 1:
            payloads = [packet.payload for packet in group]
            return [*coder.decode_many(payloads, [packet.n_frames for packet in group])]
        (packet,) = group
        return [coder.decode(packet.payload, packet.n_frames, dependent=packet.dependent)]
    except (LimitExceeded, PayloadError) as error:
        return [error] * len(group)


def iterate_codes(reader: Reader) -> Iterator[Codes]:
    """Yield the codes of each packet. Raises as `decode_packets` does."""
    return (codes for _, codes in decode_packets(reader))


def join(packets: Sequence[Codes], header: Header) -> Codes:
    """Return the codes of all packets in one array [S, Q, F]."""
    empty = np.zeros((header.n_streams, header.n_codebooks, 0), np.int64)
    return np.concatenate([empty, *packets], axis=-1)
