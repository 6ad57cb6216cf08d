"""Pre-echo of known size."""

import numpy as np
import pytest

from ncodec.evaluation.transients import FLOOR_DB, pre_echo

RATE = 48000
ONSET = RATE // 2  # of 1 s
LEVEL = 0.1


def noise(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n)


def burst(before: float = 0.0, at: int = ONSET) -> np.ndarray:
    """Noise from `at` on, and noise of another level before."""
    wav = LEVEL * noise(RATE, 1)
    wav[:at] = before * noise(at, 2)
    return wav[None].astype(np.float32)


def smeared(source: np.ndarray, level: float, window_ms: int) -> np.ndarray:
    """The same with noise in the window before the onset."""
    made = source.copy()
    n = window_ms * RATE // 1000
    made[0, ONSET - n : ONSET] += (level * noise(n, 3)).astype(np.float32)
    return made


@pytest.mark.parametrize("level_db", [-20, -30, -45])
def test_noise_that_a_window_of_20_ms_spreads(level_db: int) -> None:
    """It fills 15 of the 25 ms that are measured; before, there was nothing."""
    source = burst()
    made = smeared(source, LEVEL * 10 ** (level_db / 20), 20)
    energy = 15 / 25 * 10 ** (level_db / 10)  # of the attack's
    expected = 10 * np.log10(energy / 10 ** (-FLOOR_DB / 10) + 1)
    assert pre_echo(source, made, RATE) == pytest.approx(expected, abs=0.5)


def test_what_was_there_before_is_not_pre_echo() -> None:
    source = burst(before=0.01)
    assert pre_echo(source, source, RATE) == 0
    made = smeared(source, 0.01, 30)  # as much again, in all that is measured
    assert pre_echo(source, made, RATE) == pytest.approx(10 * np.log10(2), abs=0.3)
    assert pre_echo(source, burst(before=0.001), RATE) == 0  # less is no pre-echo


def test_the_last_5_ms_are_masked() -> None:
    source = burst()
    assert pre_echo(source, smeared(source, LEVEL / 10, 4), RATE) == 0


def test_noise_far_below_the_attack_does_not_count() -> None:
    source = burst()
    made = smeared(source, LEVEL * 10 ** (-80 / 20), 30)
    assert pre_echo(source, made, RATE) == pytest.approx(10 * np.log10(1.01), abs=0.01)


def test_a_steady_bass_hides_little() -> None:
    """It has 26 dB more energy than the pre-echo, and 16 dB less once both are differentiated."""
    step = 2 * np.pi * 60 / RATE
    bass = (0.3 * np.sin(step * np.arange(RATE))).astype(np.float32)
    source = burst()
    made = smeared(source, 0.01, 20)
    energies = 15 / 25 * 2 * 0.01**2, 0.3**2 / 2 * step**2
    expected = 10 * np.log10(energies[0] / energies[1] + 1)
    assert pre_echo(source + bass, made + bass, RATE) == pytest.approx(expected, abs=0.5)


def test_every_attack_of_every_channel_counts() -> None:
    clean, dirty = burst(), smeared(burst(), LEVEL / 10, 20)
    stereo = np.concatenate([clean, clean]), np.concatenate([clean, dirty])
    both = pre_echo(*stereo, RATE)
    assert both == pytest.approx((pre_echo(clean, dirty, RATE) or 0) / 2, abs=1e-9)
    silent = np.zeros_like(clean)
    one = np.concatenate([clean, silent]), np.concatenate([dirty, dirty])
    assert pre_echo(*one, RATE) == pre_echo(clean, dirty, RATE)


def test_no_attack() -> None:
    steady = burst(before=LEVEL)
    fade_in = (np.linspace(0, 1, RATE) ** 2 * steady).astype(np.float32)
    for wav in (steady, fade_in, np.zeros((1, RATE), np.float32), steady[:, :100]):
        assert pre_echo(wav, wav, RATE) is None


@pytest.mark.parametrize("at", [7, 29 * 48, 31 * 48, RATE - 6 * 48])
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_attacks_at_the_ends(at: int, rate: int) -> None:
    wav = burst(at=at)
    assert pre_echo(wav, wav, rate) in (None, 0)
