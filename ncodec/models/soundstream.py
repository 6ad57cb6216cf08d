"""`soundstream`: SoundStream, a causal convolutional codec that takes noise away on request.

Shapes: B batch, C channels, T samples, Q codebooks, F frames, D latent.

    wav -> SEANet encoder -> FiLM (denoise?) -> latents -> RVQ codes
    wav <- SEANet decoder <------------------- latents <- RVQ codes

Zeghidour, Luebs, Omran, Skoglund and Tagliasacchi, "SoundStream: an end-to-end neural audio codec",
TASLP 2022 (arXiv 2107.03312); the condition is that of Perez et al., "FiLM: visual reasoning with a
general conditioning layer", AAAI 2018. Whether noise is taken away is settled frame by frame, after
the last layer that sees more than one, and the decoder need not know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ncodec.models.base import Codec, CodecConfig, CodedChunk, no_scales
from ncodec.nn.conv import Conv, Memory, Upsample
from ncodec.nn.rvq import ResidualVectorQuantiser
from ncodec.nn.seanet import Seanet, SeanetDecoder, SeanetEncoder


@dataclass(frozen=True, slots=True)
class SoundStreamConfig(CodecConfig):
    """Sizes of the networks, beside what every codec has."""

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
            causal=True, padding="zero",
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


@dataclass(slots=True)
class EncoderState:
    """What an encoder remembers between chunks.

    `denoise` may be set anew before every chunk: for all that it will give, or, as a tensor that
    broadcasts to [B, F], for each of the frames.
    """

    pending: Tensor  # [B, C, t] samples that are not coded yet
    denoise: bool | Tensor = False
    memory: Memory = field(default_factory=dict)


class SoundStream(Codec):
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

    def n_frames(self, n_samples: int) -> int:
        """Return ceil(T / hop)."""
        return -(-n_samples // self.config.samples_per_frame)

    @property
    def latency_samples(self) -> int:
        """A frame is gathered."""
        return self.config.samples_per_frame

    @property
    def warmup_frames(self) -> int:
        """What the decoder sees of the past: found from its last layer back to the first."""
        first = 0  # of the samples or frames that a frame's first sample is made of; 0 is its own
        for layer in reversed([*self.decoder.modules()]):
            if isinstance(layer, Upsample):
                first = first // layer.stride - 1
            elif isinstance(layer, Conv):
                first -= layer.context
        return -first

    @property
    def can_denoise(self) -> bool:
        """Whether the weights were trained with the condition."""
        return self.config.denoises

    def start_encoder(self, batch: int, *, denoise: bool = False) -> EncoderState:
        """Return the state before the first sample."""
        assert self.can_denoise or not denoise
        nothing = self.quantiser.codebooks.new_zeros(batch, self.config.n_channels, 0)
        return EncoderState(nothing, denoise)

    def start_decoder(self, batch: int, first_frame: int = 0) -> Memory:
        """Return the state before frame `first_frame`."""
        return {}

    def conditioned(self, latents: Tensor, denoise: bool | Tensor) -> Tensor:
        """Scale and shift [B, F, D] latents as `denoise`, which broadcasts to [B, F], says."""
        chosen = torch.as_tensor(denoise, device=latents.device).long()
        if self.encoder_film is None:
            assert not chosen.any()
            return latents
        gain, shift = self.encoder_film(chosen.expand(latents.shape[:2])).chunk(2, -1)
        return latents + latents * gain + shift

    def encode_chunk(
        self, wav: Tensor, state: EncoderState, n_q: int, *, last: bool = False
    ) -> CodedChunk:
        """See Codec.encode_chunk."""
        samples = torch.cat([state.pending, wav], 2)
        n_ready = samples.shape[2]
        if not last:
            n_ready -= n_ready % self.config.samples_per_frame
        state.pending = samples[:, :, n_ready:]
        if not n_ready:
            codes = torch.empty(len(wav), n_q, 0, dtype=torch.int64, device=wav.device)
            return CodedChunk(codes, no_scales(wav))
        latents = self.encoder(samples[:, :, :n_ready].transpose(1, 2), state.memory, last)
        latents = self.conditioned(latents, state.denoise)
        return CodedChunk(self.quantiser.encode(latents, n_q), no_scales(wav))

    def decode_chunk(self, chunk: CodedChunk, state: Memory, *, last: bool = False) -> Tensor:
        """See Codec.decode_chunk."""
        latents = self.quantiser.decode(chunk.codes)
        return self.decoder(latents, state, last).transpose(1, 2)

    def reconstruct(
        self, wav: Tensor, quantise: Callable[[Tensor], Tensor], denoise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See Codec.reconstruct: both waveforms are the same."""
        latents = self.encoder(wav.transpose(1, 2), {}, True).float()
        told = False if denoise is None else denoise[:, None]
        latents = quantise(self.conditioned(latents, told))
        whole = self.decoder(latents, {}, True).transpose(1, 2)[:, :, : wav.shape[2]]
        return whole, whole
