"""Mel filter banks, for losses and distances: the one place where torchaudio is imported."""

import functools
import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor


@functools.cache
def _torchaudio() -> Callable[..., Tensor] | None:
    """Return torchaudio's function for filter banks, None where torchaudio does not load."""
    # A release is built for one release of CUDA, and fails on import next to a torch that is built
    # for another or for none, as pip installs the two. To have a pair that loads, install both from
    # one index: pip install torch torchaudio --index-url https://download.pytorch.org/whl/cpu
    try:
        from torchaudio.functional import melscale_fbanks
    except (ImportError, OSError, RuntimeError):
        return None
    return melscale_fbanks


def mel_filterbank(
    n_fft: int,
    n_mels: int,
    sample_rate_hz: int,
    f_min_hz: float = 0.0,
    f_max_hz: float | None = None,
) -> Tensor:
    """Return the triangles that turn a magnitude spectrum into mel bands: spectrum @ filterbank.

    The mel scale is HTK's, 2595 log10(1 + f / 700), and each triangle has height 1: torchaudio's
    defaults. A band narrower than a bin may be empty.

    return [n_fft // 2 + 1, n_mels] float32; f_max_hz is half the sample rate unless given
    """
    f_max_hz = sample_rate_hz / 2 if f_max_hz is None else f_max_hz
    fbanks = _torchaudio() or triangles
    with warnings.catch_warnings():  # of empty bands
        warnings.simplefilter("ignore", UserWarning)
        return fbanks(n_fft // 2 + 1, f_min_hz, f_max_hz, n_mels, sample_rate_hz)


def triangles(n_freqs: int, f_min: float, f_max: float, n_mels: int, sample_rate: int) -> Tensor:
    """Return the same numbers as `torchaudio.functional.melscale_fbanks`, bit for bit."""
    low, high = (2595.0 * math.log10(1.0 + hz / 700.0) for hz in (f_min, f_max))
    edges = 700.0 * (10.0 ** (torch.linspace(low, high, n_mels + 2) / 2595.0) - 1.0)
    widths = edges[1:] - edges[:-1]
    slopes = edges - torch.linspace(0, sample_rate // 2, n_freqs)[:, None]  # [bins, n_mels + 2]
    return torch.minimum(-slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]).clamp_min(0)
