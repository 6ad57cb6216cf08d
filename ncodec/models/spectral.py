r"""`spectral`: a codec in the MDCT domain, ours, made for speed and for little training.

Shapes: B batch, T samples, F frames, N bins (= samples a frame), D latent, W width, G bands.

    wav -> MDCT, MDST -> root, band levels -> blocks -> + -> latents -> RVQ codes
                                   \-> linear skip ---/
    wav <- MDCT bins <- square <- + <- linear skip <- latents <- RVQ codes
               ^                   \--- blocks ------/  |
               +- noise * exp(level of each bin) <- + <-+

The latents start as the lowest MDCT bins and the levels of bands over the whole range, by way of
the linear skips, with the blocks' output layers at zero. So the untrained network is already a
transform codec with noise substitution (Herre and Schulz, AES 104, 1998), and training starts
from there: the decoder predicts how much noise each bin holds and fills it from a table, so that
what cannot be coded still sounds alive. The table and the place in it depend on the frame's
number alone: decoding is reproducible, from any frame.

Every chunk is brought to one level by its RMS, its only scale, so that a quiet recording is coded
like a loud one, and silence stays silent. The scale works on the bins of each frame, before the
overlap, so that a change of scale leaves no seam.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncodec.models.base import Codec, CodecConfig, CodedChunk
from ncodec.nn.convnext import ConvNeXtStack
from ncodec.nn.mdct import Mdct
from ncodec.nn.rvq import ResidualVectorQuantiser, Search


@dataclass(frozen=True, slots=True)
class SpectralConfig(CodecConfig):
    """Sizes of the networks, in addition to what every codec has."""

    latent: int
    n_bands: int  # whose levels are part of the latents to begin with
    width: int
    encoder_blocks: int
    decoder_blocks: int
    kernel: int  # frames
    expansion: int
    lookahead_frames: int  # the decoder waits for this many later frames
    activation: str = "gelu"
    rate_conditioned: bool = False  # the decoder knows how many codebooks there are


_SPECTRAL = SpectralConfig(
    sample_rate_hz=24000,
    n_channels=1,
    samples_per_frame=320,
    n_codebooks=16,
    codebook_size=1024,
    bandwidths_kbps=(1.5, 3.0, 6.0, 12.0),
    default_bandwidth_kbps=6.0,
    latent=128,
    n_bands=32,
    width=256,
    encoder_blocks=6,
    decoder_blocks=8,
    kernel=7,
    expansion=3,
    lookahead_frames=2,
)

PRESETS: Mapping[str, SpectralConfig] = MappingProxyType(
    {
        "spectral": _SPECTRAL,
        "spectral-wide": replace(
            _SPECTRAL,
            width=384,
            encoder_blocks=4,
            expansion=2,
            activation="relu2",
            rate_conditioned=True,
        ),
        "spectral-tiny": SpectralConfig(
            sample_rate_hz=8000,
            n_channels=1,
            samples_per_frame=80,
            n_codebooks=4,
            codebook_size=16,
            bandwidths_kbps=(0.4, 0.8, 1.6),
            default_bandwidth_kbps=1.6,
            latent=16,
            n_bands=6,
            width=24,
            encoder_blocks=2,
            decoder_blocks=2,
            kernel=3,
            expansion=2,
            lookahead_frames=1,
        ),
    }
)

NOISE_BITS = 16
LEVEL = 0.1  # RMS that chunks are brought to
LOUDEST = 4.0  # limit of the natural logarithm of a bin's noise power
MIDDLE = -7.0  # natural logarithm of a band's power that counts as 0
LEVEL_SHARE = 0.15  # of a neper of band power in the latents, next to the root of a bin
QUIETEST = 1e-6  # power that band levels do not go below
SHORT_SECONDS = 1.0  # chunks below it, of live streams, have no level of their own
MEMORY_SECONDS = 3.0  # over which what was heard before fades
ONSET = 4.0  # times the mean power that a short chunk is heard as it is


def noise_table() -> Tensor:
    """Return 2**NOISE_BITS uniform numbers of unit variance, the same on every machine.

    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) in integers, then one exact division.
    """
    with np.errstate(over="ignore"):
        z = np.arange(1, 2**NOISE_BITS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    uniform = (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1  # [-1, 1)
    return torch.from_numpy((uniform * 3**0.5).astype(np.float32))


@dataclass(slots=True)
class EncoderState:
    """What a spectral encoder remembers between chunks."""

    pending: Tensor  # [B, t] samples: the last whole hop, then what is not yet a hop
    past: list[Tensor]
    search: int | Search  # of the quantiser's search
    n_samples: int = 0
    power: Tensor | None = None  # [B, 1] mean of what was heard before, weighed by its age
    weight: float = 0.0  # of that mean, in samples


@dataclass(slots=True)
class DecoderState:
    """What a spectral decoder remembers between chunks."""

    past: list[Tensor]
    waiting: Tensor  # [B, <= lookahead, D] latents whose frame has not been made yet
    scales: Tensor  # [B, <= lookahead] of these frames
    overlap: Tensor  # [B, N] second half of the last frame
    next_frame: int
    skip_frames: int  # outputs to drop: the decoder is still ahead of its first frame
    skip_hops: int = 1  # the first hop has no neighbour before it


def band_edges(n_bins: int, n_bands: int) -> list[int]:
    """Return the first bin of each of `n_bands` bands, and the end: narrow below, wide above."""
    growth = np.linspace(0, 1, n_bands + 1)
    curve = (np.power(20.0, growth) - 1) / 19
    edges = np.maximum(np.round(curve * n_bins), np.arange(n_bands + 1))
    return [int(edge) for edge in edges]


def compand(bins: Tensor) -> Tensor:
    """Return sign(x) sqrt(|x|): halves the range in dB that the network must cover."""
    return bins.sign() * bins.abs().sqrt()


def expand(bins: Tensor) -> Tensor:
    """Undo `compand`."""
    return bins * bins.abs()


class SpectralCodec(Codec):
    """MDCT frames, causal ConvNeXt networks, residual vector quantiser."""

    number = 1
    name = "spectral"
    config_class = SpectralConfig
    presets = PRESETS
    config: SpectralConfig

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__(config)
        bins, width, latent = config.samples_per_frame, config.width, config.latent
        self.mdct = Mdct(bins)
        self.edges = band_edges(bins, config.n_bands)
        self.encoder_in = nn.Linear(2 * bins + config.n_bands, width)
        sizes = (config.kernel, config.expansion, config.activation)
        self.encoder = ConvNeXtStack(width, config.encoder_blocks, *sizes)
        self.encoder_out = nn.Linear(width, latent)
        self.encoder_skip = nn.Linear(bins + config.n_bands, latent, bias=False)
        self.quantiser = ResidualVectorQuantiser(config.n_codebooks, config.codebook_size, latent)
        self.decoder_in = nn.Linear(latent, width)
        self.decoder = ConvNeXtStack(width, config.decoder_blocks, *sizes)
        self.decoder_rates: nn.Parameter | None = None  # [Q, blocks, 2, W]
        if config.rate_conditioned:
            shape = (config.n_codebooks, config.decoder_blocks, 2, width)
            self.decoder_rates = nn.Parameter(torch.zeros(shape))
        self.decoder_out = nn.Linear(width, 2 * bins)  # roots of bins, noise levels
        self.decoder_skip = nn.Linear(latent, 2 * bins)
        self.noise: Tensor
        self.register_buffer("noise", noise_table(), persistent=False)
        self._start_as_transform_codec()

    @torch.no_grad()
    def _start_as_transform_codec(self) -> None:
        bins, n_bands = self.config.samples_per_frame, self.config.n_bands
        n_low = self.config.latent - n_bands
        for layer in (self.encoder_out, self.decoder_out):
            layer.weight.zero_()
            layer.bias.zero_()
        self.encoder_skip.weight.zero_()
        self.encoder_skip.weight[:n_low, :n_low] = torch.eye(n_low)
        self.encoder_skip.weight[n_low:, bins:] = torch.eye(n_bands)
        roots, levels = self.decoder_skip.weight.chunk(2)
        roots.zero_()
        levels.zero_()
        roots[:n_low, :n_low] = torch.eye(n_low)
        for band, (first, end) in enumerate(pairwise(self.edges)):
            levels[first:end, n_low + band] = 1 / LEVEL_SHARE
        self.decoder_skip.bias.zero_()
        self.decoder_skip.bias[bins:] = MIDDLE - 0.7  # somewhat less noise than there is
        self.decoder_skip.bias[bins : bins + n_low] -= 2.0  # and less where bins are coded

    def n_frames(self, n_samples: int) -> int:
        """Return ceil(T / N) + 1: every sample lies in two frames. 0 for 0."""
        return -(-n_samples // self.config.samples_per_frame) + 1 if n_samples else 0

    @property
    def latency_samples(self) -> int:
        """One frame is gathered, one more overlaps, and the decoder looks ahead."""
        return (2 + self.config.lookahead_frames) * self.config.samples_per_frame

    @property
    def warmup_frames(self) -> int:
        """The blocks' context, and the frame that overlaps."""
        return self.config.decoder_blocks * (self.config.kernel - 1) + 1

    @property
    def coded_level(self) -> float:
        """The same for all."""
        return LEVEL

    @property
    def default_beam_width(self) -> int:
        """Half a dB less is left over than with 1 (6 kbit/s), at two thirds of the speed."""
        return 4

    def start_encoder(
        self, batch: int, *, denoise: bool = False, search: int | Search | None = None
    ) -> EncoderState:
        """Return the state before the first sample: a hop of silence."""
        before = self.mdct.cosine.new_zeros(batch, self.config.samples_per_frame)
        search = self.default_beam_width if search is None else search
        return EncoderState(before, self.encoder.start(batch), search)

    def start_decoder(self, batch: int, first_frame: int = 0) -> DecoderState:
        """Return the state before frame `first_frame`."""
        like, config = self.mdct.cosine, self.config
        return DecoderState(
            past=self.decoder.start(batch),
            waiting=like.new_zeros(batch, 0, config.latent),
            scales=like.new_zeros(batch, 0),
            overlap=like.new_zeros(batch, config.samples_per_frame),
            next_frame=first_frame,
            skip_frames=config.lookahead_frames,
        )

    def scale_counts(self, n_frames: int) -> tuple[int, ...]:
        """Return 1: the level of the chunk."""
        return (min(1, n_frames),)

    def latents(
        self, samples: Tensor, gain: Tensor, past: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Map [B, (F + 1) N] samples, times gain [B, 1], to latents [B, F, D]."""
        with torch.autocast(samples.device.type, enabled=False):
            cosine, sine = self.mdct(samples * gain)
            levels = self.band_levels(cosine.square() + sine.square())
            features = torch.cat([compand(sine), compand(cosine), levels], -1)
            skipped = self.encoder_skip(features[..., sine.shape[-1] :])
        hidden, past = self.encoder(self.encoder_in(features), past)
        return skipped + self.encoder_out(hidden), past

    def band_levels(self, power: Tensor) -> Tensor:
        """Map the power [B, F, N] of bins to the levels [B, F, G] of bands, about -1 to 1."""
        means = [power[..., first:end].mean(-1) for first, end in pairwise(self.edges)]
        return LEVEL_SHARE * ((torch.stack(means, -1) / 2 + QUIETEST).log() - MIDDLE)

    def rate_condition(self, n_q: Tensor) -> Tensor | None:
        """Return what the decoder's blocks are conditioned on, for [B] numbers of codebooks.

        A scale and a shift of each channel, [B, blocks, 2, W], as in Siuzdak, "Vocos", ICLR 2024.
        """
        return None if self.decoder_rates is None else self.decoder_rates[n_q - 1]

    def bins(self, hidden: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return MDCT coefficients and noise amplitudes, [B, F, N] each."""
        roots, levels = (self.decoder_out(hidden) + self.decoder_skip(latents)).chunk(2, -1)
        return expand(roots), (levels.clamp_max(LOUDEST) / 2).exp()

    def noise_at(self, first_frame: int, n_frames: int) -> Tensor:
        """Return the noise [F, N] of `n_frames` frames from number `first_frame` on."""
        number = torch.arange(first_frame, first_frame + n_frames, device=self.noise.device)
        start = (number * 40503) % 2**NOISE_BITS  # Knuth's multiplicative hash, 16 bits
        place = start[:, None] + torch.arange(self.config.samples_per_frame, device=start.device)
        return self.noise[place % 2**NOISE_BITS]

    def encode_chunk(
        self, wav: Tensor, state: EncoderState, n_q: int, *, last: bool = False
    ) -> CodedChunk:
        """See Codec.encode_chunk."""
        hop = self.config.samples_per_frame
        state.n_samples += wav.shape[-1]
        samples = torch.cat([state.pending, wav[:, 0]], 1)
        if last and state.n_samples:
            samples = F.pad(samples, (0, -samples.shape[1] % hop + hop))
        n_frames = samples.shape[1] // hop - 1
        if n_frames < 1:
            state.pending = samples
            codes = torch.empty(len(wav), n_q, 0, dtype=torch.int64, device=wav.device)
            return CodedChunk(codes, samples.new_zeros(len(wav), 0))
        state.pending = samples[:, n_frames * hop :]
        samples = samples[:, : (n_frames + 1) * hop]
        scale = self._level(samples, state)
        gain = torch.where(scale > 0, LEVEL / scale, 0)
        latents, state.past = self.latents(samples, gain, state.past)
        return CodedChunk(self.quantiser.encode(latents, n_q, state.search), scale)

    def _level(self, samples: Tensor, state: EncoderState) -> Tensor:
        """Return the RMS [B, 1] of a chunk [B, T]; for a short one, of what was before as well."""
        power, length = samples.square().mean(1, keepdim=True), samples.shape[1]
        if length >= SHORT_SECONDS * self.config.sample_rate_hz:
            return power.sqrt()
        weight = state.weight * math.exp(-length / (MEMORY_SECONDS * self.config.sample_rate_hz))
        if state.power is None:
            state.power = power
        else:
            state.power = (state.power * weight + power * length) / (weight + length)
        state.weight = weight + length
        return torch.maximum(state.power, power / ONSET).sqrt()

    def decode_chunk(self, chunk: CodedChunk, state: DecoderState, *, last: bool = False) -> Tensor:
        """See Codec.decode_chunk."""
        fresh = self.quantiser.decode(chunk.codes)
        ready = torch.cat([state.waiting, fresh], 1)
        scales = chunk.scales.expand(-1, fresh.shape[1])
        scales = torch.cat([state.scales, scales], 1)
        if last and ready.shape[1]:
            fresh = F.pad(fresh, (0, 0, 0, self.config.lookahead_frames))
        if not fresh.shape[1]:
            return fresh.new_zeros(len(fresh), 1, 0)
        condition = self.rate_condition(torch.tensor([chunk.codes.shape[1]], device=fresh.device))
        hidden, state.past = self.decoder(self.decoder_in(fresh), state.past, condition)
        dropped = min(state.skip_frames, hidden.shape[1])
        state.skip_frames -= dropped
        hidden = hidden[:, dropped:]
        n_frames = hidden.shape[1]
        coefficients, gains = self.bins(hidden, ready[:, :n_frames])
        coefficients = coefficients + gains * self.noise_at(state.next_frame, n_frames)
        coefficients = coefficients * (scales[:, :n_frames, None] / LEVEL)
        state.waiting, state.scales = ready[:, n_frames:], scales[:, n_frames:]
        state.next_frame += n_frames
        return self._overlap(coefficients, state).unsqueeze(1)

    def _overlap(self, coefficients: Tensor, state: DecoderState) -> Tensor:
        """Overlap-add [B, F, N] coefficients onto the state's half frame: [B, T] samples."""
        hop = self.config.samples_per_frame
        if not coefficients.shape[1]:
            return state.overlap[:, :0]
        samples = self.mdct.inverse(coefficients)
        samples[:, :hop] += state.overlap
        state.overlap = samples[:, -hop:]
        done = samples[:, state.skip_hops * hop : -hop]
        state.skip_hops = 0
        return done

    def reconstruct(
        self, wav: Tensor, quantise: Callable[[Tensor], Tensor], denoise: Tensor | None = None,
        n_q: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """See Codec.reconstruct: the first waveform is without the noise."""
        hop, lookahead = self.config.samples_per_frame, self.config.lookahead_frames
        wav = wav.squeeze(1)
        n_samples = wav.shape[1]
        samples = F.pad(wav, (hop, -n_samples % hop + hop))
        gain = wav.new_ones(len(wav), 1)
        latents, _ = self.latents(samples, gain, self.encoder.start(len(wav)))
        latents = quantise(latents.float())
        padded = F.pad(latents, (0, 0, 0, lookahead))
        if n_q is None:
            n_q = torch.full((len(wav),), self.config.n_codebooks, device=wav.device)
        past, condition = self.decoder.start(len(wav)), self.rate_condition(n_q)
        hidden, _ = self.decoder(self.decoder_in(padded), past, condition)
        with torch.autocast(wav.device.type, enabled=False):
            plain, gains = self.bins(hidden[:, lookahead:].float(), latents)
            first = int(torch.randint(2**NOISE_BITS, ()))
            noise = self.noise_at(first, plain.shape[1])
            both = self.mdct.inverse(torch.cat([plain, plain + gains * noise]))
        plain, whole = both[:, None, hop : hop + n_samples].chunk(2)
        return plain, whole
