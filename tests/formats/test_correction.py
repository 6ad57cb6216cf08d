"""One damaged byte is corrected, two are not taken for one."""

import io
import random
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ncx_files import HEADER, TRANSFORMER, header_of, headers, some_packets, with_crc, write_file

from ncodec.formats.ncx import Header
from ncodec.formats.ncx.correction import correct_byte, correct_header
from ncodec.formats.ncx.cursor import BufferedStream, Cursor

TAGGED = replace(
    TRANSFORMER,
    tags=(("TITLE", "Prélude"), ("ARTIST", "Someone"), ("COMMENT", "x" * 90), ("DATE", "1899")),
    extensions=((0x42, bytes(range(12))),),
)
LONG = replace(HEADER, tags=tuple((f"KEY{n}", "y" * 500) for n in range(40)))
TAIL = write_file(HEADER, some_packets(20, 30))[len(HEADER.pack()) :]


def flipped(content: bytes, at: int, flip: int) -> bytes:
    return content[:at] + bytes((content[at] ^ flip,)) + content[at + 1 :]


@given(st.binary(max_size=300), st.data())
def test_a_damaged_byte_of_a_structure_is_found(content: bytes, data: st.DataObject) -> None:
    whole = with_crc(content)
    at = data.draw(st.integers(0, len(whole) - 1))
    bad = flipped(whole, at, data.draw(st.integers(1, 255)))
    assert correct_byte(bad[:-4], int.from_bytes(bad[-4:], "little")) == (at, whole[at])


def test_a_crc_that_holds_needs_no_correction() -> None:
    assert correct_byte(b"abc", zlib.crc32(b"abc")) is None
    assert correct_byte(b"", 0) is None


def test_the_answer_is_that_of_trying_every_change() -> None:
    draw = random.Random(5)
    for _ in range(20):
        content = draw.randbytes(draw.randrange(1, 8))
        at, flip = draw.randrange(len(content)), draw.randrange(1, 256)
        stored = zlib.crc32(flipped(content, at, flip))
        found = [
            (place, content[place] ^ other)
            for place in range(len(content))
            for other in range(1, 256)
            if zlib.crc32(flipped(content, place, other)) == stored
        ]
        assert [correct_byte(content, stored)] == found


def test_two_solutions_are_none() -> None:
    content, first, second = bytes(145_213), (0, 248), (145_212, 169)
    crc = zlib.crc32(flipped(content, *first))
    assert crc == zlib.crc32(flipped(content, *second))
    assert correct_byte(content, crc) is None
    content = content[:-5]  # the CRC counts too
    assert correct_byte(content, zlib.crc32(flipped(content, *first))) == first


def every_damage(packed: bytes, seed: int) -> list[tuple[int, bytes]]:
    draw = random.Random(seed)
    return [(at, flipped(packed, at, draw.randrange(1, 256))) for at in range(len(packed))]


@pytest.mark.parametrize("tail", [b"", TAIL], ids=["header only", "whole file"])
@pytest.mark.parametrize("header", [HEADER, TRANSFORMER, TAGGED])
def test_every_byte_of_a_header(header: Header, tail: bytes) -> None:
    packed = header.pack()
    for at, bad in every_damage(packed, 1):
        assert correct_header(bad + tail) == (packed, at)


@given(headers(), st.integers(0, 1 << 30))
@settings(max_examples=15, deadline=None)
def test_every_byte_of_any_header(header: Header, seed: int) -> None:
    packed = header.pack()
    cursor = Cursor(BufferedStream(io.BytesIO(packed), "x.ncx"), "header")
    Header.parse(cursor)
    packed = packed[: cursor.at]  # without attachments, which have CRCs of their own
    for at, bad in every_damage(packed, seed):
        assert correct_header(bad + TAIL) == (packed, at)


@pytest.mark.parametrize("at", range(6, 12))
def test_every_value_of_the_bytes_before_the_body(at: int) -> None:
    packed = TAGGED.pack()
    assert packed[8] >= 0x80  # a header_length of two bytes
    for flip in range(1, 256):
        assert correct_header(flipped(packed, at, flip) + TAIL) == (packed, at)


@pytest.mark.parametrize("at", [0, 7, 8, 9, 10, 11, 12, 5000, 20_000, -5, -4, -1])
def test_a_long_header(at: int) -> None:
    packed = LONG.pack()
    at %= len(packed)
    for flip in (1, 0x80, 0xFF):
        assert correct_header(flipped(packed, at, flip) + TAIL) == (packed, at)


def test_a_minor_version_is_kept() -> None:
    packed = header_of(HEADER.pack()[9:-4], 0x1F)
    for at, bad in every_damage(packed, 2):
        assert correct_header(bad + TAIL) == (packed, at)


def test_two_damaged_bytes_are_not_corrected() -> None:
    packed, draw = TAGGED.pack(), random.Random(3)
    for _ in range(2000):
        first, second = draw.sample(range(len(packed)), 2)
        bad = flipped(packed, first, draw.randrange(1, 256))
        bad = flipped(bad, second, draw.randrange(1, 256))
        assert correct_header(bad + TAIL) is None


@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_are_not_corrected(content: bytes, signed: bool) -> None:
    start = HEADER.pack()[:9] if signed else b""
    assert correct_header(start + content) is None


def test_what_is_cut_off_is_not_corrected() -> None:
    packed = flipped(TAGGED.pack(), 20, 1)
    for n_bytes in range(len(packed)):
        assert correct_header(packed[:n_bytes]) is None


def test_a_whole_header_needs_no_correction() -> None:
    assert correct_header(TAGGED.pack() + TAIL) is None


def test_a_corrected_crc_is_not_enough() -> None:
    body = bytearray(HEADER.pack()[9:-4])
    body[0] = 0  # an architecture that is not allowed
    assert correct_header(flipped(header_of(bytes(body)), 12, 1)) is None
