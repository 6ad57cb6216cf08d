import numpy as np
import pytest
from audio_files import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ncodec.audio import Resampler, resample, resampled_length
from ncodec.errors import UsageError


@settings(max_examples=60, deadline=None)
@given(
    rates=st.sampled_from([(44100, 24000), (24000, 44100), (8000, 48000), (48000, 8000),
                           (96000, 24000), (22050, 24000), (11025, 16000), (24000, 24000)]),
    n_channels=st.integers(1, 3),
    blocks=st.lists(st.integers(0, 3000), max_size=8),
)  # fmt: skip
def test_resampling_does_not_depend_on_the_blocks(
    rates: tuple[int, int], n_channels: int, blocks: list[int]
) -> None:
    wav = noise(n_channels, sum(blocks))
    resampler = Resampler(*rates, n_channels)
    parts, start = [], 0
    for n in blocks:
        parts.append(resampler.push(wav[:, start : start + n]))
        start += n
    parts.append(resampler.push(wav[:, start:], last=True))
    streamed = np.concatenate(parts, axis=1)
    np.testing.assert_array_equal(streamed, resample(wav, *rates))
    assert streamed.dtype == np.float32
    assert streamed.shape == (n_channels, resampled_length(wav.shape[1], *rates))


@pytest.mark.quick
def test_the_length_is_rounded_with_halves_up() -> None:
    assert [resampled_length(n, 2, 1) for n in range(6)] == [0, 1, 1, 2, 2, 3]
    assert resampled_length(10**15, 44100, 48000) == 1088435374149660


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("rates", [(8000, 192000), (192000, 8000), (44100, 24000)])
def test_hardly_any_samples_are_resampled(n: int, rates: tuple[int, int]) -> None:
    assert resample(noise(2, n), *rates).shape == (2, resampled_length(n, *rates))


@pytest.mark.quick
def test_a_tone_keeps_its_place_and_level() -> None:
    def tone(rate: int) -> NDArray[np.float32]:
        return np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)[None]

    out = resample(tone(44100), 44100, 24000)
    np.testing.assert_allclose(out[:, 500:-500], tone(24000)[:, 500:-500], atol=1e-5)


def test_what_the_target_rate_cannot_hold_is_removed() -> None:
    high = np.sin(2 * np.pi * 15000 * np.arange(48000) / 48000).astype(np.float32)[None]
    assert np.abs(resample(high, 48000, 24000)[:, 500:-500]).max() < 1e-5


def test_a_wanted_length_cuts_or_pads() -> None:
    wav = noise(1, 1000)
    whole = resample(wav, 48000, 24000)
    np.testing.assert_array_equal(resample(wav, 48000, 24000, n_out=499), whole[:, :499])
    longer = resample(wav, 48000, 24000, n_out=502)
    np.testing.assert_array_equal(longer, np.pad(whole, ((0, 0), (0, 2))))


def test_equal_rates_change_nothing() -> None:
    wav = noise(2, 100)
    np.testing.assert_array_equal(resample(wav, 48000, 48000), wav)


def test_a_resampler_refuses_nonsense() -> None:
    with pytest.raises(UsageError):
        Resampler(0, 24000, 1)
    resampler = Resampler(48000, 24000, 1)
    resampler.push(noise(1, 10), last=True)
    with pytest.raises(ValueError, match="after the last"):
        resampler.push(noise(1, 10))
