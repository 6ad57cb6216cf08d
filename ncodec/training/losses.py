"""Reconstruction losses over several resolutions, and the level they are taken at.

Shapes: B batch, T samples.
"""

import functools
import random

import torch
from torch import Tensor

from ncodec.nn.mel import mel_filterbank

FLOOR = 1e-3  # of magnitudes before the logarithm; lower, and silence rules the gradient


@functools.lru_cache(maxsize=32)
def _window(size: int, device: torch.device) -> Tensor:
    return torch.hann_window(size, device=device)


@functools.lru_cache(maxsize=32)
def _filters(size: int, n_mels: int, sample_rate_hz: int, device: torch.device) -> Tensor:
    return mel_filterbank(size, n_mels, sample_rate_hz).to(device)


def spectrum(wav: Tensor, size: int) -> Tensor:
    """Return the complex STFT [B, size / 2 + 1, frames] of [B, T], a full-scale sine being 1."""
    window = _window(size, wav.device)
    stft = torch.stft(wav, size, size // 4, window=window, return_complex=True)
    return stft * (2 / window.sum())


def levelled(target: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Scale waveforms [B, T] so that the target's RMS is 0.1: quiet audio counts like loud.

    The gain is limited to 40 dB, so that silence stays near silence.
    """
    rms = target.square().mean(-1, keepdim=True).sqrt()
    gain = 0.1 / rms.clamp_min(1e-3)
    return tuple(wav * gain for wav in (target, *others))


def weighted_distance(target: Tensor, estimate: Tensor, size: int) -> Tensor:
    """Return the L1 distance of complex spectra, each bin weighted by what it masks.

    The weight is the inverse root of the target's magnitude, smoothed over neighbouring bins, so
    that a quiet band counts nearly like a loud one and no bin's gradient is without bound. The
    distance is relative to the target's own: 1 is what silence scores.
    """
    bins = spectrum(target, size)
    magnitude = bins.abs()
    smooth = torch.nn.functional.avg_pool1d(
        magnitude.transpose(1, 2), 9, 1, 4, count_include_pad=False
    ).transpose(1, 2)
    weight = (smooth + FLOOR).rsqrt()
    error = torch.view_as_real(bins - spectrum(estimate, size)).square().sum(-1)
    distance = ((error + 1e-10).sqrt() * weight).mean()
    return distance / (magnitude * weight).mean().clamp_min(1e-4)


def mel_distance(target: Tensor, estimate: Tensor, size: int, sample_rate_hz: int) -> Tensor:
    """Return the L1 distance of log-mel spectra (natural logarithm), windows of `size` samples."""
    n_mels = max(8, min(80, size // 8))
    filters = _filters(size, n_mels, sample_rate_hz, target.device)
    logs = []
    for wav in (target, estimate):
        magnitude = spectrum(wav, size).abs()
        logs.append((magnitude.transpose(1, 2) @ filters).clamp_min(FLOOR).log())
    return (logs[0] - logs[1]).abs().mean()


def reconstruction(
    target: Tensor,
    plain: Tensor,
    whole: Tensor,
    sample_rate_hz: int,
    rng: random.Random,
) -> dict[str, Tensor]:
    """Return the losses of a batch.

    `stft` sees the part that is meant to match sample by sample, `heard` and `mel` the whole. The
    mel distance wants all the noise that the target has, a match of samples wants none; at its
    weight, `heard` settles how much there is.

    A few scales, drawn anew each step, stand for all: the losses cost as much as the network.
    """
    first, second = rng.sample((128, 512, 1024, 2048), 2)
    stft = weighted_distance(target, plain, first) + weighted_distance(target, plain, second)
    mel = [
        mel_distance(target, whole, size, sample_rate_hz)
        for size in rng.sample((64, 128, 256, 512, 1024, 2048), 2)
    ]
    return {
        "stft": stft / 2,
        "heard": weighted_distance(target, whole, first),
        "mel": torch.stack(mel).mean(),
    }
