"""`soundstream`: SoundStream, a causal convolutional codec that takes noise away on request.

Shapes: B batch, C channels, T samples, Q codebooks, F frames, D latent.

    wav -> SEANet encoder -> FiLM (denoise?) -> latents -> RVQ codes
    wav <- SEANet decoder <------------------- latents <- RVQ codes

Zeghidour, Luebs, Omran, Skoglund and Tagliasacchi, "SoundStream: an end-to-end neural audio codec",
TASLP 2022 (arXiv 2107.03312); the condition is that of Perez et al., "FiLM: visual reasoning with a
general conditioning layer", AAAI 2018. Whether noise is taken away is settled frame by frame, after
the last layer that sees more than one, and the decoder need not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ncodec.models.base import CodecConfig
from ncodec.models.waveform import EncoderState, WaveformCodec
from ncodec.nn.conv import Conv, Memory, Upsample
from ncodec.nn.rvq import ResidualVectorQuantiser
from ncodec.nn.seanet import Seanet, SeanetDecoder, SeanetEncoder


@dataclass(frozen=True, slots=True)
class SoundStreamConfig(CodecConfig):
    """Sizes of the networks, in addition to what every codec has."""

    n_filters: int
    latent: int
    strides: tuple[int, ...]  # of the encoder
    denoises: bool  # the weights were trained with the condition

    @property
    def shape(self) -> Seanet:
        """What of the networks is not the same in all presets, and what is."""
        return Seanet(
            n_channels=self.n_channels, n_filters=self.n_filters, latent=self.latent,
            strides=self.strides, kernel=7, encoder_last_kernel=3, decoder_last_kernel=7,
            residual_kernel=7, dilations=(1, 3, 9), compress=1, shortcut=False, lstm_layers=0,
            reach="causal", padding="zero",
        )  # fmt: skip


FULL_SIZE = SoundStreamConfig(
    sample_rate_hz=24000,
    n_channels=1,
    samples_per_frame=320,
    n_codebooks=24,
    codebook_size=1024,
    bandwidths_kbps=(3.0, 6.0, 9.0, 12.0, 18.0),
    default_bandwidth_kbps=6.0,
    n_filters=32,
    latent=128,
    strides=(2, 4, 5, 8),
    denoises=True,
)
PRESETS: Mapping[str, SoundStreamConfig] = MappingProxyType(
    {
        "soundstream": FULL_SIZE,
        "soundstream-c16": replace(FULL_SIZE, n_filters=16),
        "soundstream-small": replace(
            FULL_SIZE,
            n_codebooks=16,
            bandwidths_kbps=(1.5, 3.0, 6.0, 12.0),
            n_filters=8,
            latent=64,
        ),
        "soundstream-tiny": SoundStreamConfig(
            sample_rate_hz=8000,
            n_channels=1,
            samples_per_frame=80,
            n_codebooks=4,
            codebook_size=16,
            bandwidths_kbps=(0.4, 0.8, 1.6),
            default_bandwidth_kbps=1.6,
            n_filters=4,
            latent=16,
            strides=(4, 4, 5),
            denoises=True,
        ),
    }
)


class SoundStream(WaveformCodec):
    """SEANet networks, a condition on the latents, residual vector quantiser."""

    number = 2
    name = "soundstream"
    config_class = SoundStreamConfig
    presets = PRESETS
    config: SoundStreamConfig

    def __init__(self, config: SoundStreamConfig) -> None:
        super().__init__(config)
        self.encoder = SeanetEncoder(config.shape)
        self.encoder_film: nn.Embedding | None = None
        if config.denoises:  # a linear layer of a one-hot input: a table of its columns
            self.encoder_film = nn.Embedding(2, 2 * config.latent)
            nn.init.zeros_(self.encoder_film.weight)
        self.decoder = SeanetDecoder(config.shape)
        self.quantiser = ResidualVectorQuantiser(
            config.n_codebooks, config.codebook_size, config.latent
        )
        self._keep_level()

    @torch.no_grad()
    def _keep_level(self) -> None:
        """Draw the layers between residual units so that each keeps the variance of its input.

        As torch draws them each divides it by three, and the untrained networks are all but silent.
        """
        for layer in (*self.encoder.layers, *self.decoder.layers):
            if isinstance(layer, (Conv, Upsample)):
                layer.weight.mul_(3**0.5)

    @property
    def warmup_frames(self) -> int:
        """What the decoder sees of the past."""
        return self.decoder.n_before

    @property
    def can_denoise(self) -> bool:
        """Whether the weights were trained with the condition."""
        return self.config.denoises

    def conditioned(self, latents: Tensor, denoise: bool | Tensor) -> Tensor:
        """Scale and shift [B, F, D] latents as `denoise`, which broadcasts to [B, F], says."""
        chosen = torch.as_tensor(denoise, device=latents.device).long()
        if self.encoder_film is None:
            assert not chosen.any()
            return latents
        gain, shift = self.encoder_film(chosen.expand(latents.shape[:2])).chunk(2, -1)
        return latents + latents * gain + shift

    def latents(self, wav: Tensor, state: EncoderState, last: bool) -> Tensor:
        """See WaveformCodec.latents."""
        latents = self.encoder(wav.transpose(1, 2), state.memory, last)
        return self.conditioned(latents, state.denoise)

    def audio(self, latents: Tensor, memory: Memory, last: bool) -> Tensor:
        """See WaveformCodec.audio."""
        return self.decoder(latents, memory, last).transpose(1, 2)
