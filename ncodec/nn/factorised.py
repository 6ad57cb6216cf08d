"""Residual vector quantisation whose codes are found, and kept, in few dimensions.

Shapes: F frames, D latent, d dimensions of a code, Q codebooks, K codebook size.

Yu et al., "Vector-quantized image modeling with improved VQGAN", ICLR 2022 (arXiv 2110.04627),
section 3.2; Kumar et al., "High-fidelity audio compression with improved RVQGAN", NeurIPS 2023,
section 3.2.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncodec.nn.rvq import ResidualVectorQuantiser


class FactorisedQuantiser(ResidualVectorQuantiser):
    """Of each codebook the code is taken whose direction is nearest to that of the projected rest.

    rest -> projection to d dimensions -> code of the largest cosine -> projection to D -> rest - it
    """

    def __init__(self, n_codebooks: int, codebook_size: int, dim: int, code_dim: int) -> None:
        nn.Module.__init__(self)  # no codebooks of D dimensions are kept
        self.codewords = nn.Parameter(torch.randn(n_codebooks, codebook_size, code_dim))
        self.in_weight = nn.Parameter(torch.randn(n_codebooks, code_dim, dim) * dim**-0.5)
        self.in_bias = nn.Parameter(torch.zeros(n_codebooks, code_dim))
        self.out_weight = nn.Parameter(torch.randn(n_codebooks, dim, code_dim) * code_dim**-0.5)
        self.out_bias = nn.Parameter(torch.zeros(n_codebooks, dim))

    @property
    def codebooks(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What all codes stand for, [Q, K, D], computed anew: for those who search otherwise."""
        wide = torch.matmul(self.codewords, self.out_weight.transpose(1, 2))
        return wide + self.out_bias[:, None]

    def nearest(self, residual: Tensor, q: int) -> Tensor:
        """Return the code of codebook `q` with the largest cosine to each of [..., D] vectors."""
        projected = F.linear(residual, self.in_weight[q], self.in_bias[q])
        return F.linear(projected, F.normalize(self.codewords[q])).argmax(-1)

    def latents_of(self, index: Tensor, q: int) -> Tensor:
        """Return what codes [...] of codebook `q` stand for, [..., D]."""
        return F.linear(self.codewords[q][index], self.out_weight[q], self.out_bias[q])
