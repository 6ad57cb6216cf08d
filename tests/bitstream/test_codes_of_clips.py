"""Codes of files and segments as arrays, and files of them again."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from tiny_models import Counting, Pipe, live, repacked, song

import ncodec
from ncodec.bitstream.clips import CodesFacts, read_clip
from ncodec.errors import ModelMissing, UsageError
from ncodec.formats.ncx import Reader

PRESETS = tuple(tiny_models.PRESETS)


@pytest.fixture(autouse=True)
def _tiny_models(architectures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(architectures))


def written(codes: np.ndarray, facts: CodesFacts, **options: str) -> bytes:
    sink = io.BytesIO()
    ncodec.write_codes(sink, codes, facts=facts, **options)
    return sink.getvalue()


@pytest.mark.quick
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("rate", [8000, 11025])
def test_codes_and_facts_make_the_same_file(preset: str, rate: int) -> None:
    blob = song(preset, rate, n_channels=2)
    codes, facts = ncodec.read_codes(blob, with_facts=True)
    assert codes.dtype == np.int16
    assert np.array_equal(codes, ncodec.read_codes(blob))
    assert (facts.model_id, facts.frame_rate_hz) == (preset, 100)
    assert facts.duration_s == pytest.approx(4.03, abs=1e-3)
    assert written(codes, facts, entropy="packed") == blob


@pytest.mark.parametrize(
    "blob",
    [
        lambda: live(song()),
        lambda: repacked(song(), song(seed=1), start=0.5, end=6.2),
        lambda: song("encodec-tiny-stereo", n_channels=2),
    ],
    ids=["live", "edits", "overlapping segments"],
)
def test_all_kinds_of_files_decode_to_the_same_audio(blob: object) -> None:
    source = blob()  # type: ignore[operator]
    codes, facts = ncodec.read_codes(Pipe(source), with_facts=True)
    again = written(codes, facts, entropy="adaptive")
    assert np.array_equal(ncodec.read_codes(again), codes)
    assert np.array_equal(ncodec.decode(again)[0], ncodec.decode(source)[0])


@pytest.mark.quick
@pytest.mark.parametrize("preset", ["spectral-tiny", "hilcodec-tiny", "encodec-tiny"])
@pytest.mark.parametrize(("start", "end"), [(0, 0.3), (0.3, 1.7), (0.61, 0.615), (3.9, None)])
def test_a_segment_has_the_frames_of_its_seconds(
    preset: str, start: float, end: float | None
) -> None:
    blob = song(preset)
    whole = ncodec.read_codes(blob)
    codes, facts = ncodec.read_codes(blob, start=start, end=end, n_q=1, with_facts=True)
    first = round(start * 100)  # frames a second
    stop = whole.shape[2] if end is None else int(np.ceil(end * 100 - 1e-9))
    assert np.array_equal(codes, whole[:, :1, first:stop])
    assert (facts.start_frame, facts.n_frames) == (first, stop - first)
    assert np.array_equal(codes, ncodec.read_codes(Pipe(live(blob)), start=start, end=end, n_q=1))
    if stop - first > 3:
        again = written(codes, facts, entropy="packed")
        assert np.array_equal(ncodec.read_codes(again), codes)
        wav, rate = ncodec.decode(again)
        assert wav.shape[1] / rate == pytest.approx((stop - first) / 100, abs=0.04)


@pytest.mark.parametrize(
    ("preset", "n_channels"), [("encodec-tiny-stereo", 2), ("snac-tiny-windows", 1)]
)
@pytest.mark.parametrize(("start", "end"), [(1.2, 1.4), (1.011, 1.1), (0.3, None)])
def test_a_segment_of_frames_that_belong_together_has_whole_ones(
    preset: str, n_channels: int, start: float, end: float | None
) -> None:
    blob = song(preset, n_channels=n_channels)
    codes, facts = ncodec.read_codes(blob, start=start, end=end, with_facts=True)
    whole = ncodec.read_codes(blob)
    first = facts.start_frame
    assert first > 0
    assert np.array_equal(codes, whole[:, :, first : first + facts.n_frames])
    again = written(codes, facts)
    assert np.array_equal(ncodec.read_codes(again), codes)
    wav, rate = ncodec.decode(again)
    least = ((4.03 if end is None else end) - start) * rate
    assert wav.shape[1] >= least - 1


def test_a_segment_of_a_cut_file_is_of_what_is_heard() -> None:
    whole, cut = song(), repacked(song(), start=1.0, end=3.0)
    assert np.array_equal(
        ncodec.read_codes(cut, start=0.5, end=0.9), ncodec.read_codes(whole, start=1.5, end=1.9)
    )
    joined = repacked(cut, song(seed=1))
    both = ncodec.read_codes(joined, start=1.8, end=2.3)
    parts = (whole, 2.8, 3.0), (song(seed=1), 0, 0.3)
    wanted = [ncodec.read_codes(blob, start=low, end=high) for blob, low, high in parts]
    assert np.array_equal(both, np.concatenate(wanted, axis=2))


def test_only_the_packets_of_a_segment_are_read() -> None:
    blob = tiny_models.long_song(2000)
    stream = Counting(blob)
    codes = ncodec.read_codes(stream, start=600, end=601)
    assert codes.shape[2] == 100
    assert stream.n_read < len(blob) / 5
    assert np.array_equal(codes, ncodec.read_codes(blob)[:, :, 60_000:60_100])


def test_the_codec_need_not_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blob = song("hilcodec-tiny")
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path))
    codes, facts = ncodec.read_codes(blob, start=0, end=1, with_facts=True)
    assert codes.shape == (1, 2, 100)
    with pytest.raises(ModelMissing):  # how many samples that are is the codec's to say
        written(codes, facts)
    codes, facts = ncodec.read_codes(blob, with_facts=True)
    again = written(codes, facts)
    assert Reader(io.BytesIO(again)).header.entropy == 3  # mixed: no model is known
    assert np.array_equal(ncodec.read_codes(again), codes)
    overlapping = song("encodec-tiny-stereo", n_channels=2)
    with pytest.raises(ModelMissing, match="file: made with"):
        read_clip(Reader(io.BytesIO(overlapping), "file"), 0, 1)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"start": 9}, "bytes: ends before 9 s"),
        ({"start": 2, "end": 1}, "nothing there"),
        ({"start": -1}, "nothing there"),
        ({"n_q": 3}, "bytes: has 2 codebooks, 3 are asked for"),
        ({"n_q": 0}, "0 are asked for"),
    ],
)
def test_refuses_what_is_not_there(wanted: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ncodec.read_codes(song(), **wanted)  # type: ignore[call-overload]


def test_refuses_facts_of_other_codes() -> None:
    codes, facts = ncodec.read_codes(song(), with_facts=True)
    for other in (codes[:, :, 1:], codes.repeat(2, axis=0)):
        with pytest.raises(UsageError, match="but their facts are of"):
            written(other, facts)
    with pytest.raises(UsageError, match="expected 0 to"):
        written(codes + facts.codebook_size, facts)
    with pytest.raises(UsageError, match="scales for"):
        written(codes, replace(facts, scales=()))
    with pytest.raises(UsageError, match="facts say"):
        ncodec.write_codes(io.BytesIO(), codes, facts=facts, n_samples=5)


def test_works_without_torch(tmp_path: Path) -> None:
    sample = Path(__file__).parents[2] / "samples" / "speech_male.6kbps.ncx"
    code = """
import sys
sys.modules["torch"] = None  # its import fails
import ncodec, numpy
codes, facts = ncodec.read_codes(sys.argv[1], with_facts=True)
ncodec.write_codes(sys.argv[2], codes, facts=facts)
part, facts = ncodec.read_codes(sys.argv[1], start=1, end=2, with_facts=True)
ncodec.write_codes(sys.argv[3], part, facts=facts)
assert numpy.array_equal(ncodec.read_codes(sys.argv[3]), part)
"""
    made = tmp_path / "whole.ncx"
    subprocess.run([sys.executable, "-c", code, sample, made, tmp_path / "part.ncx"], check=True)
    assert made.read_bytes() == sample.read_bytes()
