"""Whatever the bytes are, they are read or refused with a FormatError, in bounded memory."""

import io
import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from ncx_files import (
    DIGEST,
    HEADER,
    Pipe,
    attached_to,
    attachment_of,
    body_of,
    header_of,
    some_packets,
    trailer_of,
    write_file,
)
from ncx_invalid import flipped
from ncx_mutations import file_with_right_crcs, whole_file

from ncodec.errors import FormatError
from ncodec.formats.ncx import (
    EDIT_LIST,
    MAX_PACKETS,
    MAX_PAYLOAD_BYTES,
    Damage,
    Edit,
    Header,
    Packet,
    Reader,
    Trailer,
    annotate,
    pack_edits,
    read_index,
    read_packet,
    retag,
)
from ncodec.formats.ncx.correction import correct_header
from ncodec.formats.ncx.cursor import BufferedStream, Cursor
from ncodec.formats.ncx.layout import VARINT_LIMIT, pack_varint

MEMORY_BYTES = 1 << 20  # besides what is in proportion to the file
HANG_S = 20  # of the processor's time, which no file of a few KB takes
Way = Callable[[bytes, random.Random], object]


def header(content: bytes, rng: random.Random) -> Header:
    cursor = Cursor(BufferedStream(io.BytesIO(content), "x.ncx"), "header")
    found = Header.parse(cursor)
    packed = found.pack()
    if content[7] == packed[7]:  # else it is of another minor version
        assert packed == content[: cursor.at]
    return found


def strictly(content: bytes, rng: random.Random) -> tuple[list[Packet], Trailer]:
    reader = Reader(Pipe(content, rng.choice((1, 5, 1000, 1 << 16))), "x.ncx")
    packets = list(reader)
    assert reader.trailer is not None
    rest = b"".join(packet.pack() for packet in packets) + reader.trailer.pack()
    assert rest == content[reader.header_bytes :]
    return packets, reader.trailer


def tolerantly(
    content: bytes, rng: random.Random
) -> tuple[list[Packet], Trailer | None, list[Damage]]:
    damages: list[Damage] = []
    reader = Reader(io.BytesIO(content), "x.ncx", on_damage=damages.append)
    try:  # a damaged header may be refused, but nothing behind it
        packets = list(reader)
    except FormatError as error:
        raise AssertionError("a tolerant reader raised") from error
    for packet in packets:
        assert content[packet.offset : packet.offset + packet.n_bytes] == packet.pack()
    numbers = [packet.number for packet in packets]
    assert numbers == sorted(set(numbers))
    used = sum(packet.n_bytes for packet in packets)
    used += sum(damage.n_bytes for damage in damages if damage.offset >= reader.header_bytes)
    used += reader.trailer.n_bytes if reader.trailer else 0
    assert used == len(content) - reader.header_bytes
    return packets, reader.trailer, damages


def annotated(content: bytes, rng: random.Random) -> None:
    at = 0
    for span in annotate(io.BytesIO(content), "x.ncx"):
        assert span.offset == at
        at += span.n_bytes
    assert at == len(content)


def through_the_index(content: bytes, rng: random.Random) -> Trailer:
    return read_index(io.BytesIO(content), "x.ncx")


def packets_of_the_index(content: bytes, rng: random.Random) -> list[Packet]:
    stream = io.BytesIO(content)
    found = header(content, rng)
    offsets = read_index(stream, "x.ncx").packet_offsets
    return [read_packet(stream, found, *place, "x.ncx") for place in enumerate(offsets)]


def packet_anywhere(content: bytes, rng: random.Random) -> None:
    read_packet(io.BytesIO(content), HEADER, rng.randrange(4), rng.randrange(len(content) + 9))


def with_other_tags(content: bytes, rng: random.Random) -> None:
    changed = b"".join(retag(io.BytesIO(content), lambda _: (("TITLE", "x"),), "x.ncx"))
    assert header(changed, rng).tags == (("TITLE", "x"),)


def with_a_correction(content: bytes, rng: random.Random) -> None:
    if (found := correct_header(content)) is not None:
        fixed, at = found
        assert header(fixed + content[len(fixed) :], rng)
        assert fixed[:at] + content[at : at + 1] + fixed[at + 1 :] == content[: len(fixed)]


WAYS: tuple[Way, ...] = (
    header, strictly, tolerantly, annotated, through_the_index, packets_of_the_index,
    packet_anywhere, with_other_tags, with_a_correction,
)  # fmt: skip


def read_in_every_way(content: bytes, rng: random.Random) -> Counter[str]:
    """Read and compare; return which ways refused the file."""
    results: dict[Way, object] = {}
    refusals: Counter[str] = Counter()
    for way in WAYS:
        if way is with_a_correction and rng.random() < 0.95:
            continue  # it takes as long as all else
        try:
            results[way] = way(content, rng)
        except FormatError:
            refusals[way.__name__] += 1
    if strictly in results:  # a whole file is the same to all
        packets, trailer = results[strictly]
        assert results[tolerantly] == (packets, trailer, [])
        assert results[through_the_index] == trailer
        assert results[packets_of_the_index] == packets
        assert annotated in results
    return refusals


def fuzz(n_cases: int, seed: int, watched: int) -> None:
    """Read `n_cases` files; of one in `watched`, measure the memory too."""
    refused: Counter[str] = Counter()
    for case in range(n_cases):
        rng = random.Random(f"{seed} {case}")
        content = (whole_file if case % 2 else file_with_right_crcs)(rng)
        watch_memory = case // 2 % watched == 0
        if watch_memory:  # which takes most of the time
            tracemalloc.start()
        started = time.process_time()
        try:
            refused += read_in_every_way(content, rng)
            if watch_memory:
                assert tracemalloc.get_traced_memory()[1] < 4 * len(content) + MEMORY_BYTES
            assert time.process_time() - started < HANG_S
        except Exception as error:
            error.add_note(f"case {case} of seed {seed}: {content.hex()}")
            raise
        finally:
            tracemalloc.stop()
    for way in strictly, tolerantly, through_the_index, header:  # neither always nor never
        assert n_cases / 100 < refused[way.__name__] < n_cases * 99 / 100
    print(f"seed {seed}: {n_cases} files, refused {dict(refused)}")


def test_mutated_files() -> None:
    fuzz(2000, seed=1, watched=8)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 42))
def test_a_million_mutated_files(seed: int) -> None:
    fuzz(25_000, seed, watched=50)


def hostile_files(n: int) -> dict[str, bytes]:
    """Files that announce far more than is in them, or that have `n` of a thing."""
    head, body = HEADER.pack(), body_of(HEADER)  # whose limit bounds what is many in a header
    end = write_file(HEADER, some_packets(9))[len(head) :]
    streams = replace(HEADER, n_channels=64, n_streams=64).pack()
    most = pack_varint(MAX_PAYLOAD_BYTES)
    index = pack_varint(n << 3 | 1) + b"\3\3" + b"\x09" * n + DIGEST
    edits = [Edit(0, 0, 0, 1)] * min(4 * n, 16_000)  # of four bytes each
    of_edits = replace(HEADER, n_samples=len(edits), extensions=((EDIT_LIST, pack_edits(edits)),))
    tags = b"\3K=x" * min(n, 65_537)
    tags = attachment_of(b"\1" + pack_varint(len(tags)) + tags)
    extensions = tuple((number, b"x" * 500) for number in range(1, 128))
    live = replace(HEADER, n_samples=None)
    return {
        "length": write_file(replace(HEADER, n_samples=VARINT_LIMIT - 2)),
        "length_in_the_trailer": write_file(live, n_samples=VARINT_LIMIT - 2),
        "header_length": head[:8] + pack_varint(65_536) + bytes(90),
        "tag_length": header_of(body + b"\1" + pack_varint(65_535) + b"few"),
        "tag_count": header_of(body + pack_varint(1024) + b"few"),
        "long_tag": write_file(replace(HEADER, tags=(("K", "x" * 65_000),))),
        "many_tags": write_file(replace(HEADER, tags=(("K", "x" * 50),) * 1024)),
        "attached_bytes": attached_to(HEADER, attachment_of(b"\2\xff\xff\xff\7few"), 1 << 26),
        "many_attachments": attached_to(HEADER, attachment_of(b"\x80\0") * n) + end,
        "many_attached_tags": attached_to(HEADER, tags) + end,
        "long_attachment": write_file(replace(HEADER, attachments=((200, bytes(200 * n)),))),
        "many_extensions": write_file(replace(HEADER, extensions=extensions)),
        "many_parts": write_file(of_edits),
        "many_parts_and_damage": flipped(write_file(of_edits), len(head) + len(edits)),
        "payload": head + b"\xb5\x6e\0\x0c" + most + bytes(50),
        "scales": streams + b"\xb5\x6e\0\x0e\0" + pack_varint(1 << 18) + bytes(50),
        "false_packets": head + (b"\xb5\x6e\0\x0c" + most) * n + end,
        "false_trailers": head + b"\xb5\x91\x80\x40" * n + end,
        "packets_without_room": head + trailer_of(pack_varint(MAX_PACKETS << 3) + DIGEST),
        "packets_that_are_none": head + bytes(9 * n) + trailer_of(index),
        "small_packets": write_file(HEADER, some_packets(*[0] * n)),
    }


def straight(content: bytes, rng: random.Random) -> None:
    for _ in Reader(io.BytesIO(content), "x.ncx"):
        pass


def past_damage(content: bytes, rng: random.Random) -> None:
    for _ in Reader(io.BytesIO(content), "x.ncx", on_damage=lambda _: None):
        pass


def read_hostile(content: bytes) -> None:
    """Read in all ways that keep no packets."""
    for way in (
        header, straight, past_damage, annotated, through_the_index, packet_anywhere,
        with_other_tags, with_a_correction,
    ):  # fmt: skip
        tracemalloc.start()
        started = time.process_time()
        try:
            way(content, random.Random(1))
        except FormatError:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 16 * len(content) + 2 * MEMORY_BYTES, way.__name__
        assert time.process_time() - started < HANG_S + len(content) / 10_000, way.__name__


@pytest.mark.parametrize("name", hostile_files(1))
def test_hostile_files(name: str) -> None:
    read_hostile(hostile_files(500)[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", hostile_files(1))
def test_large_hostile_files(name: str) -> None:
    read_hostile(hostile_files(100_000)[name])
