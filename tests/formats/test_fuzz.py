"""Whatever the bytes are, they are read or refused with a FormatError, in bounded memory."""

import io
import random
import time
import tracemalloc

import pytest
from ncx_files import Pipe, header_of, packet_of, read_strict, trailer_of, valid_files
from ncx_invalid import invalid_files

from ncodec.errors import FormatError
from ncodec.formats.ncx import Reader, annotate, read_index, read_packet
from ncodec.formats.ncx.layout import pack_varint

SEEDS = [*valid_files().values(), *(content for content, _, _ in invalid_files().values())]
MEMORY_BYTES = 1 << 20
Pieces = tuple[bytes, list[bytes], bytes]


def pieces(content: bytes) -> Pieces:
    """A valid file as header body, packet fields and trailer fields, without lengths and CRCs."""
    header, packets, trailer = read_strict(content)
    start = len(header.pack())
    body = header.pack()[8 + len(pack_varint(start - 12)) : -4]
    fields = [content[p.offset + 2 : p.offset + p.n_bytes - 4] for p in packets]
    end = content[trailer.offset + 2 :]
    return body, fields, end[: -5 if len(end) < 130 else -6]


PIECES = [pieces(content) for content in valid_files().values()]


def mutated(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """One random change."""
    at = rng.randrange(len(content) + 1)
    until = min(len(content), at + rng.choice((1, 2, 4, 30)))
    before, middle, after = content[:at], content[at:until], content[until:]
    match rng.randrange(7):
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
            middle = pack_varint(rng.choice((0, 1, 127, 128, 1 << rng.randrange(63))))
        case _:
            after = b""
    return before + middle + after


def whole_file(rng: random.Random) -> bytes:
    """A mutated file; its CRCs do not match, so this tests what comes before them."""
    content = rng.choice(SEEDS)
    for _ in range(rng.choice((1, 1, 2, 5))):
        content = mutated(rng, content, rng.choice(SEEDS))
    return content


def file_with_right_crcs(rng: random.Random) -> bytes:
    """A file with mutated fields under CRCs that match, so this tests what comes behind them."""
    body, packets, trailer = rng.choice(PIECES)
    other = rng.choice(PIECES)
    packets = packets.copy()
    match rng.randrange(4):
        case 0:
            body = mutated(rng, body, other[0])
        case 1 if packets:
            number = rng.randrange(len(packets))
            packets[number] = mutated(rng, packets[number], b"".join(other[1]))
        case 2:
            packets = rng.choices(packets, k=rng.randrange(9)) if packets else other[1]
        case _:
            trailer = mutated(rng, trailer, other[2])
    end = trailer_of(trailer) if rng.random() < 0.9 else b""
    return header_of(body) + b"".join(map(packet_of, packets)) + end


def read_in_every_way(content: bytes, rng: random.Random) -> int:
    """Read strictly, tolerantly, annotated, through the index; return how often that worked."""

    def strictly() -> None:
        list(Reader(Pipe(content, rng.choice((1, 5, 1000))), "x.ncx"))

    def tolerantly() -> None:
        damages: list[object] = []
        reader = Reader(io.BytesIO(content), "x.ncx", on_damage=damages.append)
        # A damaged header may be refused, but nothing behind it.
        try:
            for packet in reader:
                assert content[packet.offset : packet.offset + packet.n_bytes] == packet.pack()
        except FormatError as error:
            raise AssertionError("a tolerant reader raised") from error

    def annotated() -> None:
        at = 0
        for span in annotate(io.BytesIO(content), "x.ncx"):
            assert span.offset == at
            at += span.n_bytes
        assert at == len(content)

    def through_the_index() -> None:
        stream = io.BytesIO(content)
        index = read_index(stream, "x.ncx")
        stream.seek(0)
        header = Reader(stream).header
        for number, offset in enumerate(index.packet_offsets):
            read_packet(stream, header, number, offset)

    refusals: list[str] = []
    ways = strictly, tolerantly, annotated, through_the_index
    for way in ways:
        try:
            way()
        except FormatError as error:
            refusals.append(str(error))
    assert all(refusals)
    return len(ways) - len(refusals)


def fuzz(n_cases: int, seed: int) -> None:
    outcomes = [0] * 5
    for case in range(n_cases):
        rng = random.Random(f"{seed} {case}")
        content = (whole_file if case % 2 else file_with_right_crcs)(rng)
        watch_memory = case % 8 < 2  # it takes most of the time
        if watch_memory:
            tracemalloc.start()
        started = time.perf_counter()
        try:
            outcomes[read_in_every_way(content, rng)] += 1
            if watch_memory:
                assert tracemalloc.get_traced_memory()[1] < len(content) + MEMORY_BYTES
            assert time.perf_counter() - started < 5
        except Exception as error:
            error.add_note(f"case {case} of seed {seed}: {content.hex()}")
            raise
        finally:
            tracemalloc.stop()
    assert outcomes[0] > n_cases / 100  # the mutations do damage
    assert outcomes[4] > n_cases / 100  # but not always


def test_mutated_files() -> None:
    fuzz(4000, seed=1)


@pytest.mark.slow
def test_many_mutated_files() -> None:
    for seed in range(2, 42):
        fuzz(5000, seed)
