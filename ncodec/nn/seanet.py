"""The convolutional encoder and decoder that SoundStream and EnCodec share.

Shapes: B batch, T samples, F frames, C channels, D latent.

Tagliasacchi et al., "SEANet: a multi-modal speech enhancement network", Interspeech 2020;
Zeghidour et al., "SoundStream", TASLP 2022, figure 3; Defossez et al., "High fidelity neural audio
compression", 2022, section 3.1.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ncodec.nn.conv import (
    CausalConv,
    CausalUpsample,
    Conv,
    Elu,
    Memory,
    Padding,
    SegmentConv,
    SegmentUpsample,
    TwoSidedConv,
    TwoSidedUpsample,
    Upsample,
    elu,
)

Reach = Literal["causal", "two-sided", "segments"]
CONVS: dict[Reach, type[Conv]] = {
    "causal": CausalConv, "two-sided": TwoSidedConv, "segments": SegmentConv
}  # fmt: skip
UPSAMPLES: dict[Reach, type[Upsample]] = {
    "causal": CausalUpsample, "two-sided": TwoSidedUpsample, "segments": SegmentUpsample
}  # fmt: skip
BLOCK_SAMPLES = 9600  # that go through the layers of high rates at once: they stay in the cache
FINE_STRIDE = 40  # samples between time steps, up to which a layer counts as one of these


def run(layers: Iterable[nn.Module], x: Tensor, memory: Memory, last: bool) -> Tensor:
    """Pass [B, T, C] through layers, one after the other."""
    for layer in layers:
        x = layer(x, memory, last)
    return x


def blocks(x: Tensor, size: int) -> Iterator[tuple[Tensor, bool]]:
    """Cut [B, T, C] into blocks of `size` samples, and tell of each whether it is the last.

    With gradients there is one block: nothing is gained by more.
    """
    if torch.is_grad_enabled() or x.shape[1] <= size:
        yield x, True
        return
    for start in range(0, x.shape[1], size):
        yield x[:, start : start + size], start + size >= x.shape[1]


@dataclass(frozen=True, slots=True)
class Seanet:
    """Sizes of an encoder and the decoder that mirrors it."""

    n_channels: int
    n_filters: int  # of the first layer; doubled by each stride
    latent: int
    strides: tuple[int, ...]  # of the encoder, in its order
    kernel: int  # of the first layers
    encoder_last_kernel: int
    decoder_last_kernel: int
    residual_kernel: int
    dilations: tuple[int, ...]  # one residual unit each, per stride
    compress: int  # channels over those inside a residual unit
    shortcut: bool  # a 1x1 convolution around a residual unit, instead of nothing
    lstm_layers: int
    reach: Reach  # causal or two-sided in chunks; or whole segments, normalised
    padding: Padding

    @property
    def lookahead_frames(self) -> int:
        """Whole frames of later samples that a two-sided encoder waits for."""
        held = self.encoder_last_kernel // 2
        for stride in reversed(self.strides):
            held = held * stride + stride // 2 + self._unit_reach
        return -(-(held + self.kernel // 2) // math.prod(self.strides))

    @property
    def held_samples(self) -> int:
        """Samples that a two-sided decoder holds back of those of the frames that it has got."""
        held = self.kernel // 2
        for stride in reversed(self.strides):
            held = held * stride + stride - stride // 2 + self._unit_reach
        return held + self.decoder_last_kernel // 2

    @property
    def _unit_reach(self) -> int:
        return sum((self.residual_kernel - 1) * dilation // 2 for dilation in self.dilations)

    def conv(
        self, n_in: int, n_out: int, kernel: int, *, stride: int = 1, dilation: int = 1
    ) -> Conv:
        """Return a convolution of the network's kind."""
        kind = CONVS[self.reach]
        return kind(n_in, n_out, kernel, stride=stride, dilation=dilation, padding=self.padding)

    def fine(
        self, layers: nn.ModuleList, x: Tensor, memory: Memory, last: bool, size: int
    ) -> Tensor:
        """Pass [B, T, C] through layers of high rates, a little at a time.

        That is `size` samples, or a segment.
        """
        if self.reach != "segments":
            parts = [run(layers, part, memory, last and end) for part, end in blocks(x, size)]
            return parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        if torch.is_grad_enabled():
            return run(layers, x, memory, last)
        return torch.cat([run(layers, part, memory, last) for part in x.split(1)])

    def upsample(self, n_in: int, n_out: int, stride: int) -> Upsample:
        """Return a transposed convolution of the network's kind."""
        return UPSAMPLES[self.reach](n_in, n_out, stride)


class ResidualUnit(nn.Module):
    """x, or a 1x1 convolution of it, + convolutions that see the unit's whole reach."""

    def __init__(self, shape: Seanet, width: int, dilation: int) -> None:
        super().__init__()
        inside = width // shape.compress
        self.narrow = shape.conv(width, inside, shape.residual_kernel, dilation=dilation)
        self.widen = shape.conv(inside, width, 1)
        self.shortcut = shape.conv(width, width, 1) if shape.shortcut else None
        self.is_late = shape.reach == "two-sided"

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to the same shape, or to what can be given of it."""
        inside = self.widen(elu(self.narrow(elu(x), memory, last)), memory, last)
        if self.is_late:
            x = torch.cat([memory.get(self, x[:, :0]), x], 1)
            memory[self] = x[:, inside.shape[1] :].clone()
            x = x[:, : inside.shape[1]]
        return inside + (x if self.shortcut is None else self.shortcut(x, memory, last))


class SkipLstm(nn.Module):
    """x + LSTM(x), its state carried from chunk to chunk."""

    def __init__(self, width: int, n_layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, n_layers)

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, F, C] to the same shape."""
        if not x.shape[1]:
            return x
        y, memory[self] = self.lstm(x.transpose(0, 1), memory.get(self))
        return y.transpose(0, 1) + x


class SeanetEncoder(nn.Module):
    """Waveform to latents, each stride doubling the channels."""

    def __init__(self, shape: Seanet) -> None:
        super().__init__()
        self.shape = shape
        width, stride = shape.n_filters, 1
        layers: list[nn.Module] = [shape.conv(shape.n_channels, width, shape.kernel)]
        self.n_fine, self.fine_stride = 0, 1  # layers at high rates; their strides, all in all
        for step in shape.strides:
            layers += [ResidualUnit(shape, width, dilation) for dilation in shape.dilations]
            layers += [Elu(), shape.conv(width, 2 * width, 2 * step, stride=step)]
            width, stride = 2 * width, stride * step
            if stride <= FINE_STRIDE:
                self.n_fine, self.fine_stride = len(layers), stride
        if shape.lstm_layers:
            layers.append(SkipLstm(width, shape.lstm_layers))
        layers += [Elu(), shape.conv(width, shape.latent, shape.encoder_last_kernel)]
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to [B, T / hop, D]; T is a multiple of the hop unless it is the last."""
        size = BLOCK_SAMPLES // self.fine_stride * self.fine_stride
        x = self.shape.fine(self.layers[: self.n_fine], x, memory, last, size)
        return run(self.layers[self.n_fine :], x, memory, last)


class SeanetDecoder(nn.Module):
    """Latents to waveform: the encoder's mirror image."""

    def __init__(self, shape: Seanet) -> None:
        super().__init__()
        self.shape = shape
        width = shape.n_filters * 2 ** len(shape.strides)
        layers: list[nn.Module] = [shape.conv(shape.latent, width, shape.kernel)]
        if shape.lstm_layers:
            layers.append(SkipLstm(width, shape.lstm_layers))
        stride = math.prod(shape.strides)
        self.n_coarse, self.fine_stride = 0, stride  # layers at low rates; the stride after them
        for step in reversed(shape.strides):
            layers += [Elu(), shape.upsample(width, width // 2, step)]
            width, stride = width // 2, stride // step
            layers += [ResidualUnit(shape, width, dilation) for dilation in shape.dilations]
            if self.fine_stride > FINE_STRIDE:
                self.n_coarse, self.fine_stride = len(layers), stride
        layers += [Elu(), shape.conv(width, shape.n_channels, shape.decoder_last_kernel)]
        self.layers = nn.ModuleList(layers)

    @property
    def n_before(self) -> int:
        """Frames that one's samples depend on, before it; of a causal decoder without LSTM."""
        first = 0  # of the samples or frames that a frame's first sample is made of; 0 is its own
        for layer in reversed([*self.modules()]):
            if isinstance(layer, Upsample):
                first = first // layer.stride - 1
            elif isinstance(layer, Conv):
                first -= layer.context
        return -first

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, F, D] to [B, hop F, C]."""
        x = run(self.layers[: self.n_coarse], x, memory, last)
        size = BLOCK_SAMPLES // self.fine_stride
        return self.shape.fine(self.layers[self.n_coarse :], x, memory, last, size)
