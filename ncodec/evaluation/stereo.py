"""How well the stereo image is kept: level, phase and coherence between the two channels.

Shapes: C channels, T samples, F frames, K bins, B bands.

What a parametric stereo coder sends is compared instead (Breebaart, van de Par, Kohlrausch and
Schuijers, "Parametric coding of stereo audio", EURASIP Journal on Applied Signal Processing 2005,
issue 9): in each frame and band, with L and R the spectra of the two channels, summed over bins,

    level difference (ILD)  10 log10(sum |L|^2 / sum |R|^2) dB, limited to +-MAX_ILD_DB
    phase difference (IPD)  the angle of sum L R*
    coherence (IC)          |sum L R*| / sqrt(sum |L|^2 sum |R|^2)

Frames are Hann windows of 4096 samples at 48 kHz, their hop a half. Bands are one ERB wide
(Glasberg and Moore, Hearing Research 47, 1990), up to 20 kHz. An error is the mean over frames and
bands of how far source and decoded signal are apart. A part counts by about its loudness, the
energy of the source to the power of 0.3 (Stevens); what is RANGE_DB weaker than the loudest part
does not count. Where the decoded signal has nothing, its image is in the middle: no difference of
level or phase, and a coherence of 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ncodec.audio.base import Audio
from ncodec.audio.distances import is_silent, window_size

Values = NDArray[np.float64]

MAX_ILD_DB = 25.0  # the coarse quantiser of MPEG-4's parametric stereo ends there
MAX_IPD_HZ = (
    2000.0  # above, phases between the ears are not heard; Breebaart et al. do not send them
)
MAX_HZ = 20000.0
RANGE_DB = 60.0
_FLOOR_DB = 100.0  # below the loudest part, what counts as nothing
_LOUDNESS = 0.3
_BLOCK = 256  # frames
_BASE_WINDOW = 2048  # samples at 24 kHz, as `window_size` takes them


@dataclass(frozen=True, slots=True)
class _Bands:
    """Sums over the bins of each band."""

    left: Values  # [F, B], energies
    right: Values
    cross: NDArray[np.complex128]  # [F, B]

    @property
    def energy(self) -> Values:
        return self.left + self.right

    def above(self, floor: float) -> "_Bands":
        return _Bands(self.left + floor, self.right + floor, self.cross + floor)

    @property
    def ild_db(self) -> Values:
        return np.clip(10 * np.log10(self.left / self.right), -MAX_ILD_DB, MAX_ILD_DB)

    @property
    def coherence(self) -> Values:
        return np.abs(self.cross) / np.sqrt(self.left * self.right)


def ild_error(reference: Audio, estimate: Audio, sample_rate_hz: int) -> float | None:
    """Return the mean error of level differences in dB; None for other than stereo."""
    found = _compared(reference, estimate, sample_rate_hz)
    if found is None:
        return None
    first, second, weights, _ = found
    return _mean(np.abs(first.ild_db - second.ild_db), weights)


def ipd_error(reference: Audio, estimate: Audio, sample_rate_hz: int) -> float | None:
    """Return the mean error of phase differences below MAX_IPD_HZ, in degrees from 0 to 180.

    A part counts by the coherence of the source too: without it, its phase means nothing. None for
    other than stereo, and where nothing counts.
    """
    found = _compared(reference, estimate, sample_rate_hz)
    if found is None:
        return None
    first, second, weights, edges_hz = found
    heard = edges_hz[1:] <= MAX_IPD_HZ
    apart = np.degrees(np.abs(np.angle(first.cross * second.cross.conj())))
    return _mean(apart[:, heard], (weights * first.coherence)[:, heard])


def ic_error(reference: Audio, estimate: Audio, sample_rate_hz: int) -> float | None:
    """Return the mean error of coherence, 0 to 1; None for other than stereo.

    In the lowest bands, of two or three bins, coherence is high whatever the signals.
    """
    found = _compared(reference, estimate, sample_rate_hz)
    if found is None:
        return None
    first, second, weights, _ = found
    return _mean(np.abs(first.coherence - second.coherence), weights)


def _mean(values: Values, weights: Values) -> float | None:
    total = float(weights.sum())
    return float((values * weights).sum()) / total if total > 0 else None


def _compared(
    reference: Audio, estimate: Audio, sample_rate_hz: int
) -> tuple[_Bands, _Bands, Values, Values] | None:
    """Return the bands of both, the weights of their parts [F, B], and their edges in Hz [B + 1].

    None where there is nothing to compare.
    """
    if reference.shape[0] != 2 or is_silent(reference):
        return None
    size = window_size(_BASE_WINDOW, sample_rate_hz)
    starts, edges_hz = _edges(size, sample_rate_hz)
    first, second = (_bands(wav, size, starts) for wav in (reference, estimate))
    loudest = float(first.energy.max())
    counts = first.energy > loudest * 10 ** (-RANGE_DB / 10)
    weights = np.where(counts, first.energy / loudest, 0.0) ** _LOUDNESS
    floor = loudest * 10 ** (-_FLOOR_DB / 10)
    return first.above(floor), second.above(floor), weights, edges_hz


def _edges(size: int, sample_rate_hz: int) -> tuple[NDArray[np.int64], Values]:
    """Return the first bin of each band, and of what follows the last; and the edges in Hz."""
    top_hz = min(MAX_HZ, sample_rate_hz / 2)
    n_bands = int(21.4 * np.log10(1 + 0.00437 * top_hz))
    edges_hz = (10 ** (np.arange(n_bands + 1) / 21.4) - 1) / 0.00437
    starts = np.maximum(1, np.ceil(edges_hz * size / sample_rate_hz)).astype(np.int64)
    kept = np.flatnonzero(np.diff(starts, append=size) > 0)  # without bands that have no bin
    return starts[kept], edges_hz[kept]


def _bands(wav: Audio, size: int, starts: NDArray[np.int64]) -> _Bands:
    """Return the sums of [2, T], zeros around it, in blocks of frames to save memory."""
    padded = np.pad(wav.astype(np.float64), ((0, 0), (size // 2, size)))
    frames = sliding_window_view(padded, size, axis=-1)[:, :: size // 2]
    window = np.hanning(size)
    blocks: list[list[NDArray[Any]]] = []
    for at in range(0, frames.shape[1], _BLOCK):
        left, right = np.fft.rfft(frames[:, at : at + _BLOCK] * window, axis=-1)
        products = (np.abs(left) ** 2, np.abs(right) ** 2, left * right.conj())
        blocks.append([np.add.reduceat(one, starts, axis=-1)[:, :-1] for one in products])
    return _Bands(*map(np.concatenate, zip(*blocks, strict=True)))
