"""Damaged files made whole: they decode to what concealing the damage gives."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import PRESETS, concealed, damaged, live, song

import ncodec
from ncodec.bitstream.codes import CodesWriter, decode_packets, iterate_codes
from ncodec.bitstream.repair import Examined, examine, write_repaired
from ncodec.errors import ChecksumMismatch, DigestMismatch, FormatError, LimitExceeded
from ncodec.formats.ncx import EDIT_LIST, Edit, Reader, Writer, pack_edits


@pytest.fixture(autouse=True)
def _cache(architectures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(architectures))


def repaired(blob: bytes) -> tuple[bytes, Examined]:
    stream, sink = io.BytesIO(blob), io.BytesIO()
    found = examine(stream, "song.ncx")
    write_repaired(stream, "song.ncx", found, sink)
    return sink.getvalue(), found


def check(blob: bytes) -> tuple[bytes, Examined]:
    """Repair a file; it is whole then, and plays as `decode --conceal` does, but for its end."""
    whole, found = repaired(blob)
    list(iterate_codes(Reader(io.BytesIO(whole))))
    wav, rate = ncodec.decode(whole)
    wanted, decoding = concealed(blob)
    assert rate == decoding.sample_rate_hz
    assert np.array_equal(wav, wanted[:, : wav.shape[1]])
    assert not wanted[:, wav.shape[1] :].any()
    again, said = repaired(whole)
    assert said.is_whole
    assert again == whole
    return whole, found


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("lost", [(0,), (3,), (6,), (0, 1, 5), (2, 4), (5, 6, 7)])
def test_lost_packets_become_silence(preset: str, rate: int, lost: tuple[int, ...]) -> None:
    blob = song(preset, rate)
    n_packets = len(tiny.places(blob))
    lost = tuple(number for number in lost if number < n_packets)
    whole, found = check(damaged(blob, *lost))
    kept = [number for number in range(n_packets) if number not in lost]
    assert [number for some in found.kept for number in some] == kept
    before = {packet.number: packet for packet in Reader(io.BytesIO(blob))}
    for packet, number in zip(Reader(io.BytesIO(whole)), kept, strict=True):
        assert (packet.payload, packet.scales) == (before[number].payload, before[number].scales)
    holes = [number for number in lost if number + 1 not in lost]  # the last of each
    n_lost_behind = sum(number > kept[-1] for number in holes)
    assert len(found.cut_off) == n_lost_behind
    assert len(found.gaps) == len(holes) - n_lost_behind
    length = tiny.header_of(whole).n_samples
    assert length is not None
    assert (length < tiny.header_of(blob).n_samples) == (n_lost_behind > 0)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_stereo_file_too(preset: str) -> None:
    check(damaged(song(preset, 44100, 2), 2))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("is_live", [False, True])
def test_truncated_anywhere_it_becomes_whole(preset: str, is_live: bool) -> None:
    blob = live(song(preset, 11025)) if is_live else song(preset, 11025)
    first = tiny.places(blob)[0][1]
    for length in [first, first + 1, *range(first + 17, len(blob), 41), len(blob) - 1]:
        _, found = check(blob[:length])
        assert not found.is_whole
        assert not found.gaps
    for length in (0, 5, 50, first - 1):
        with pytest.raises(FormatError):
            examine(io.BytesIO(blob[:length]), "song.ncx")


@pytest.mark.quick
def test_nothing_is_wrong_with_a_whole_file() -> None:
    stereo = song("encodec-tiny-stereo", 44100, 2)
    empty = ncodec.encode(np.zeros((1, 0), np.float32), 8000, model="spectral-tiny")
    for blob in (song(), live(song()), stereo, empty):
        assert examine(io.BytesIO(blob), "song.ncx").is_whole


def test_the_trailer_is_made_anew() -> None:
    blob = song()
    spoilt = bytearray(blob)
    spoilt[-9] ^= 1
    for content in (bytes(spoilt), blob + b"behind", blob[:-5]):
        whole, found = check(content)
        assert whole == blob
        assert (len(found.damage), found.gaps, found.cut_off) == (1, (), ())


def test_a_live_stream_gets_its_length_in_the_header() -> None:
    blob = live(song())
    whole, _ = check(blob[:-3])
    header = tiny.header_of(whole)
    assert header.n_samples == 80 * 403  # what its frames make; the true one is 32240
    assert not header.edits
    assert [packet.dependent for packet in Reader(io.BytesIO(whole))] == [
        packet.dependent for packet in Reader(io.BytesIO(blob))
    ]


def test_the_trailer_s_length_is_taken_where_bytes_follow_it() -> None:
    for blob in (live(song()), damaged(live(song("hilcodec-tiny", 11025)), 6)):
        spoilt = blob + b"behind"
        whole, _ = check(spoilt)
        assert tiny.header_of(whole).n_samples is not None


def test_dependent_packets_without_what_they_need_are_dropped() -> None:
    whole, found = check(damaged(live(song()), 4))
    assert found.kept == (range(4), range(6, 7))
    (gap,) = found.gaps
    assert (gap.start_s, gap.seconds) == (pytest.approx(2.4), pytest.approx(1.2))
    assert [packet.dependent for packet in Reader(io.BytesIO(whole))] == [False, 1, 1, 0, False]


def test_payloads_that_cannot_be_decoded_are_lost() -> None:
    reader = Reader(io.BytesIO(song()))
    sink = io.BytesIO()
    writer = Writer(sink, reader.header)
    for packet in reader:
        payload = packet.payload + (b"x" if packet.number == 2 else b"")
        writer.write_packet(packet.n_frames, payload, scales=packet.scales)
    assert reader.trailer is not None
    writer.finish(reader.trailer.codes_digest)
    _, found = check(sink.getvalue())
    assert found.kept == (range(2), range(3, 7))


def test_scales_that_are_not_the_codec_s_are_lost_with_their_packet() -> None:
    reader = Reader(io.BytesIO(song()))
    sink = io.BytesIO()
    writer = Writer(sink, reader.header)
    for packet in reader:
        writer.write_packet(packet.n_frames, packet.payload, scales=packet.scales * 2)
        break
    for packet in reader:
        writer.write_packet(packet.n_frames, packet.payload, scales=packet.scales)
    writer.finish(bytes(4))
    _, found = check(sink.getvalue())
    assert found.kept == (range(1, 7),)


def test_a_wrong_digest_is_said() -> None:
    reader = Reader(io.BytesIO(song()))
    sink = io.BytesIO()
    writer = Writer(sink, reader.header)
    for packet in reader:
        writer.write_packet(packet.n_frames, packet.payload, scales=packet.scales)
    writer.finish(bytes(4))
    whole, found = repaired(sink.getvalue())
    assert whole == song()
    assert [type(gap.error) for gap in found.gaps] == [DigestMismatch]


@pytest.mark.quick
def test_a_byte_of_the_header_is_put_right() -> None:
    blob = song(n_channels=2)
    for at in range(0, Reader(io.BytesIO(blob)).header_bytes, 3):
        spoilt = bytearray(blob)
        spoilt[at] ^= 0x81
        whole, found = check(bytes(spoilt))
        assert whole == blob
        (damage,) = found.damage
        assert (damage.offset, type(damage.error)) == (at, ChecksumMismatch)
    both = damaged(bytes(blob), 3)
    _, found = check(both[:9] + b"\x55" + both[10:])
    assert len(found.damage) == 2


def test_packets_that_are_no_audio_by_themselves_are_dropped() -> None:
    blob = tiny.in_packets(song(), lambda frame: 59 if frame % 60 == 0 else 1)
    numbers = [number for number in range(13) if number != 5]  # 1 frame of spectral: no sample
    _, found = check(damaged(blob, *numbers[:9]))
    assert 5 not in [number for some in found.kept for number in some]
    with pytest.raises(FormatError, match="nothing can be saved"):
        examine(io.BytesIO(damaged(blob, *numbers)), "song.ncx")


def test_what_is_wholly_lost_is_an_error() -> None:
    for blob in (song(), live(song())):
        with pytest.raises(FormatError, match="song.ncx: nothing can be saved: no packet is whole"):
            examine(io.BytesIO(damaged(blob, *range(7))), "song.ncx")


def test_parts_stay_where_they_are() -> None:
    source = song()
    edits = (Edit(0, 120, 0, 8000), Edit(0, 0, 0, 500), Edit(120, 284, 16000, 16000),
             Edit(0, 0, 0, 700))  # fmt: skip
    reader = Reader(io.BytesIO(source))
    packets = list(decode_packets(reader))
    header = replace(
        reader.header, n_samples=25200, extensions=((EDIT_LIST, pack_edits(edits)), (0x42, b"x"))
    )
    sink = io.BytesIO()
    writer = CodesWriter(Writer(sink, header))
    for packet, codes in packets:
        writer.write(codes, packet.scales)
    writer.finish(25200)
    blob = sink.getvalue()
    assert examine(io.BytesIO(blob), "x").is_whole
    for lost in [(0,), (1,), (2,), (4,), (6,), (0, 1), (0, 6), (1, 2, 3), (5, 6)]:
        whole, _ = check(damaged(blob, *lost))
        header = tiny.header_of(whole)
        assert header.extension(0x42) == b"x"
        assert header.edits[-1].is_silence
        assert header.n_samples == 25200
    whole, found = check(blob[: tiny.places(blob)[4][1]])
    assert tiny.header_of(whole).n_samples == 25200  # the silence at the end is not lost
    assert found.gaps


def test_too_many_losses_for_one_header_are_an_error() -> None:
    blob = tiny.long_song(n_packets=12_000, n_frames=1)
    where = tiny.places(blob)
    spoilt = bytearray(blob)
    for offset, _ in where[1::2]:
        spoilt[offset + 5] ^= 1
    with pytest.raises(LimitExceeded, match="song.ncx: 11999 edits do not fit into one header"):
        examine(io.BytesIO(bytes(spoilt)), "song.ncx")


def test_a_file_that_changes_meanwhile_is_refused() -> None:
    found = examine(io.BytesIO(damaged(song(), 3)), "song.ncx")
    with pytest.raises(FormatError, match="song.ncx: changed while it was read"):
        write_repaired(io.BytesIO(damaged(song(), 2, 3)), "song.ncx", found, io.BytesIO())


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_damage(data: st.DataObject) -> None:
    preset = data.draw(st.sampled_from(sorted(PRESETS)))
    blob = song(preset, data.draw(st.sampled_from([8000, 11025])))
    if data.draw(st.booleans()):
        blob = live(blob, data.draw(st.integers(1, 4)), entropy=data.draw(st.integers(0, 1)))
    if data.draw(st.booleans()):
        cut = tiny.repacked(
            blob, start=data.draw(st.floats(0, 2)), end=data.draw(st.floats(2.1, 4))
        )
        blob = tiny.repacked(cut, blob, cut)
    spoilt = bytearray(blob)
    for _ in range(data.draw(st.integers(1, 4))):
        if not spoilt:  # an end and a cut may leave nothing
            break
        at = data.draw(st.integers(0, len(spoilt) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "end"]))
        if kind == "flip":
            spoilt[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del spoilt[at : at + data.draw(st.integers(1, 400))]
        elif kind == "insert":
            spoilt[at:at] = bytes(data.draw(st.integers(1, 20)))
        elif at > 200:
            del spoilt[at:]
    try:
        check(bytes(spoilt))
    except FormatError as error:
        assert "nothing can be saved" in str(error) or "header" in str(error)  # noqa: PT017


NUMBERS = st.one_of(st.integers(0, 500), st.sampled_from([60, 120, 404, 450, 32240]))


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.builds(Edit, NUMBERS, NUMBERS, NUMBERS, st.integers(1, 40_000)), max_size=4),
    st.sampled_from(["spectral-tiny", "encodec-tiny-stereo"]), st.booleans(),
)  # fmt: skip
def test_hostile_parts_become_whole_or_are_refused(
    edits: list[Edit], preset: str, is_live: bool
) -> None:
    reader = Reader(io.BytesIO(live(song(preset)) if is_live else song(preset)))
    sink = io.BytesIO()
    content, n_samples = pack_edits(edits), sum(edit.n_samples for edit in edits)
    try:
        header = replace(reader.header, n_samples=n_samples, extensions=((EDIT_LIST, content),))
        writer = Writer(sink, header)
        for packet in reader:
            writer.write_packet(
                packet.n_frames, packet.payload, dependent=packet.dependent, scales=packet.scales
            )
        writer.finish(bytes(4))
        check(sink.getvalue())
    except FormatError:
        return
