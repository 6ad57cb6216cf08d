"""Convolutions over time of channels-last data, in chunks that follow each other or in segments.

Shapes: B batch, T samples, C channels, k kernel, s stride.

Channels lie together in memory: so a 1x1 convolution is one matrix product, an upsampling by s is a
convolution to s times the channels whose result is read as s times the samples, and the library's
convolutions need no other layout. Weights have no weight norm and lie as they are used.

What a layer must remember between chunks is kept by the caller, in a `Memory`: an empty one is the
start of a stream, and layers find their own entry in it.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Memory = dict[nn.Module, Any]
Padding = Literal["zero", "reflect", "replicate"]


def elu(x: Tensor) -> Tensor:
    """Return x where it is positive, exp(x) - 1 elsewhere (Clevert et al., ICLR 2016).

    At inference by way of exp, twice as fast as torch's expm1 and within 6e-8 of it.
    """
    if torch.is_grad_enabled():
        return F.elu(x)
    negative = x.clamp_max(0).exp_().sub_(1)
    return torch.maximum(x, negative, out=negative)


class Elu(nn.Module):
    """`elu` as a layer of a stack."""

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to the same shape."""
        return elu(x)


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """Return x + sin(alpha x)^2 / alpha of [B, T, C], alpha [C].

    Ziyin, Hartwig and Ueda, "Neural networks fail to learn periodic functions and how to fix it",
    NeurIPS 2020.
    """
    inverse = (alpha + 1e-9).reciprocal()
    if torch.is_grad_enabled():
        return x + inverse * (alpha * x).sin().square()
    wave = (x * alpha).sin_().square_()
    return torch.addcmul(x, wave, inverse, out=wave)


class Snake(nn.Module):
    """`snake` as a layer of a stack."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(n_channels))

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to the same shape."""
        return snake(x, self.alpha)


def running(layout: Tensor) -> nn.Parameter:
    """Return a weight [C', C, 1, k] as a parameter in channels-last layout, drawn as torch does."""
    weight = torch.empty_like(layout, memory_format=torch.channels_last)
    return nn.Parameter(nn.init.kaiming_uniform_(weight, a=5**0.5))


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None,
    stride: int = 1, dilation: int = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Convolve [B, T, C] with a weight [C', C / groups, 1, k], without padding."""
    if stride > 1 and torch.is_autocast_enabled(x.device.type):
        x, weight, stride = _unstrided(x, weight, stride, dilation, groups)
    if weight.shape[-1] == stride == groups == 1:
        return F.linear(x, weight.flatten(1), bias)
    depthwise = stride == dilation == 1 and groups == x.shape[-1] == len(weight) > 1
    if depthwise and torch.is_grad_enabled() and not x.is_cuda:
        if torch.is_autocast_enabled(x.device.type):
            kind = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(kind), weight.to(kind)
        y: Tensor = _Depthwise.apply(x, weight)  # pyright: ignore[reportAssignmentType]
        return y if bias is None else y + bias.to(y.dtype)
    across = x.unsqueeze(1).permute(0, 3, 1, 2)  # [B, C, 1, T], channels last in memory
    y = F.conv2d(across, weight, bias, (1, stride), 0, (1, dilation), groups)
    return y.permute(0, 2, 3, 1).squeeze(1)


def _unstrided(
    x: Tensor, weight: Tensor, stride: int, dilation: int, groups: int
) -> tuple[Tensor, Tensor, int]:
    """Write a convolution with a kernel of two strides as one of stride 1 and s times the channels.

    In bfloat16, torch 2.13 computes some of the former wrongly on processors with AMX.
    """
    n_out, n_in, _, kernel = weight.shape
    if kernel != 2 * stride or dilation != 1 or groups != 1:
        return x, weight, stride
    n_whole = x.shape[1] // stride
    windows = x[:, : n_whole * stride].reshape(len(x), n_whole, stride * n_in)
    taps = weight.view(n_out, n_in, 2, stride).permute(0, 3, 1, 2)  # [C', s, C, 2]
    return windows, taps.reshape(n_out, stride * n_in, 1, 2), 1


class _Depthwise(torch.autograd.Function):
    """A convolution of one filter a channel, its gradients 20 times as fast as torch's on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        with torch.autocast(x.device.type, enabled=False), torch.no_grad():
            return convolve(x, weight, None, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (x, weight), (grad,) = ctx.saved_tensors, grads
        exact = torch.promote_types(grad.dtype, torch.float32)
        reach, length = weight.shape[-1] - 1, grad.shape[1]
        with torch.autocast(x.device.type, enabled=False), torch.no_grad():
            around = F.pad(grad, (0, 0, reach, reach))
            to_x = convolve(around, weight.flip(-1), None, groups=len(weight))
            taps = [
                (x[:, tap : tap + length] * grad).sum((0, 1), dtype=exact)
                for tap in range(reach + 1)
            ]
        return to_x, torch.stack(taps, 1)[:, None, None].to(weight.dtype)


def reflect(x: Tensor, left: int, right: int) -> Tensor:
    """Pad [B, T, C] by its own mirror image, its first and last sample not repeated.

    Where it is too short for that, zeros are appended before, and taken away again after, as in
    EnCodec.
    """
    extra = max(0, max(left, right) - x.shape[1] + 1)
    whole = F.pad(x, (0, 0, 0, extra))
    length = whole.shape[1]
    parts = [
        whole[:, 1 : left + 1].flip(1),
        whole,
        whole[:, length - 1 - right : length - 1].flip(1),
    ]
    padded = torch.cat(parts, 1)
    return padded[:, : padded.shape[1] - extra]


def pad(x: Tensor, left: int, right: int, padding: Padding) -> Tensor:
    """Pad [B, T, C] on both sides."""
    if left == right == 0:
        return x
    if padding == "replicate":
        first, last = x[:, :1], x[:, -1:]
        return torch.cat([first.expand(-1, left, -1), x, last.expand(-1, right, -1)], 1)
    return reflect(x, left, right) if padding == "reflect" else F.pad(x, (0, 0, left, right))


class Conv(nn.Module):
    """What convolutions share: the weight [C', C / groups, 1, k], and how far it reaches."""

    def __init__(
        self, n_in: int, n_out: int, kernel: int, *, stride: int = 1, dilation: int = 1,
        groups: int = 1, bias: bool = True, padding: Padding = "zero",
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight = running(torch.empty(n_out, n_in // groups, 1, kernel))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.padding: Padding = padding
        self.context = (kernel - 1) * dilation + 1 - stride  # samples before the first of a window
        assert self.context >= 0

    def convolve(self, x: Tensor) -> Tensor:
        """Apply the weight to padded [B, T, C]."""
        return convolve(x, self.weight, self.bias, self.stride, self.dilation, self.groups)


class CausalConv(Conv):
    """Sees nothing that comes later than the stride's own samples; chunk after chunk.

    The start of the stream is padded with zeros, its first sample or its mirror image; for the
    last of these, the first chunk must have more samples than `context`, or be the last.
    """

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to [B, T / s, C'], rounded up at the end of the stream."""
        if self.context == 0 and self.stride == 1:
            return self.convolve(x)
        past = memory.get(self)
        right = -x.shape[1] % self.stride if last else 0  # chunks before are whole windows
        if past is None:
            x = pad(x, self.context, right, self.padding)
        else:
            x = torch.cat([past, x], 1)
            x = pad(x, 0, right, self.padding)
        n_windows = (x.shape[1] - self.context) // self.stride
        memory[self] = x[:, n_windows * self.stride :].clone()
        if n_windows == 0:
            return x.new_zeros(len(x), 0, len(self.weight))
        return self.convolve(x)


class TwoSidedConv(Conv):
    """Sees as much before a sample, or a stride's samples, as after; half of its context each.

    What cannot be given yet is held back. Chunks come to the same numbers as the stream in one
    piece, whose start and end are padded: so what mirrors its end is held as well.
    """

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to what can be given of the stream of [B, ceil(T / s), C']."""
        if self.context == 0 and self.stride == 1:
            return self.convolve(x)
        stride, mirrors = self.stride, self.padding == "reflect"
        before, after = self.context - self.context // 2, self.context // 2
        past, n_used = memory.get(self, (x[:, :0], -1))  # -1: the start is not padded yet
        x = torch.cat([past, x], 1) if past.shape[1] else x
        if n_used < 0:
            if mirrors and not last and x.shape[1] < max(before + 1, after + stride):
                memory[self] = (x.clone(), -1)
                return x.new_zeros(len(x), 0, len(self.weight))
            right = after + -x.shape[1] % stride if last else 0
            x, n_used = pad(x, before, right, self.padding), 0
        elif last:
            x = pad(x, 0, after + (before - x.shape[1]) % stride, self.padding)
        n_windows = max(0, (x.shape[1] - n_used - self.context) // stride)
        end = n_used + n_windows * stride
        n_spare = min(end, stride) if mirrors else 0
        memory[self] = (x[:, end - n_spare :].clone(), n_spare)
        if n_windows == 0:
            return x.new_zeros(len(x), 0, len(self.weight))
        return self.convolve(x[:, n_used:])


class Upsample(nn.Module):
    """A transposed convolution with a kernel of two strides, as a convolution with a kernel of two.

    The weight [s C', C, 1, 2] gives the s samples of a frame from the frame before and itself.
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.stride, self.n_out = stride, n_out
        self.weight = running(torch.empty(stride * n_out, n_in, 1, 2))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def spread(self, x: Tensor) -> Tensor:
        """Map [B, 1 + T, C] to [B, s T, C']."""
        y = convolve(x, self.weight, self.bias.repeat(self.stride))
        return y.reshape(len(x), -1, self.n_out)


class TwoSidedUpsample(Upsample):
    """A sample lies between two frames: the first s / 2 of a stream, rounded up, are left out."""

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, F, C] to what can be given of the stream of [B, s F, C']."""
        past, after = memory.get(self), self.stride // 2
        if not x.shape[1] and (past is None or not last):
            return x.new_zeros(len(x), 0, self.n_out)
        x = F.pad(x, (0, 0, 1, 0)) if past is None else torch.cat([past, x], 1)
        if last:
            x = F.pad(x, (0, 0, 0, 1))
        memory[self] = x[:, -1:].clone()
        y = self.spread(x)
        return y[:, self.stride - after if past is None else 0 : y.shape[1] - after * last]


class CausalUpsample(Upsample):
    """Chunk after chunk, nothing from later frames."""

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to [B, s T, C']."""
        if not x.shape[1]:
            return x.new_zeros(len(x), 0, self.n_out)
        past = memory.get(self)
        x = F.pad(x, (0, 0, 1, 0)) if past is None else torch.cat([past, x], 1)
        memory[self] = x[:, -1:].clone()
        return self.spread(x)


class ChannelUpsample(nn.Module):
    """A transposed convolution with a kernel of two strides, each channel by itself, causal.

    The weight [2, s, C] is for the frame before and for the frame itself.
    """

    def __init__(self, n_channels: int, stride: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, stride, n_channels) * (2 * stride) ** -0.5)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Map [B, T, C] to [B, s T, C]."""
        past = memory.get(self)
        frames = F.pad(x, (0, 0, 1, 0)) if past is None else torch.cat([past, x], 1)
        memory[self] = frames[:, -1:].clone()
        sooner, later = frames[:, :-1, None], frames[:, 1:, None]  # [B, T, 1, C]
        return (later * self.weight[1] + sooner * self.weight[0]).flatten(1, 2)


def upsample_weight(transposed: Tensor) -> Tensor:
    """Return `Upsample`'s weight for that [C, C', 2 s] of a torch ConvTranspose1d."""
    n_in, n_out, taps = transposed.shape
    later, sooner = transposed.view(n_in, n_out, 2, taps // 2).unbind(2)  # of a frame's two reaches
    both = torch.stack([sooner, later])  # [2, C, C', s]
    return both.permute(3, 2, 1, 0).reshape(-1, n_in, 1, 2)


class TimeNorm(nn.Module):
    """Normalises a whole segment, all channels and samples together (GroupNorm of one group)."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_channels))
        self.bias = nn.Parameter(torch.zeros(n_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, T, C] to mean 0 and variance 1, then scale and shift each channel."""
        across = x.unsqueeze(1).permute(0, 3, 1, 2)  # as in `convolve`
        y = F.group_norm(across, 1, self.weight, self.bias)
        return y.permute(0, 2, 3, 1).squeeze(1)


class SegmentConv(Conv):
    """Sees both sides of a segment that is there as a whole, then `TimeNorm`."""

    def __init__(self, n_in: int, n_out: int, kernel: int, **options: Any) -> None:
        super().__init__(n_in, n_out, kernel, **options)
        self.norm = TimeNorm(n_out)

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map a segment [B, T, C] to [B, ceil(T / s), C']."""
        after = self.context // 2
        x = pad(x, self.context - after, after + -x.shape[1] % self.stride, self.padding)
        return self.norm(self.convolve(x))


class SegmentUpsample(Upsample):
    """Both sides, then `TimeNorm`, over the samples that are cut off as well."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__(n_in, n_out, stride)
        self.norm = TimeNorm(n_out)

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map a segment [B, T, C] to [B, s T, C']."""
        y = self.norm(self.spread(F.pad(x, (0, 0, 1, 1))))
        after = self.stride // 2
        return y[:, self.stride - after : y.shape[1] - after]
