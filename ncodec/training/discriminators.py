"""Networks that tell recordings from what a codec makes of them; the papers' own.

Shapes: B batch, T samples, C channels, F frames.

Each kind is one or more networks, each with a front end (what it sees of the wave) and a stack of
convolutions with leaky rectifiers between. It gives the logits of each (high: a recording), and the
outputs of all layers before them, the feature maps. All convolutions have weight norm (Salimans and
Kingma, NeurIPS 2016).

    wave    three scales of the wave; SoundStream (Zeghidour et al., TASLP 2022), with the networks
            of MelGAN (Kumar et al., NeurIPS 2019)
    stft    one STFT; SoundStream
    msstft  STFTs of five windows; EnCodec (Defossez et al., TMLR 2023)
    mfbd    bands of six filter banks; HILCodec (Ahn et al., IEEE JSTSP 2024)
    mstft   STFTs of four windows; HILCodec
    mdct    MDCTs of three sizes; MDCTCodec (Jiang et al., SLT 2024)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ncodec.errors import UsageError
from ncodec.training.front_ends import Bands, Downsampler, MdctFrontEnd, Stft


class Stack(nn.Module):
    """Convolutions; what all but the last give are the feature maps."""

    def __init__(self, layers: Sequence[nn.Module], slope: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.slope = slope  # of the rectifiers, below zero

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits, and the feature maps."""
        maps = []
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), self.slope)
            maps.append(x)
        return self.layers[-1](x), maps


class Discriminator(nn.Module):
    """Stacks of convolutions, each after its front end."""

    def __init__(self, front_ends: Sequence[nn.Module], stacks: Sequence[Stack]) -> None:
        super().__init__()
        self.front_ends, self.stacks = nn.ModuleList(front_ends), nn.ModuleList(stacks)

    def forward(self, wav: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the logits of [B, 1, T] by each stack, and the feature maps of all."""
        logits, maps = [], []
        for front_end, stack in zip(self.front_ends, self.stacks, strict=True):
            judged, seen = stack(front_end(wav))
            logits.append(judged)
            maps += seen
        return logits, maps


def normed(conv: nn.Conv1d | nn.Conv2d) -> nn.Module:
    """Return the convolution with weight norm, drawn so that it keeps the size of its input.

    As torch draws them, each layer divides it by two or three, and after a few there is little
    but biases: all sound has nearly the same features until much has been learned.
    """
    nn.init.kaiming_normal_(conv.weight, 0.2)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return weight_norm(conv)


def conv1d(n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    """Return a convolution of [B, C, T] that is padded on both sides."""
    return normed(nn.Conv1d(n_in, n_out, kernel, stride, kernel // 2, 1, groups))


def conv2d(
    n_in: int, n_out: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1),
    dilation: int = 1,
) -> nn.Module:  # fmt: skip
    """Return a convolution of [B, C, F, bins] that is padded on all sides.

    dilation  over frames
    """
    pad = ((kernel[0] - 1) * dilation // 2, (kernel[1] - 1) // 2)
    return normed(nn.Conv2d(n_in, n_out, kernel, stride, pad, (dilation, 1)))


class ResidualUnit(nn.Module):
    """SoundStream's: a convolution, one with a stride, and a way around both.

    The paper does not say what the way around is; here it is a 1x1 convolution.
    """

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int]) -> None:
        super().__init__()
        over = (stride[0] + 2, stride[1] + 2)
        self.first = conv2d(n_in, n_in, (3, 3))
        self.second = normed(nn.Conv2d(n_in, n_out, over, stride, 1))
        self.around = normed(nn.Conv2d(n_in, n_out, 1))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, F, bins] to [B, C', F / stride, bins / stride]."""
        y = self.second(F.leaky_relu(self.first(x), 0.2))
        kept = x[:, :, :: self.stride[0], :: self.stride[1]]
        return y + self.around(kept)[:, :, : y.shape[2], : y.shape[3]]


@dataclass(frozen=True, slots=True)
class WaveConfig:
    """Sizes of `wave`."""

    n_scales: int = 3
    channels: int = 16
    most: int = 1024  # channels

    def build(self) -> Discriminator:
        """Return the networks: 4 grouped convolutions make the rate 256 times lower."""
        stacks = []
        for _ in range(self.n_scales):
            layers, n = [conv1d(1, self.channels, 15)], self.channels
            for _ in range(4):
                wider = min(4 * n, self.most)
                layers.append(conv1d(n, wider, 41, 4, groups=n // 4))
                n = wider
            stacks.append(Stack([*layers, conv1d(n, n, 5), conv1d(n, 1, 3)]))
        return Discriminator([Downsampler(halvings) for halvings in range(self.n_scales)], stacks)


@dataclass(frozen=True, slots=True)
class StftConfig:
    """Sizes of `stft`."""

    window: int = 1024
    channels: int = 32

    def build(self) -> Discriminator:
        """Return the network: frames 8 times fewer, bins 64 times, then all bins at once."""
        c, n_bins = self.channels, self.window // 2  # without the last bin
        layers = [conv2d(2, c, (7, 7))]
        narrow, both = (1, 2), (2, 2)
        for n_in, n_out, stride in (
            (1, 2, narrow), (2, 4, both), (4, 4, narrow), (4, 8, both), (8, 8, narrow),
            (8, 16, both),
        ):  # fmt: skip
            layers.append(ResidualUnit(n_in * c, n_out * c, stride))
        layers.append(normed(nn.Conv2d(16 * c, 1, (1, n_bins // 64))))
        return Discriminator([Stft(self.window, n_bins, least=8)], [Stack(layers)])


@dataclass(frozen=True, slots=True)
class MultiStftConfig:
    """Sizes of `msstft` and `mstft`."""

    windows: tuple[int, ...] = (2048, 1024, 512, 256, 128)
    channels: int = 32
    growth: int = 1  # of the channels, with every layer after the first two

    def build(self) -> Discriminator:
        """Return the networks: bins 8 times fewer, frames as many, up to 16 away in sight."""
        n = [self.channels * self.growth**layer for layer in range(4)]
        stacks = [
            Stack([
                conv2d(2, n[0], (3, 9)),
                conv2d(n[0], n[0], (3, 9), (1, 2)),
                conv2d(n[0], n[1], (3, 9), (1, 2), 2),
                conv2d(n[1], n[2], (3, 9), (1, 2), 4),
                conv2d(n[2], n[3], (3, 3)),
                conv2d(n[3], 1, (3, 3)),
            ])
            for _ in self.windows
        ]  # fmt: skip
        return Discriminator([Stft(window) for window in self.windows], stacks)


@dataclass(frozen=True, slots=True)
class FilterBankConfig:
    """Sizes of `mfbd`, and the cutoffs of its banks."""

    banks: tuple[tuple[int, float], ...] = (
        (1, 0.0), (2, 0.253881), (3, 0.170546), (5, 0.103881), (7, 0.075310), (11, 0.049338),
    )  # fmt: skip
    taps: int = 256
    beta: float = 8.0
    channels: tuple[int, ...] = (32, 128, 512, 1024, 1024)

    def build(self) -> Discriminator:
        """Return the networks: over time alone, the same for all bands of a bank."""
        stacks = []
        for _ in self.banks:
            layers, n_in = [], 1
            for n, stride in zip(self.channels, (3, 3, 3, 3, 1), strict=True):
                layers.append(normed(nn.Conv2d(n_in, n, (1, 5), (1, stride), (0, 2))))
                n_in = n
            layers.append(normed(nn.Conv2d(n_in, 1, (1, 3), 1, (0, 1))))
            stacks.append(Stack(layers, slope=0.1))
        front_ends = [Bands(bands, self.taps, cutoff, self.beta) for bands, cutoff in self.banks]
        return Discriminator(front_ends, stacks)


@dataclass(frozen=True, slots=True)
class MultiMdctConfig:
    """Sizes of `mdct`: critically sampled, so an eighth of the numbers that `msstft` sees."""

    bins: tuple[int, ...] = (25, 100, 320)  # of which those above `turned_above` come first
    turned_above: int = 154  # the root of the rate: the first axis is the longer one in a second
    channels: int = 64

    def build(self) -> Discriminator:
        """Return the networks: the longer axis 32 times shorter, the other 8 times."""
        c, stacks, front_ends = self.channels, [], []
        kernels = (7, 5), (5, 3), (5, 3), (3, 3), (3, 3)
        strides = (2, 2), (2, 1), (2, 2), (2, 1), (2, 2)
        for n_bins in self.bins:
            front_ends.append(MdctFrontEnd(n_bins, turned=n_bins > self.turned_above))
            convs = [
                conv2d(c if number else 1, c, kernel, stride)
                for number, (kernel, stride) in enumerate(zip(kernels, strides, strict=True))
            ]
            stacks.append(Stack([*convs, conv2d(c, 1, (3, 3))], slope=0.1))
        return Discriminator(front_ends, stacks)


Sizes = Mapping[str, WaveConfig | StftConfig | MultiStftConfig | FilterBankConfig | MultiMdctConfig]

KINDS: Mapping[str, Sizes] = MappingProxyType({
    "wave": {
        "full": WaveConfig(),
        "small": WaveConfig(channels=4, most=256),
        "tiny": WaveConfig(channels=4, most=16),
    },
    "stft": {
        "full": StftConfig(),
        "small": StftConfig(channels=8),
        "tiny": StftConfig(channels=2),
    },
    "msstft": {
        "full": MultiStftConfig(),
        "small": MultiStftConfig(channels=8),
        "tiny": MultiStftConfig(channels=2),
    },
    "mfbd": {
        "full": FilterBankConfig(),
        "small": FilterBankConfig(channels=(8, 32, 128, 256, 256)),
        "tiny": FilterBankConfig(channels=(2, 4, 8, 8, 8)),
    },
    "mstft": {
        "full": MultiStftConfig((1024, 512, 256, 128), 16, growth=2),
        "small": MultiStftConfig((1024, 512, 256, 128), 4, growth=2),
        "tiny": MultiStftConfig((1024, 512, 256, 128), 1, growth=2),
    },
    "mdct": {
        "full": MultiMdctConfig(),
        "small": MultiMdctConfig(channels=32),
        "tiny": MultiMdctConfig(channels=4),
    },
})  # fmt: skip


def build(kind: str, size: str) -> Discriminator:
    """Return an untrained discriminator. Raises UsageError for a kind or size that is unknown."""
    for name, known, what in ((kind, KINDS, "kind"), (size, KINDS["wave"], "size")):
        if name not in known:
            raise UsageError(f"[adversary]: unknown {what} {name!r}; known: {', '.join(known)}")
    return KINDS[kind][size].build()
