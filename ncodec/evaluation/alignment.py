"""Laying a decoded signal over the one it was made of.

Shapes: C channels, T samples.
"""

import numpy as np

from ncodec.audio.base import Audio

REACH_S = 0.1  # the longest delay that is looked for
_ALIKE = 0.1  # correlation below which there is nothing to go by: noise in place of noise
_EQUAL = 0.99  # of the highest peak; for a tone, others are as high a period away


def find_lag(reference: Audio, estimate: Audio, reach: int) -> int:
    """Return by how many samples `estimate` [C, T] comes later, at most `reach` either way.

    It is the shortest lag at a peak of the cross-correlation of the two, mixed to mono, that is
    as good as the highest; 0 where they do not correlate.
    """
    first, second = reference.mean(0, dtype=np.float64), estimate.mean(0, dtype=np.float64)
    size = 1 << (max(len(first), len(second)) + reach).bit_length()
    spectrum = np.fft.rfft(first, size).conj() * np.fft.rfft(second, size)
    around = np.fft.irfft(spectrum, size)[np.arange(-reach - 1, reach + 2)]
    inner = around[1:-1]
    highest = inner.max()
    if highest <= _ALIKE * np.sqrt((first @ first) * (second @ second)):
        return 0
    is_peak = (inner >= around[:-2]) & (inner >= around[2:]) & (inner >= _EQUAL * highest)
    lags = np.arange(-reach, reach + 1)
    peaks = lags[is_peak | (inner == highest)]
    return int(peaks[np.argmin(np.abs(peaks))])


def align(reference: Audio, estimate: Audio, sample_rate_hz: int) -> tuple[Audio, Audio, int]:
    """Return the part of both signals that they share once the lag is taken off, and the lag."""
    lag = find_lag(reference, estimate, round(REACH_S * sample_rate_hz))
    reference = reference[:, max(0, -lag) :]
    estimate = estimate[:, max(0, lag) :]
    n = min(reference.shape[1], estimate.shape[1])
    return reference[:, :n], estimate[:, :n], lag
