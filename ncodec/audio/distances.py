"""How far a signal is from another: distances of spectra over several resolutions, and SI-SDR.

Shapes: C channels, T samples.

Spectra are of Hann windows, their hop a quarter, their sizes 256, 512, 1024 and 2048 samples at
24 kHz (11 to 85 ms); at other rates the nearest powers of two to the same times. Magnitudes are
such that a full-scale sine is 1, and those below FLOOR count as FLOOR. Before any of that, both are
multiplied by the gain that brings the reference to an RMS of 0.1, channel by channel, so that quiet
recordings count like loud ones; the gain is limited to 40 dB.
"""

import functools
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ncodec.audio.base import Audio
from ncodec.nn.mel import mel_filterbank
from ncodec.nn.threads import one_thread

WINDOWS = (256, 512, 1024, 2048)  # samples at BASE_HZ
MEL_HZ = 20000.0  # where mel bands end, if the sample rate goes so far: the end of hearing
BASE_HZ = 24000
FLOOR = 1e-3
SILENT = 1e-3  # of full scale, the peak below which nothing can be measured
_LEVEL = 0.1


def is_silent(wav: Audio) -> bool:
    """Tell whether there is nothing in [C, T] to compare with."""
    return bool(np.abs(wav).max(initial=0) < SILENT)


def si_sdr(reference: Audio, estimate: Audio, sample_rate_hz: int) -> float | None:
    """Return the scale-invariant signal-to-distortion ratio in dB, mean over channels."""
    ratios = []
    for first, second in zip(
        reference.astype(np.float64), estimate.astype(np.float64), strict=True
    ):
        first, second = first - first.mean(), second - second.mean()
        if is_silent(first):
            continue
        target = first * (first @ second / (first @ first))
        noise = second - target
        ratios.append(10 * math.log10((target @ target + 1e-12) / (noise @ noise + 1e-12)))
    return sum(ratios) / len(ratios) if ratios else None


def mel_distance(reference: Audio, estimate: Audio, sample_rate_hz: int) -> float:
    """Return the mean absolute difference of natural-log mel spectra, over frames, bands, windows.

    Of size / 8 bands, at most 80, from 0 Hz to half the sample rate, at most MEL_HZ (HTK's scale,
    triangles of height 1 over magnitudes), `size` being the window at 24 kHz.
    """
    distances = []
    with one_thread, torch.inference_mode():
        for base, first, second in _magnitudes(reference, estimate, sample_rate_hz):
            filters = _filters(2 * (first.shape[1] - 1), min(80, base // 8), sample_rate_hz)
            logs = [
                (spectrum.transpose(1, 2) @ filters).clamp_min(FLOOR).log()
                for spectrum in (first, second)
            ]
            distances.append((logs[0] - logs[1]).abs().mean().item())
    return sum(distances) / len(distances)


def stft_distance(reference: Audio, estimate: Audio, sample_rate_hz: int) -> float:
    """Return spectral convergence plus log-magnitude distance, mean over windows.

    Spectral convergence is the norm of the difference of magnitudes over the norm of the
    reference's; the other, the mean absolute difference of natural-log magnitudes.
    """
    distances = []
    with one_thread, torch.inference_mode():
        for _, first, second in _magnitudes(reference, estimate, sample_rate_hz):
            convergence = (first - second).norm() / first.norm().clamp_min(FLOOR)
            logs = [spectrum.clamp_min(FLOOR).log() for spectrum in (first, second)]
            distances.append((convergence + (logs[0] - logs[1]).abs().mean()).item())
    return sum(distances) / len(distances)


def window_size(base: int, sample_rate_hz: int) -> int:
    """Return the power of two nearest to the time of `base` samples at BASE_HZ."""
    return 1 << max(4, round(math.log2(base * sample_rate_hz / BASE_HZ)))


def _magnitudes(
    reference: Audio, estimate: Audio, sample_rate_hz: int
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield each window's size at BASE_HZ and the two spectra [C, size / 2 + 1, frames]."""
    pair = torch.stack([torch.from_numpy(wav) for wav in (reference, estimate)])  # [2, C, T]
    pair = pair * (_LEVEL / pair[0].square().mean(-1, keepdim=True).sqrt().clamp_min(1e-3))
    for base in WINDOWS:
        size = window_size(base, sample_rate_hz)
        if size // 2 >= pair.shape[-1]:  # torch cannot mirror its ends
            pair = torch.nn.functional.pad(pair, (0, size // 2 + 1 - pair.shape[-1]))
        window = _window(size)
        bins = torch.stft(pair.flatten(0, 1), size, size // 4, window=window, return_complex=True)
        first, second = (bins.abs() * (2 / window.sum())).chunk(2)
        yield base, first, second


@functools.lru_cache(maxsize=16)
def _window(size: int) -> Tensor:
    return torch.hann_window(size)


@functools.lru_cache(maxsize=16)
def _filters(size: int, n_mels: int, sample_rate_hz: int) -> Tensor:
    return mel_filterbank(size, n_mels, sample_rate_hz, f_max_hz=min(MEL_HZ, sample_rate_hz / 2))
