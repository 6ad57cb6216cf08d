"""The errors of a stereo image, on signals of which they are known."""

import numpy as np
import pytest

from ncodec.evaluation.metrics import visqol_lr, visqol_side
from ncodec.evaluation.stereo import MAX_ILD_DB, ic_error, ild_error, ipd_error

RATE = 48000
Stereo = np.ndarray


def noise(seed: int = 1, n: int = RATE) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(n)


def panned(wav: np.ndarray, level_db: float) -> Stereo:
    """One sound, so much louder on the left."""
    return np.stack([wav * 10 ** (level_db / 40), wav * 10 ** (-level_db / 40)]).astype(np.float32)


def tone(hz: float, *, late_s: float = 0.0) -> np.ndarray:
    """A tone that swells and fades, so that it has nothing elsewhere."""
    t = np.arange(RATE) / RATE
    return 0.2 * np.sin(2 * np.pi * hz * (t - late_s)) * np.hanning(RATE)


def turned(wav: np.ndarray, degrees: float) -> np.ndarray:
    """All frequencies with another phase."""
    spectrum = np.fft.rfft(wav) * np.exp(1j * np.radians(degrees))
    spectrum[[0, -1]] = 0
    return np.fft.irfft(spectrum)


@pytest.mark.parametrize(("was", "becomes"), [(0, 6), (6, 0), (-3, 9), (4, 4), (20, -4)])
@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_a_pan_that_changes_by_x_db_is_an_error_of_x_db(was: int, becomes: int, rate: int) -> None:
    first, second = panned(noise(), was), panned(noise(), becomes)
    assert ild_error(first, second, rate) == pytest.approx(abs(becomes - was), abs=1e-3)
    assert ipd_error(first, second, rate) == pytest.approx(0, abs=1e-3)
    assert ic_error(first, second, rate) == pytest.approx(0, abs=1e-5)


def test_level_differences_end_where_a_sound_is_on_one_side_only() -> None:
    first, second = panned(noise(), 60), panned(noise(), 0)
    assert ild_error(first, second, RATE) == pytest.approx(MAX_ILD_DB, abs=1e-3)


def test_levels_of_bands_count_band_by_band() -> None:
    """A tone on the left and one on the right, which the codec mixes to the middle."""
    first = (panned(tone(440), 12) + panned(tone(3000), -12)).astype(np.float32)
    second = np.broadcast_to(first.mean(0), first.shape)
    assert ild_error(first, second, RATE) == pytest.approx(12, abs=0.05)
    assert ild_error(first, first, RATE) == 0


def test_swapped_channels() -> None:
    first = panned(noise(), 5)
    assert ild_error(first, first[::-1], RATE) == pytest.approx(10, abs=1e-3)
    same = panned(noise(), 0)
    assert ild_error(same, same[::-1], RATE) == 0
    delayed = np.stack([noise(), turned(noise(), 30)]).astype(np.float32)
    assert ipd_error(delayed, delayed[::-1], RATE) == pytest.approx(60, abs=0.5)


@pytest.mark.parametrize("degrees", [20, 90, 180])
def test_phases(degrees: int) -> None:
    first = panned(noise(), 0)
    second = np.stack([noise(), turned(noise(), degrees)]).astype(np.float32)
    assert ipd_error(first, second, RATE) == pytest.approx(degrees, abs=0.5)
    assert ild_error(first, second, RATE) == pytest.approx(0, abs=0.1)


def test_a_delay_of_one_channel_is_a_phase_of_its_frequency() -> None:
    late = tone(500, late_s=12 / RATE)
    first, second = (np.stack([tone(500), one]).astype(np.float32) for one in (tone(500), late))
    assert ipd_error(first, second, RATE) == pytest.approx(360 * 500 * 12 / RATE, abs=0.5)


def test_phases_of_high_sounds_do_not_count() -> None:
    left = tone(500) + tone(5000)
    right = tone(500) + tone(5000, late_s=5 / RATE)
    first, second = (np.stack([left, one]).astype(np.float32) for one in (left, right))
    assert ipd_error(first, second, RATE) == pytest.approx(0, abs=0.01)


def test_coherence() -> None:
    """Two noises have none but by chance: less the more bins a band has, so most bands near 0."""
    wide = np.stack([noise(1), noise(2)]).astype(np.float32)
    narrow = panned(noise(1), 0)
    lost, made = ic_error(wide, narrow, RATE), ic_error(narrow, wide, RATE)
    assert lost == pytest.approx(made, abs=0.01)
    assert 0.6 < (lost or 0) < 0.95
    half = np.stack([noise(1), 0.6 * noise(1) + 0.8 * noise(2)]).astype(np.float32)
    assert ic_error(narrow, half, RATE) == pytest.approx(0.36, abs=0.05)


def test_where_nothing_is_left_the_image_is_in_the_middle() -> None:
    first = panned(noise(), 7)
    nothing = np.zeros_like(first)
    assert ild_error(first, nothing, RATE) == pytest.approx(7, abs=1e-3)
    assert ipd_error(first, nothing, RATE) == pytest.approx(0, abs=1e-3)
    assert ic_error(first, nothing, RATE) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("measure", [ild_error, ipd_error, ic_error, visqol_lr, visqol_side])
def test_other_than_stereo(measure) -> None:
    mono, three = np.zeros((1, RATE), np.float32), np.zeros((3, RATE), np.float32)
    for wav in (mono + 0.1, three + 0.1, np.zeros((2, RATE), np.float32)):
        assert measure(wav, wav, RATE) is None


@pytest.mark.parametrize("n", [1, 100, 5000])
def test_short_signals(n: int) -> None:
    wav = panned(noise(n=n) + 0.1, 3)
    other = panned(noise(n=n) + 0.1, 5)
    assert ild_error(wav, other, RATE) == pytest.approx(2, abs=0.01)


def test_visqol_of_left_right_and_side() -> None:
    pytest.importorskip("visqol")
    first = np.stack([noise(1), noise(2)]).astype(np.float32)
    best = pytest.approx(4.732101253042348, abs=1e-6)
    assert visqol_lr(first, first, RATE) == visqol_side(first, first, RATE) == best
    only_right = first * np.array([[1], [0]], np.float32)
    lost = visqol_lr(first, only_right, RATE)
    assert lost == pytest.approx((4.732101253042348 + 1) / 2, abs=1e-6)
    middle = np.broadcast_to(first.mean(0), first.shape)
    assert visqol_side(first, middle, RATE) == 1.0
    assert visqol_side(middle, first, RATE) is None
