"""The layers of SNAC: both sides of a waveform are seen, chunk by chunk, exactly as in one pass.

Shapes: B batch, T samples, C channels, k kernel, s stride, H heads, N samples of a window.

A layer that looks ahead gives fewer samples than it takes until the stream ends: what it cannot
give yet is kept in the `Memory`, so that chunks need no margin and nothing is computed twice. The
start and the end of the stream are padded with zeros at every layer, as in the whole.

Siuzdak, Grotschla and Lanzendorfer, "SNAC: multi-scale neural audio codec", 2024 (arXiv
2410.14411); the units are those of Kumar et al., "High-fidelity audio compression with improved
RVQGAN", NeurIPS 2023.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncodec.nn.conv import Memory, Snake, TwoSidedConv, TwoSidedUpsample
from ncodec.nn.noise import normal_noise

KERNEL = 7
DILATIONS = (1, 3, 9)
UNIT_REACH = sum((KERNEL - 1) * dilation // 2 for dilation in DILATIONS)  # of all units, one side
HEAD_SIZE = 64
LONGEST_WAVE = 10000.0  # of the rotary positions, over 2 pi, in samples


class SnakeUnit(nn.Module):
    """x + a 1x1 convolution of a dilated filter for each channel, a snake before either."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.before, self.between = Snake(width), Snake(width)
        self.filter = TwoSidedConv(width, width, KERNEL, dilation=dilation, groups=width)
        self.mix = TwoSidedConv(width, width, 1)

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to what can be given of the same."""
        inside = self.filter(self.before(x, memory, last), memory, last)
        inside = self.mix(self.between(inside, memory, last), memory, last)
        waiting = memory.get(self)
        if waiting is not None:
            x = torch.cat([waiting, x], 1)
        memory[self] = x[:, inside.shape[1] :].clone()
        return x[:, : inside.shape[1]] + inside


class Noise(nn.Module):
    """x + noise whose level in each channel is a 1x1 convolution of x.

    The noise of a sample is one number for all channels and streams. It is that of `normal_noise`
    at its place in the stream, where the authors draw it anew with every run: so decoding is
    reproducible, from any place. What the memory holds is the place of the next sample.
    """

    def __init__(self, width: int, stream: int) -> None:
        super().__init__()
        self.level = TwoSidedConv(width, width, 1, bias=False)
        self.stream = stream

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to the same shape."""
        first: int = memory.get(self, 0)
        memory[self] = first + x.shape[1]
        noise = torch.from_numpy(normal_noise(self.stream, first, x.shape[1]))
        level = self.level(x, memory, last)
        return torch.addcmul(x, level, noise.to(x.device, x.dtype)[:, None])


def rotations(length: int) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines [N, HEAD_SIZE / 2] of rotary positions.

    Su et al., "RoFormer: enhanced transformer with rotary position embedding", 2021.
    """
    angles = torch.arange(length)[:, None] * inverse_waves()
    return angles.cos(), angles.sin()


def inverse_waves() -> Tensor:
    """Return the angles [HEAD_SIZE / 2] from a sample to the next one."""
    return 1.0 / (LONGEST_WAVE ** (torch.arange(0, HEAD_SIZE, 2).float() / HEAD_SIZE))


class WindowAttention(nn.Module):
    """x + attention within windows of a fixed length, which start at multiples of it.

    The last window of a stream may be shorter.
    """

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.window, self.n_heads = window, width // HEAD_SIZE
        self.norm = nn.LayerNorm(width)
        self.inward = nn.Linear(width, 3 * width, bias=False)  # queries, keys, values
        self.outward = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to the windows of the same that are whole, or all at the end."""
        waiting = memory.get(self)
        if waiting is not None:
            x = torch.cat([waiting, x], 1)
        n_whole = x.shape[1] // self.window * self.window
        rest = x[:, n_whole:]
        memory[self] = rest.clone()
        parts = [self._windows(x[:, :n_whole], self.window)] if n_whole else []
        if last and rest.shape[1]:
            parts.append(self._windows(rest, rest.shape[1]))
        return torch.cat(parts, 1) if parts else x[:, :0]

    def _windows(self, x: Tensor, length: int) -> Tensor:
        """Map whole windows [B, n N, C]."""
        windows = self.norm(x).view(-1, length, x.shape[2])
        each = self.inward(windows).view(len(windows), length, 3, self.n_heads, HEAD_SIZE)
        query, key, value = each.permute(2, 0, 3, 1, 4)  # [B n, H, N, HEAD_SIZE] each
        cos, sin = (part.to(x.device, x.dtype) for part in rotations(length))
        heard = F.scaled_dot_product_attention(
            _turned(query, cos, sin), _turned(key, cos, sin), value
        )
        return x + self.outward(heard.transpose(1, 2).reshape(x.shape))


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of channels, of the first half and the second, by the angle of its place."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def units(width: int) -> Iterable[nn.Module]:
    """Return the residual units of a level."""
    return [SnakeUnit(width, dilation) for dilation in DILATIONS]


def encoder_layers(width: int, strides: tuple[int, ...], window: int) -> list[nn.Module]:
    """Return the layers from a waveform [B, T, 1] to latents; each stride doubles the width.

    window  of the attention, 0 for none
    """
    layers: list[nn.Module] = [TwoSidedConv(1, width, KERNEL)]
    for stride in strides:
        layers += [*units(width), Snake(width)]
        layers.append(TwoSidedConv(width, 2 * width, 2 * stride, stride=stride))
        width *= 2
    if window:
        layers.append(WindowAttention(width, window))
    return [*layers, TwoSidedConv(width, width, KERNEL, groups=width)]


def decoder_layers(
    latent: int, width: int, strides: tuple[int, ...], window: int
) -> list[nn.Module]:
    """Return the layers from latents to a waveform before its tanh; each stride halves the width.

    strides  of the decoder, in its order
    """
    layers: list[nn.Module] = [
        TwoSidedConv(latent, latent, KERNEL, groups=latent),
        TwoSidedConv(latent, width, 1),
    ]
    if window:
        layers.append(WindowAttention(width, window))
    for level, stride in enumerate(strides):
        layers += [Snake(width), TwoSidedUpsample(width, width // 2, stride)]
        width //= 2
        layers += [Noise(width, level), *units(width)]
    return [*layers, Snake(width), TwoSidedConv(width, 1, KERNEL)]
