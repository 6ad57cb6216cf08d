"""The bases of the modified discrete cosine transform, and of its sine counterpart. No torch.

Princen, Johnson and Bradley, "Subband/transform coding using filter bank designs based on time
domain aliasing cancellation", ICASSP 1987. Sine window of 2N samples, orthonormal scaling: energy
in the coefficients equals energy in the samples and the inverse is the transpose.
"""

import math

import numpy as np
from numpy.typing import NDArray


def mdct_bases(n_bins: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the windowed cosine and sine bases for N bins, [2N, N] each, computed in float64."""
    n, k = np.arange(2 * n_bins, dtype=np.float64), np.arange(n_bins, dtype=np.float64)
    window = np.sin(math.pi / (2 * n_bins) * (n + 0.5))
    phase = math.pi / n_bins * (n[:, None] + 0.5 + n_bins / 2) * (k[None, :] + 0.5)
    scale = math.sqrt(2.0 / n_bins) * window[:, None]
    return (scale * np.cos(phase)).astype(np.float32), (scale * np.sin(phase)).astype(np.float32)
