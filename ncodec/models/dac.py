"""`dac`: the Descript Audio Codec, networks that see as far ahead as back; not causal.

Shapes: B batch, C channels, T samples, Q codebooks, F frames, D latent.

    wav -> convolutions, Snake -> latents -> RVQ of projected latents -> codes
    wav <- tanh <- convolutions, Snake <- latents <- projected codes <- codes

Kumar, Seetharaman, Luebs, Kumar and Kumar, "High-fidelity audio compression with improved RVQGAN",
NeurIPS 2023 (arXiv 2306.06546). The layers, and how they work chunk by chunk, see nn/dac.py; the
quantiser, see nn/factorised.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor

from ncodec.models.base import CodecConfig
from ncodec.models.waveform import EncoderState, WaveformCodec
from ncodec.nn.conv import Memory
from ncodec.nn.dac import DacDecoder, DacEncoder, DacSizes
from ncodec.nn.factorised import FactorisedQuantiser


@dataclass(frozen=True, slots=True)
class DacConfig(CodecConfig):
    """Sizes of the networks, in addition to what every codec has."""

    encoder_width: int  # channels before the first stride; doubled by each
    decoder_width: int  # channels before the decoder's first stride; halved by each
    latent: int
    codebook_dim: int  # that latents are projected to before a code is searched
    strides: tuple[int, ...]  # of the encoder

    @property
    def sizes(self) -> DacSizes:
        """What the networks need to know."""
        return DacSizes(self.encoder_width, self.decoder_width, self.latent, self.strides)


_16KHZ = DacConfig(
    sample_rate_hz=16000,
    n_channels=1,
    samples_per_frame=320,
    n_codebooks=12,
    codebook_size=1024,
    bandwidths_kbps=(1.5, 3.0, 6.0),
    default_bandwidth_kbps=6.0,
    encoder_width=64,
    decoder_width=1536,
    latent=1024,
    codebook_dim=8,
    strides=(2, 4, 5, 8),
)
_44KHZ = replace(
    _16KHZ,
    sample_rate_hz=44100,
    samples_per_frame=512,
    n_codebooks=9,
    bandwidths_kbps=(2.584, 5.168, 7.752),
    default_bandwidth_kbps=7.752,
    strides=(2, 4, 8, 8),
)

PRESETS: Mapping[str, DacConfig] = MappingProxyType(
    {
        "dac_16khz": _16KHZ,
        "dac_24khz": replace(
            _16KHZ,
            sample_rate_hz=24000,
            n_codebooks=32,
            bandwidths_kbps=(1.5, 3.0, 6.0, 12.0, 24.0),
        ),
        "dac_44khz": _44KHZ,
        "dac_44khz_16kbps": replace(
            _44KHZ,
            n_codebooks=18,
            bandwidths_kbps=(2.584, 5.168, 7.752, 15.504),
            latent=128,
        ),
        "dac-tiny": replace(
            _16KHZ,
            sample_rate_hz=8000,
            samples_per_frame=80,
            n_codebooks=4,
            codebook_size=16,
            bandwidths_kbps=(0.4, 0.8, 1.6),
            default_bandwidth_kbps=1.6,
            encoder_width=4,
            decoder_width=16,
            latent=16,
            codebook_dim=4,
            strides=(4, 4, 5),
        ),
    }
)


class Dac(WaveformCodec):
    """Convolutions with Snake activations, residual quantiser in few dimensions."""

    number = 5
    name = "dac"
    config_class = DacConfig
    is_trainable = False
    presets = PRESETS
    config: DacConfig

    def __init__(self, config: DacConfig) -> None:
        super().__init__(config)
        assert config.samples_per_frame == math.prod(config.strides)
        self.encoder = DacEncoder(config.sizes)
        self.decoder = DacDecoder(config.sizes)
        self.quantiser = FactorisedQuantiser(
            config.n_codebooks, config.codebook_size, config.latent, config.codebook_dim
        )

    @property
    def lookahead_frames(self) -> int:
        """Those that the encoder's layers see."""
        return self.config.sizes.lookahead_frames

    @property
    def latency_samples(self) -> int:
        """A frame is gathered, and both networks look ahead."""
        sizes = self.config.sizes
        frames = 1 + sizes.lookahead_frames
        return frames * self.config.samples_per_frame + sizes.held_samples

    @property
    def warmup_frames(self) -> int:
        """As many frames as the decoder's layers reach back, together."""
        return self.config.sizes.warmup_frames

    def latents(self, wav: Tensor, state: EncoderState, last: bool) -> Tensor:
        """See WaveformCodec.latents; the end is filled up to a frame with zeros."""
        after = -wav.shape[2] % self.config.samples_per_frame
        return self.encoder(F.pad(wav, (0, after)).transpose(1, 2), state.memory, last)

    def audio(self, latents: Tensor, memory: Memory, last: bool) -> Tensor:
        """See WaveformCodec.audio."""
        return self.decoder(latents, memory, last).transpose(1, 2)
