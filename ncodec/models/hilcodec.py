r"""`hilcodec`: HILCodec, causal networks of separable convolutions for speech, and for music.

Shapes: B batch, C channels, T samples, Q codebooks, F frames, D latent.

    wav -> 1x1 and depthwise convolutions -> latents of one length -> RVQ codes
       \-> log spectrum, before each stride ---^
    wav <- tanh <- 1x1 and depthwise convolutions <- latents <- RVQ codes

Ahn, Woo, Han, Moon and Kim, "HILCodec: high-fidelity and lightweight neural audio codec", IEEE
JSTSP 2024 (arXiv 2405.04752). The layers, and where their scales are, see nn/hilcodec.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncodec.models.base import CodecConfig
from ncodec.models.waveform import EncoderState, WaveformCodec
from ncodec.nn.conv import CausalConv, Memory, elu
from ncodec.nn.hilcodec import (
    AFTER_ELU,
    FirstConv,
    LastConv,
    Separable,
    SeparableUpsample,
    SpectrumBlock,
    damping,
    depthwise_weight,
    foldings,
    normal,
    pieces,
    refresh,
    residual_units,
)
from ncodec.nn.rvq import ResidualVectorQuantiser

WAV_LEVEL = 0.1122080159  # RMS of a waveform at which the networks see variance 1
BLOCK_NUMBERS = 500_000  # of an activation that layers work on at once: many more leave the cache
BLOCK_STEPS = 1200  # and time steps at least, so that a matrix product is worth reading its weights


@dataclass(frozen=True, slots=True)
class HilcodecConfig(CodecConfig):
    """Sizes of the networks, in addition to what every codec has."""

    encoder_width: int  # channels at the first level; doubled by each stride
    decoder_width: int  # channels at the last level
    latent: int
    strides: tuple[int, ...]  # of the encoder
    encoder_units: int  # residual units per stride
    decoder_units: int
    first_n_fft: int  # of the first level's spectrum; doubled by each stride
    first_kernel: int  # of the encoder's first layer and of the decoder's
    last_kernel: int
    residual_kernel: int
    encoder_residual: float  # deviation of a residual when that of the input was 1
    decoder_residual: float


MUSIC = HilcodecConfig(
    sample_rate_hz=24000,
    n_channels=1,
    samples_per_frame=320,
    n_codebooks=12,
    codebook_size=1024,
    bandwidths_kbps=(1.5, 3.0, 6.0, 9.0),
    default_bandwidth_kbps=6.0,
    encoder_width=64,
    decoder_width=96,
    latent=128,
    strides=(2, 4, 5, 8),
    encoder_units=2,
    decoder_units=3,
    first_n_fft=64,
    first_kernel=5,
    last_kernel=5,
    residual_kernel=5,
    encoder_residual=3**-0.5,
    decoder_residual=3**-0.5,
)

PRESETS: Mapping[str, HilcodecConfig] = MappingProxyType(
    {
        "hilcodec_music": MUSIC,
        "hilcodec_speech": replace(MUSIC, n_codebooks=8, bandwidths_kbps=(1.5, 3.0, 6.0)),
        "hilcodec-small": replace(
            MUSIC,
            n_codebooks=16,
            bandwidths_kbps=(1.5, 3.0, 6.0, 12.0),
            encoder_width=8,
            decoder_width=16,
            encoder_units=1,
            decoder_units=2,
            latent=64,
        ),
        "hilcodec-tiny": replace(
            MUSIC,
            sample_rate_hz=8000,
            samples_per_frame=80,
            n_codebooks=4,
            codebook_size=16,
            bandwidths_kbps=(0.4, 0.8, 1.6),
            default_bandwidth_kbps=1.6,
            encoder_width=4,
            decoder_width=4,
            latent=16,
            strides=(4, 4, 5),
            first_n_fft=16,
        ),
    }
)


def block_size(width: int) -> int:
    """Return how many time steps of so many channels a level works on at once."""
    return max(BLOCK_STEPS, BLOCK_NUMBERS // width)


class EncoderLevel(nn.Module):
    """What the encoder does between two strides, and the stride."""

    def __init__(
        self, config: HilcodecConfig, level: int, hop: int, dampings: list[float], after: float
    ) -> None:
        """Let the input be damped by the first of `dampings`, the output by `after`."""
        super().__init__()
        width, residual = config.encoder_width * 2**level, config.encoder_residual
        self.stride = config.strides[level]
        self.block_samples = block_size(width) * hop
        self.samples_per_step = hop * self.stride
        self.spectrum = SpectrumBlock(
            config.first_n_fft * 2**level, hop, width, level, dampings[0] * residual
        )
        self.units = residual_units(width, config.residual_kernel, dampings, residual)
        self.down = Separable(width, 2 * width, 2 * self.stride, stride=self.stride, scale=after)

    def forward(self, x: Tensor, wav: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T / hop, C] to [B, T / hop / s, 2 C], with [B, T] samples."""
        x = self.spectrum(x, wav, memory)
        for unit in self.units:
            x = unit(x, memory, last)
        return self.down(x, memory, last)


class HilEncoder(nn.Module):
    """Waveform to latents, each of length sqrt(D)."""

    def __init__(self, config: HilcodecConfig) -> None:
        super().__init__()
        n_units, residual = config.encoder_units, config.encoder_residual
        dampings = [damping(n, residual) for n in range(1, n_units + 1)]  # the spectrum comes first
        dampings.append(damping(n_units, residual))
        n_levels = len(config.strides)
        self.first = FirstConv(
            config.encoder_width, config.first_kernel, 1 / WAV_LEVEL, dampings[0]
        )
        levels, hop = [], 1
        for level, stride in enumerate(config.strides):
            after = dampings[0] if level + 1 < n_levels else 1.0
            levels.append(EncoderLevel(config, level, hop, dampings, after))
            hop *= stride
        self.levels = nn.ModuleList(levels)
        width = config.encoder_width * 2**n_levels
        self.spectrum = SpectrumBlock(config.first_n_fft * 2**n_levels, hop, width, -1, residual)
        self.depthwise = CausalConv(width, width, config.last_kernel, groups=width, bias=False)
        self.pointwise = CausalConv(width, config.latent, 1)
        with torch.no_grad():
            self.depthwise.weight.copy_(AFTER_ELU * depthwise_weight(width, config.last_kernel))
            self.pointwise.weight.copy_(normal(config.latent, width, 1, 1, fan_in=width))
            bias = self.pointwise.bias
            assert bias is not None
            bias.normal_()  # so that silence has a direction too
        self.foldings = foldings(self)

    def forward(self, wav: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T] to [B, T / hop, D]; T is a multiple of the hop unless it is the last."""
        refresh(self.foldings)
        x = self.spectrum(self._input_of(len(self.levels), wav, memory, last), wav, memory)
        latents = self.pointwise(self.depthwise(elu(x), memory, last), memory, last)
        return F.normalize(latents, dim=2).mul_(latents.shape[2] ** 0.5)

    def _input_of(self, level: int, wav: Tensor, memory: Memory, last: bool) -> Tensor:
        """Return what a level reads of [B, T] samples, by way of all levels below it."""
        if level == 0:
            return self.first(wav, memory)
        below = self.levels[level - 1]
        assert isinstance(below, EncoderLevel)
        parts = []
        for part, is_last in pieces(wav, below.block_samples, below.samples_per_step):
            x = self._input_of(level - 1, part, memory, last and is_last)
            parts.append(below(x, part, memory, last and is_last))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


class DecoderLevel(nn.Module):
    """A stride of the decoder, and what it does before the next."""

    def __init__(self, config: HilcodecConfig, width: int, stride: int) -> None:
        super().__init__()
        n_units, residual = config.decoder_units, config.decoder_residual
        dampings = [damping(n, residual) for n in range(n_units)]
        dampings.append(damping(n_units, residual))
        self.block_steps = max(1, block_size(width // 2) // stride)
        self.up = SeparableUpsample(width, width // 2, stride)
        self.units = residual_units(width // 2, config.residual_kernel, dampings, residual)

    def forward(self, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, F, C] to [B, s F, C / 2]."""
        x = self.up(x, memory)
        for unit in self.units:
            x = unit(x, memory, last)
        return x


class HilDecoder(nn.Module):
    """Latents to waveform."""

    def __init__(self, config: HilcodecConfig) -> None:
        super().__init__()
        width = config.decoder_width * 2 ** len(config.strides)
        self.first = Separable(config.latent, width, config.first_kernel, activation=False)
        self.levels = nn.ModuleList(
            DecoderLevel(config, width >> level, stride)
            for level, stride in enumerate(reversed(config.strides))
        )
        self.last = LastConv(config.decoder_width, config.last_kernel, WAV_LEVEL)
        self.foldings = foldings(self)

    def forward(self, latents: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, F, D] to [B, hop F]."""
        refresh(self.foldings)
        return self._output_from(0, self.first(latents, memory, last), memory, last)

    def _output_from(self, level: int, x: Tensor, memory: Memory, last: bool) -> Tensor:
        """Return the samples that come of a level's input [B, F, C]."""
        if level == len(self.levels):
            return self.last(x, memory).tanh_()
        above = self.levels[level]
        assert isinstance(above, DecoderLevel)
        parts = []
        for part, is_last in pieces(x, above.block_steps, 1):
            y = above(part, memory, last and is_last)
            parts.append(self._output_from(level + 1, y, memory, last and is_last))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


class Hilcodec(WaveformCodec):
    """Separable convolutions with spectra, residual vector quantiser."""

    number = 4
    name = "hilcodec"
    config_class = HilcodecConfig
    presets = PRESETS
    config: HilcodecConfig

    def __init__(self, config: HilcodecConfig) -> None:
        super().__init__(config)
        assert config.samples_per_frame == math.prod(config.strides)
        self.encoder = HilEncoder(config)
        self.decoder = HilDecoder(config)
        self.quantiser = ResidualVectorQuantiser(
            config.n_codebooks, config.codebook_size, config.latent
        )

    @property
    def warmup_frames(self) -> int:
        """As many frames as the decoder's layers reach back, together."""
        config = self.config
        hop = config.samples_per_frame
        reach = (config.first_kernel - 1) * hop
        for stride in reversed(config.strides):
            reach += hop
            hop //= stride
            reach += 2 * config.decoder_units * (config.residual_kernel - 1) * hop
        reach += config.last_kernel - 1
        return -(-reach // config.samples_per_frame)

    def latents(self, wav: Tensor, state: EncoderState, last: bool) -> Tensor:
        """See WaveformCodec.latents."""
        return self.encoder(wav[:, 0], state.memory, last)

    def audio(self, latents: Tensor, memory: Memory, last: bool) -> Tensor:
        """See WaveformCodec.audio."""
        return self.decoder(latents, memory, last)[:, None]
