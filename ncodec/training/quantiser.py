"""Residual vector quantiser training: k-means start, moving-average codebooks, dead codes, dropout.

Shapes: B batch, F frames, D latent, Q codebooks, K codebook size.

Van den Oord et al., "Neural discrete representation learning", NeurIPS 2017, appendix A.1;
Zeghidour et al., "SoundStream", TASLP 2022, section III.C.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ncodec.nn.rvq import ResidualVectorQuantiser
from ncodec.training.parallel import Workers


@dataclass(frozen=True, slots=True)
class Quantised:
    """What one training pass through the quantiser gives."""

    latents: Tensor  # [B, F, D]; gradients pass straight through
    commitment: Tensor  # scalar: mean squared distance of residuals to their codes
    relative_error: Tensor  # scalar: energy left over / energy that came in


class TrainedQuantiser(nn.Module):
    """Wraps a quantiser and moves its codebooks as latents pass through it."""

    def __init__(
        self, quantiser: ResidualVectorQuantiser, decay: float, dead_below: float = 0.05
    ) -> None:
        super().__init__()
        self.quantiser = quantiser
        self.decay = decay
        self.dead_below = dead_below  # share of a code's fair use under which it is replaced
        n_codebooks, size, _ = quantiser.codebooks.shape
        self.counts: Tensor
        self.sums: Tensor
        self.register_buffer("counts", torch.ones(n_codebooks, size))
        self.register_buffer("sums", quantiser.codebooks.clone())

    @torch.no_grad()
    def fit(self, latents: Tensor, iterations: int = 10) -> None:
        """Start every codebook by k-means on [n, D] latents and what is left of them."""
        residual = latents
        size = self.quantiser.codebooks.shape[1]
        for q in range(len(self.quantiser.codebooks)):
            picks = torch.randperm(len(residual), device=residual.device)[:size]
            self.quantiser.codebooks[q] = residual[picks]
            count = residual.new_ones(size)
            for _ in range(iterations):
                index = self.quantiser.nearest(residual, q)
                count = torch.bincount(index, minlength=size).to(residual.dtype)
                total = torch.zeros_like(self.sums[q]).index_add_(0, index, residual)
                means = total / count.clamp_min(1)[:, None]
                lonely = residual[torch.randint(len(residual), (size,), device=residual.device)]
                used = count[:, None] > 0
                self.quantiser.codebooks[q] = torch.where(used, means, lonely)
            self.counts[q] = count.clamp_min(1) / count.sum() * size
            self.sums[q] = self.quantiser.codebooks[q] * self.counts[q][:, None]
            residual = residual - self.quantiser.codebooks[q][self.quantiser.nearest(residual, q)]

    @torch.no_grad()
    def restart(self) -> None:
        """Take the codebooks as they are now, each code in fair use."""
        self.counts.fill_(1.0)
        self.sums.copy_(self.quantiser.codebooks)

    @torch.no_grad()
    def _move(self, q: int, residual: Tensor, index: Tensor) -> None:
        """Move codebook `q` towards the means of [n, D] residuals that chose each code."""
        size = self.counts.shape[1]
        count = torch.bincount(index, minlength=size).to(residual.dtype)
        total = torch.zeros_like(self.sums[q]).index_add_(0, index, residual)
        fair = len(index) / size  # counts are kept in units of fair use
        keep = self.decay ** min(1.0, fair)
        self.counts[q].mul_(keep).add_(count / fair, alpha=1 - keep)
        self.sums[q].mul_(keep).add_(total / fair, alpha=1 - keep)
        self.quantiser.codebooks[q] = self.sums[q] / self.counts[q].clamp_min(1e-4)[:, None]

    @torch.no_grad()
    def _revive(self, q: int, residual: Tensor) -> None:
        """Put dead codes on random residuals, with the counts of a code in fair use."""
        dead = self.counts[q] < self.dead_below
        if dead.any():
            picks = torch.randint(len(residual), (int(dead.sum()),), device=residual.device)
            self.quantiser.codebooks[q][dead] = residual[picks]
            self.sums[q][dead] = residual[picks]
            self.counts[q][dead] = 1.0

    @torch.no_grad()
    def synchronise(self, workers: Workers, *, revived: bool) -> None:
        """Make codebooks and their statistics the same in all processes.

        Statistics are sums, so their means are what one process with all the crops would have;
        codes that were just put on random residuals are those of the first process.
        """
        if workers.count > 1:
            (workers.share if revived else workers.average)([self.counts, self.sums])
            self.quantiser.codebooks.copy_(self.sums / self.counts.clamp_min(1e-4)[..., None])

    def forward(self, latents: Tensor, n_q: Tensor, *, revive: bool = False) -> Quantised:
        """Quantise [B, F, D] latents with the first `n_q` [B] codebooks of each example."""
        order = torch.argsort(n_q, descending=True)  # the examples still active come first
        residual = latents[order]
        total = torch.zeros_like(latents)
        left = residual.detach().clone()
        commitments = []
        for q in range(int(n_q.max())):
            residual = residual[: int((n_q > q).sum())]
            index = self.quantiser.nearest(residual.detach(), q)
            code = self.quantiser.codebooks[q][index]
            commitments.append((residual - code).square().mean())
            if self.training:
                flat = residual.detach().reshape(-1, latents.shape[-1])
                self._move(q, flat, index.flatten())
                if revive:
                    self._revive(q, flat)
            residual = residual - code
            left[: len(residual)] = residual.detach()
        total[order] = latents.detach()[order] - left
        energy = latents.detach().square().mean().clamp_min(1e-8)
        return Quantised(
            latents=latents + (total - latents).detach(),
            commitment=torch.stack(commitments).mean() / energy,
            relative_error=left.square().mean() / energy,
        )


class FixedQuantiser(nn.Module):
    """Codes as files hold them, for a decoder that learns alone: no codebook moves."""

    def __init__(self, quantiser: ResidualVectorQuantiser, beam_width: int) -> None:
        super().__init__()
        self.quantiser, self.beam_width = quantiser, beam_width

    def restart(self) -> None:
        """Take the codebooks as they are now: nothing to do."""

    def synchronise(self, workers: Workers, *, revived: bool) -> None:
        """Make codebooks the same in all processes: they are."""

    @torch.no_grad()
    def forward(self, latents: Tensor, n_q: Tensor, *, revive: bool = False) -> Quantised:
        """Quantise [B, F, D] latents with the first `n_q` [B] codebooks of each example."""
        latents = latents.float()
        total = torch.empty_like(latents)
        with torch.autocast(latents.device.type, enabled=False):
            for count in n_q.unique().tolist():
                codes = self.quantiser.encode(latents[n_q == count], count, self.beam_width)
                total[n_q == count] = self.quantiser.decode(codes)
        left = (latents - total).square().mean() / latents.square().mean().clamp_min(1e-8)
        return Quantised(latents=total, commitment=left, relative_error=left)
