"""What is written is read again, whatever the stream is like."""

import io
import os
import threading
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ncx_files import (
    DIGEST,
    HEADER,
    NarrowSink,
    Pipe,
    fingerprints,
    headers,
    packet_lists,
    packets,
    read_strict,
    some_packets,
    valid_files,
    write_file,
)

from ncodec.errors import InvalidField, LimitExceeded, LostSync, Truncated, UnsupportedVersion
from ncodec.formats.ncx import (
    CHANNEL_COPIES,
    CodesDigest,
    Header,
    Packet,
    Reader,
    Trailer,
    Writer,
    annotate,
    read_index,
    read_packet,
)
from ncodec.formats.ncx.cursor import BufferedStream, Cursor
from ncodec.formats.ncx.layout import pack_varint

FILES = valid_files()


def cursor_of(content: bytes) -> Cursor:
    return Cursor(BufferedStream(io.BytesIO(content), "x.ncx"), "structure")


@given(headers())
def test_header(header: Header) -> None:
    packed = header.pack()
    source = BufferedStream(io.BytesIO(packed + b"rest"), "x.ncx")
    parsed = Header.read(source)
    assert parsed == header
    assert source.offset == len(packed)
    assert parsed.pack() == packed
    cursor = cursor_of(packed)
    alone = Header.parse(cursor)
    assert cursor.at + alone.attached_bytes == len(packed)
    assert alone.pack() == packed[: cursor.at]


@given(st.integers(0, 1000).flatmap(packets))
def test_packet(packet: Packet) -> None:
    packed = packet.pack()
    parsed = Packet.parse(cursor_of(packed + b"rest"), n_streams=1)
    assert parsed == packet
    assert (parsed.offset, parsed.n_bytes) == (0, len(packed))


@given(
    st.lists(st.tuples(st.integers(9, 10**6), st.integers(1, 65535)), max_size=9),
    st.booleans(),
    fingerprints,
    st.none() | st.integers(0, 2**63 - 2),
)
def test_trailer(
    index: list[tuple[int, int]], uniform: bool, digest: bytes, n_samples: int | None
) -> None:
    sizes = tuple(n_bytes for n_bytes, _ in index)
    frames = tuple(index[0][1] if uniform else n_frames for _, n_frames in index)
    trailer = Trailer(len(index), sizes, frames, digest, n_samples)
    packed = trailer.pack()
    source = BufferedStream(io.BytesIO(packed), "x.ncx", offset=10**9)
    only = (sizes[0], frames[0]) if len(index) == 1 else None
    assert Trailer.parse(Cursor(source, "trailer"), 100, only) == trailer


@given(headers(), packet_lists(), fingerprints, st.integers(0, 2**40), st.integers(1, 40))
def test_file_through_narrow_pipes(
    header: Header, content: tuple[Packet, ...], digest: bytes, n_samples: int, step: int
) -> None:
    sink = NarrowSink(step)
    writer = Writer(sink, header)
    written = [
        writer.write_packet(p.n_frames, p.payload, dependent=p.dependent, scales=p.scales)
        for p in content
    ]
    end = writer.finish(digest, n_samples if header.n_samples is None else None)
    assert writer.overhead_bytes == len(sink.content) - sum(len(p.payload) for p in content)
    reader = Reader(Pipe(bytes(sink.content), step))
    assert reader.header == header
    assert reader.n_samples == header.n_samples
    found = list(reader)
    assert reader.n_samples == (n_samples if header.n_samples is None else header.n_samples)
    assert found == written == list(content)
    assert reader.trailer == end
    assert [(p.offset, p.n_bytes) for p in found] == [(p.offset, p.n_bytes) for p in written]
    assert end.packet_offsets == tuple(p.offset for p in found)
    assert list(reader) == []


@pytest.mark.parametrize("name", FILES)
def test_any_packet_is_read_through_the_index(name: str) -> None:
    header, found, end = read_strict(FILES[name])
    stream = io.BytesIO(FILES[name])
    index = read_index(stream, name)
    assert index == end
    assert (index.offset, index.n_bytes) == (end.offset, end.n_bytes)
    assert index.n_frames == sum(packet.n_frames for packet in found)
    for number in reversed(range(len(found))):
        offset = index.packet_offsets[number]
        assert read_packet(stream, header, number, offset, name) == found[number]


def test_index_of_a_file_without_trailer() -> None:
    whole = FILES["example"]
    for cut in range(len(HEADER.pack()) + 11, len(whole)):
        with pytest.raises((LostSync, InvalidField, Truncated), match=r"^x\.ncx: .* byte"):
            read_index(io.BytesIO(whole[:cut]), "x.ncx")


def test_packets_are_delivered_as_they_arrive() -> None:
    """A packet is not held back until the next one, so that a live stream has no such delay."""
    parts = [packet.pack() for packet in some_packets(20, 0, 30)]
    for buffering in (0, -1):
        out_of, into = os.pipe()
        with os.fdopen(out_of, "rb", buffering) as stream, os.fdopen(into, "wb", 0) as sink:
            sink.write(HEADER.pack())
            reader = iter(Reader(stream))
            for number, part in enumerate(parts):
                sink.write(part)
                guard = threading.Timer(10, sink.close)
                guard.start()
                assert next(reader).number == number
                guard.cancel()


@pytest.mark.parametrize("name", FILES)
def test_annotation_covers_every_byte_once(name: str) -> None:
    spans = list(annotate(Pipe(FILES[name], 3), name))
    assert spans[0].offset == 0
    for span, following in pairwise(spans):
        assert following.offset == span.offset + span.n_bytes
    assert spans[-1].offset + spans[-1].n_bytes == len(FILES[name])
    assert all(span.n_bytes and span.meaning for span in spans if span.name != "extension")


def test_annotation_stops_at_damage_with_what_was_read() -> None:
    spans = annotate(io.BytesIO(FILES["example"][:0x41]), "x.ncx")
    names: list[str] = []
    with pytest.raises(Truncated):
        names.extend(f"{span.section} {span.name}" for span in spans)
    assert names[-2:] == ["packet 0 frames_flags", "packet 0 payload_length"]


def test_packets_before_the_cut_are_delivered() -> None:
    reader = Reader(io.BytesIO(FILES["example"][:0x4D]), "x.ncx")
    packet_iterator = iter(reader)
    assert next(packet_iterator).number == 0
    with pytest.raises(Truncated, match=r"^x\.ncx: packet 1 at byte 71: needs 11 bytes, 6 left$"):
        next(packet_iterator)
    assert reader.trailer is None


def test_header_properties() -> None:
    header = replace(HEADER, n_channels=4, n_streams=2, codebook_size=1025, n_samples=96000)
    assert header.frame_rate_hz == 75
    assert header.channels_per_stream == 2
    assert header.codes_per_frame == 4
    assert header.bits_per_frame == 22
    assert header.duration_s == 2
    assert replace(header, n_samples=None).duration_s is None
    tagged = replace(header, tags=(("Artist", "a"), ("ARTIST", "b")), extensions=((1, b"x"),))
    assert tagged.tag("artist") == ("a", "b")
    assert tagged.extension(1) == b"x"
    assert tagged.extension(2) is None


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"model_id": ""}, InvalidField),
        ({"model_id": "a b"}, InvalidField),
        ({"model_fingerprint": b"123"}, InvalidField),
        ({"entropy": 4}, UnsupportedVersion),
        ({"entropy": 2}, InvalidField),
        ({"entropy_model_id": "lm"}, InvalidField),
        ({"n_samples": -1}, InvalidField),
        ({"n_samples": 2**63 - 1}, InvalidField),
        ({"n_streams": 2}, InvalidField),
        ({"tags": (("A=", "b"),)}, InvalidField),
        ({"tags": (("A", "\udc80"),)}, InvalidField),
        ({"tags": (("A", "b"),) * 66_561}, LimitExceeded),
        ({"tags": (("A", "b" * 65000),) * 260}, LimitExceeded),
        ({"attachments": ((1, b"\3K=x"),)}, InvalidField),
        ({"attachments": ((2, b"picture"),)}, InvalidField),
        ({"attachments": ((200, b""),) * 257}, LimitExceeded),
        ({"attachments": ((200, bytes(15_000_000)),) * 5}, LimitExceeded),
        ({"extensions": ((0x90, b""),)}, UnsupportedVersion),
    ],
)
def test_header_refuses(change: dict[str, object], refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        replace(HEADER, **change)  # type: ignore[arg-type]


def test_writer_refuses() -> None:
    sink = io.BytesIO()
    writer = Writer(sink, HEADER)
    for n_frames, payload, scales in (
        (0, b"", ()),
        (65536, b"", ()),
        (1, bytes((1 << 22) + 1), ()),
        (1, b"", (0.5,) * 4097),
        (1, b"", (-1.0,)),
        (1, b"", (1e39,)),
        (1, b"", (float("nan"),)),
    ):
        with pytest.raises((InvalidField, LimitExceeded)):
            writer.write_packet(n_frames, payload, scales=scales)
    with pytest.raises(InvalidField):
        writer.write_packet(1, b"", dependent=True)
    with pytest.raises(InvalidField):
        writer.finish(DIGEST, n_samples=5)
    with pytest.raises(InvalidField):
        writer.finish(DIGEST + b"x")
    assert len(sink.getvalue()) == writer.n_bytes == len(HEADER.pack())
    writer.finish(DIGEST)
    assert sink.getvalue() == write_file()
    with pytest.raises(ValueError, match="trailer has been written"):
        writer.write_packet(1, b"")
    live = Writer(io.BytesIO(), replace(HEADER, n_samples=None))
    with pytest.raises(InvalidField):
        live.finish(DIGEST)


def test_varints_are_leb128() -> None:
    assert pack_varint(0) == b"\0"
    assert pack_varint(624485) == bytes.fromhex("e58e26")
    assert len(pack_varint(2**63 - 1)) == 9


def test_codes_digest_is_incremental() -> None:
    digest = CodesDigest()
    assert digest.digest().hex() == "e3b0c442"
    digest.update(b"ab")
    digest.update(memoryview(b"c"))
    assert digest.digest().hex() == "ba7816bf"


def test_a_model_named_after_its_architecture_costs_nothing() -> None:
    named = replace(HEADER, architecture=1, model_id="spectral")
    other = replace(HEADER, architecture=1, model_id="spectral2")
    assert len(other.pack()) - len(named.pack()) == len("spectral2")
    assert Reader(io.BytesIO(named.pack())).header == named
    with pytest.raises(InvalidField, match="model_id is empty"):
        replace(HEADER, model_id="")


@pytest.mark.parametrize(
    ("content", "n_channels", "n_copies"),
    [(b"\x02", 1, 2), (b"\x40", 1, 64), (b"\x01", 1, 1), (b"\x41", 1, 1), (b"", 1, 1),
     (b"\x02\x02", 1, 1), (b"\x02", 2, 1)],
)  # fmt: skip
def test_channel_copies(content: bytes, n_channels: int, n_copies: int) -> None:
    """Whatever the extension holds, no file is refused for it."""
    header = replace(
        HEADER, n_channels=n_channels, n_streams=1, extensions=((CHANNEL_COPIES, content),)
    )
    again, _, _ = read_strict(write_file(header))
    assert again == header
    assert again.n_copies == n_copies
    assert again.n_output_channels == n_channels * n_copies
    assert header.pack()[7] == 0x13
