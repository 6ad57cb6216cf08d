"""Segments, threads, edits and damage on the way back to audio."""

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import EACH, EACH_RATE, PRESETS, close_to, concealed, damaged, live, song

import ncodec
from ncodec.bitstream.codes import Lost
from ncodec.bitstream.timeline import Timeline
from ncodec.decoding import DecodeOptions, Decoding, RecoveringReader, synthesis
from ncodec.errors import (
    BadSignature,
    ChecksumMismatch,
    FormatError,
    InvalidField,
    LimitExceeded,
    Truncated,
    UnsupportedVersion,
    UsageError,
)
from ncodec.formats.ncx import (
    EDIT_LIST,
    REQUIRED_CODEC_PARAMETERS,
    Edit,
    Header,
    Packet,
    Reader,
    Writer,
    pack_edits,
)
from ncodec.models.registry import architecture

LENIENT = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def _cache(architectures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(architectures))


def segments(total: float, rate: int) -> list[tuple[float, float | None]]:
    rng = np.random.default_rng(rate)
    edges = [(0, 0.5), (0.7, None), (0, None), (1.2, 1.2 + 1 / rate), (total - 0.003, None),
             (0.4, total - 0.004), (0.6, 0.61), (1 / rate, total + 5)]  # fmt: skip
    return edges + [tuple(sorted(rng.uniform(0, total, 2))) for _ in range(4)]


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("rate", EACH_RATE)
@pytest.mark.parametrize("preset", EACH)
def test_a_segment_is_that_of_the_whole(preset: str, rate: int, n_channels: int) -> None:
    blob = song(preset, rate, n_channels)
    whole, _ = ncodec.decode(blob)
    for start, end in segments(whole.shape[1] / rate, rate):
        found, found_rate = ncodec.decode(blob, start=start, end=end)
        wanted = whole[:, round(start * rate) : None if end is None else round(end * rate)]
        assert found_rate == rate
        assert close_to(found, wanted, np.abs(whole).max()), (start, end)


@pytest.mark.parametrize("preset", EACH)
@pytest.mark.parametrize("as_pipe", [False, True])
def test_a_segment_of_a_live_stream(preset: str, as_pipe: bool) -> None:
    blob = live(song(preset, 11025))
    whole, _ = ncodec.decode(blob)
    for start, end in [(1.9, 2.5), (0, 0.3), (2.0, None), (3.9, 9.0)]:
        stream = tiny.Pipe(blob) if as_pipe else io.BytesIO(blob)
        decoding = Decoding(Reader(stream), DecodeOptions(start=start, end=end))
        found = np.concatenate(list(decoding.blocks()), axis=1)
        last = None if end is None else round(end * 11025)
        assert close_to(found, whole[:, round(start * 11025) : last], np.abs(whole).max())
        assert decoding.n_samples == found.shape[1]


@pytest.mark.quick
def test_the_codecs_rate_has_segments_too() -> None:
    blob = song("spectral-tiny", 44100)
    whole = np.concatenate(
        list(Decoding(Reader(io.BytesIO(blob)), DecodeOptions(codec_rate=True)).blocks()), 1
    )
    segment = Decoding(Reader(io.BytesIO(blob)), DecodeOptions(True, 1.0, 1.5))
    found = np.concatenate(list(segment.blocks()), axis=1)
    assert close_to(found, whole[:, 8000:12000])


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (4.03, None, "song.ncx: ends at 4.03 s, before 4.03 s"),
        (1.0, 1.0, "from 1 s to 1 s: no audio is there"),
        (2.0, 1.0, "from 2 s to 1 s: no audio is there"),
        (-1.0, None, "from -1 s to the end: no audio is there"),
        (float("nan"), None, "no audio is there"),
        (0.0, float("nan"), "no audio is there"),
        (float("inf"), None, "no audio is there"),
        (1.0, 1.00001, "no audio is there"),
    ],
)
def test_refuses_a_segment_without_audio(start: float, end: float | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Decoding(Reader(io.BytesIO(song()), "song.ncx"), DecodeOptions(start=start, end=end))


@pytest.mark.parametrize("is_live", [False, True])
def test_only_what_is_needed_is_read(is_live: bool) -> None:
    blob = tiny.long_song(n_packets=1000, is_live=is_live)
    whole = Reader(io.BytesIO(blob))
    sizes = [packet.n_bytes for packet in whole]
    assert whole.trailer is not None
    stream = tiny.Counting(blob)
    decoding = Decoding(Reader(stream), DecodeOptions(start=300.0, end=300.5))
    assert np.concatenate(list(decoding.blocks()), 1).shape == (1, 4000)
    n_heads = 2 * 4096  # what is read at once of a file's start, to see the header
    assert stream.n_read < n_heads + whole.trailer.n_bytes + 6 * max(sizes) + 100
    assert stream.n_read < len(blob) / 4


def test_an_index_that_is_not_the_packets_is_refused() -> None:
    reader = Reader(io.BytesIO(song()))
    list(reader)
    assert reader.trailer is not None
    frames = (*reader.trailer.packet_frames[:2], 59, 61, *reader.trailer.packet_frames[4:])
    lying = replace(reader.trailer, packet_frames=frames)
    blob = song()[: reader.trailer.offset] + lying.pack()
    with pytest.raises(InvalidField, match="packet 2 .*listed with .* and 59 frames, but has .*60"):
        ncodec.decode(blob, start=1.0, end=2.0)


def test_threads_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "REGION_SECONDS", 1.0)
    for preset in PRESETS:
        blob = song(preset, 11025, 2, seconds=7.3)
        heard = []
        for n_threads in (1, 2, 3, None):
            decoding = Decoding(Reader(io.BytesIO(blob)), DecodeOptions(n_threads=n_threads))
            heard.append(np.concatenate(list(decoding.blocks()), axis=1))
        assert all(np.array_equal(heard[0], other) for other in heard[1:])


@pytest.mark.parametrize("preset", ["spectral-tiny", "hilcodec-tiny", "encodec-tiny-stereo"])
def test_regions_do_not_change_what_is_heard(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = song(preset, 8000, 2, seconds=7.3)
    whole, _ = ncodec.decode(blob)
    monkeypatch.setattr(synthesis, "REGION_SECONDS", 1.0)
    assert close_to(ncodec.decode(blob)[0], whole)


# Edits.


def with_header(blob: bytes, **changes: object) -> bytes:
    """The same packets behind another header."""
    reader = Reader(io.BytesIO(blob))
    sink = io.BytesIO()
    writer = Writer(sink, replace(reader.header, **changes))  # type: ignore[arg-type]
    for packet in reader:
        writer.write_packet(
            packet.n_frames, packet.payload, dependent=packet.dependent, scales=packet.scales
        )
    assert reader.trailer is not None
    writer.finish(reader.trailer.codes_digest)
    return sink.getvalue()


def of_edits(blob: bytes, *edits: Edit) -> bytes:
    n_samples = sum(edit.n_samples for edit in edits)
    return with_header(blob, n_samples=n_samples, extensions=((EDIT_LIST, pack_edits(edits)),))


@pytest.mark.parametrize("preset", EACH)
def test_parts_play_one_after_the_other(preset: str) -> None:
    """Two runs' worth of packets, with frames before and behind what is heard, and silence."""
    blob = song(preset)
    whole, _ = ncodec.decode(blob)
    first = 2 * tiny.PACKET_FRAMES
    n_frames = sum(packet.n_frames for packet in Reader(io.BytesIO(blob)))
    start = 24000  # far enough from the edit's first frame
    edits = (
        Edit(0, first, 100, 5000),
        Edit(0, 0, 0, 777),
        Edit(first, n_frames - first, start, whole.shape[1] - start),
        Edit(0, 0, 0, 3),
    )
    found, _ = ncodec.decode(of_edits(blob, *edits))
    silence = np.zeros((whole.shape[0], 777), np.float32)
    wanted = [whole[:, 100:5100], silence, whole[:, start:], silence[:, :3]]
    assert close_to(found, np.concatenate(wanted, axis=1), np.abs(whole).max())
    # And segments of them, through all edits.
    rng = np.random.default_rng(1)
    for _ in range(6):
        low, high = sorted(rng.integers(0, found.shape[1], 2))
        some, _ = ncodec.decode(of_edits(blob, *edits), start=low / 8000, end=high / 8000)
        assert close_to(some, found[:, low:high], np.abs(whole).max())


def test_a_part_without_a_sample_at_another_rate() -> None:
    """Its codes are still checked, with all others."""
    whole, first = song("spectral-tiny", 48000), tiny.PACKET_FRAMES
    n_frames = sum(packet.n_frames for packet in Reader(io.BytesIO(whole)))
    long = Edit(first, n_frames - first, 48000, 24000)
    blob = of_edits(whole, Edit(0, first, 0, 1), long)
    for rate, n_samples in ((48000, 24001), (8000, 4000)):
        options = DecodeOptions(rate_hz=rate)
        blocks = [*Decoding(Reader(io.BytesIO(blob)), options).blocks()]
        assert sum(block.shape[1] for block in blocks) == n_samples


def test_silence_alone_needs_no_packets() -> None:
    header = replace(tiny.header_of(song()), n_samples=9)
    header = replace(header, extensions=((EDIT_LIST, pack_edits([Edit(0, 0, 0, 9)])),))
    sink = io.BytesIO()
    Writer(sink, header).finish(bytes.fromhex("e3b0c442"))
    wav, _ = ncodec.decode(sink.getvalue())
    assert wav.shape == (1, 9)
    assert not wav.any()


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ([Edit(0, 402, 0, 32000)], "packet 6 .*404 frames so far"),
        ([Edit(0, 60, 0, 32240)], "32240 samples need 404 frames, an edit ends with frame 60"),
        ([Edit(0, 500, 0, 32240)], "need 500 frames, the packets hold 404"),
        ([Edit(0, 50, 0, 1000), Edit(0, 354, 0, 1000)], "of more than one edit"),
        ([Edit(7, 404, 100, 1000)], "frame 7 is no place to start from for sample 100"),
        ([Edit(1 << 60, 404, 1 << 62, 1000)], "at most"),
        ([Edit(0, 404, 1 << 62, 1000)], "samples need"),
        ([Edit(0, 404, 0, 1 << 62)], "samples need"),
        ([Edit(0, 404, 0, 32240), Edit(0, 1, 0, 1)], "samples need 2 frames"),
    ],
)
def test_refuses_edits_that_cannot_be(edits: list[Edit], said: str) -> None:
    with pytest.raises(FormatError, match=f"bytes: .*{said}"):
        ncodec.decode(of_edits(song(), *edits))


def test_refuses_a_part_that_starts_within_a_segment() -> None:
    with pytest.raises(FormatError, match="frame 6 is no place to start from"):
        ncodec.decode(of_edits(song("encodec-tiny-stereo"), Edit(6, 60, 2000, 100)))


def test_refuses_a_part_that_starts_with_a_dependent_packet() -> None:
    stream = live(song())
    edits = (Edit(0, 60, 0, 1000), Edit(60, 344, 20000, 1000))
    with pytest.raises(FormatError, match="packet 1 .*more than one edit"):
        ncodec.decode(of_edits(stream, *edits))


def test_refuses_silence_that_another_rate_makes_endless() -> None:
    header = replace(
        tiny.header_of(song()), source_sample_rate_hz=1, n_samples=1 << 31,
        extensions=((EDIT_LIST, pack_edits([Edit(0, 0, 0, 1 << 31)])),),
    )  # fmt: skip
    sink = io.BytesIO()
    Writer(sink, header).finish(bytes.fromhex("e3b0c442"))
    decoding = Decoding(Reader(io.BytesIO(sink.getvalue())), DecodeOptions(codec_rate=True))
    with pytest.raises(LimitExceeded, match="samples of silence"):
        next(decoding.blocks())


NUMBERS = st.one_of(
    st.integers(0, 500),
    st.sampled_from([60, 120, 404, 32240, 12, 24]),
    st.integers(0, (1 << 63) - 1),
)
EDIT = st.builds(Edit, NUMBERS, NUMBERS, NUMBERS, st.integers(1, 40000))


@LENIENT
@given(
    st.lists(EDIT, min_size=1, max_size=4),
    st.sampled_from(["spectral-tiny", "encodec-tiny-stereo"]),
)
def test_hostile_edits_play_or_are_refused(edits: list[Edit], preset: str) -> None:
    try:
        blob = of_edits(song(preset), *edits)
        wav, _ = ncodec.decode(blob)
    except FormatError:
        return
    assert wav.shape[1] == sum(edit.n_samples for edit in edits)


def test_refuses_parameters_that_no_codec_has() -> None:
    blob = with_header(song(), extensions=((REQUIRED_CODEC_PARAMETERS, b"\1"),))
    with pytest.raises(UnsupportedVersion, match="required codec parameters"):
        ncodec.decode(blob)


@pytest.mark.parametrize("preset", EACH)
def test_frames_suffice_for_as_many_samples_as_is_said(preset: str) -> None:
    kind = architecture(PRESETS[preset])
    codec = kind(kind.presets[preset])
    for rate in (1, 999, 7999, 8000, 11025, 48000):
        header = Header(
            architecture=codec.number, model_id="x", model_fingerprint=bytes(4),
            sample_rate_hz=8000, n_channels=1, codebook_size=16, n_codebooks=1,
            samples_per_frame=80, source_sample_rate_hz=rate, n_samples=None,
        )  # fmt: skip
        timeline = Timeline(codec, header, rate, None)
        (span,) = timeline.spans(0, None)
        for frame in (*range(1, 40), 7919, 12 * 7919):
            n = timeline.audible_end(span, frame)
            counts = [codec.n_frames(timeline.at(8000, m)) for m in (n, n + 2 + rate // 8000)]
            assert counts[0] <= frame < counts[1]
            start = timeline.audible_start(span, frame)
            assert timeline.at(8000, start) + 1 >= codec.first_sample(frame)


# Damage.


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
@pytest.mark.parametrize("preset", EACH)
@pytest.mark.parametrize("lost", [(0,), (3,), (6,), (0, 1, 5, 6), (2, 4)])
def test_silence_stands_for_what_is_lost(preset: str, rate: int, lost: tuple[int, ...]) -> None:
    blob = song(preset, rate)
    whole, _ = ncodec.decode(blob)
    wav, decoding = concealed(damaged(blob, *lost))
    assert wav.shape == whole.shape
    assert [gap.seconds > 0.2 for gap in decoding.gaps]
    edges, scale = tiny.edges(blob), np.abs(whole).max()
    for number, (first, end) in enumerate(pairwise(edges)):
        inside = slice(first + rate // 7, end - rate // 7)
        if number in lost:
            assert not wav[:, inside].any()
        elif number - 1 not in lost:  # warmed up
            assert close_to(wav[:, inside], whole[:, inside], scale)


def test_all_lost_is_silence_of_the_whole_length() -> None:
    blob = song()
    wav, decoding = concealed(damaged(blob, *range(7)))
    assert wav.shape == (1, 32240)
    assert not wav.any()
    assert len(decoding.gaps) >= 1
    assert sum(gap.seconds for gap in decoding.gaps) == pytest.approx(4.03, abs=0.02)


def test_each_loss_is_named_where_it_is() -> None:
    _, decoding = concealed(damaged(song(), 1, 4))
    gaps = [(round(gap.start_s, 2), round(gap.seconds, 2)) for gap in decoding.gaps]
    assert gaps == [(0.6, 0.6), (2.4, 0.6)]
    assert all(isinstance(gap.error, ChecksumMismatch) for gap in decoding.gaps)
    assert "song.ncx: packet 4 at byte" in str(decoding.gaps[1].error)


@pytest.mark.quick
def test_a_whole_file_has_no_gaps() -> None:
    for blob in (song(), live(song()), song("encodec-tiny-stereo", 44100, 2)):
        wav, decoding = concealed(blob)
        assert np.array_equal(wav, ncodec.decode(blob)[0])
        assert not decoding.gaps


@pytest.mark.parametrize("is_live", [False, True])
def test_a_pipe_is_concealed_like_a_file(is_live: bool) -> None:
    blob = live(song("hilcodec-tiny", 11025)) if is_live else song()
    for spoilt in (damaged(blob, 3), damaged(blob, 0), damaged(blob, 6), blob[:-120]):
        wanted, _ = concealed(spoilt)
        recovery = RecoveringReader(tiny.Pipe(spoilt), "pipe")
        decoding = Decoding(recovery)
        wav = np.concatenate(list(decoding.blocks()), axis=1)
        assert np.array_equal(wav, wanted)


@pytest.mark.quick
def test_a_damaged_index_costs_nothing() -> None:
    blob = song()
    whole, _ = ncodec.decode(blob)
    spoilt = bytearray(blob)
    spoilt[-8] ^= 1
    wav, decoding = concealed(bytes(spoilt))
    assert np.array_equal(wav, whole)
    assert not decoding.gaps
    one = bytearray(damaged(blob, 3))
    wanted, _ = concealed(bytes(one))
    one[-8] ^= 1
    assert np.array_equal(concealed(bytes(one))[0], wanted)  # its place is found by its number


def test_dependent_packets_behind_a_lost_one_are_lost_with_it() -> None:
    blob = live(song())  # key packets 0, 3 and 6
    wav, decoding = concealed(damaged(blob, 4))
    assert [(round(gap.start_s, 2), round(gap.seconds, 2)) for gap in decoding.gaps] == [(2.4, 1.2)]
    assert not wav[:, 19500:28700].any()
    whole, _ = ncodec.decode(blob)
    assert np.array_equal(wav[:, :18000], whole[:, :18000])
    assert wav[:, 29000:].any()
    assert wav.shape == whole.shape


def test_a_live_stream_that_breaks_off_is_as_long_as_its_packets() -> None:
    blob = live(song())
    cut = blob[: tiny.places(blob)[4][1] + 10]
    with pytest.raises(Truncated):
        ncodec.decode(cut)
    wav, decoding = concealed(cut)
    assert wav.shape == (1, 80 * (5 * 60 - 1))  # of spectral frames, each overlaps the next
    assert not decoding.gaps


def test_a_segment_of_a_damaged_file() -> None:
    blob = damaged(song("hilcodec-tiny", 11025), 3)
    whole, _ = concealed(blob)
    for start, end in [(0.1, 1.0), (1.5, 3.0), (2.0, 2.1), (3.0, None)]:
        wav, _ = concealed(blob, start=start, end=end)
        last = None if end is None else round(end * 11025)
        assert close_to(wav, whole[:, round(start * 11025) : last])


def test_gaps_of_parts_are_told_where_they_are_heard() -> None:
    blob = song()
    edits = (Edit(0, 0, 0, 8000), Edit(0, 404, 800, 32240 - 800))
    _, decoding = concealed(damaged(of_edits(blob, *edits), 2))
    ((start, seconds),) = [(gap.start_s, gap.seconds) for gap in decoding.gaps]
    assert (start, seconds) == (pytest.approx(1 - 0.1 + 1.2), pytest.approx(0.6))


@pytest.mark.parametrize("as_pipe", [False, True])
def test_a_damaged_byte_of_the_header_is_put_right(as_pipe: bool) -> None:
    blob = song(n_channels=2)
    whole, _ = ncodec.decode(blob)
    n_header = Reader(io.BytesIO(blob)).header_bytes
    for at in range(n_header):
        spoilt = bytearray(blob)
        spoilt[at] ^= 1 + at % 255
        stream = tiny.Pipe(bytes(spoilt), 7) if as_pipe else io.BytesIO(bytes(spoilt))
        recovery = RecoveringReader(stream, "song.ncx")
        assert f"header: byte {at} is {spoilt[at]:02X}, but was {blob[at]:02X}" in str(
            recovery.damage[0].error
        )
        decoding = Decoding(recovery)
        wav = np.concatenate(list(decoding.blocks()), axis=1)
        assert np.array_equal(wav, whole)
        assert (len(recovery.damage), decoding.gaps) == (1, [])
        if at > 12 and at % 5:
            continue
        with pytest.raises(FormatError):
            Reader(io.BytesIO(bytes(spoilt)))


def test_what_is_no_ncx_file_is_not_made_one() -> None:
    rng = np.random.default_rng(0)
    for content in (b"", b"RIFF" + bytes(100), rng.bytes(100_000)):
        for stream in (io.BytesIO(content), tiny.Pipe(content)):
            with pytest.raises((BadSignature, Truncated)):
                RecoveringReader(stream, "x")


def test_more_packets_than_there_should_be_are_left_out() -> None:
    blob = with_header(song(), n_samples=16000)
    wav, decoding = concealed(blob)
    assert wav.shape == (1, 16000)
    assert decoding.gaps


@LENIENT
@given(st.data())
def test_any_damage_is_concealed_or_refused(data: st.DataObject) -> None:
    preset = data.draw(
        st.sampled_from(["soundstream-tiny", "encodec-tiny-stereo", "spectral-tiny"])
    )
    blob = song(preset)
    if data.draw(st.booleans()):
        blob = live(blob, entropy=0)
    spoilt = bytearray(blob)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(60, max(60, len(spoilt) - 1)))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if at >= len(spoilt):
            break  # cuts have left the header alone
        if kind == "flip":
            spoilt[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del spoilt[at : at + data.draw(st.integers(1, 400))]
        else:
            spoilt[at:at] = bytes(data.draw(st.integers(1, 20)))
    wav, decoding = concealed(bytes(spoilt))
    if tiny.header_of(blob).n_samples is not None:
        assert wav.shape == (decoding.n_channels, 32240)


@LENIENT
@given(st.lists(st.integers(1, 900), max_size=6), st.integers(0, 2000), st.integers(1, 900))
def test_items_are_as_many_frames_as_are_known(
    missing: list[int], n_frames: int, n_of_each: int
) -> None:
    header = tiny.header_of(song("hilcodec-tiny"))
    sink = io.BytesIO()
    writer = Writer(sink, header)
    whole = [writer.write_packet(n_of_each, bytes(9)) for _ in range(8)]
    writer.finish(bytes(4))
    spoilt = bytearray(sink.getvalue())
    for some in missing:
        spoilt[whole[some % 8].offset + 6] ^= 1
    recovery = RecoveringReader(io.BytesIO(bytes(spoilt)), "x")
    items = list(recovery.items(n_frames))
    assert sum(item.n_frames for item in items) == n_frames
    assert all(isinstance(item, Packet | Lost) for item in items)
