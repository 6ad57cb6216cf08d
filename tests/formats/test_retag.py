"""Other tags, and nothing else."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ncx_files import HEADER, Pipe, headers, some_packets, tag_lists, valid_files, write_file

from ncodec.errors import ChecksumMismatch, FormatError, InvalidField, LimitExceeded
from ncodec.formats.ncx import Header, Picture, Reader, Tags, check_tag, read_index, retag

FILES = valid_files()
TAGS = (("TITLE", "Prélude"), ("X", ""))
TAIL = write_file(HEADER, some_packets(20, 30))[len(HEADER.pack()) :]


def retagged(content: bytes, tags: Tags) -> bytes:
    return b"".join(retag(io.BytesIO(content), lambda _: tags, "x.ncx"))


def header_of_file(content: bytes) -> Header:
    return Reader(io.BytesIO(content)).header


@pytest.mark.parametrize("name", FILES)
def test_files(name: str) -> None:
    content = FILES[name]
    before = header_of_file(content)
    changed = retagged(content, TAGS)
    reader = Reader(io.BytesIO(changed))
    assert reader.header == replace(before, tags=TAGS)
    assert changed[7] == content[7]  # the version
    list(reader)
    assert reader.trailer is not None
    assert read_index(io.BytesIO(changed)).n_packets == reader.trailer.n_packets
    assert retagged(changed, before.tags) == content


@given(headers(), tag_lists)
def test_any_header(header: Header, tags: Tags) -> None:
    assert retagged(header.pack() + TAIL, tags) == replace(header, tags=tags).pack() + TAIL


@given(st.binary(max_size=200))
def test_what_is_behind_the_header_is_copied(rest: bytes) -> None:
    assert retagged(HEADER.pack() + rest, TAGS) == replace(HEADER, tags=TAGS).pack() + rest


@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
def test_streams(step: int) -> None:
    rest = bytes(range(256)) * 1000
    blocks = list(retag(Pipe(HEADER.pack() + rest, step), lambda _: TAGS))
    assert b"".join(blocks) == replace(HEADER, tags=TAGS).pack() + rest
    assert max(map(len, blocks)) <= 1 << 17


def test_a_change_sees_the_tags() -> None:
    content = replace(HEADER, tags=TAGS).pack()
    made = b"".join(retag(io.BytesIO(content), lambda tags: tags[::-1]))
    assert header_of_file(made).tags == TAGS[::-1]


def test_a_damaged_header_is_refused_before_anything_is_yielded() -> None:
    content = bytearray(FILES["example"])
    content[20] ^= 1
    with pytest.raises(ChecksumMismatch, match=r"x\.ncx: header at byte"):
        next(retag(io.BytesIO(content), lambda tags: tags, "x.ncx"))


@pytest.mark.parametrize(
    ("tags", "refusal", "text"),
    [
        ((("K", ""),) * (1024 + 65_537), LimitExceeded, "65537 tags beyond the header"),
        ((("K", "x" * 40_000),) * 430, LimitExceeded, "attachment has a length of 17"),
        ((("K", "x" * (1 << 24)),), LimitExceeded, "tag has a length of 16777218"),
        ((("K=", ""),), InvalidField, "the key is 'K='"),
        ((("K", "\udcff"),), InvalidField, "cannot be written as UTF-8"),
    ],
)
def test_tags_that_do_not_fit(tags: Tags, refusal: type[FormatError], text: str) -> None:
    with pytest.raises(refusal, match=rf"^x\.ncx: .*{text}"):
        retagged(FILES["example"], tags)


@pytest.mark.parametrize(
    "tags",
    [
        (("TITLE", "x"), *[("K", "y")] * 2000),
        (("TITLE", "x"), ("LYRICS", "x" * 70_000), ("ARTIST", "z")),
        (("A", "x" * 40_000), ("B", "x" * 40_000), ("C", "x")),
    ],
    ids=["many", "long", "more than 64 KiB"],
)
def test_tags_beyond_the_header(tags: Tags) -> None:
    content = FILES["pictures"]
    changed = retagged(content, tags)
    reader = Reader(io.BytesIO(changed))
    assert reader.header == replace(header_of_file(content), tags=tags)
    assert len(list(reader)) == 2
    assert read_index(io.BytesIO(changed)).n_packets == 2
    assert retagged(changed, header_of_file(content).tags) == content


def test_other_pictures() -> None:
    content = FILES["pictures"]
    before = header_of_file(content)
    new = Picture(b"GIF", "image/gif")

    def changed(*pictures: Picture) -> bytes:
        of = retag(io.BytesIO(content), lambda tags: tags, "x.ncx", lambda _: pictures)
        return b"".join(of)

    assert header_of_file(changed(new)).pictures == (new,)
    assert header_of_file(changed(new)).tags == before.tags
    assert header_of_file(changed()).attachments == ((200, b"private"),)
    assert changed(*before.pictures) == content
    with pytest.raises(InvalidField, match=r"^x\.ncx: picture: "):
        changed(Picture(b"", "image/é"))
    with pytest.raises(LimitExceeded, match=r"^x\.ncx: attachment has a length of 16777248"):
        changed(Picture(bytes(1 << 24), ""))


def test_check_tag() -> None:
    check_tag(" ", "any\nthing")
    for key, value in (("", "x"), ("Ü", "x"), ("~", "x"), ("K", "\ud800"), ("K", "x" * (1 << 24))):
        with pytest.raises(FormatError):
            check_tag(key, value)
