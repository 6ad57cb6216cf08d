"""Files cut, joined, with fewer codebooks, and coded otherwise: the same codes, the same audio."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import EACH, EACH_RATE, PRESETS, RATES, close_to, live, repacked, song

import ncodec
from ncodec.bitstream.codes import Codes, CodesWriter, decode_packets, iterate_codes, join
from ncodec.bitstream.repack import Wanted, ncx_to_ncx, repack
from ncodec.bitstream.span_codes import codec_for
from ncodec.errors import (
    DigestMismatch,
    FormatError,
    InvalidField,
    LimitExceeded,
    Truncated,
    UsageError,
)
from ncodec.formats.ncx import (
    CODEC_PARAMETERS,
    EDIT_LIST,
    Edit,
    Header,
    Packet,
    Reader,
    Writer,
    pack_edits,
)

LENIENT = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def _cache(architectures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(architectures))


def codes_in(blob: bytes) -> Codes:
    reader = Reader(io.BytesIO(blob))
    return join(list(iterate_codes(reader)), reader.header)


def packets_of(blob: bytes) -> list[Packet]:
    return list(Reader(io.BytesIO(blob)))


def renamed(blob: bytes, **changes: object) -> bytes:
    """The same packets behind another header."""
    reader, sink = Reader(io.BytesIO(blob)), io.BytesIO()
    writer = Writer(sink, replace(reader.header, **changes))  # type: ignore[arg-type]
    for packet in reader:
        writer.write_packet(
            packet.n_frames, packet.payload, dependent=packet.dependent, scales=packet.scales
        )
    assert reader.trailer is not None
    writer.finish(reader.trailer.codes_digest, reader.n_samples)
    return sink.getvalue()


# Cuts.


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("rate", EACH_RATE)
@pytest.mark.parametrize("preset", EACH)
def test_a_cut_plays_as_that_segment(preset: str, rate: int, n_channels: int) -> None:
    blob = song(preset, rate, n_channels)
    whole, _ = ncodec.decode(blob)
    total, scale = whole.shape[1] / rate, float(np.abs(whole).max())
    rng = np.random.default_rng(rate)
    edges = [
        (0, 0.5),
        (1.3, None),
        (0, None),
        (1.7, 1.7 + 1 / rate),
        (total - 0.003, None),
        (0.4, total - 0.001),
    ]
    for start, end in edges + [tuple(np.sort(rng.uniform(0, total, 2))) for _ in range(3)]:
        cut = repacked(blob, start=start, end=end)
        wanted, _ = ncodec.decode(blob, start=start, end=end)
        found, found_rate = ncodec.decode(cut)
        assert found_rate == rate
        assert close_to(found, wanted, scale), (start, end)
        check_codes(blob, cut)


def check_codes(blob: bytes, cut: bytes) -> None:
    """The codes of each edit are those frames of its run, and packets end where they did."""
    source, found, reader = codes_in(blob), codes_in(cut), Reader(io.BytesIO(cut))
    at = 0
    for edit in reader.header.edits or [Edit(0, found.shape[2], 0, 1)]:
        run = source[:, :, edit.first_frame : edit.first_frame + edit.n_frames]
        np.testing.assert_array_equal(found[:, :, at : at + edit.n_frames], run)
        at += edit.n_frames
    assert at == found.shape[2]
    ends = {0}
    for packet in packets_of(blob):
        ends.add(max(ends) + packet.n_frames)
    if len(reader.header.edits) == 1:
        (edit,) = reader.header.edits
        frame = edit.first_frame
        for packet in packets_of(cut):
            frame += packet.n_frames
            assert frame in ends or frame == edit.first_frame + edit.n_frames


@pytest.mark.parametrize("rate", [11025, 44100, 48000])
@pytest.mark.parametrize("preset", EACH)
def test_a_cut_within_the_last_frame_differs_in_its_last_milliseconds(
    preset: str, rate: int
) -> None:
    blob = song(preset, rate)
    for late in (0.0001, 0.002, 0.008):
        wanted, _ = ncodec.decode(blob, start=3.0, end=4.03 - late)
        found, _ = ncodec.decode(repacked(blob, start=3.0, end=4.03 - late))
        assert found.shape == wanted.shape
        n_far = found.shape[1] - round(0.05 * rate)
        assert close_to(found[:, :n_far], wanted[:, :n_far], float(np.abs(wanted).max()))


@pytest.mark.quick
def test_packets_that_are_inside_are_copied() -> None:
    blob = song(seconds=8.0)
    cut = packets_of(repacked(blob, start=2.0, end=6.0, entropy="packed"))
    before = [(packet.payload, packet.scales) for packet in packets_of(blob)]
    after = [(packet.payload, packet.scales) for packet in cut]
    assert set(after[1:-1]) <= set(before)
    assert [packet.n_frames for packet in cut[1:-1]] == [60] * (len(cut) - 2)
    assert cut[0].n_frames + cut[-1].n_frames < 120


def test_a_cut_that_is_the_whole_names_no_edits() -> None:
    blob = song()
    assert repacked(blob, entropy="packed") == blob
    assert repacked(blob, start=0, end=99, entropy="packed") == blob
    first = tiny.header_of(repacked(blob, end=4.0))
    assert first.edits
    assert first.n_samples == 32000


def test_what_of_a_cut_reaches_to_the_ends_stays_a_run() -> None:
    cut = tiny.header_of(repacked(song("hilcodec-tiny"), end=0.01))
    assert cut.n_samples == 80
    assert cut.edits[0].first_frame == 0
    (last,) = tiny.header_of(repacked(song("hilcodec-tiny"), start=4.0)).edits
    assert last.first_frame + last.n_frames == 403
    assert last.first_sample == 32000


@LENIENT
@given(
    st.sampled_from(sorted(PRESETS)), st.sampled_from(RATES),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=4),
)  # fmt: skip
def test_cuts_of_cuts(preset: str, rate: int, windows: list[tuple[float, float]]) -> None:
    blob = song(preset, rate)
    wanted, _ = ncodec.decode(blob)
    scale = float(np.abs(wanted).max())
    run_end = wanted.shape[1]
    for window in windows:
        n = wanted.shape[1]
        first, end = sorted(round(share * n) for share in window)
        if end - first < 2:
            continue
        if rate != 8000 and run_end - 0.03 * rate < end < run_end:
            end = run_end - round(0.03 * rate)
        if end <= first:
            continue
        blob = repacked(blob, start=first / rate, end=end / rate)
        wanted, run_end = wanted[:, first:end], run_end - first
        check_codes(song(preset, rate), blob)
    assert close_to(ncodec.decode(blob)[0], wanted, scale)


def test_only_what_is_needed_is_read() -> None:
    blob = tiny.long_song(n_packets=1000)
    streams: list[tiny.Counting] = []

    def opener() -> object:
        streams.append(tiny.Counting(blob))
        return tiny.opened(streams[-1])

    sink = io.BytesIO()
    kept = repack([opener], sink, Wanted(start=300.0, end=301.0))  # type: ignore[list-item]
    assert 100 < kept.n_frames < 200
    assert kept.of_frames == 60_000
    assert not kept.is_all
    whole = Reader(io.BytesIO(blob))
    n_most = max(packet.n_bytes for packet in whole)
    assert whole.trailer is not None
    assert sum(s.n_read for s in streams) < 3 * 4096 + whole.trailer.n_bytes + 7 * n_most + 100


def test_a_damaged_packet_elsewhere_does_not_matter() -> None:
    blob = song()
    cut = repacked(blob, start=3.0)
    assert repacked(tiny.damaged(blob, 0, 1), start=3.0) == cut
    with pytest.raises(FormatError, match="song.ncx: packet 5 at byte"):
        repacked(tiny.damaged(blob, 5), start=3.0)
    assert repacked(blob[:-3], start=0, end=1.0) == repacked(blob, start=0, end=1.0)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"start": 5.0}, "song.ncx: ends at 4.03 s, before 5 s"),
        ({"start": 2.0, "end": 1.0}, "from 2 s to 1 s: no audio is there"),
        ({"n_q": 3}, "song.ncx: has 2 codebooks, 3 cannot be kept"),
        ({"bandwidth_kbps": 1.6}, "song.ncx: has 2 codebooks, 4 cannot be kept"),
        ({"bandwidth_kbps": 0.5}, "expected a multiple of 0.4"),
        ({"n_q": 0}, "0 codebooks"),
        ({"n_q": 1, "bandwidth_kbps": 0.4}, "not both"),
        ({"entropy": "magic"}, "magic"),
    ],
)
def test_refuses_what_cannot_be(wanted: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        repacked(song(), **wanted)


# Fewer codebooks.


@pytest.mark.parametrize("preset", EACH)
def test_fewer_codebooks_are_the_first(preset: str) -> None:
    wav = tiny.noise(2, 12000)
    some, most = (3, 7) if "snac" in preset else (2, 4)
    every = ncodec.encode(wav, 11025, model=preset, n_q=most, entropy="packed", effort=1)
    for n_q, wanted in [(some, {"n_q": some}), (1, {"bandwidth_kbps": 0.4}), (most, {"n_q": most})]:
        few = ncodec.encode(wav, 11025, model=preset, n_q=n_q, entropy="packed", effort=1)
        sink = io.BytesIO()
        kept = ncx_to_ncx(Reader(io.BytesIO(every)), sink, Wanted(entropy="packed", **wanted))
        assert sink.getvalue() == few
        assert repacked(every, entropy="packed", **wanted) == few
        assert (kept.n_codebooks, kept.of_codebooks, kept.is_all) == (n_q, most, n_q == most)
        header = tiny.header_of(few)
        assert header.bitrate_bps == 400 * n_q * header.n_streams


def test_what_is_no_number_of_whole_levels_is_refused() -> None:
    blob = song("snac-tiny")
    for wanted in ({"n_q": 2}, {"n_q": 4}):
        with pytest.raises(UsageError, match="codebooks: model 'snac-tiny' has 1, 3 or 7"):
            repacked(blob, **wanted)
    with pytest.raises(UsageError, match="0.8 kbps: expected one of 0.4, 1.2, 2.8, which are 1, 3"):
        repacked(blob, bandwidth_kbps=0.8)
    with pytest.raises(UsageError, match="has 3 codebooks, 7 cannot be kept"):
        repacked(blob, n_q=7)
    with pytest.raises(InvalidField, match="2 codebooks, but model 'snac-tiny' has 1, 3 or 7"):
        ncodec.decode(renamed(blob, n_codebooks=2))


def test_an_unspecified_bit_rate_stays_so() -> None:
    blob = renamed(song(), bitrate_bps=0)
    assert tiny.header_of(repacked(blob, n_q=1)).bitrate_bps == 0


# Other coders.


@pytest.mark.quick
@pytest.mark.parametrize("entropy", ["packed", "adaptive", "mixed", "transformer", None])
@pytest.mark.parametrize("is_live", [False, True])
def test_other_coders_keep_the_codes(entropy: str | None, is_live: bool) -> None:
    blob = song("modelled")
    blob = live(blob) if is_live else blob
    sink = io.BytesIO()
    kept = ncx_to_ncx(Reader(tiny.Pipe(blob, 9)), sink, Wanted(entropy=entropy))
    found = sink.getvalue()
    np.testing.assert_array_equal(codes_in(found), codes_in(blob))
    assert tiny.header_of(found).n_samples == tiny.header_of(blob).n_samples
    dependent = [packet.dependent for packet in packets_of(blob)]
    assert [packet.dependent for packet in packets_of(found)] == dependent
    numbers = {"packed": 0, "adaptive": 1, "mixed": 3}
    assert tiny.header_of(found).entropy == numbers.get(entropy or "", 2)
    assert kept.is_all
    reader = Reader(io.BytesIO(found))
    list(reader)
    assert reader.trailer is not None
    assert reader.trailer.codes_digest == kept.digest


def test_the_same_coder_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    blob = song("modelled", n_channels=2)
    coded = repacked(blob, entropy="transformer")
    streamed = io.BytesIO()
    ncx_to_ncx(Reader(io.BytesIO(live(blob))), streamed, Wanted(entropy="adaptive"))
    from ncodec.entropy.adaptive import AdaptiveCoder
    from ncodec.entropy.transformer import TransformerCoder

    for coder in (AdaptiveCoder, TransformerCoder):
        monkeypatch.setattr(coder, "encode", None)
    assert repacked(coded) == coded
    again = repacked(streamed.getvalue(), entropy="adaptive")
    assert [packet.payload for packet in packets_of(again)] == [
        packet.payload for packet in packets_of(streamed.getvalue())
    ]


def test_many_packets_are_coded_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    from ncodec.entropy.transformer import TransformerCoder

    counts: list[int] = []
    before = TransformerCoder.encode_many

    def encode_many(self: TransformerCoder, packets: list[np.ndarray]) -> list[bytes]:
        counts.append(len(packets))
        return before(self, packets)

    monkeypatch.setattr(TransformerCoder, "encode_many", encode_many)
    blob = song("modelled", seconds=45.0)
    found = repacked(blob, entropy="transformer")
    np.testing.assert_array_equal(codes_in(found), codes_in(blob))
    assert max(counts) >= 40


def test_a_live_stream_comes_packet_by_packet() -> None:
    blob = live(song())
    ends = [end for _, end in tiny.places(blob)]
    sink = io.BytesIO()
    n_written: list[int] = []

    class Watched(tiny.Pipe):
        at = 0

        def read(self, size: int, /) -> bytes:
            n_written.append(sink.tell())
            return super().read(size)

    ncx_to_ncx(Reader(Watched(blob, 1)), sink, Wanted(entropy="packed"))
    for number, end in enumerate(ends[:-1]):  # when the next packet's first bytes are asked for
        assert n_written[end + 2] >= tiny.places(sink.getvalue())[number][1]


# Live streams.


@pytest.mark.parametrize("entropy", ["adaptive", "packed"])
@pytest.mark.parametrize("preset", EACH)
def test_cuts_of_live_streams(preset: str, entropy: str) -> None:
    blob = live(song(preset, 11025), n_chain=4)
    whole, _ = ncodec.decode(blob)
    for start, end in [(1.0, 2.2), (0, 2.9), (2.9, None), (0.1, 3.9), (0, None)]:
        cut = repacked(blob, start=start, end=end, entropy=entropy)
        last = None if end is None else round(end * 11025)
        found, _ = ncodec.decode(cut)
        wanted = whole[:, round(start * 11025) : last]
        assert close_to(found, wanted, float(np.abs(whole).max()))
        check_codes(blob, cut)
        packets = packets_of(cut)
        assert not packets[0].dependent
        assert tiny.header_of(cut).n_samples == wanted.shape[1]
        if start == 0:
            n_whole = len(packets) - 1  # the last one, if it is cut, is coded anew
            kept = [packet.dependent for packet in packets_of(blob)[:n_whole]]
            assert [packet.dependent for packet in packets[:n_whole]] == kept
        if start == 0.1 and entropy == "adaptive":  # copied behind the next key packet
            assert packets_of(blob)[5].payload in [packet.payload for packet in packets]


def test_the_length_of_a_live_stream_is_in_its_trailer() -> None:
    blob = live(song())
    with pytest.raises(FormatError, match="no trailer"):
        repacked(blob[:-3], start=1.0)
    with pytest.raises(InvalidField, match="song.ncx: its length is not known before its end"):
        repack([lambda: tiny.opened(tiny.Pipe(blob))], io.BytesIO())  # type: ignore[list-item]
    with pytest.raises(Truncated):
        ncx_to_ncx(Reader(io.BytesIO(blob[:-3])), io.BytesIO())


# Joins.


@pytest.mark.parametrize("rate", EACH_RATE)
@pytest.mark.parametrize("preset", EACH)
def test_a_join_plays_all_of_it(preset: str, rate: int) -> None:
    blobs = [
        song(preset, rate),
        song(preset, rate, seconds=0.01, seed=1),
        live(song(preset, rate, seconds=1.1, seed=2)),
        repacked(song(preset, rate, seed=3), start=1.1, end=1.9),
    ]
    blobs.append(repacked(*blobs))
    joined = repacked(*blobs)
    heard = [ncodec.decode(blob)[0] for blob in blobs]
    found, _ = ncodec.decode(joined)
    assert np.array_equal(found, np.concatenate(heard, axis=1))
    codes = np.concatenate([codes_in(blob) for blob in blobs], axis=2)
    np.testing.assert_array_equal(codes_in(joined), codes)


@pytest.mark.parametrize("preset", EACH)
def test_a_join_of_stereo_files(preset: str) -> None:
    blobs = [song(preset, 44100, 2), song(preset, 44100, 2, seconds=1.3, seed=2)]
    heard = [ncodec.decode(blob)[0] for blob in blobs]
    assert np.array_equal(ncodec.decode(repacked(*blobs))[0], np.concatenate(heard, axis=1))


@LENIENT
@given(
    st.sampled_from(sorted(PRESETS)), st.sampled_from(RATES),
    st.lists(st.floats(0.01, 3.99), min_size=1, max_size=4, unique=True),
)  # fmt: skip
def test_cuts_that_are_joined_again_play_as_before(
    preset: str, rate: int, places: list[float]
) -> None:
    blob = song(preset, rate)
    whole, _ = ncodec.decode(blob)
    edges = sorted({0.0, *(round(place * rate) / rate for place in places)})
    cuts = [
        repacked(blob, start=start, end=end)
        for start, end in zip(edges, [*edges[1:], None], strict=True)
    ]
    found, _ = ncodec.decode(repacked(*cuts))
    assert close_to(found, whole)


def test_a_segment_of_a_join() -> None:
    blobs = [song("hilcodec-tiny"), song("hilcodec-tiny", seed=1), song("hilcodec-tiny", seed=2)]
    whole = np.concatenate([ncodec.decode(blob)[0] for blob in blobs], axis=1)
    for start, end in [(0.5, 1.0), (3.0, 5.0), (4.03, 8.06), (1.0, 11.0), (8.0, 8.1)]:
        found, _ = ncodec.decode(repacked(*blobs, start=start, end=end))
        assert close_to(found, whole[:, round(8000 * start) : round(8000 * end)])
    with pytest.raises(UsageError, match="the joined audio: ends at 12.09 s, before 13 s"):
        repacked(*blobs, start=13.0)


def test_a_join_with_fewer_codebooks() -> None:
    wav = tiny.noise(1, 9000)
    every, few = (
        ncodec.encode(wav, 8000, model="encodec-tiny", n_q=n_q, effort=1) for n_q in (4, 3)
    )
    with pytest.raises(UsageError, match="their numbers of codebooks are 4 and 3; fewer can be"):
        repacked(every, few)
    joined = repacked(every, few, n_q=2)
    np.testing.assert_array_equal(codes_in(joined), np.tile(codes_in(every)[:, :2], 2))


def test_files_that_cannot_be_joined() -> None:
    one = song("hilcodec-tiny")
    others = {
        "models are hilcodec-tiny and soundstream-tiny": song("soundstream-tiny"),
        "sample rates are 8000 and 11025": song("hilcodec-tiny", 11025),
        "numbers of channels are 1 and 2": song("hilcodec-tiny", n_channels=2),
    }
    for said, other in others.items():
        openers = [tiny.opener(one, "one.ncx"), tiny.opener(other, "two.ncx")]
        with pytest.raises(UsageError, match=f"one.ncx and two.ncx cannot be joined: their {said}"):
            repack(openers, io.BytesIO())


def test_tags_and_extensions_are_the_first_file_s() -> None:
    one, two = (
        renamed(song(), tags=(("TITLE", name),), extensions=extensions)
        for name, extensions in (
            ("one", ((0x41, b"a"), (CODEC_PARAMETERS, b"\x01"), (0x42, b"b"))),
            ("two", ((0x43, b"c"),)),
        )
    )
    header = tiny.header_of(repacked(one, two))
    assert header.tags == (("TITLE", "one"),)
    assert [number for number, _ in header.extensions] == [0x41, 0x42, 0x82]
    same = tiny.header_of(repacked(one, one))
    assert [number for number, _ in same.extensions] == [0x41, CODEC_PARAMETERS, 0x42, 0x82]
    again = tiny.header_of(repacked(one, one, start=1.0))
    assert len(again.edits) == 2
    whole = tiny.header_of(repacked(repacked(one, one), end=4.03))
    assert [number for number, _ in whole.extensions] == [0x41, CODEC_PARAMETERS, 0x42]


def test_files_without_samples_add_nothing() -> None:
    empty = ncodec.encode(np.zeros((1, 0), np.float32), 8000, model="spectral-tiny", n_q=2)
    blob = song()
    assert repacked(empty, blob, empty, entropy="packed") == blob
    none = tiny.header_of(repacked(empty, empty))
    assert (none.n_samples, none.edits) == (0, ())


def test_more_parts_than_a_header_holds() -> None:
    short = song("hilcodec-tiny", seconds=0.01)
    tagged = renamed(short, tags=(("COMMENT", "x" * 64_000),))
    blob = repacked(*[tagged] * 500)
    assert ncodec.decode(blob)[0].shape == (1, 40_000)
    header = Reader(io.BytesIO(blob)).header
    assert header.tags == (("COMMENT", "x" * 64_000),)  # which the edits leave no room for
    full = renamed(short, extensions=((0x42, bytes(64_000)),))
    with pytest.raises(LimitExceeded, match="500 edits do not fit into one header: header_length"):
        repacked(*[full] * 500)


# What is wrong with the input.


def test_a_wrong_digest_is_refused_where_all_is_kept() -> None:
    reader, sink = Reader(io.BytesIO(song())), io.BytesIO()
    writer = Writer(sink, reader.header)
    for packet in reader:
        writer.write_packet(packet.n_frames, packet.payload, scales=packet.scales)
    writer.finish(bytes(4))
    for wanted in ({}, {"start": 0.1}, {"n_q": 1}):
        with pytest.raises(DigestMismatch, match="song.ncx: the decoded codes have digest"):
            repacked(sink.getvalue(), **wanted)
    assert repacked(sink.getvalue(), start=2.0)


def changed(blob: bytes, **header: object) -> bytes:
    sink = io.BytesIO()
    writer = CodesWriter(Writer(sink, replace(tiny.header_of(blob), **header)))  # type: ignore[arg-type]
    for packet, codes in decode_packets(Reader(io.BytesIO(blob))):
        writer.write(codes, packet.scales)
    writer.finish(writer.writer.header.n_samples or 0)
    return sink.getvalue()


def test_frames_that_do_not_fit_the_length_are_refused() -> None:
    for n_samples in (30_000, 40_000):
        blob = changed(song(), n_samples=n_samples)
        with pytest.raises(InvalidField, match="song.ncx: .*frames"):
            repacked(blob, blob)
    with pytest.raises(InvalidField, match="song.ncx: .*need 501 frames, the packets hold 404"):
        repacked(changed(song(), n_samples=40_000), start=1.0)


def test_packets_of_two_parts_are_refused() -> None:
    edits = [Edit(0, 50, 0, 100), Edit(50, 354, 20000, 300)]
    blob = changed(song(), n_samples=400, extensions=((EDIT_LIST, pack_edits(edits)),))
    with pytest.raises(InvalidField, match="song.ncx: packet 0 .*of more than one edit"):
        repacked(blob, blob)
    content = pack_edits([Edit(7, 404, 100, 300)])
    blob = changed(song(), n_samples=300, extensions=((EDIT_LIST, content),))
    with pytest.raises(InvalidField, match="song.ncx: header: edit list: frame 7 is no place"):
        repacked(blob)


def test_a_packet_within_a_segment_is_refused() -> None:
    blob = song("encodec-tiny-stereo")
    reader, sink = Reader(io.BytesIO(blob)), io.BytesIO()
    codec = codec_for(reader)
    header: Header = reader.header
    writer = CodesWriter(Writer(sink, header))
    for number, (packet, codes) in enumerate(decode_packets(reader)):
        if number == 1:  # cut where it must not be
            writer.write(codes[:, :, :6], packet.scales[:1])
            writer.write(codes[:, :, 6:], packet.scales)
        else:
            writer.write(codes, packet.scales)
    writer.finish(header.n_samples or 0)
    assert codec.segment_frames == 12
    with pytest.raises(InvalidField, match="follows one that ends within a segment|scales"):
        repacked(sink.getvalue(), start=0.5)


NUMBERS = st.one_of(st.integers(0, 500), st.sampled_from([60, 120, 404, 450, 32240]))


@LENIENT
@given(
    st.lists(st.builds(Edit, NUMBERS, NUMBERS, NUMBERS, st.integers(1, 40_000)), max_size=4),
    st.sampled_from(["spectral-tiny", "encodec-tiny-stereo"]), st.floats(0, 4), st.booleans(),
)  # fmt: skip
def test_hostile_parts_are_cut_or_refused(
    edits: list[Edit], preset: str, start: float, is_live: bool
) -> None:
    blob = live(song(preset)) if is_live else song(preset)
    try:
        n_samples = sum(edit.n_samples for edit in edits)
        blob = changed(blob, n_samples=n_samples, extensions=((EDIT_LIST, pack_edits(edits)),))
        cut = repacked(blob, start=start)
    except (FormatError, UsageError):
        return
    wanted = ncodec.decode(blob, start=start)[0]
    assert close_to(ncodec.decode(cut)[0], wanted, 40.0)
