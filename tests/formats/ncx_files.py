"""Files, streams and strategies for the tests of the .ncx container."""

import io
import struct
import zlib
from dataclasses import replace

from hypothesis import strategies as st

from ncodec.formats.ncx import (
    CHANNEL_COPIES,
    CODEC_PARAMETERS,
    ENTROPY_ADAPTIVE,
    ENTROPY_MIXED,
    ENTROPY_TRANSFORMER,
    MAX_FRAMES,
    PICTURE_KIND,
    CodesDigest,
    Damage,
    Header,
    Packet,
    Picture,
    Reader,
    Trailer,
    Writer,
)
from ncodec.formats.ncx.layout import pack_varint

HEADER = Header(
    architecture=1,
    model_id="spec-24k",
    model_fingerprint=bytes.fromhex("0badcafe"),
    entropy=ENTROPY_ADAPTIVE,
    sample_rate_hz=24000,
    n_channels=1,
    codebook_size=1024,
    n_codebooks=2,
    samples_per_frame=320,
    bitrate_bps=1500,
    source_sample_rate_hz=48000,
    n_samples=3000,
)
TRANSFORMER = replace(
    HEADER, entropy=ENTROPY_TRANSFORMER, entropy_fingerprint=bytes.fromhex("01020304")
)
DIGEST = bytes.fromhex("d1d2d3d4")


class Pipe:
    """A stream that cannot seek and gives at most `step` bytes per read."""

    def __init__(self, content: bytes, step: int) -> None:
        self._content = content
        self._step = step
        self.at = 0

    def read(self, size: int, /) -> bytes:
        assert size > 0
        chunk = self._content[self.at : self.at + min(size, self._step)]
        self.at += len(chunk)
        return chunk


class NarrowSink(io.RawIOBase):
    """A stream that takes at most `step` bytes per write."""

    def __init__(self, step: int) -> None:
        self._step = step
        self.content = bytearray()

    def write(self, chunk: bytes | memoryview, /) -> int:  # type: ignore[override]
        self.content += chunk[: self._step]
        return min(len(chunk), self._step)


def write_file(
    header: Header = HEADER,
    packets: tuple[Packet, ...] = (),
    digest: bytes = DIGEST,
    n_samples: int | None = None,
) -> bytes:
    stream = io.BytesIO()
    writer = Writer(stream, header)
    for packet in packets:
        writer.write_packet(
            packet.n_frames, packet.payload, dependent=packet.dependent, scales=packet.scales
        )
    writer.finish(digest, n_samples)
    assert writer.n_bytes == len(stream.getvalue())
    return stream.getvalue()


def read_strict(content: bytes, name: str = "x.ncx") -> tuple[Header, list[Packet], Trailer]:
    reader = Reader(io.BytesIO(content), name)
    packets = list(reader)
    assert reader.trailer is not None
    return reader.header, packets, reader.trailer


def read_tolerant(content: bytes) -> tuple[list[Packet], Trailer | None, list[Damage]]:
    damages: list[Damage] = []
    reader = Reader(io.BytesIO(content), "x.ncx", on_damage=damages.append)
    return list(reader), reader.trailer, damages


def some_packets(*payload_bytes: int, n_frames: int = 3) -> tuple[Packet, ...]:
    """Packets with payloads of these lengths, all different, free of sync words."""
    return tuple(
        Packet(number, n_frames, bytes((7 * number + i) % 100 for i in range(n_bytes)))
        for number, n_bytes in enumerate(payload_bytes)
    )


def with_crc(structure: bytes) -> bytes:
    return structure + zlib.crc32(structure).to_bytes(4, "little")


def header_of(body: bytes, version: int = 0x10) -> bytes:
    """A header with any body and a right length and CRC."""
    return with_crc(b"\x8eNCX\r\n\x1a" + bytes((version,)) + pack_varint(len(body)) + body)


def body_of(header: Header) -> bytes:
    """The body of a header shorter than 128 bytes."""
    packed = header.pack()
    assert packed[8] == len(packed) - 13
    return packed[9:-4]


def attachment_of(fields: bytes) -> bytes:
    """An attachment with any fields and a right CRC."""
    return with_crc(fields)


def attached_to(header: Header, attached: bytes, n_bytes: int | None = None) -> bytes:
    """A header that says that `n_bytes` are attached, and what is."""
    claim = pack_varint(len(attached) if n_bytes is None else n_bytes)
    tags = b"" if header.tags or header.extensions else b"\0"
    body = body_of(header) + tags + b"\x83" + bytes((len(claim),)) + claim
    return header_of(body, 0x12) + attached


def packet_of(fields: bytes) -> bytes:
    """A packet with any fields and a right CRC."""
    return with_crc(b"\xb5\x6e" + fields)


def trailer_of(fields: bytes) -> bytes:
    """A trailer with any fields and a right CRC and length."""
    packed = with_crc(b"\xb5\x91" + fields)
    return packed + pack_varint(len(packed))[::-1]


def valid_files() -> dict[str, bytes]:
    """The golden files that must be readable."""
    tags = (("TITLE", "Prélude"), ("ARTIST", "Someone"), ("artist", "Someone = else"), ("X", ""))
    stereo = replace(HEADER, n_channels=2, n_streams=2, source_sample_rate_hz=0, n_samples=1200)
    live = replace(TRANSFORMER, n_samples=None, entropy_model_id="lm.v2")
    full = replace(
        stereo,
        architecture=255,
        tags=tags,
        extensions=((CODEC_PARAMETERS, b"denoise"), (0x42, b""), (0x81, bytes(range(40)))),
    )
    dependent = tuple(replace(p, dependent=p.number % 3 != 0) for p in some_packets(*[9] * 7))
    scaled = tuple(replace(p, scales=(0.5, 1.25, 0.0)) for p in some_packets(20, 5))
    uneven = tuple(replace(p, n_frames=p.number + 1) for p in some_packets(3, 300, 0, 40))
    picture = Picture(b"\x89PNG...", "image/png", 3, "Où", 640, 480, 24)
    address = Picture(b"https://example.org/back.jpg", "-->", 4)
    attachments = tuple((PICTURE_KIND, one.pack()) for one in (picture, address))
    pictures = replace(full, attachments=(*attachments, (200, b"private")))
    more_tags = replace(HEADER, tags=(*tags, *[("K", "x")] * 1022, ("LYRICS", "là")))
    copies = replace(HEADER, extensions=((CHANNEL_COPIES, b"\2"), (0x42, b"")))
    digest = CodesDigest()
    digest.update(struct.pack("<4H", 1, 2, 1023, 0))
    return {
        "empty": write_file(replace(HEADER, n_samples=0), (), CodesDigest().digest()),
        "mixed_coder": write_file(replace(HEADER, entropy=ENTROPY_MIXED), some_packets(9, 7)),
        "one_packet": write_file(TRANSFORMER, some_packets(30)),
        "two_codes": write_file(HEADER, some_packets(5, n_frames=2), digest.digest()),
        "example": write_file(
            replace(HEADER, tags=(("TITLE", "Hum"),)),
            (Packet(0, 4, bytes.fromhex("a0a1a2a3a4a5")), Packet(1, 1, bytes.fromhex("b0b1"))),
        ),
        "live": write_file(live, dependent, n_samples=6720),
        "stereo_scales": write_file(stereo, scaled),
        "tags_extensions": write_file(full, some_packets(10, 11, 12)),
        "pictures": write_file(pictures, some_packets(10, 11)),
        "channel_copies": write_file(copies, some_packets(10)),
        "attached_tags": write_file(more_tags, some_packets(10)),
        "uneven_packets": write_file(HEADER, uneven, n_samples=3000),
        "minor_version": header_of(body_of(HEADER), 0x1F) + write_file()[len(HEADER.pack()) :],
    }


# Strategies: anything that the dataclasses accept.
ids = st.text("abcXYZ019._-", min_size=1, max_size=64)
fingerprints = st.binary(min_size=4, max_size=4)
keys = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7D, exclude_characters="="))
values = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
tag_lists = st.lists(st.tuples(keys.filter(bool), values), max_size=5).map(tuple)
extension_ids = st.integers(1, 127) | st.just(0x81)
extension_lists = st.dictionaries(extension_ids, st.binary(max_size=40), max_size=4).map(
    lambda extensions: tuple(extensions.items())
)

pictures = st.builds(
    Picture,
    st.binary(max_size=40),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=9),
    st.integers(0, 20),
    values,
    *[st.integers(0, 2**32 - 1)] * 4,
)
attachments = st.tuples(st.just(PICTURE_KIND), pictures.map(Picture.pack)) | st.tuples(
    st.integers(3, 255), st.binary(max_size=40)
)
attachment_lists = st.lists(attachments, max_size=4).map(tuple)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    n_streams = draw(st.integers(1, 8))
    transformer = draw(st.booleans())
    return Header(
        architecture=draw(st.integers(1, 255)),
        model_id=draw(ids),
        model_fingerprint=draw(fingerprints),
        entropy=ENTROPY_TRANSFORMER if transformer else draw(st.integers(0, 1)),
        entropy_model_id=draw(ids | st.just("")) if transformer else "",
        entropy_fingerprint=draw(fingerprints) if transformer else b"",
        sample_rate_hz=draw(st.integers(1, 1_000_000)),
        n_channels=n_streams * draw(st.integers(1, 8)),
        n_streams=n_streams,
        codebook_size=draw(st.integers(2, 65536)),
        n_codebooks=draw(st.integers(1, 128)),
        samples_per_frame=draw(st.integers(1, 65536)),
        bitrate_bps=draw(st.integers(0, 10**9)),
        source_sample_rate_hz=draw(st.integers(0, 1_000_000)),
        n_samples=draw(st.none() | st.integers(0, 2**63 - 2)),
        tags=draw(tag_lists),
        extensions=draw(extension_lists),
        attachments=draw(attachment_lists),
    )


@st.composite
def packets(draw: st.DrawFn, number: int) -> Packet:
    scale = st.floats(0, width=32, allow_infinity=False, allow_nan=False)
    return Packet(
        number,
        draw(st.integers(1, MAX_FRAMES) | st.just(75)),
        draw(st.binary(max_size=200)),
        number > 0 and draw(st.booleans()),
        tuple(draw(st.lists(scale, max_size=4))),
    )


@st.composite
def packet_lists(draw: st.DrawFn) -> tuple[Packet, ...]:
    return tuple(draw(packets(number)) for number in range(draw(st.integers(0, 6))))
