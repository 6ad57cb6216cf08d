"""`mimi`: Kyutai's Mimi, convolutions and transformers at 12.5 frames a second, for speech.

Shapes: B batch, C channels, T samples, S time steps, Q codebooks, F frames, D latent.

    wav -> SEANet encoder -> transformer -> a convolution, stride 2 -> latents -> codes
    wav <- SEANet decoder <- transformer <- upsampling by 2 <- latents <- codes

Defossez, Mazare, Orsini, Royer, Perez, Jegou, Grave and Zeghidour, "Moshi: a speech-text foundation
model for real-time dialogue", 2024 (arXiv 2410.00037), section 3.3.

The first codebook was trained to carry what is said, apart from the others, which are a residual
quantiser of their own. Here the latents of both lie side by side, and a code is zero in the half
that is not its own: one residual quantiser then does what the two would, and the search for codes
knows nothing of it.
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
from ncodec.nn.attention import CausalTransformer
from ncodec.nn.conv import CausalConv, ChannelUpsample, Memory
from ncodec.nn.rvq import ResidualVectorQuantiser
from ncodec.nn.seanet import Seanet, SeanetDecoder, SeanetEncoder

N_SEMANTIC = 1  # codebooks of the first quantiser
MAX_CONTEXT_S = 10  # that codes may depend on where a codec `has_finite_context`


@dataclass(frozen=True, slots=True)
class MimiConfig(CodecConfig):
    """Sizes of the networks, in addition to what every codec has."""

    n_filters: int
    strides: tuple[int, ...]  # of the convolutional encoder
    steps_per_frame: int  # time steps of the transformers
    width: int  # of the transformers
    n_layers: int  # of each of the two
    n_heads: int
    n_inside: int  # channels between the two linear layers of a transformer's layer
    window: int  # time steps that one sees, itself among them
    latent: int  # of each of the two quantisers

    @property
    def shape(self) -> Seanet:
        """The sizes of the convolutional networks."""
        return Seanet(
            n_channels=self.n_channels, n_filters=self.n_filters, latent=self.width,
            strides=self.strides, kernel=7, encoder_last_kernel=3, decoder_last_kernel=3,
            residual_kernel=3, dilations=(1,), compress=2, shortcut=False, lstm_layers=0,
            reach="causal", padding="zero",
        )  # fmt: skip

    def transformer(self) -> CausalTransformer:
        """Return that of the encoder or of the decoder."""
        return CausalTransformer(
            self.width, self.n_layers, self.n_heads, self.n_inside, self.window
        )


MIMI = MimiConfig(
    sample_rate_hz=24000,
    n_channels=1,
    samples_per_frame=1920,
    n_codebooks=32,
    codebook_size=2048,
    bandwidths_kbps=(1.1, 2.2, 4.4),
    default_bandwidth_kbps=1.1,
    n_filters=64,
    strides=(4, 5, 6, 8),
    steps_per_frame=2,
    width=512,
    n_layers=8,
    n_heads=8,
    n_inside=2048,
    window=250,
    latent=256,
)
PRESETS: Mapping[str, MimiConfig] = MappingProxyType(
    {
        "mimi": MIMI,
        "mimi-tiny": replace(
            MIMI,
            sample_rate_hz=8000,
            samples_per_frame=80,
            n_codebooks=4,
            codebook_size=16,
            bandwidths_kbps=(0.4, 0.8, 1.6),
            default_bandwidth_kbps=1.6,
            n_filters=4,
            strides=(4, 10),
            width=16,
            n_layers=2,
            n_heads=2,
            n_inside=32,
            window=8,
            latent=8,
        ),
    }
)


class MimiEncoder(nn.Module):
    """Waveform to the latents of both quantisers."""

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        self.convolutions = SeanetEncoder(config.shape)
        self.transformer = config.transformer()
        stride = config.steps_per_frame
        self.down = CausalConv(
            config.width, config.width, 2 * stride, stride=stride, bias=False, padding="replicate"
        )
        self.leave = nn.Linear(config.width, 2 * config.latent, bias=False)

    def forward(self, wav: Tensor, memory: Memory) -> Tensor:
        """Map [B, T, C] of whole frames to [B, F, 2 D]."""
        steps = self.convolutions(wav, memory, False)  # [B, S, width]
        return self.leave(self.down(self.transformer(steps, memory), memory, False))


class MimiDecoder(nn.Module):
    """The sum of codes to waveform."""

    def __init__(self, config: MimiConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(2 * config.latent, config.width, bias=False)
        self.up = ChannelUpsample(config.width, config.steps_per_frame)
        self.transformer = config.transformer()
        self.convolutions = SeanetDecoder(config.shape)

    def forward(self, latents: Tensor, memory: Memory) -> Tensor:
        """Map [B, F, 2 D] to [B, T, C]."""
        steps = self.up(self.enter(latents), memory)  # [B, S, width]
        return self.convolutions(self.transformer(steps, memory), memory, False)


class Mimi(WaveformCodec):
    """Convolutions, transformers, a semantic and an acoustic quantiser."""

    number = 7
    name = "mimi"
    config_class = MimiConfig
    presets = PRESETS
    config: MimiConfig

    def __init__(self, config: MimiConfig) -> None:
        super().__init__(config)
        assert config.samples_per_frame == math.prod(config.strides) * config.steps_per_frame
        self.encoder = MimiEncoder(config)
        self.decoder = MimiDecoder(config)
        self.quantiser = ResidualVectorQuantiser(
            config.n_codebooks, config.codebook_size, 2 * config.latent
        )
        self.quantiser.codebooks.copy_(side_by_side(self.quantiser.codebooks[..., : config.latent]))

    @property
    def warmup_frames(self) -> int:
        """What the decoder sees of the past, exactly: through its transformer, over a minute."""
        decoder = self.decoder
        n_steps = decoder.transformer.n_before + decoder.convolutions.n_before
        return -(-n_steps // self.config.steps_per_frame) + 1  # the upsampling sees one more

    @property
    def has_finite_context(self) -> bool:
        """Not at the published size: codes depend on more than a minute of audio before them.

        See Codec.has_finite_context: what is finite but longer than 10 s does not count, since
        cutting a file into parts would cost more than it gains.
        """
        return self.warmup_frames <= MAX_CONTEXT_S * self.config.frame_rate_hz

    def latents(self, wav: Tensor, state: EncoderState, last: bool) -> Tensor:
        """See WaveformCodec.latents: the end is padded to a whole frame, as by the authors."""
        wav = F.pad(wav, (0, -wav.shape[2] % self.config.samples_per_frame))
        return self.encoder(wav.transpose(1, 2), state.memory)

    def audio(self, latents: Tensor, memory: Memory, last: bool) -> Tensor:
        """See WaveformCodec.audio."""
        return self.decoder(latents, memory).transpose(1, 2)


def side_by_side(codebooks: Tensor) -> Tensor:
    """Return [Q, K, 2 D] for [Q, K, D]: the semantic codes with zeros after, others before them."""
    semantic, acoustic = codebooks[:N_SEMANTIC], codebooks[N_SEMANTIC:]
    latent = codebooks.shape[2]
    return torch.cat([F.pad(semantic, (0, latent)), F.pad(acoustic, (latent, 0))])
