"""Every clip goes through every coder, whatever becomes of the others."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from stubs import RATE, NoiseCoder, make_clip

from ncodec.errors import UsageError
from ncodec.evaluation import Excerpt, choose_metrics, evaluate, find_clips, model_coders

METRICS = choose_metrics(["si_sdr", "stft_distance"])[0]
CODERS = [NoiseCoder("one", 1.0), NoiseCoder("two", 2.0), NoiseCoder("one", 4.0)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_clip(tmp_path / "a" / "first.wav")
    (tmp_path / "a" / "second.wav").write_text("no audio")
    soundfile.write(tmp_path / "a" / "silent.wav", np.zeros(RATE), RATE)
    make_clip(tmp_path / "b" / "three.wav", channels=3)
    make_clip(tmp_path / "b" / "two.wav", seconds=1.0, channels=2)
    return tmp_path


def test_rows_and_problems(folder: Path) -> None:
    said: list[str] = []
    seconds: list[float] = []
    done = evaluate(
        find_clips([], [folder]), CODERS, METRICS, Excerpt(),
        on_progress=seconds.append, on_problem=lambda error: said.append(str(error)),
    )  # fmt: skip
    found = [(row.clip, row.codec, row.bandwidth_kbps) for row in done.rows]
    coders = [("one", 1.0), ("two", 2.0), ("one", 4.0)]
    assert found == [(clip, *coder) for clip in ("a/first.wav", "b/two.wav") for coder in coders]
    assert sorted(seconds) == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    assert said == [str(problem) for problem in done.problems]
    bad, *others = [line.removeprefix(f"{folder}/") for line in sorted(said)]
    assert bad.startswith("a/second.wav: ")
    assert others == [
        "a/silent.wav: the part to code is silent: nothing to measure",
        "b/three.wav: one: 3 channels",
        "b/three.wav: two: 3 channels",
    ]


@pytest.mark.quick
def test_a_row(folder: Path) -> None:
    clips = find_clips([folder / "b" / "two.wav"])
    (row,) = evaluate(clips, CODERS[:1], METRICS, Excerpt(0.5)).rows
    assert (row.clip, row.group, row.seconds, row.n_channels) == ("b/two.wav", "b", 0.5, 2)
    assert (row.sample_rate_hz, row.lag_samples) == (RATE, 20)
    assert row.kbps == pytest.approx(1.0 + row.overhead_kbps, abs=0.01)
    assert row.overhead_kbps == pytest.approx(8 * 50 / 0.5 / 1000)
    assert (row.encode_speed, row.decode_speed) == (1.0, 2.0)
    assert row.scores["si_sdr"] == pytest.approx(9.2, abs=0.5)


def test_more_bits_less_noise(folder: Path) -> None:
    clips = find_clips([folder / "a" / "first.wav"])
    scores = [row.scores for row in evaluate(clips, CODERS, METRICS, Excerpt()).rows]
    ratios, distances = ([score[key] for score in scores] for key in ("si_sdr", "stft_distance"))
    assert ratios == sorted(ratios)
    assert distances == sorted(distances, reverse=True)


def test_speech_measures_are_left_out_of_music(folder: Path) -> None:
    metrics = choose_metrics(["si_sdr", "stoi"])[0]
    clip = folder / "a" / "first.wav"
    for pattern, keys in (("*", {"si_sdr", "stoi"} if len(metrics) == 2 else {"si_sdr"}),
                          ("none", {"si_sdr"})):  # fmt: skip
        clips = find_clips([clip], speech=pattern)
        assert set(evaluate(clips, CODERS[:1], metrics, Excerpt()).rows[0].scores) == keys


def test_examples_come_from_all_groups_and_are_few(tmp_path: Path) -> None:
    for group in "abc":
        for number in range(4):
            make_clip(tmp_path / group / f"{number}.wav", seconds=0.3)
    clips = find_clips([], [tmp_path])
    done = evaluate(clips, CODERS, METRICS[:1], Excerpt())
    assert sorted(example.clip for example in done.examples) == [
        "a/0.wav", "a/1.wav", "b/0.wav", "b/1.wav", "c/0.wav", "c/1.wav",
    ]  # fmt: skip
    for example in done.examples:
        assert sorted(row.codec for row, _ in example.decoded) == ["one", "one", "two"]
    many = [NoiseCoder(f"c{number}", 1.0) for number in range(30)]
    assert len(evaluate(clips[:8], many, METRICS[:1], Excerpt()).examples) == 2


def test_models_code_with_their_entropy_model(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    models, coders, notes = model_coders(["tiny", "modelled", "tiny"], [0.4, 1.6])
    assert [model.model_id for model in models] == ["tiny", "modelled"]
    names = [(coder.name, coder.bandwidth_kbps) for coder in coders]
    assert names == [("tiny", 0.4), ("tiny", 1.6), ("modelled", 0.4), ("modelled", 1.6)]
    assert notes == []
    clips = find_clips([make_clip(tmp_path / "x.wav", channels=2)])
    rows = evaluate(clips, coders, METRICS, Excerpt()).rows
    assert [row.codec for row in rows] == ["tiny", "tiny", "modelled", "modelled"]
    assert rows[0].n_bytes < rows[1].n_bytes
    assert all(0 < row.payload_bytes < row.n_bytes for row in rows)


def test_bandwidths_that_not_all_models_have(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(cache))
    _, coders, notes = model_coders(["tiny", "spectral"], [0.4])
    assert [coder.name for coder in coders] == ["tiny"]
    assert notes == ["not coded: 0.4 kbps with spectral"]
    with pytest.raises(UsageError, match="bandwidth 0.3 kbps: expected a multiple of"):
        model_coders(["tiny", "spectral"], [0.3])
    usual = model_coders(["tiny"], None)[1]
    assert [coder.bandwidth_kbps for coder in usual] == [0.4, 0.8, 1.6]


def test_an_interrupt_keeps_what_was_measured(folder: Path) -> None:
    clips = find_clips([], [folder])

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    whole = evaluate(clips, CODERS, METRICS, Excerpt())
    part = evaluate(clips, CODERS, METRICS, Excerpt(), on_progress=interrupt)
    assert part.interrupted
    assert not whole.interrupted
    assert len(part.rows) == 1 < len(whole.rows)
