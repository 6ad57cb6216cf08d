"""Pictures, and what is damaged among them."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from ncx_files import HEADER, pictures, read_strict, read_tolerant, some_packets, write_file
from ncx_invalid import flipped

from ncodec.errors import ChecksumMismatch, FormatError, InvalidField
from ncodec.formats.ncx import PICTURE_KIND, Picture, Reader

CONTENTS = (b"first" * 9, b"second" * 9, b"third" * 9)
ATTACHED = replace(HEADER, attachments=tuple((200, content) for content in CONTENTS))
PACKETS = some_packets(20, 30)
FILE = write_file(ATTACHED, PACKETS)
N_HEADER = FILE.index(b"\xc8\x2dfirst")  # where the attachments start
N_EACH = [2 + len(content) + 4 for content in CONTENTS]


@given(pictures)
def test_a_picture(picture: Picture) -> None:
    assert Picture.parse(picture.pack()) == picture


def test_a_picture_is_a_block_of_flac() -> None:
    from mutagen.flac import Picture as Block

    ours = Picture(b"\x89PNG", "image/png", 4, "Où", 640, 480, 24, 256)
    block = Block(ours.pack())
    assert (block.data, block.mime, block.type, block.desc) == (b"\x89PNG", "image/png", 4, "Où")
    assert (block.width, block.height, block.depth, block.colors) == (640, 480, 24, 256)
    assert block.write() == ours.pack()


@pytest.mark.parametrize("change", [{"kind": -1}, {"width": 1 << 32}, {"media_type": "é"}])
def test_a_picture_that_cannot_be(change: dict[str, object]) -> None:
    with pytest.raises(InvalidField, match=r"^picture: "):
        replace(Picture(b"x"), **change).pack()


def test_pictures_of_a_header() -> None:
    picture = Picture(b"x", "image/png")
    header = replace(ATTACHED, attachments=((200, b""), (PICTURE_KIND, picture.pack()), (9, b"")))
    assert header.pictures == (picture,)
    assert header.with_pictures((picture,)) == header
    assert header.with_pictures(()).attachments == ((200, b""), (9, b""))
    assert header.pack()[7] == 0x12
    assert header.with_pictures(()).pack()[7] == 0x12
    assert HEADER.with_pictures(()).pack()[7] == 0x10


@pytest.mark.parametrize("hit", range(3))
def test_damaged_content_costs_that_attachment(hit: int) -> None:
    content = flipped(FILE, N_HEADER + sum(N_EACH[:hit]) + 10)
    with pytest.raises(ChecksumMismatch, match=f"attachment {hit} at byte"):
        Reader(io.BytesIO(content), "x.ncx")
    damages = []
    reader = Reader(io.BytesIO(content), "x.ncx", on_damage=damages.append)
    kept = tuple(text for number, text in enumerate(CONTENTS) if number != hit)
    assert tuple(text for _, text in reader.header.attachments) == kept
    assert [(one.offset, one.n_bytes) for one in damages] == [
        (N_HEADER + sum(N_EACH[:hit]), N_EACH[hit])
    ]
    assert [packet.payload for packet in reader] == [packet.payload for packet in PACKETS]
    assert reader.trailer is not None


@pytest.mark.parametrize("at", range(N_HEADER, N_HEADER + sum(N_EACH)))
def test_damage_of_any_byte_costs_no_packet(at: int) -> None:
    content = flipped(FILE, at)
    with pytest.raises(FormatError, match=r"^x\.ncx: attachment"):
        read_strict(content)
    packets, trailer, damages = read_tolerant(content)
    assert [packet.payload for packet in packets] == [packet.payload for packet in PACKETS]
    assert trailer is not None
    assert damages
    reader = Reader(io.BytesIO(content), on_damage=damages.append)
    assert {text for _, text in reader.header.attachments} < set(CONTENTS)


@pytest.mark.parametrize("n_bytes", range(N_HEADER, N_HEADER + sum(N_EACH), 7))
def test_a_file_that_ends_in_its_attachments(n_bytes: int) -> None:
    with pytest.raises(FormatError, match=r"^x\.ncx: attachment"):
        read_strict(FILE[:n_bytes])
    packets, trailer, damages = read_tolerant(FILE[:n_bytes])
    assert (packets, trailer) == ([], None)
    assert damages
