"""Residual vector quantisation at inference. Training lives in ncodec.training.quantiser.

Shapes: B batch, F frames, D latent, Q codebooks, K codebook size.

Zeghidour et al., "SoundStream: an end-to-end neural audio codec", TASLP 2022, section III.C.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

SEARCHED_AT_ONCE = 128  # frames: their scores fit a cache, and fill a product of matrices


def largest(rows: Tensor, count: int) -> Tensor:
    """Return the places of the `count` largest numbers of each row of [n, m], largest first.

    They are among the columns of a [32, m / 32] table with the largest maxima: torch finds these
    ten times as fast as it sorts out a whole row.
    """
    n, length = rows.shape
    height = math.gcd(32, length)
    table, count = rows.view(n, height, length // height), min(count, length)
    columns = table.amax(1).topk(min(count, table.shape[2]), dim=1).indices  # [n, c]
    stride = table.shape[2]
    places = columns[:, :, None] + torch.arange(0, length, stride, device=rows.device)  # [n, c, 32]
    among = rows.gather(1, places.flatten(1))
    return places.flatten(1).gather(1, among.topk(count, dim=1).indices)


class Search(Protocol):
    """Another way to choose codes than to come near to the latents."""

    def __call__(self, latents: Tensor, codebooks: Tensor) -> Tensor:
        """Return the codes [B, n_q, F] of [B, F, D] latents; codebooks [n_q, K, D]."""
        ...


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the index of the row of [K, D] nearest to each of [..., D] vectors."""
    half_norms = codebook.square().sum(1) * -0.5
    flat = vectors.reshape(-1, vectors.shape[-1])
    return torch.addmm(half_norms, flat, codebook.T).argmax(1).view(vectors.shape[:-1])


class ResidualVectorQuantiser(nn.Module):
    """Codebooks that each code what the ones before them left over."""

    def __init__(self, n_codebooks: int, codebook_size: int, dim: int) -> None:
        super().__init__()
        self.codebooks: Tensor  # [Q, K, D]
        self.register_buffer("codebooks", torch.randn(n_codebooks, codebook_size, dim) * dim**-0.5)

    def nearest(self, residual: Tensor, q: int) -> Tensor:
        """Return the index of the code of codebook `q` nearest to each of [..., D] vectors."""
        return nearest(residual, self.codebooks[q])

    def vectors(self) -> Tensor:
        """Return what stands for each code of each codebook, [Q, K, d]."""
        return self.codebooks

    def latents_of(self, index: Tensor, q: int) -> Tensor:
        """Return what codes [...] of codebook `q` stand for, [..., D]."""
        return self.codebooks[q][index]

    def encode(self, latents: Tensor, n_q: int, search: int | Search = 1) -> Tensor:
        """Return the codes [B, n_q, F] of [B, F, D] latents.

        search  the width of a beam search for the codes nearest to the latents; 1 takes the nearest
                code of each codebook in turn. Or a search of another kind
        """
        if not isinstance(search, int):
            return search(latents, self.codebooks[:n_q])
        if search > 1:
            rows = latents.reshape(-1, latents.shape[-1])
            found = self._beam_search(rows, n_q, search)
            return found.view(*latents.shape[:2], n_q).transpose(1, 2)
        residual, codes = latents, []
        for q in range(n_q):
            index = self.nearest(residual, q)
            residual = residual - self.latents_of(index, q)
            codes.append(index)
        return torch.stack(codes, 1)

    def _beam_search(self, latents: Tensor, n_q: int, width: int) -> Tensor:
        """Return the codes [n, n_q] of [n, D] latents, by a beam search.

        LeBlanc, Bhattacharya, Mahmoud and Cuperman, "Efficient search and design procedures for
        robust multi-stage VQ of LPC parameters for 4 kb/s speech coding", IEEE Transactions on
        Speech and Audio Processing, 1993: their M-L search.
        """
        codebooks = self.codebooks[:n_q]
        half_norms = [codebook.square().sum(1) * -0.5 for codebook in codebooks]
        parts = latents.split(SEARCHED_AT_ONCE)
        return torch.cat([self._search_part(part, codebooks, half_norms, width) for part in parts])

    def _search_part(
        self, latents: Tensor, codebooks: Tensor, half_norms: Sequence[Tensor], width: int
    ) -> Tensor:
        """Return the same of few latents; `half_norms` are -half the energies [K] of the codes."""
        n = len(latents)
        rows = torch.arange(n, device=latents.device)[:, None]
        residual, kept = latents, 1  # [n * kept, D]
        codes = torch.zeros(n, 0, dtype=torch.int64, device=latents.device)  # [n * kept, q]
        for codebook, half_norm in zip(codebooks, half_norms, strict=True):
            size, is_last = len(codebook), codes.shape[1] + 1 == len(half_norms)
            # Half of what the error would be less than the latent's energy, for each way to go on.
            gains = torch.addmm(half_norm, residual, codebook.T)
            gains -= residual.square().sum(-1, keepdim=True) * 0.5
            chosen = largest(gains.view(n, kept * size), 1 if is_last else width)
            parent, code = (rows * kept + chosen // size).flatten(), (chosen % size).flatten()
            residual = residual.index_select(0, parent) - codebook.index_select(0, code)
            codes = torch.cat([codes.index_select(0, parent), code[:, None]], 1)
            kept = chosen.shape[1]
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latents [B, F, D] of codes [B, n_q, F]."""
        latents = self.latents_of(codes[:, 0], 0)
        for q in range(1, codes.shape[1]):
            latents = latents + self.latents_of(codes[:, q], q)
        return latents
