"""Causal ConvNeXt blocks over frames, with the state that lets them run chunk by chunk.

Shapes: B batch, F frames, W width (channels last, so that the matrix products need no transpose).

Liu et al., "A ConvNet for the 2020s", CVPR 2022, in one dimension and looking back only.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def gelu(x: Tensor) -> Tensor:
    """Return the Gaussian error linear unit, in its approximation by tanh."""
    return F.gelu(x, approximate="tanh")


def squared_relu(x: Tensor) -> Tensor:
    """Return max(x, 0)**2 (So et al., "Primer", NeurIPS 2021): a tenth of the time of `gelu`."""
    return F.relu(x).square()


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"gelu": gelu, "relu2": squared_relu}
)


class ConvNeXtBlock(nn.Module):
    """x + scale * MLP(norm(depthwise convolution of x))."""

    def __init__(
        self, width: int, kernel: int, expansion: int, scale: float, activation: str = "gelu"
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.activation = ACTIVATIONS[activation]
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

    def forward(
        self, x: Tensor, past: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map [B, F, W] to [B, F, W]; `past` [B, context, W] is what came before.

        condition  [B, 2, W]: what is added to a scale of 1, and a shift, after the norm

        Returns the output and the past of the next call.
        """
        joined = torch.cat([past, x], 1)
        normed = self.norm(self._mix(joined))
        if condition is not None:
            normed = normed * (1 + condition[:, :1]) + condition[:, 1:]
        hidden = self.activation(self.expand(normed))
        return x + self.scale * self.project(hidden), joined[:, joined.shape[1] - self.context :]

    def _mix(self, joined: Tensor) -> Tensor:
        """Return the depthwise convolution of [B, context + F, W] over frames, [B, F, W]."""
        if not self.training:
            wide, width = joined.transpose(1, 2), joined.shape[-1]
            mixed = F.conv1d(wide, self.depthwise, self.depthwise_bias, groups=width)
            return mixed.transpose(1, 2)
        # As shifted products: a compiler makes one loop of them, and no gradient is copied.
        n_frames, mixed = joined.shape[1] - self.context, self.depthwise_bias
        for tap, weight in enumerate(self.depthwise.squeeze(1).unbind(1)):
            mixed = mixed + joined[:, tap : tap + n_frames] * weight
        return mixed


class ConvNeXtStack(nn.Module):
    """Blocks one after another."""

    def __init__(
        self, width: int, n_blocks: int, kernel: int, expansion: int, activation: str = "gelu"
    ) -> None:
        super().__init__()
        self.width = width
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(width, kernel, expansion, 1.0 / n_blocks, activation)
            for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def start(self, batch: int) -> list[Tensor]:
        """Return the past of a stream's first frame: silence."""
        like = self.norm.weight
        return [like.new_zeros(batch, block.context, self.width) for block in self.blocks]  # type: ignore[misc]

    def forward(
        self, x: Tensor, past: list[Tensor], condition: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Map [B, F, W] to [B, F, W] and return the past of the next call.

        condition  [B, blocks, 2, W], see ConvNeXtBlock
        """
        carried = []
        for number, (block, before) in enumerate(zip(self.blocks, past, strict=True)):
            own = None if condition is None else condition[:, number]
            x, after = block(x, before, own)
            carried.append(after)
        return self.norm(x), carried
