"""The encoder and decoder of the Descript Audio Codec, in chunks that follow each other.

Shapes: B batch, T samples, F frames, C channels, D latent, k kernel, s stride.

The layers see as far ahead as back. What they cannot give yet they hold back in the `Memory`, and
give it with the chunks that follow; outside the stream, each of them sees zeros. So chunks of any
size come to the same numbers as the stream in one piece.

Kumar et al., "High-fidelity audio compression with improved RVQGAN", NeurIPS 2023, section 3 and
appendix A.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncodec.nn.conv import Memory, Snake, TwoSidedConv, Upsample
from ncodec.nn.seanet import blocks, run

DILATIONS = (1, 3, 9)  # one residual unit each, per stride
KERNEL = 7  # of all layers but the strided ones, 1x1 and the encoder's last
ENCODER_LAST_KERNEL = 3
UNIT_REACH = sum((KERNEL - 1) * dilation // 2 for dilation in DILATIONS)  # of a stride's units
BLOCK_SAMPLES = 9600  # that go through the layers of high rates at once: they stay in the cache
FINE_STRIDE = 64  # samples between time steps, up to which a layer counts as one of these


def cut_off(stride: int) -> int:
    """Return the zeros around what is strided, and the samples cut off where it is undone."""
    return (stride + 1) // 2


class CentredUpsample(Upsample):
    """A transposed convolution of two strides' length, as much of it cut off at either end.

    With an odd stride, a stream comes out a sample shorter than its frames times the stride.
    """

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to the [B, T', C'] that become known; s T over a whole stream."""
        past = memory.get(self)
        first = cut_off(self.stride) if past is None else 0
        before = x.new_zeros(len(x), 1, x.shape[2]) if past is None else past
        x = torch.cat([before, x, x.new_zeros(len(x), int(last), x.shape[2])], 1)
        if x.shape[1] == 1:
            return x.new_zeros(len(x), 0, self.n_out)
        memory[self] = x[:, -1:].clone()
        y = self.spread(x)
        return y[:, first : y.shape[1] - (cut_off(self.stride) if last else 0)]


class ResidualUnit(nn.Module):
    """x + a dilated convolution of it, then a 1x1 one."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = Snake(width)
        self.dilated = TwoSidedConv(width, width, KERNEL, dilation=dilation)
        self.second = Snake(width)
        self.pointwise = TwoSidedConv(width, width, 1)

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, C] to the [B, T', C] that become known."""
        y = self.dilated(self.first(x, memory, last), memory, last)
        y = self.pointwise(self.second(y, memory, last), memory, last)
        held = memory.get(self, x[:, :0])  # inputs whose output was not known yet
        n_held, n_known = held.shape[1], y.shape[1]
        if n_known < n_held:
            memory[self] = torch.cat([held[:, n_known:], x], 1)
            return y + held[:, :n_known]
        y[:, :n_held] += held
        y[:, n_held:] += x[:, : n_known - n_held]
        memory[self] = x[:, n_known - n_held :].clone()
        return y


@dataclass(frozen=True, slots=True)
class DacSizes:
    """Sizes of an encoder and its decoder."""

    encoder_width: int  # channels before the first stride; doubled by each
    decoder_width: int  # channels before the decoder's first stride; halved by each
    latent: int
    strides: tuple[int, ...]  # of the encoder, in its order

    @property
    def lookahead_frames(self) -> int:
        """Whole frames of later samples that the encoder waits for."""
        held = KERNEL // 2
        for stride in self.strides:
            held = -(-(held + UNIT_REACH + stride - cut_off(stride)) // stride)
        return held + ENCODER_LAST_KERNEL // 2

    @property
    def held_samples(self) -> int:
        """Samples that the decoder holds back of those of the frames that it has got."""
        held = KERNEL // 2
        for stride in reversed(self.strides):
            held = held * stride + cut_off(stride) + UNIT_REACH
        return held + KERNEL // 2

    @property
    def missing_samples(self) -> int:
        """Samples that the decoder's layers do not give at the end of a stream."""
        missing = 0
        for stride in reversed(self.strides):
            missing = missing * stride + stride % 2
        return missing

    @property
    def warmup_frames(self) -> int:
        """Frames before its own that a sample depends on, at most."""
        reach = KERNEL // 2
        for stride in self.strides:
            reach = -(-(reach + UNIT_REACH - cut_off(stride)) // stride) + 1
        return reach + KERNEL // 2


def in_blocks(
    layers: Iterable[nn.Module], x: Tensor, size: int, memory: Memory, last: bool
) -> Tensor:
    """Pass [B, T, C] through layers, `size` time steps at a time."""
    parts = [run(layers, part, memory, last and end) for part, end in blocks(x, size)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


class DacEncoder(nn.Module):
    """Waveform to latents, each stride doubling the channels."""

    def __init__(self, sizes: DacSizes) -> None:
        super().__init__()
        width, hop = sizes.encoder_width, 1
        layers: list[nn.Module] = [TwoSidedConv(1, width, KERNEL)]
        self.n_fine = 0  # layers at high rates
        for stride in sizes.strides:
            layers += [ResidualUnit(width, dilation) for dilation in DILATIONS]
            layers += [Snake(width), TwoSidedConv(width, 2 * width, 2 * stride, stride=stride)]
            width, hop = 2 * width, hop * stride
            if hop <= FINE_STRIDE:
                self.n_fine = len(layers)
        layers += [Snake(width), TwoSidedConv(width, sizes.latent, ENCODER_LAST_KERNEL)]
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T, 1] to the [B, F, D] that become known; a stream is a multiple of the hop."""
        x = in_blocks(self.layers[: self.n_fine], x, BLOCK_SAMPLES, memory, last)
        return run(self.layers[self.n_fine :], x, memory, last)


class DacDecoder(nn.Module):
    """Latents to waveform, each stride halving the channels."""

    def __init__(self, sizes: DacSizes) -> None:
        super().__init__()
        width, hop = sizes.decoder_width, math.prod(sizes.strides)
        layers: list[nn.Module] = [TwoSidedConv(sizes.latent, width, KERNEL)]
        self.n_coarse, self.fine_hop = 0, hop  # layers at low rates; the hop after them
        for stride in reversed(sizes.strides):
            layers += [Snake(width), CentredUpsample(width, width // 2, stride)]
            width, hop = width // 2, hop // stride
            layers += [ResidualUnit(width, dilation) for dilation in DILATIONS]
            if self.fine_hop > FINE_STRIDE:
                self.n_coarse, self.fine_hop = len(layers), hop
        layers += [Snake(width), TwoSidedConv(width, 1, KERNEL)]
        self.layers = nn.ModuleList(layers)
        self.missing_samples = sizes.missing_samples

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, F, D] to the [B, T, 1] that become known; hop F over a whole stream.

        The samples that the layers do not give at its end are zeros.
        """
        x = run(self.layers[: self.n_coarse], x, memory, last)
        size = BLOCK_SAMPLES // self.fine_hop
        wav = in_blocks(self.layers[self.n_coarse :], x, size, memory, last)
        wav = wav.tanh() if torch.is_grad_enabled() else wav.tanh_()
        return F.pad(wav, (0, 0, 0, self.missing_samples)) if last else wav
