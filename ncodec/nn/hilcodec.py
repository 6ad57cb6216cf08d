"""The layers of HILCodec: separable convolutions, residuals of constant variance, spectra.

Shapes: B batch, T samples, F time steps after a stride, C channels, N bins, k kernel, s stride.

Ahn, Woo, Han, Moon and Kim, "HILCodec: high-fidelity and lightweight neural audio codec", IEEE
JSTSP 2024 (arXiv 2405.04752). Sums of residuals are brought back to variance 1 wherever a layer
reads them. What only scales a signal is not a step of its own here: it is folded into the weights
of the layer before, and residuals are summed at the level at which the next layer reads the sum.

All layers are causal, and keep in a `Memory`, see nn/conv.py, what they need of the chunk before.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncodec.nn.conv import Memory, convolve, elu

AFTER_ELU = 2**0.5  # gain of a weight that reads what an ELU has halved
FAINTEST = 1e-5  # magnitude of a bin that counts as silence
# Mean and standard deviation of the log magnitudes at each level, by the authors; the last is also
# that of the last level where there are fewer.
LOG_MEANS = (-4.554, -4.315, -4.021, -3.726, -3.477)
LOG_STDS = (2.830, 2.837, 2.817, 2.796, 2.871)


def normal(*shape: int, fan_in: int, gain: float = 1.0) -> nn.Parameter:
    """Return a weight that keeps the variance of what it reads, times `gain` squared.

    He et al., "Delving deep into rectifiers", ICCV 2015.
    """
    return nn.Parameter(torch.randn(shape) * (gain * fan_in**-0.5))


def depthwise_weight(n_channels: int, kernel: int) -> nn.Parameter:
    """Return a weight [C, 1, 1, k] of one filter a channel, in its running layout."""
    drawn = normal(n_channels, 1, 1, kernel, fan_in=kernel)
    return nn.Parameter(drawn.detach().contiguous(memory_format=torch.channels_last))


class Folding(nn.Module, ABC):
    """A layer that combines its weights before use; at inference once, until one of them changes.

    Nothing is folded in what is saved or trained.
    """

    _kept: tuple[Tensor, ...] | None = None
    _stamp: list[tuple[int, int]] | None = None

    @abstractmethod
    def fold(self) -> tuple[Tensor, ...]:
        """Return the weights as they are used."""

    def folded(self) -> tuple[Tensor, ...]:
        """Return what `fold` does; without gradients, what it did at the last `refresh`."""
        if self._kept is None or torch.is_grad_enabled():
            return self.fold()
        return self._kept

    def refresh(self) -> None:
        """Fold again if a weight has changed."""
        stamp = [
            (weight.data_ptr(), -1 if weight.is_inference() else weight._version)
            for weight in self.parameters(recurse=False)
        ]
        if stamp != self._stamp:
            self._kept, self._stamp = self.fold(), stamp


def foldings(network: nn.Module) -> tuple[Folding, ...]:
    """Return the layers of a network that want a `refresh` before it runs."""
    return tuple(layer for layer in network.modules() if isinstance(layer, Folding))


def refresh(layers: tuple[Folding, ...]) -> None:
    """Bring what is folded up to date; with gradients there is nothing to do."""
    if not torch.is_grad_enabled():
        for layer in layers:
            layer.refresh()


def remembered(memory: Memory, layer: nn.Module, like: Tensor, *shape: int) -> Tensor:
    """Return what a layer remembers, zeros at the start of a stream."""
    past = memory.get(layer)
    return like.new_zeros(shape) if past is None else past


def in_place(x: Tensor) -> bool:
    """Whether results may be written where they are wanted: not in training or mixed precision."""
    return not (torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type))


def product(x: Tensor, weight: Tensor, past: Tensor, after: int = 0) -> Tensor:
    """Return [B, c + T + after, C']: `past`, then [B, T, C] times [C, C'], then zeros."""
    if not in_place(x):
        return F.pad(torch.cat([past, x @ weight], 1), (0, 0, 0, after))
    before, n = past.shape[1], x.shape[1]
    y = x.new_empty(len(x), before + n + after, weight.shape[1])
    y[:, :before] = past
    if after:
        y[:, before + n :] = 0
    for stream in range(len(x)):
        torch.mm(x[stream], weight, out=y[stream, before : before + n])
    return y


class Separable(Folding):
    """A 1x1 convolution, then one filter for each channel; an ELU before both, if it is wanted."""

    def __init__(
        self, n_in: int, n_out: int, kernel: int, *, stride: int = 1, activation: bool = True,
        scale: float = 1.0, gain: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.pointwise = normal(n_in, n_out, fan_in=n_in, gain=AFTER_ELU if activation else 1.0)
        self.depthwise = depthwise_weight(n_out, kernel)
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.gain = nn.Parameter(torch.zeros(1)) if gain else None
        self.scale, self.stride, self.activation = scale, stride, activation
        self.context = kernel - stride

    def fold(self) -> tuple[Tensor, ...]:
        """Return the 1x1 weight; the filters and the bias, scaled."""
        scale = self.scale if self.gain is None else self.scale * self.gain
        return self.pointwise, self.depthwise * scale, self.bias * scale

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to [B, T / s, C']; to [B, ceil(T / s), C'] at the end of a stream."""
        pointwise, depthwise, bias = self.folded()
        past = remembered(memory, self, x, len(x), self.context, len(bias))
        after = -x.shape[1] % self.stride if last else 0
        y = product(elu(x) if self.activation else x, pointwise, past, after)
        memory[self] = y[:, y.shape[1] - self.context :].clone()
        return convolve(y, depthwise, bias, self.stride, groups=len(bias))


class ResidualUnit(nn.Module):
    """carry x + scale g f(x), where f is two separable convolutions and g is learnt from 0 on."""

    def __init__(self, width: int, kernel: int, carry: float, scale: float) -> None:
        super().__init__()
        self.first = Separable(width, width, kernel)
        self.second = Separable(width, width, kernel, scale=scale, gain=True)
        self.carry = carry

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to the same shape."""
        y = self.second(self.first(x, memory, last), memory, last)
        return y.add_(x, alpha=self.carry)


def damping(n_residuals: int, scale: float) -> float:
    """Return what brings a sum of 1 and so many residuals of deviation `scale` to variance 1."""
    return (1 + n_residuals * scale**2) ** -0.5


def residual_units(
    width: int, kernel: int, dampings: Sequence[float], scale: float
) -> nn.ModuleList:
    """Return a unit between each two of the levels at which the sum is read."""
    return nn.ModuleList(
        ResidualUnit(width, kernel, after / before, after * scale)
        for before, after in pairwise(dampings)
    )


class SpectrumBlock(Folding):
    """Adds to x a 1x1 convolution of the waveform's log magnitude spectrum up to each time step."""

    def __init__(self, n_fft: int, hop: int, width: int, level: int, scale: float) -> None:
        """Let `level` say which mean and deviation to take, `scale` what to multiply with."""
        super().__init__()
        n_bins = n_fft // 2 + 1
        self.n_fft, self.hop = n_fft, hop
        self.mean, self.scale = LOG_MEANS[level], scale / LOG_STDS[level]
        self.weight = normal(n_bins, width, fan_in=n_bins)
        self.gain = nn.Parameter(torch.zeros(1))
        transform = fourier(n_fft).mT.contiguous()
        self.cosines: Tensor  # [n_fft, N]
        self.sines: Tensor
        self.register_buffer("cosines", transform[:, :n_bins].contiguous(), persistent=False)
        self.register_buffer("sines", transform[:, n_bins:].contiguous(), persistent=False)

    def fold(self) -> tuple[Tensor, ...]:
        """Return the weight for logarithms of power."""
        return (self.weight * (0.5 * self.scale * self.gain),)

    def forward(self, x: Tensor, wav: Tensor, memory: Memory) -> Tensor:
        """Map [B, F, C] to the same shape, with [B, T] samples, F = ceil(T / hop)."""
        past = remembered(memory, self, wav, len(wav), self.n_fft - 1)
        samples = torch.cat([past, wav], 1)
        memory[self] = samples[:, wav.shape[1] :].clone()
        windows = samples.unfold(1, self.n_fft, self.hop).flatten(0, 1)  # [B F, n_fft]
        with torch.autocast(wav.device.type, enabled=False):
            sines = windows @ self.sines
            power = (windows @ self.cosines).square_().addcmul_(sines, sines)
            logs = power.clamp_min_(FAINTEST**2).log_().sub_(2 * self.mean)  # [B F, N]
        (weight,) = self.folded()
        if not in_place(x):
            return x + (logs @ weight).view_as(x)
        return x.flatten(0, 1).addmm_(logs, weight).view_as(x)


def fourier(n_fft: int) -> Tensor:
    """Return [2 N, n_fft] cosines and sines under a Hann window.

    As the authors' code computes them, the angles rounded to single precision: what that adds to a
    faint bin is part of what their networks have learnt.
    """
    k = torch.arange(n_fft // 2 + 1, dtype=torch.float32)[:, None]
    n = torch.arange(n_fft, dtype=torch.float32)
    angles = -2 * math.pi / n_fft * k * n
    return torch.cat([angles.cos(), angles.sin()]) * torch.hann_window(n_fft)


class FirstConv(Folding):
    """The convolution that reads the waveform."""

    def __init__(self, width: int, kernel: int, wav_scale: float, scale: float) -> None:
        super().__init__()
        self.weight = normal(kernel, width, fan_in=kernel)
        self.bias = nn.Parameter(torch.zeros(width))
        self.wav_scale, self.scale = wav_scale, scale

    def fold(self) -> tuple[Tensor, ...]:
        """Return the weight and the bias, scaled."""
        return self.weight * (self.wav_scale * self.scale), self.bias * self.scale

    def forward(self, wav: Tensor, memory: Memory) -> Tensor:
        """Map [B, T] to [B, T, C]."""
        weight, bias = self.folded()
        kernel = len(weight)
        past = remembered(memory, self, wav, len(wav), kernel - 1)
        samples = torch.cat([past, wav], 1)
        memory[self] = samples[:, wav.shape[1] :].clone()
        windows = samples.unfold(1, kernel, 1).flatten(0, 1)
        return torch.addmm(bias, windows, weight).view(*wav.shape, -1)


class LastConv(Folding):
    """ELU, then the convolution that gives the waveform."""

    def __init__(self, width: int, kernel: int, scale: float) -> None:
        super().__init__()
        self.weight = normal(width, kernel, fan_in=width * kernel, gain=AFTER_ELU)
        self.bias = nn.Parameter(torch.zeros(1))
        self.scale = scale

    def fold(self) -> tuple[Tensor, ...]:
        """Return the weight and the bias, scaled."""
        return self.weight * self.scale, self.bias * self.scale

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Map [B, T, C] to [B, T]."""
        weight, bias = self.folded()
        kernel, n = weight.shape[1], x.shape[1]
        past = remembered(memory, self, x, len(x), kernel - 1, kernel)
        taps = product(elu(x), weight, past)  # [B, k - 1 + T, k]
        memory[self] = taps[:, n:].clone()
        wav = bias + taps[:, :n, 0]
        for tap in range(1, kernel):
            wav = wav + taps[:, tap : tap + n, tap]
        return wav


class SeparableUpsample(nn.Module):
    """ELU, a transposed filter of two strides for each channel, a 1x1 convolution."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        # Of the two frames that give a sample, the later one's filter is the first.
        self.taps = normal(2, stride, n_in, fan_in=2 * stride, gain=AFTER_ELU)
        self.pointwise = normal(n_in, n_out, fan_in=n_in)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Map [B, T, C] to [B, s T, C']."""
        past = remembered(memory, self, x, len(x), 1, x.shape[2])
        frames = torch.cat([past, elu(x)], 1)[:, :, None]
        memory[self] = frames[:, -1].clone()
        y = (frames[:, 1:] * self.taps[0]).addcmul_(frames[:, :-1], self.taps[1])  # [B, T, s, C]
        y = torch.addmm(self.bias, y.flatten(0, 2), self.pointwise)
        return y.view(len(x), -1, len(self.bias))


def pieces(x: Tensor, size: int, unit: int) -> Iterator[tuple[Tensor, bool]]:
    """Cut [B, T, ...] into equal parts of at most about `size`, and say which is the last.

    All but the last are multiples of `unit`. With gradients there is one part: nothing is gained by
    more.
    """
    n = x.shape[1]
    n_parts = 1 if torch.is_grad_enabled() else max(1, -(-n // size))
    step = max(1, -(-n // (n_parts * unit))) * unit
    for start in range(0, max(1, n), step):
        yield x[:, start : start + step], start + step >= n
