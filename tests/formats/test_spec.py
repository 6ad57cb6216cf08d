"""NCX.md and the code say the same: tables, limits, and the dump of a whole file."""

import io
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from ncx_files import TRANSFORMER, read_strict, some_packets, valid_files, write_file

from ncodec.formats.ncx import (
    ARCHITECTURES,
    ENTROPY_CODERS,
    annotate,
    attachments,
    packets,
    trailer,
)
from ncodec.formats.ncx.attachments import ATTACHMENT_FIELDS
from ncodec.formats.ncx.header_layout import HEADER_FIELDS, HEADER_LENGTH
from ncodec.formats.ncx.layout import Field
from ncodec.formats.ncx.packets import PACKET_FIELDS
from ncodec.formats.ncx.trailer import TRAILER_FIELDS

TEXT = (Path(__file__).parents[2] / "formats" / "NCX.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## \d+\. ", TEXT, flags=re.M)
STRUCTURES = [(2, HEADER_FIELDS), (3, ATTACHMENT_FIELDS), (4, PACKET_FIELDS), (5, TRAILER_FIELDS)]


def table(section: int, first_column: str) -> list[list[str]]:
    """The rows of the table in a section whose header starts with `first_column`."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in SECTIONS[section].splitlines()
        if line.startswith("|")
    ]
    start = next(i for i, row in enumerate(rows) if row[0] == first_column)
    following = rows[start + 2 :]
    end = next((i for i, row in enumerate(following) if set(row[0]) == {"-"}), len(following) + 1)
    return following[: end - 1] if end <= len(following) else following


@pytest.mark.parametrize(("section", "fields"), STRUCTURES)
def test_table_lists_the_fields_of_the_code(section: int, fields: tuple[Field, ...]) -> None:
    rows = table(section, "field")
    assert [row[0] for row in rows] == [field.name for field in fields]
    for (_, kind, values, refusal, *_), field in zip(rows, fields, strict=True):
        limits = f"{field.low}..{field.high}" if field.high else ""
        assert (kind, values, refusal) == (field.kind, limits, field.refusal.__name__), field.name


@pytest.mark.parametrize(("section", "fields"), STRUCTURES)
def test_fields_are_read_in_the_order_of_the_table(section: int, fields: tuple[Field, ...]) -> None:
    prefix = {2: "header", 3: "attachment", 4: "packet", 5: "trailer"}[section]
    order = [field.name for field in fields]
    seen: set[str] = set()
    for content in valid_files().values():
        names = [s.name for s in annotate(io.BytesIO(content)) if s.section.startswith(prefix)]
        seen.update(names)
        places = [order.index(name) for name in names]
        for before, after in pairwise(places):
            repeated = {
                "extension",
                "attachment_crc",
                "packet_frames",
                "packet_bytes",
                "packet_crc",
                "tag",
            }
            assert after > before or order[before] in repeated, order[before]
    assert seen == set(order)


def test_numbers_of_architectures_and_coders() -> None:
    rows = [(int(n), name) for n, name in table(6, "architecture") if n.isdecimal()]
    architectures = {n: name for n, name in rows if 0 < n < 128}
    assert architectures == ARCHITECTURES
    coders = {int(n): name for n, name, _ in table(6, "entropy")[:4]}
    assert coders == ENTROPY_CODERS


def test_limits() -> None:
    limits = {name: int(value) for name, value, _ in table(8, "limit")}
    assert limits == {
        "header_length": HEADER_LENGTH.high,
        "packets": packets.MAX_PACKETS,
        "frames per packet": packets.MAX_FRAMES,
        "payload_length": packets.MAX_PAYLOAD_BYTES,
        "scales per stream": packets.MAX_SCALES_PER_STREAM,
        "packet bytes": packets.MAX_PACKET_BYTES,
        "attached bytes": attachments.MAX_ATTACHED_BYTES,
        "attachments": attachments.MAX_ATTACHMENTS,
        "attachment": attachments.ATTACHMENT.high,
        "attached tags": attachments.MAX_ATTACHED_TAGS,
    }
    largest = packets.Packet(
        packets.MAX_PACKETS - 1,
        packets.MAX_FRAMES,
        bytes(packets.MAX_PAYLOAD_BYTES),
        True,
        (0.0,) * (64 * packets.MAX_SCALES_PER_STREAM),
    )
    assert len(largest.pack()) == packets.MAX_PACKET_BYTES
    assert len(packets.Packet(0, 1, b"").pack()) == packets.MIN_PACKET_BYTES
    smallest = trailer.Trailer(0, (), (), bytes(4)).pack()
    assert len(smallest) == trailer.MIN_TRAILER_BYTES
    assert packets.SYNC_WORD[0] == trailer.TRAILER_MARKER[0]
    assert packets.SYNC_WORD[1] ^ trailer.TRAILER_MARKER[1] == 0xFF


def dump() -> list[tuple[int, bytes, str]]:
    """The lines of the dump: offset, bytes, and the field's name and meaning, if it starts one."""
    line = re.compile(r"^    ([0-9A-F]{8})  ((?:[0-9A-F]{2} ?)+)(.*)$", re.M)
    lines = [(int(m[1], 16), bytes.fromhex(m[2]), m[3].strip()) for m in line.finditer(TEXT)]
    assert lines
    return lines


def test_dump_is_a_file_that_is_read_and_written_back() -> None:
    content = bytearray()
    for offset, chunk, _ in dump():
        assert offset == len(content)
        content += chunk
    header, found, end = read_strict(bytes(content))
    assert write_file(header, tuple(found), end.codes_digest) == content
    assert content == valid_files()["example"]


def test_dump_names_the_fields() -> None:
    content = b"".join(chunk for _, chunk, _ in dump())
    spans = list(annotate(io.BytesIO(content)))
    starts = [(offset, text) for offset, _, text in dump() if text]
    assert [offset for offset, _ in starts] == [span.offset for span in spans]
    for (_, text), span in zip(starts, spans, strict=True):
        name, _, meaning = text.partition(" ")
        assert name == span.name
        assert not meaning or meaning.strip() == span.meaning


def test_overhead_is_what_the_page_claims() -> None:
    """10 s at 75 frames per second in one packet, transformer coder, 48 kHz source, no tags."""
    claimed = int(re.search(r"packet, is (\d+) bytes", TEXT.replace("\n", " "))[1])
    header = replace(TRANSFORMER, n_samples=480_000)
    for n_bytes in (200, 1400, 1875):
        packet = some_packets(n_bytes, n_frames=750)
        assert len(write_file(header, packet)) - n_bytes == claimed
    assert claimed < 75
