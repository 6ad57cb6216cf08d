"""What makes a SNAC of random weights use many of its codes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ncodec.models.snac import Snac


@torch.no_grad()
def spread_codes(codec: Snac, seconds: float = 1.0) -> None:
    """Move the projections of noise to mean 0 at every level: codes are told by direction alone."""
    seen: list[Tensor] = []

    def see(latents: Tensor) -> Tensor:
        seen.append(latents)
        return latents

    n_samples = round(seconds * codec.config.sample_rate_hz)
    codec.reconstruct(0.2 * torch.randn(1, 1, n_samples), see)
    quantiser = codec.quantiser
    left = seen[0].reshape(1, -1, codec.config.latent)
    for level, stride in enumerate(codec.config.level_strides):
        means = left.unflatten(1, (-1, stride)).mean(2)
        projected = F.linear(means, quantiser.inward[level])
        quantiser.inward_bias[level] = -projected.mean((0, 1))
        codes = quantiser.nearest(projected + quantiser.inward_bias[level], level)
        vectors = F.linear(
            quantiser.codebooks[level][codes], quantiser.outward[level],
            quantiser.outward_bias[level],
        )  # fmt: skip
        left = left - vectors.repeat_interleave(stride, 1)
