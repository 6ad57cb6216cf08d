"""Causal ConvNeXt blocks over frames, with the state that lets them run chunk by chunk.

Shapes: B batch, F frames, W width (channels last, so that the matrix products need no transpose).

Liu et al., "A ConvNet for the 2020s", CVPR 2022, in one dimension and looking back only.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNeXtBlock(nn.Module):
    """x + scale * MLP(norm(depthwise convolution of x))."""

    def __init__(self, width: int, kernel: int, expansion: int, scale: float) -> None:
        super().__init__()
        self.kernel = kernel
        self.depthwise = nn.Parameter(torch.randn(width, 1, kernel) / kernel**0.5)
        self.depthwise_bias = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.expand = nn.Linear(width, expansion * width)
        self.project = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    @property
    def context(self) -> int:
        """Frames before the present one that the output depends on."""
        return self.kernel - 1

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Map [B, F, W] to [B, F, W]; `past` [B, context, W] is what came before.

        Returns the output and the past of the next call.
        """
        joined = torch.cat([past, x], 1)
        mixed = F.conv1d(
            joined.transpose(1, 2), self.depthwise, self.depthwise_bias, groups=x.shape[-1]
        ).transpose(1, 2)
        hidden = F.gelu(self.expand(self.norm(mixed)), approximate="tanh")
        return x + self.scale * self.project(hidden), joined[:, joined.shape[1] - self.context :]


class ConvNeXtStack(nn.Module):
    """Blocks one after another."""

    def __init__(self, width: int, n_blocks: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.width = width
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(width, kernel, expansion, scale=1.0 / n_blocks) for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def start(self, batch: int) -> list[Tensor]:
        """Return the past of a stream's first frame: silence."""
        like = self.norm.weight
        return [like.new_zeros(batch, block.context, self.width) for block in self.blocks]  # type: ignore[misc]

    def forward(self, x: Tensor, past: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Map [B, F, W] to [B, F, W] and return the past of the next call."""
        carried = []
        for block, before in zip(self.blocks, past, strict=True):
            x, after = block(x, before)
            carried.append(after)
        return self.norm(x), carried
