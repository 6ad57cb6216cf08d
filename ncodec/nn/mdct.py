"""The modified discrete cosine transform, as one matrix product a frame.

`mdct_bases` says which. Shapes: B batch, T samples, F frames, N bins (= hop).
"""

import torch
from torch import Tensor, nn

from ncodec.nn.mdct_bases import mdct_bases


class Mdct(nn.Module):
    """MDCT and MDST of half-overlapping frames, and the inverse of the MDCT."""

    def __init__(self, n_bins: int) -> None:
        super().__init__()
        self.n_bins = n_bins
        cosine, sine = map(torch.from_numpy, mdct_bases(n_bins))
        self.cosine: Tensor
        self.both: Tensor
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("both", torch.cat([cosine, sine], 1), persistent=False)

    def frames(self, samples: Tensor) -> Tensor:
        """Cut [B, (F + 1) * N] samples into half-overlapping frames [B, F, 2N]."""
        return samples.unfold(-1, 2 * self.n_bins, self.n_bins)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Transform [B, (F + 1) * N] samples into MDCT and MDST coefficients, [B, F, N] each."""
        both = self.frames(samples) @ self.both
        return both[..., : self.n_bins], both[..., self.n_bins :]

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Overlap-add [B, F, N] MDCT coefficients into [B, (F + 1) * N] samples.

        The first and the last N samples lack their neighbour and still hold the aliasing.
        """
        halves = coefficients @ self.cosine.T  # [B, F, 2N]
        first, second = halves.split(self.n_bins, -1)
        pad = first.new_zeros(first.shape[0], 1, self.n_bins)
        return (torch.cat([first, pad], 1) + torch.cat([pad, second], 1)).flatten(1)
