"""A causal transformer over time that sees a sliding window, in chunks that follow each other.

Shapes: B batch, T time steps, P steps before, C channels, H heads, d channels of a head.

Vaswani et al., "Attention is all you need", NeurIPS 2017; positions by rotation, Su et al.,
"RoFormer: enhanced transformer with rotary position embedding", 2021 (arXiv 2104.09864); layer
scale, Touvron et al., "Going deeper with image transformers", ICCV 2021.

A step sees the keys and values of the `window` steps that end with itself. Those are all that a
layer remembers, so memory and the work for a step are bounded however long a stream is. Attention
depends on the distance of two positions only: a stream may start anywhere.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncodec.nn.conv import Memory
from ncodec.nn.seanet import blocks

LONGEST_PERIOD = 10_000  # steps, over 2 pi, of the slowest rotation
FIRST_SCALE = 0.01  # of a residual branch before training


def rotation(first: int, n: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines, [n, d / 2] each, of the angles of steps `first` to `first + n`.

    width  channels of a head: d
    like   what they will be multiplied with

    Angles are in double precision: so they are as exact after hours as at the start.
    """
    speeds = LONGEST_PERIOD ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(first, first + n, dtype=torch.float64)[:, None] * speeds
    return angles.cos().to(like), angles.sin().to(like)


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate the first half of the channels of [..., T, d], as real parts, with the second half."""
    real, imaginary = x.chunk(2, -1)
    return torch.cat(
        [real * cosines - imaginary * sines, imaginary * cosines + real * sines], dim=-1
    )


class WindowedAttention(nn.Module):
    """Each step's mean of the values in its window, weighted by how queries match keys."""

    def __init__(self, width: int, n_heads: int, window: int) -> None:
        super().__init__()
        assert window > 1
        assert width % (2 * n_heads) == 0
        self.n_heads, self.n_before = n_heads, window - 1
        self.enter = nn.Linear(width, 3 * width, bias=False)  # to queries, keys and values
        self.leave = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Tensor, turned: tuple[Tensor, Tensor], seen: Tensor, memory: Memory
    ) -> Tensor:
        """Map [B, T, C] to the same shape.

        turned  the `rotation` of the steps
        seen    [T, P + T] whether a step sees another one, of those remembered and the new ones
        """
        parts = self.enter(x).unflatten(2, (3, self.n_heads, -1))  # [B, T, 3, H, d]
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        queries, keys = rotate(queries, *turned), rotate(keys, *turned)
        if self in memory:
            past_keys, past_values = memory[self]
            keys = torch.cat([past_keys, keys], 2)
            values = torch.cat([past_values, values], 2)
        memory[self] = keys[:, :, -self.n_before :].clone(), values[:, :, -self.n_before :].clone()
        y = F.scaled_dot_product_attention(queries, keys, values, seen)
        return self.leave(y.transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    """x + attention, then + two linear layers at each step; both normalised before, scaled after.

    n_inside  channels between the two linear layers
    """

    def __init__(self, width: int, n_heads: int, n_inside: int, window: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = WindowedAttention(width, n_heads, window)
        self.attention_scale = nn.Parameter(torch.full((width,), FIRST_SCALE))
        self.inside_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, n_inside, bias=False)
        self.narrow = nn.Linear(n_inside, width, bias=False)
        self.inside_scale = nn.Parameter(torch.full((width,), FIRST_SCALE))

    def forward(
        self, x: Tensor, turned: tuple[Tensor, Tensor], seen: Tensor, memory: Memory
    ) -> Tensor:
        """Map [B, T, C] to the same shape; see WindowedAttention."""
        attended = self.attention(self.attention_norm(x), turned, seen, memory)
        x = torch.addcmul(x, attended, self.attention_scale)
        inside = self.narrow(F.gelu(self.widen(self.inside_norm(x))))
        return torch.addcmul(x, inside, self.inside_scale)


class CausalTransformer(nn.Module):
    """Layers one after the other; a step depends on `n_before` earlier ones."""

    def __init__(self, width: int, n_layers: int, n_heads: int, n_inside: int, window: int) -> None:
        super().__init__()
        self.window, self.head_width = window, width // n_heads
        self.n_before = n_layers * (window - 1)
        self.layers = nn.ModuleList(
            TransformerLayer(width, n_heads, n_inside, window) for _ in range(n_layers)
        )

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Map [B, T, C] to the same shape.

        Long chunks go through all layers a window at a time: tables of who sees whom stay small.
        """
        parts = [self._block(part, memory) for part, _ in blocks(x, self.window)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def _block(self, x: Tensor, memory: Memory) -> Tensor:
        n, first = x.shape[1], memory.get(self, 0)
        memory[self] = first + n
        n_past = min(first, self.window - 1)
        turned = rotation(first, n, self.head_width, x)
        seen = torch.ones(n, n_past + n, dtype=torch.bool, device=x.device)
        seen = seen.tril(n_past).triu(n_past - self.window + 1)
        for layer in self.layers:
            x = layer(x, turned, seen, memory)
        return x
