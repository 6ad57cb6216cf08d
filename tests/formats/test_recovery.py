"""Damage costs the packet that it hits and nothing else."""

import io
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import pytest
from ncx_files import DIGEST, HEADER, Pipe, read_tolerant, some_packets, write_file

from ncodec.errors import ChecksumMismatch, FormatError, InvalidField, LostSync, Truncated
from ncodec.formats.ncx import Damage, Packet, Reader, recovery
from ncodec.formats.ncx.cursor import Cursor
from ncodec.formats.ncx.layout import Field, pack_varint

PACKETS = some_packets(40, 30, 20, 50, 10)
SIZES = [len(packet.pack()) for packet in PACKETS]
WHOLE = write_file(HEADER, PACKETS)
HEADER_BYTES = len(HEADER.pack())
STARTS = [HEADER_BYTES + sum(SIZES[:number]) for number in range(len(PACKETS) + 1)]


def numbers(packets: list[Packet]) -> list[int]:
    return [packet.number for packet in packets]


def test_whole_file_reports_nothing() -> None:
    packets, trailer, damages = read_tolerant(WHOLE)
    assert tuple(packets) == PACKETS
    assert trailer is not None
    assert damages == []


@pytest.mark.parametrize("hit", range(len(PACKETS)))
def test_damaged_packet_is_skipped_and_reported(hit: int) -> None:
    content = bytearray(WHOLE)
    content[STARTS[hit] + 9] ^= 0xFF
    packets, trailer, damages = read_tolerant(bytes(content))
    assert tuple(packets) == PACKETS[:hit] + PACKETS[hit + 1 :]
    assert trailer is not None
    assert trailer.packet_frames == tuple(packet.n_frames for packet in PACKETS)
    (damage,) = damages
    assert (damage.offset, damage.n_bytes) == (STARTS[hit], SIZES[hit])
    assert isinstance(damage.error, ChecksumMismatch)
    assert damage.missing == range(hit, hit + 1)


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_every_flipped_byte_costs_at_most_the_packet_it_is_in(step: int) -> None:
    for at in range(HEADER_BYTES, len(WHOLE)):
        for flip in (0x01, 0x80, 0xFF):
            content = bytearray(WHOLE)
            content[at] ^= flip
            damages: list[Damage] = []
            reader = Reader(Pipe(bytes(content), step), "x.ncx", on_damage=damages.append)
            packets = list(reader)
            hit = next((n for n in range(len(PACKETS)) if at < STARTS[n + 1]), None)
            assert packets == [packet for packet in PACKETS if packet.number != hit]
            (damage,) = damages
            assert damage.offset == STARTS[len(PACKETS) if hit is None else hit]
            if hit is None:
                assert reader.trailer is None
                assert damage.missing is None
                assert damage.offset + damage.n_bytes == len(WHOLE)
            else:
                assert damage.missing == range(hit, hit + 1)
                assert damage.n_bytes == SIZES[hit]


def test_flipped_header_is_refused() -> None:
    for at in range(HEADER_BYTES):
        content = bytearray(WHOLE)
        content[at] ^= 0x04
        try:
            read_tolerant(bytes(content))
        except FormatError:
            continue
        pytest.fail(f"byte {at} may be changed unnoticed")


@pytest.mark.parametrize("n_bytes", [1, 30, 70])
def test_every_cut_costs_only_the_packets_it_touches(n_bytes: int) -> None:
    for at in range(HEADER_BYTES, STARTS[-1] - n_bytes):
        packets, trailer, damages = read_tolerant(WHOLE[:at] + WHOLE[at + n_bytes :])
        touched = {
            number
            for number, (start, end) in enumerate(pairwise(STARTS))
            if start < at + n_bytes and end > at
        }
        assert numbers(packets) == sorted(set(range(len(PACKETS))) - touched)
        assert trailer is not None
        missing = {number for damage in damages for number in damage.missing or ()}
        assert missing == touched


def test_foreign_bytes_between_packets_cost_nothing() -> None:
    for start in STARTS:
        for foreign in (b"\xb5", b"\xb5\x6e", b"\xb5\x91", b"\xb5\xb5\x6e\0\x05", bytes(99)):
            packets, trailer, damages = read_tolerant(WHOLE[:start] + foreign + WHOLE[start:])
            assert tuple(packets) == PACKETS
            assert trailer is not None
            assert [(d.offset, d.n_bytes) for d in damages] == [(start, len(foreign))]


def test_repeated_and_swapped_packets() -> None:
    parts = [packet.pack() for packet in PACKETS]
    end = WHOLE[STARTS[-1] :]
    twice = WHOLE[:HEADER_BYTES] + b"".join((parts[0], *parts)) + end
    packets, trailer, damages = read_tolerant(twice)
    assert tuple(packets) == PACKETS
    assert [damage.missing for damage in damages[:1]] == [range(1, 1)]
    assert isinstance(damages[0].error, InvalidField)
    swapped = WHOLE[:HEADER_BYTES] + b"".join((parts[0], parts[2], parts[1], *parts[3:])) + end
    packets, trailer, damages = read_tolerant(swapped)
    assert numbers(packets) == [0, 2, 3, 4]
    assert trailer is not None


def test_file_without_an_end() -> None:
    packets, trailer, damages = read_tolerant(WHOLE[: STARTS[3]])
    assert numbers(packets) == [0, 1, 2]
    assert trailer is None
    (damage,) = damages
    assert (damage.offset, damage.n_bytes, damage.missing) == (STARTS[3], 0, None)
    assert isinstance(damage.error, Truncated)


def test_only_packet_lost() -> None:
    content = bytearray(write_file(HEADER, some_packets(30)))
    content[HEADER_BYTES] ^= 1
    packets, trailer, damages = read_tolerant(bytes(content))
    assert packets == []
    assert trailer is not None
    assert (trailer.n_packets, trailer.packet_bytes, trailer.packet_offsets) == (1, (), ())
    assert isinstance(damages[0].error, LostSync)
    assert damages[0].missing == range(1)


def test_bytes_behind_the_trailer_are_reported() -> None:
    packets, trailer, damages = read_tolerant(WHOLE + WHOLE)
    assert tuple(packets) == PACKETS
    assert trailer is not None
    assert [(d.offset, d.n_bytes, d.missing) for d in damages] == [
        (len(WHOLE), len(WHOLE), range(0))
    ]


def test_dependent_packets_behind_damage_are_delivered() -> None:
    dependent = tuple(replace(packet, dependent=packet.number > 0) for packet in PACKETS)
    content = bytearray(write_file(HEADER, dependent))
    content[STARTS[1] + 10] ^= 1
    packets, _, damages = read_tolerant(bytes(content))
    assert numbers(packets) == [0, 2, 3, 4]
    assert damages[0].missing == range(1, 2)


def hostile(kind: str, n_bytes: int) -> bytes:
    """A header, much that looks like a start, and an end that is whole."""
    claim = pack_varint(n_bytes // 2)
    false_start = {
        "packets": b"\xb5\x6e\x02\x0c" + claim,
        "scales": b"\xb5\x6e\x02\x0e\x00" + pack_varint(4096),
        "trailers": b"\xb5\x91" + pack_varint(n_bytes // 20 << 3) + b"\x20\x03" * 3,
        "syncs": b"\xb5\x6e",
        "bytes": b"\xb5",
    }[kind]
    junk = false_start * (n_bytes // len(false_start))
    whole = HEADER.pack() + junk
    last = Packet(3, 1, b"last")
    return whole + last.pack() + b"\xb5\x91" + DIGEST


KINDS = ["packets", "scales", "trailers", "syncs", "bytes"]


@pytest.mark.parametrize("kind", KINDS)
def test_false_starts_take_bounded_memory(kind: str) -> None:
    content = hostile(kind, 1 << 15)
    stream = io.BytesIO(content)
    damages: list[Damage] = []
    tracemalloc.start()
    packets = list(Reader(stream, on_damage=damages.append))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert numbers(packets) == [3]
    assert len(damages) == 2
    assert peak < len(content) + (1 << 18)


@pytest.mark.parametrize("kind", KINDS)
def test_false_starts_take_linear_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_FREE_CHECKS", 0)
    content = hostile(kind, 1 << 17)
    checked_bytes = 0

    def count(self: Cursor, field: Field, n_bytes: int) -> None:
        nonlocal checked_bytes
        checked_bytes += n_bytes
        verify(self, field, n_bytes)

    verify = Cursor.verify
    monkeypatch.setattr(Cursor, "verify", count)
    assert numbers(list(Reader(io.BytesIO(content), on_damage=lambda _: None))) == [3]
    assert checked_bytes < 20 * len(content)


def test_hostile_payloads_do_not_take_more_memory_than_they_bring() -> None:
    for claim in (1 << 20, 1 << 22):
        content = HEADER.pack() + b"\xb5\x6e\0\x0c" + pack_varint(claim) + b"few"
        tracemalloc.start()
        with pytest.raises(Truncated):
            list(Reader(io.BytesIO(content)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000
