"""Residual vector quantisation at several rates, of vectors of few dimensions.

Shapes: B batch, F frames, s fine steps of a frame, D latent, L levels, Q codebooks, K codebook
size, d dimensions of a code's vector.

A level quantises the mean of several fine steps, the levels after it what is left over at each
step. Siuzdak et al., "SNAC", 2024, section 2; the projections to few dimensions, and distances
between directions, of Yu et al., "Vector-quantized image modeling with improved VQGAN", ICLR 2022.
"""

from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncodec.nn.rvq import ResidualVectorQuantiser, Search, nearest


def level_counts(strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many codes of each level a frame has; `strides` are the fine steps of a code."""
    return tuple(strides[0] // stride for stride in strides)


class MultiScaleQuantiser(ResidualVectorQuantiser):
    """Levels of codes whose number in a frame grows; a frame's latents are those of its steps.

    A frame has the codes of the first level, then those of the second in time, and so on: as many
    codebooks as that of a quantiser of one rate, those of a level being the same one. Codes are the
    nearest ones, there is no wider search.
    """

    def __init__(
        self, strides: tuple[int, ...], codebook_size: int, code_dim: int, latent: int
    ) -> None:
        """Let `strides` be the fine steps of a code of each level, the first those of a frame."""
        super().__init__(len(strides), codebook_size, code_dim)  # one of each level
        self.strides, self.counts = strides, level_counts(strides)
        n = len(strides)
        self.inward = nn.Parameter(torch.randn(n, code_dim, latent) * latent**-0.5)
        self.inward_bias = nn.Parameter(torch.zeros(n, code_dim))
        self.outward = nn.Parameter(torch.randn(n, latent, code_dim) * code_dim**-0.5)
        self.outward_bias = nn.Parameter(torch.zeros(n, latent))

    def n_levels(self, n_q: int) -> int:
        """Return how many levels the first `n_q` codebooks are: whole ones."""
        return [*accumulate(self.counts)].index(n_q) + 1

    def vectors(self) -> Tensor:
        """See ResidualVectorQuantiser.vectors."""
        counts = torch.tensor(self.counts, device=self.codebooks.device)
        return self.codebooks.repeat_interleave(counts, 0)

    def nearest(self, residual: Tensor, q: int) -> Tensor:
        """Return the code of level `q` of the direction nearest to that of [..., d] vectors."""
        return nearest(F.normalize(residual, dim=-1), F.normalize(self.codebooks[q], dim=1))

    def encode(self, latents: Tensor, n_q: int, search: int | Search = 1) -> Tensor:
        """Return the codes [B, n_q, F] of [B, F, s D] latents."""
        n_batch, n_frames, _ = latents.shape
        n_steps = n_frames * self.strides[0]
        residual, codes = latents.reshape(n_batch, n_steps, self.inward.shape[2]), []
        for level in range(self.n_levels(n_q)):
            stride = self.strides[level]
            means = residual.view(n_batch, n_steps // stride, stride, residual.shape[2]).mean(2)
            projected = F.linear(means, self.inward[level], self.inward_bias[level])
            index = self.nearest(projected, level)
            residual = residual - self._steps_of(index, level)
            codes.append(index.view(n_batch, n_frames, self.counts[level]).transpose(1, 2))
        return torch.cat(codes, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latents [B, F, s D] of codes [B, n_q, F]."""
        n_batch, n_q, n_frames = codes.shape
        n_levels = self.n_levels(n_q)
        parts = codes.split(self.counts[:n_levels], 1)
        total = codes.new_zeros(()).to(self.outward.dtype)
        for level, part in enumerate(parts):
            total = total + self._steps_of(part.transpose(1, 2).reshape(n_batch, -1), level)
        return total.reshape(n_batch, n_frames, self.strides[0] * self.outward.shape[1])

    def _steps_of(self, index: Tensor, level: int) -> Tensor:
        """Return what a level's codes [B, n] add to each fine step, [B, n stride, D]."""
        vectors = self.codebooks[level][index]
        latents = F.linear(vectors, self.outward[level], self.outward_bias[level])
        return latents.repeat_interleave(self.strides[level], 1)
