"""Reconstruction losses over several resolutions, ours and those of the papers.

Shapes: B batch, T samples.
"""

import functools
import math
import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ncodec.errors import UsageError
from ncodec.nn.mel import mel_filterbank

COMPRESSION = 0.3  # exponent of magnitudes
QUIET = 1e-4  # magnitude about which compression ends: no gradient is without bound
FLOOR = 1e-3  # of magnitudes before the logarithm; lower, and silence rules the gradient


@functools.lru_cache(maxsize=32)
def _window(size: int, device: torch.device) -> Tensor:
    return torch.hann_window(size, device=device)


@functools.lru_cache(maxsize=32)
def _filters(
    size: int, n_mels: int, sample_rate_hz: int, device: torch.device, f_min_hz: float = 0.0
) -> Tensor:
    return mel_filterbank(size, n_mels, sample_rate_hz, f_min_hz).to(device)


class _RealFft(torch.autograd.Function):
    """The DFT of real frames, its gradient by the inverse real transform: half of torch's cost."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> Tensor:
        """Map [..., n] to the complex [..., n / 2 + 1]."""
        return torch.fft.rfft(frames)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Map the gradient [..., n / 2 + 1] to that of the frames."""
        size = 2 * (gradients[0].shape[-1] - 1)
        scaled = gradients[0] * (size / 2)
        scaled[..., :: size // 2] *= 2  # the lowest and the highest have no conjugate
        return torch.fft.irfft(scaled, size)


def spectrum(wav: Tensor, size: int) -> Tensor:
    """Return the STFT [B, frames, size / 2 + 1] of [B, T], a full-scale sine being 1.

    Frames are centred on every quarter of a window.
    """
    window = _window(size, wav.device)
    padded = F.pad(wav[:, None], (size // 2, size // 2), mode="reflect")[:, 0]
    frames = padded.unfold(-1, size, size // 4)
    return _RealFft.apply(frames * (window * (2 / window.sum())))  # type: ignore[no-any-return]


def _smooth(magnitude: Tensor) -> Tensor:
    """Return the means of [..., bins] over up to 9 neighbouring bins, by sums of sums."""
    padded = F.pad(magnitude, (4, 4))
    two = padded[..., :-1] + padded[..., 1:]
    four = two[..., :-2] + two[..., 2:]
    eight = four[..., :-4] + four[..., 4:]
    nine = eight[..., :-1] + padded[..., 8:]
    place = torch.arange(magnitude.shape[-1], device=magnitude.device)
    count = 1 + place.clamp_max(4) + place.flip(0).clamp_max(4)
    return nine / count


def weighted_distance(target: Tensor, estimate: Tensor, size: int) -> Tensor:
    """Return the L1 distance of complex spectra, each bin weighted by what it masks.

    The weight is the inverse root of the target's magnitude, smoothed over neighbouring bins, so
    that a quiet band counts nearly like a loud one and no bin's gradient is without bound. The
    distance is relative to the target's own: 1 is what silence scores.
    """
    bins = spectrum(target, size)
    magnitude = bins.abs()
    weight = (_smooth(magnitude) + FLOOR).rsqrt()
    distance = ((bins - spectrum(estimate, size)).abs() * weight).mean()
    return distance / (magnitude * weight).mean().clamp_min(1e-4)


def compressed_distance(target: Tensor, estimate: Tensor, size: int) -> Tensor:
    """Return the mean square distance of complex spectra whose magnitudes are compressed.

    Magnitudes are raised to COMPRESSION and phases kept, so that a bin 40 dB below another counts a
    quarter as much (Gu and Diao, "ESC", EMNLP 2024, compress real and imaginary parts apart). The
    distance is relative to the target's own energy: 1 is what silence scores.
    """
    true, made = (_compressed(spectrum(wav, size)) for wav in (target, estimate))
    energy = true.square().mean().clamp_min(1e-6)
    return (true - made).square().mean() / energy


def _compressed(bins: Tensor) -> Tensor:
    """Return complex bins with compressed magnitudes as [..., 2]."""
    parts = torch.view_as_real(bins)
    power = parts.square().sum(-1, keepdim=True)
    return parts * (power + QUIET**2) ** ((COMPRESSION - 1) / 2)


def mel_distance(target: Tensor, estimate: Tensor, size: int, sample_rate_hz: int) -> Tensor:
    """Return the L1 distance of log-mel spectra (natural logarithm), windows of `size` samples."""
    n_mels = max(8, min(80, size // 8))
    filters = _filters(size, n_mels, sample_rate_hz, target.device)
    logs = [
        (spectrum(wav, size).abs() @ filters).clamp_min(FLOOR).log() for wav in (target, estimate)
    ]
    return (logs[0] - logs[1]).abs().mean()


def reconstruction(
    target: Tensor,
    plain: Tensor,
    whole: Tensor,
    sample_rate_hz: int,
    rng: random.Random,
    *,
    compressed: bool = False,
) -> dict[str, Tensor]:
    """Return the losses of a batch.

    `stft` is of the part that is meant to match sample by sample; `heard`, the full-signal STFT
    loss, and `mel` are of the whole. The mel distance wants all the noise that the target has, a
    match of samples wants none; the weight of `heard` settles how much there is.

    A few scales, drawn again each step, stand for all: the losses cost as much as the network.

    compressed  give `compressed` too, of what `stft` sees, at the same scales
    """
    first, second = rng.sample((128, 512, 1024, 2048), 2)
    stft = [weighted_distance(target, plain, size) for size in (first, second)]
    mel = [
        mel_distance(target, whole, size, sample_rate_hz)
        for size in rng.sample((64, 128, 256, 512, 1024, 2048), 2)
    ]
    losses = {
        "stft": torch.stack(stft).mean(),
        "heard": weighted_distance(target, whole, first),
        "mel": torch.stack(mel).mean(),
    }
    if compressed:
        scales = [compressed_distance(target, plain, size) for size in (first, second)]
        losses["compressed"] = torch.stack(scales).mean()
    return losses


LOWEST = 1e-5  # of mel bands before the logarithm, in the papers' losses


def floored_log(bands: Tensor) -> Tensor:
    """Return the natural logarithm of bands, `LOWEST` at the least.

    Below that the gradient is the one at `LOWEST`: else a band that is silent would stay so.
    """
    return (bands + (bands.clamp_min(LOWEST) - bands).detach()).log()


def _mels(wav: Tensor, size: int, filters: Tensor, power: int, scale: float = 1.0) -> Tensor:
    """Return mel bands [B, frames, n_mels] of the spectrum as torch.stft scales it, times scale."""
    window = _window(size, wav.device)
    bins = torch.stft(wav, size, size // 4, window=window, return_complex=True).abs()
    return (bins**power * scale).transpose(1, 2) @ filters


def soundstream_mel(target: Tensor, estimate: Tensor, sample_rate_hz: int) -> Tensor:
    """Return SoundStream's loss of 64 mel bands, windows of 2**6 to 2**11 samples.

    Each adds the L1 norm of a frame's difference and sqrt(size / 2) times the L2 norm of that of
    its logarithms (Gritsenko et al., "A spectral energy distance for parallel speech generation",
    NeurIPS 2020).
    """
    total = target.new_zeros(())
    for size in (64, 128, 256, 512, 1024, 2048):
        filters = _filters(size, 64, sample_rate_hz, target.device)
        true, made = (_mels(wav, size, filters, 1) for wav in (target, estimate))
        difference = floored_log(true) - floored_log(made)
        logs = (difference.square().sum(-1) + 1e-12).sqrt().mean()
        total = total + (true - made).abs().sum(-1).mean() + math.sqrt(size / 2) * logs
    return total


def encodec_mel(target: Tensor, estimate: Tensor, sample_rate_hz: int) -> Tensor:
    """Return EnCodec's loss of 64 mel bands from 64 Hz up, windows of 2**6 to 2**10 samples.

    L1 of power and mean square of its decimal logarithm, as the authors train it in audiocraft:
    neither the windows nor the logarithm are those in the paper's text.
    """
    parts = []
    for size in (64, 128, 256, 512, 1024):
        filters = _filters(size, 64, sample_rate_hz, target.device, 64.0)
        scale = 1 / float(_window(size, target.device).square().sum())
        true, made = (_mels(wav, size, filters, 2, scale) for wav in (target, estimate))
        parts.append((true - made).abs().mean())
        parts.append(((true + LOWEST).log10() - (made + LOWEST).log10()).square().mean())
    return torch.stack(parts).mean()


def _areas(n_mels: int, sample_rate_hz: int) -> Tensor:
    """Return what mel triangles are multiplied with so that all have one area, [n_mels]."""
    top = math.log1p(sample_rate_hz / 2 / 700)
    corners = 700 * torch.expm1(torch.linspace(0, top, n_mels + 2, dtype=torch.float64))
    return (2 / (corners[2:] - corners[:-2])).float()


def hilcodec_mel(target: Tensor, estimate: Tensor, sample_rate_hz: int) -> Tensor:
    """Return HILCodec's loss, windows of 2**5 to 2**10 samples: L1 and mean square of logarithms.

    Power in triangles of one area, as many as leave none without a bin, 128 at most.
    """
    top = math.log10(1 + sample_rate_hz / 2 / 700)
    total = target.new_zeros(())
    for size in (32, 64, 128, 256, 512, 1024):
        bin_width = math.log10(1 + sample_rate_hz / size / 700)
        n_mels = int(min(128, 2 * top / bin_width - 1, size // 4))
        filters = _filters(size, n_mels, sample_rate_hz, target.device)
        filters = filters * _areas(n_mels, sample_rate_hz).to(target.device)
        true, made = (floored_log(_mels(w, size, filters, 2)) for w in (target, estimate))
        total = total + (true - made).abs().mean() + (true - made).square().mean()
    return total


PAPERS = {"soundstream": soundstream_mel, "encodec": encodec_mel, "hilcodec": hilcodec_mel}


def mel_loss(paper: str) -> Callable[[Tensor, Tensor, int], Tensor]:
    """Return a paper's mel loss of waveforms [B, T]. Raises UsageError if there is no such."""
    if paper not in PAPERS:
        known = ", ".join(["drawn", *PAPERS])
        raise UsageError(f"[loss] reconstruction {paper!r} is unknown; known: {known}")
    return PAPERS[paper]
