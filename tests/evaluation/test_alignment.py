"""The lag of a decoded signal is found and taken off."""

import numpy as np
import pytest

from ncodec.evaluation.alignment import align, find_lag

RATE = 8000


def stereo(n: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((2, n)).astype(np.float32)


@pytest.mark.quick
@pytest.mark.parametrize("lag", [0, 1, 37, 800, -1, -250, -800])
def test_a_known_lag_is_found(lag: int) -> None:
    wav = stereo(6000)
    reference, estimate = wav[:, 1000:5000], wav[:, 1000 - lag : 5000 - lag]
    noisy = 0.5 * estimate + 0.1 * stereo(7000)[:, :4000]
    first, second, found = align(reference, noisy, RATE)
    assert found == lag
    assert first.shape == second.shape == (2, 4000 - abs(lag))
    assert np.array_equal(first, reference[:, max(0, -lag) :][:, : first.shape[1]])
    assert np.corrcoef(first[0], second[0])[0, 1] > 0.95


def test_lags_beyond_reach_are_not_looked_for() -> None:
    wav = stereo(6000)
    assert abs(find_lag(wav[:, 1000:5000], wav[:, 0:4000], 800)) <= 800


@pytest.mark.parametrize("lag", [0, 3, -5])
def test_a_tone_is_shifted_by_less_than_a_period(lag: int) -> None:
    t = np.arange(RATE + 100) / RATE
    wav = np.sin(2 * np.pi * 400 * t)[None]  # of 20 samples
    assert find_lag(wav[:, 50:-50], wav[:, 50 - lag : RATE + 50 - lag], 800) == lag


def test_other_noise_has_no_lag() -> None:
    wav = stereo(9000)
    assert find_lag(wav[:1, :8000], wav[1:, :8000], 800) == 0


def test_silence_has_no_lag() -> None:
    assert find_lag(np.zeros((1, 500)), np.zeros((1, 500)), 100) == 0


@pytest.mark.parametrize("n", [0, 300, 900])
def test_other_lengths(n: int) -> None:
    wav = stereo(600)
    first, second, lag = align(wav, np.pad(wav, ((0, 0), (0, 300)))[:, :n], RATE)
    assert (first.shape, second.shape, lag) == ((2, min(n, 600)), (2, min(n, 600)), 0)
