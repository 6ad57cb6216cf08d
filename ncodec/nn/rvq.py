"""Residual vector quantisation at inference. Training lives in ncodec.training.quantiser.

Shapes: B batch, F frames, D latent, Q codebooks, K codebook size.

Zeghidour et al., "SoundStream: an end-to-end neural audio codec", TASLP 2022, section III.C.
"""

import torch
from torch import Tensor, nn


class ResidualVectorQuantiser(nn.Module):
    """Codebooks that each code what the ones before them left over."""

    def __init__(self, n_codebooks: int, codebook_size: int, dim: int) -> None:
        super().__init__()
        self.codebooks: Tensor  # [Q, K, D]
        self.register_buffer("codebooks", torch.randn(n_codebooks, codebook_size, dim) * dim**-0.5)

    def nearest(self, residual: Tensor, q: int) -> Tensor:
        """Return the index of the code of codebook `q` nearest to each of [..., D] vectors."""
        codebook = self.codebooks[q]
        half_norms = codebook.square().sum(1) * -0.5
        flat = residual.reshape(-1, residual.shape[-1])
        return torch.addmm(half_norms, flat, codebook.T).argmax(1).view(residual.shape[:-1])

    def encode(self, latents: Tensor, n_q: int) -> Tensor:
        """Return the codes [B, n_q, F] of [B, F, D] latents."""
        residual, codes = latents, []
        for q in range(n_q):
            index = self.nearest(residual, q)
            residual = residual - self.codebooks[q][index]
            codes.append(index)
        return torch.stack(codes, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latents [B, F, D] of codes [B, n_q, F]."""
        latents = self.codebooks[0][codes[:, 0]]
        for q in range(1, codes.shape[1]):
            latents = latents + self.codebooks[q][codes[:, q]]
        return latents
