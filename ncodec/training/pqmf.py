"""Pseudo-quadrature mirror filters: a wave in M bands of a rate M times lower, and back.

Shapes: B batch, T samples, M bands.

Cosine-modulated bank (Rothweiler, "Polyphase quadrature filters - a new subband coding technique",
ICASSP 1983) on a low-pass prototype by a Kaiser window (Lin and Vaidyanathan, "A Kaiser window
approach for the design of prototype filters of cosine modulated filterbanks", IEEE Signal
Processing Letters 5, 1998). Such a bank is nearly orthogonal, so synthesis is the transpose of
analysis; how nearly hangs on the cutoff, which is to put each band 3 dB down where it meets the
next.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def prototype(taps: int, cutoff: float, beta: float) -> Tensor:
    """Return the low-pass filter [taps + 1] float64.

    cutoff  of the ideal filter under the window; 1 is half the sample rate
    beta    of the Kaiser window: more is steeper to the far bands, flatter to the next
    """
    n = torch.arange(taps + 1, dtype=torch.float64) - taps / 2
    window = torch.kaiser_window(taps + 1, periodic=False, beta=beta, dtype=torch.float64)
    return cutoff * torch.sinc(cutoff * n) * window


class Pqmf(nn.Module):
    """A bank of M bands, in float32 whatever the rest runs in."""

    def __init__(self, n_bands: int, taps: int, cutoff: float, beta: float) -> None:
        super().__init__()
        assert taps % 2 == 0
        self.n_bands, self.taps = n_bands, taps
        n = torch.arange(taps + 1, dtype=torch.float64) - taps / 2
        k = torch.arange(n_bands, dtype=torch.float64)[:, None]
        phase = math.pi / 4 * (1 - 2 * (k % 2))  # neighbours' aliases cancel
        waves = torch.cos((2 * k + 1) * math.pi / (2 * n_bands) * n + phase)
        filters = 2 * n_bands**0.5 * prototype(taps, cutoff, beta) * waves
        self.filters: Tensor  # [M, 1, taps + 1]
        self.register_buffer("filters", filters.float().unsqueeze(1), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """Split [B, 1, T] into bands [B, M, T / M], rounded up."""
        with torch.autocast(wav.device.type, enabled=False):
            return F.conv1d(wav.float(), self.filters, None, self.n_bands, self.taps // 2)

    def synthesis(self, bands: Tensor) -> Tensor:
        """Return the wave [B, 1, M T'] of bands [B, M, T']; its ends lack what is beyond them."""
        with torch.autocast(bands.device.type, enabled=False):
            return F.conv_transpose1d(
                bands.float(), self.filters, None, self.n_bands, self.taps // 2, self.n_bands - 1
            )
