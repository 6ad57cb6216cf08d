"""Files that nobody would write: valid ones with random changes, from bytes up to packets."""

import io
import random
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import ncx_files
from ncx_files import (
    HEADER,
    header_of,
    packet_of,
    some_packets,
    trailer_of,
    with_crc,
    write_file,
)
from ncx_invalid import invalid_files

from ncodec.formats.ncx import EDIT_LIST, Edit, Reader, pack_edits
from ncodec.formats.ncx.header_layout import ATTACHED
from ncodec.formats.ncx.layout import MAX_VARINT_BYTES, VARINT_LIMIT, Field, pack_varint

if TYPE_CHECKING:
    from ncodec.formats.ncx.cursor import Mark

NUMBERS = (
    0, 1, 2, 7, 8, 127, 128, 255, 256, 16_383, 16_384, 65_535, 65_536, 1 << 22, (1 << 22) + 1,
    (1 << 24) - 1, 1 << 24, 1 << 27, 1 << 31, 1 << 32, VARINT_LIMIT // 2, VARINT_LIMIT - 2,
    VARINT_LIMIT - 1,
)  # fmt: skip
FLOATS = (0.0, -0.0, 1e-45, 3.4e38, float("inf"), float("nan"), -1.0)
FALSE_STARTS = (
    b"\xb5", b"\xb5\x6e", b"\xb5\x91", b"\xb5\x6e\0\x0c", b"\xb5\x6e\2\x0c\xff\xff\xff\1",
    b"\xb5\x6e\2\x0e\0\x80\x20", b"\xb5\x91\x10", b"\xb5\x91\x81\x08\x20\3\3",
)  # fmt: skip
STARTS = (
    "architecture",
    "attachment_kind",
    "number",
    "count_flags",
)  # first fields of what a CRC covers
Spot = tuple[int, int, Field]  # a field: where it starts and ends in its piece, what it is


@dataclass
class Pieces:
    """A file without signature, lengths, markers and CRCs, which `file` makes right.

    The first piece is the header's body, the last the fields of the trailer, and the others are
    those of attachments and packets.
    """

    version: int
    pieces: list[bytes]
    spots: list[list[Spot]]  # of each piece; none once it has been changed
    n_attachments: int = 0
    claim: bytes = b""  # the extension with the bytes of the attachments

    def file(self) -> bytes:
        body, *packets, trailer = self.pieces
        attached = b"".join(map(with_crc, packets[: self.n_attachments]))
        if self.claim and body.endswith(self.claim):
            body = body.removesuffix(self.claim) + claim_of(len(attached))
        rest = map(packet_of, packets[self.n_attachments :])
        return b"".join((header_of(body, self.version), attached, *rest, trailer_of(trailer)))

    def copy(self) -> "Pieces":
        return Pieces(
            self.version, self.pieces.copy(), self.spots.copy(), self.n_attachments, self.claim
        )

    def put(self, number: int, piece: bytes) -> None:
        self.pieces[number], self.spots[number] = piece, []


def claim_of(n_bytes: int) -> bytes:
    content = pack_varint(n_bytes)
    return bytes((ATTACHED, len(content))) + content


def take_apart(content: bytes) -> Pieces:
    """Return the pieces of a valid file."""
    marks: list[Mark] = []
    list(Reader(io.BytesIO(content), marks=marks))
    taken = Pieces(content[7], [], [])
    start: int | None = None
    attached = 0
    for offset, n_bytes, field, _ in marks:
        if field.name == "attachment_kind":
            taken.n_attachments += 1
        if field.name.startswith("attachment"):
            attached += n_bytes
        if field.name in STARTS:
            start = offset
            taken.spots.append([])
        elif field.name.endswith("_crc"):
            taken.pieces.append(content[start:offset])
            start = None
        if start is not None:
            taken.spots[-1].append((offset - start, offset - start + n_bytes, field))
    taken.claim = claim_of(attached) if attached else b""
    return taken


def valid_files() -> dict[str, bytes]:
    """The golden files, and one with an edit list."""
    edits = Edit(3, 6, 1000, 1500), Edit(0, 0, 0, 500), Edit(9, 3, 3000, 700)
    cut = replace(HEADER, n_samples=2700, extensions=((EDIT_LIST, pack_edits(edits)),))
    return ncx_files.valid_files() | {"parts": write_file(cut, some_packets(20, 10, 15))}


VALID = list(valid_files().values())
SEEDS = [*VALID, *(content for content, _, _ in invalid_files().values())]
PIECES = [take_apart(content) for content in VALID]


def with_other_bytes(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Flip, cut, insert, repeat, splice: one change that knows nothing of the format."""
    at = rng.randrange(len(content) + 1)
    until = min(len(content), at + rng.choice((1, 2, 4, 30)))
    before, middle, after = content[:at], content[at:until], content[until:]
    match rng.randrange(8):
        case 0:
            middle = bytes(byte ^ 1 << rng.randrange(8) for byte in middle)
        case 1:
            middle = b""
        case 2:
            middle += rng.randbytes(rng.randrange(1, 9))
        case 3:
            middle *= rng.randrange(2, 40)
        case 4:
            start = rng.randrange(len(other) + 1)
            middle = other[start : start + rng.randrange(60)]
        case 5:
            middle = varint(rng, rng.choice(NUMBERS))
        case 6:
            cut = rng.randrange(len(after) + 1)
            after = after[cut:] + after[:cut]
        case _:
            after = b""
    return before + middle + after


def whole_file(rng: random.Random) -> bytes:
    """A file with other bytes; its CRCs do not match, so this tests what comes before them."""
    content = rng.choice(SEEDS)
    for _ in range(rng.choice((1, 1, 2, 5))):
        content = with_other_bytes(rng, content, rng.choice(SEEDS))
    return content


def file_with_right_crcs(rng: random.Random) -> bytes:
    """A file of other fields and packets under CRCs that match, for what comes behind them."""
    taken, other = rng.choice(PIECES).copy(), rng.choice(PIECES)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice((change_bytes, change_field, change_field, move_fields, move_packets))(
            rng, taken, other
        )
    content = taken.file()
    match rng.randrange(40):
        case 0:  # false starts, as far as 16 KiB of them
            start = rng.choice(FALSE_STARTS) + varint(rng, rng.choice(NUMBERS))[: rng.randrange(9)]
            at = rng.randrange(len(content))
            content = content[:at] + start * rng.randrange((1 << 14) // len(start)) + content[at:]
        case 1:
            content += rng.choice(VALID)
        case 2:
            content = content[: rng.randrange(len(content))]
    return content


def any_piece(rng: random.Random, taken: Pieces) -> int:
    last = len(taken.pieces) - 1
    return rng.choice((0, last, rng.randrange(last + 1)))


def change_bytes(rng: random.Random, taken: Pieces, other: Pieces) -> None:
    number = any_piece(rng, taken)
    taken.put(number, with_other_bytes(rng, taken.pieces[number], rng.choice(other.pieces)))


def change_field(rng: random.Random, taken: Pieces, other: Pieces) -> None:
    """Give a field another value, legal or not."""
    number = any_piece(rng, taken)
    if not taken.spots[number]:
        change_bytes(rng, taken, other)
        return
    start, end, field = rng.choice(taken.spots[number])
    piece = taken.pieces[number]
    taken.put(number, piece[:start] + value_of(rng, field, piece[start:end]) + piece[end:])


def move_fields(rng: random.Random, taken: Pieces, other: Pieces) -> None:
    """Leave fields out, repeat them, swap them, or take them from another file."""
    number = any_piece(rng, taken)
    spots, piece = taken.spots[number], taken.pieces[number]
    fields = [piece[start:end] for start, end, _ in spots]
    if len(fields) < 2:
        change_bytes(rng, taken, other)
        return
    at, second = rng.sample(range(len(fields)), 2)
    match rng.randrange(4):
        case 0:
            del fields[at]
        case 1:
            fields[at] *= rng.choice((2, 3, 300))
        case 2:
            fields[at], fields[second] = fields[second], fields[at]
        case _:
            source = rng.randrange(len(other.pieces))
            if other.spots[source]:
                start, end, _ = rng.choice(other.spots[source])
                fields[at] = other.pieces[source][start:end]
    taken.put(number, b"".join(fields))


def move_packets(rng: random.Random, taken: Pieces, other: Pieces) -> None:
    """Swap packets, repeat them, leave them out, number them anew, take them from elsewhere."""
    body, *packets, trailer = zip(taken.pieces, taken.spots, strict=True)
    strange = list(zip(other.pieces, other.spots, strict=True))[1:-1]
    match rng.randrange(5):
        case 0:
            rng.shuffle(packets)
        case 1:
            packets = rng.choices(packets, k=rng.randrange(9)) if packets else strange
        case 2:
            packets = packets[: rng.randrange(len(packets) + 1)]
        case 3:
            packets = [
                (pack_varint(number) + piece[spots[0][1] :] if spots else piece, [])
                for number, (piece, spots) in enumerate(rng.sample(packets, len(packets)))
            ]
        case _:
            packets += strange
    moved = [body, *packets, trailer]
    taken.pieces[:], taken.spots[:] = (list(column) for column in zip(*moved, strict=True))


def varint(rng: random.Random, value: int) -> bytes:
    """Return a varint, rarely one that is too long, or has no end."""
    packed = pack_varint(value)
    match rng.randrange(20):
        case 0:
            return packed[:-1] + bytes((packed[-1] | 0x80, 0))
        case 1:
            return b"\xff" * rng.choice((1, MAX_VARINT_BYTES, 20))
        case _:
            return packed


def value_of(rng: random.Random, field: Field, old: bytes) -> bytes:
    """Return other content for a field, near its limits above all."""
    limits = field.low - 1, field.low, field.high, field.high + 1
    number = max(0, rng.choice((*limits, *NUMBERS, rng.randrange(VARINT_LIMIT))))
    match field.kind:
        case "u8":
            return bytes((number & 0xFF,))
        case "varint" | "tnirav":
            return varint(rng, min(number, VARINT_LIMIT - 1))
        case "text" | "blob":
            content = rng.choice((old[1:], b"KEY=value", b"", b"=", b"\xff", rng.randbytes(9)))
            if rng.random() < 0.02:
                content = b"K=" + b"x" * rng.choice((65_000, 65_534, 65_535))
            claim = len(content) if rng.random() < 0.7 else min(number, VARINT_LIMIT - 1)
            return varint(rng, claim) + content
        case "f32":
            floats = [struct.pack("<f", rng.choice(FLOATS)) for _ in range(len(old) // 4)]
            return b"".join(floats)
        case _:
            return rng.randbytes(rng.choice((0, len(old), len(old), len(old) + 1)))
