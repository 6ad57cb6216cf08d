"""What is measured, on signals of which the result is known."""

import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ncodec import audio
from ncodec.audio.distances import mel_distance, si_sdr, stft_distance, window_size
from ncodec.errors import UsageError
from ncodec.evaluation import choose_metrics
from ncodec.evaluation.metrics import METRICS, Compute, pesq_wb, stoi, visqol

RATE = 16000


def noise(n: int, seed: int = 1, rms: float = 0.1) -> np.ndarray:
    return (rms * np.random.default_rng(seed).standard_normal((1, n))).astype(np.float32)


def speech_like(seconds: float) -> np.ndarray:
    """Harmonics below an envelope of syllables: enough for measures that look for speech."""
    t = np.arange(round(seconds * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * t + k) / k for k in range(1, 30))
    return (0.1 * voice * np.clip(np.sin(2 * np.pi * 2 * t), 0, 1))[None].astype(np.float32)


@pytest.mark.parametrize("db", [-5.0, 0.0, 20.0, 60.0])
def test_si_sdr_is_the_ratio_of_signal_and_added_noise(db: float) -> None:
    signal, added = noise(RATE, 1)[0].astype(float), noise(RATE, 2)[0].astype(float)
    signal, added = signal - signal.mean(), added - added.mean()
    added -= signal * (signal @ added) / (signal @ signal)
    added *= np.sqrt(signal @ signal / (added @ added)) * 10 ** (-db / 20)
    estimate = 0.3 * (signal + added) + 0.05  # neither gain nor offset counts
    assert si_sdr(signal[None], estimate[None], RATE) == pytest.approx(db, abs=0.001)


def test_si_sdr_leaves_silent_channels_out() -> None:
    wav, other = noise(RATE), noise(RATE, 2)
    silent = np.zeros_like(wav)
    stereo = np.concatenate([wav, silent]), np.concatenate([wav + other, silent])
    assert si_sdr(*stereo, RATE) == si_sdr(wav, wav + other, RATE)
    assert si_sdr(silent, wav, RATE) is None


@pytest.mark.parametrize("distance", [mel_distance, stft_distance])
@pytest.mark.parametrize("rate", [8000, 24000, 44100])
def test_distances(distance: Compute, rate: int) -> None:
    wav = np.concatenate([noise(rate), noise(rate, 2)])
    assert distance(wav, wav, rate) == 0
    near, far = wav + noise(rate, 3, 0.01), wav + noise(rate, 3, 0.1)
    assert 0 < (distance(wav, near, rate) or 0) < (distance(wav, far, rate) or 0)
    assert distance(0.1 * wav, 0.1 * far, rate) == pytest.approx(distance(wav, far, rate), rel=1e-3)


def test_distances_of_half_the_level() -> None:
    wav = noise(24000)
    assert mel_distance(wav, 0.5 * wav, 24000) == pytest.approx(np.log(2), abs=0.01)
    # Spectral convergence is a half then; some bins lie below the floor, so the rest is less.
    assert stft_distance(wav, 0.5 * wav, 24000) == pytest.approx(0.5 + np.log(2), abs=0.03)


@pytest.mark.parametrize("n", [0, 1, 50])
def test_distances_of_very_short_signals(n: int) -> None:
    wav = noise(n)
    assert mel_distance(wav, wav, 24000) == stft_distance(wav, wav, 24000) == 0


def test_windows_keep_their_time() -> None:
    sizes = [window_size(1024, rate) for rate in (8000, 16000, 22050, 24000, 44100, 48000)]
    assert sizes == [256, 512, 1024, 1024, 2048, 2048]


def test_stoi() -> None:
    pytest.importorskip("pystoi")
    wav = speech_like(2)
    assert stoi(wav, wav, RATE) == pytest.approx(1, abs=1e-6)
    worse = stoi(wav, wav + noise(wav.shape[1], rms=0.2), RATE)
    assert worse is not None
    assert 0 < worse < 0.9
    assert stoi(wav[:, :2000], wav[:, :2000], RATE) is None
    assert stoi(np.zeros_like(wav), wav, RATE) is None


def test_pesq() -> None:
    pytest.importorskip("pesq")
    wav = speech_like(2)
    assert pesq_wb(wav, wav, RATE) == pytest.approx(4.64, abs=0.01)
    assert pesq_wb(wav[:, :2000], wav[:, :2000], RATE) is None
    assert pesq_wb(np.zeros_like(wav), wav, RATE) is None


def test_pesq_takes_long_signals_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []

    class PesqError(RuntimeError):
        pass

    def measure(rate: int, first: np.ndarray, second: np.ndarray, mode: str) -> float:
        lengths.append(len(first))
        if len(lengths) == 2:
            raise PesqError("no utterances")
        return len(lengths)

    package = ModuleType("pesq")
    vars(package).update(pesq=measure, PesqError=PesqError)
    monkeypatch.setitem(sys.modules, "pesq", package)
    wav = noise(50 * RATE)
    assert pesq_wb(wav, wav, RATE) == 2  # of 1 and 3
    assert sum(lengths) == wav.shape[1]
    assert max(lengths) <= 20 * RATE


def test_visqol_of_equal_signals_is_the_published_maximum() -> None:
    """As `castanets_identity` of ViSQOL's conformance tests, version 3.3.3."""
    pytest.importorskip("visqol")
    wav = noise(48000)
    assert visqol(wav, wav, 48000) == pytest.approx(4.732101253042348, abs=1e-6)
    assert visqol(wav[:, :9000], wav[:, :9000], 48000) is None
    assert visqol(np.zeros_like(wav), wav, 48000) is None


CONFORMANCE = {  # of google/visqol, src/include/conformance.h
    "strauss48_stereo_lp35": 1.3888791489130758,
    "steely48_stereo_lp7": 2.2501683734385183,
    "sopr48_stereo_256kbps_aac": 4.68228969737946,
    "ravel48_stereo_128kbps_opus": 4.465141897255348,
    "moonlight48_stereo_128kbps_aac": 4.684292801646114,
    "harpsichord48_stereo_96kbps_mp3": 4.22374532766003,
    "guitar48_stereo_64kbps_aac": 4.349722308064298,
    "glock48_stereo_48kbps_aac": 4.332452943882108,
    "contrabassoon48_stereo_24kbps_aac": 2.346868205375293,
    "castanets48_stereo": 4.732101253042348,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFORMANCE)
def test_visqol_conforms(name: str) -> None:
    """Against the published values, on the audio they are of: VISQOL_TESTDATA names its folder.

    That is testdata/conformance_testdata_subset of https://github.com/google/visqol.
    """
    pytest.importorskip("visqol")
    if "VISQOL_TESTDATA" not in os.environ:
        pytest.skip("the authors' audio is not here: VISQOL_TESTDATA is to name its folder")
    folder = Path(os.environ["VISQOL_TESTDATA"])
    original = f"{name.split('_stereo')[0]}_stereo.wav"
    reference, estimate = (audio.read(folder / file)[0] for file in (original, f"{name}.wav"))
    assert visqol(reference, estimate, 48000) == pytest.approx(CONFORMANCE[name], abs=2e-4)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pesq", None)
    metrics, notes = choose_metrics(["si_sdr", "pesq_wb"])
    assert [metric.key for metric in metrics] == ["si_sdr"]
    note = "not measured: PESQ-wb (package pesq); pip install 'ncodec[evaluate,pesq]' has all"
    assert notes == [note]


def test_chosen_metrics_come_in_one_order() -> None:
    metrics, notes = choose_metrics(["stft_distance", "si_sdr"])
    assert ([metric.key for metric in metrics], notes) == (["si_sdr", "stft_distance"], [])
    with pytest.raises(UsageError, match="metric 'peaq': expected one of si_sdr, "):
        choose_metrics(["peaq"])


def test_metrics_of_stereo_are_measured_where_there_is_stereo() -> None:
    of_stereo = {"ild_error", "ipd_error", "ic_error", "pre_echo"}
    keys = [{metric.key for metric in choose_metrics(stereo=one)[0]} for one in (False, True)]
    assert of_stereo <= keys[1]
    assert not of_stereo & keys[0]
    assert keys[1] - keys[0] == {metric.key for metric in METRICS if metric.with_stereo} & keys[1]
    assert [metric.key for metric in choose_metrics(["pre_echo"])[0]] == ["pre_echo"]


def test_mel_bands_end_at_20_khz() -> None:
    t = np.arange(48000) / 48000
    wav = noise(48000)
    for hz, is_seen in ((19_000, True), (22_000, False)):
        other = (wav + 0.1 * np.sin(2 * np.pi * hz * t)).astype(np.float32)
        assert (mel_distance(wav, other, 48000) > 0.01) is is_seen
        assert stft_distance(wav, other, 48000) > 0.01


def test_speech_measures_are_marked() -> None:
    assert {metric.key for metric in METRICS if metric.speech_only} == {"stoi", "pesq_wb"}
