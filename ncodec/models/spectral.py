"""`spectral` in torch: for training, for other devices, and where the kernel was not built.

`spectral_base` says what the codec does. Shapes: B batch, C channels, T samples, F frames, N bins
(= samples a frame), D latent, W width, G bands.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncodec.errors import ModelInvalid
from ncodec.models.base import CodedChunk
from ncodec.models.spectral_base import (
    LEVEL,
    LEVEL_SHARE,
    LOUDEST,
    MIDDLE,
    NARROW,
    NOISE_BITS,
    ONSET,
    QUIETEST,
    DecoderState,
    EncoderState,
    SpectralConfig,
    SpectralFraming,
    band_edges,
    noise_places,
    noise_table,
)
from ncodec.models.torch_codec import TensorChunk, TorchCodec
from ncodec.nn.convnext import ConvNeXtStack
from ncodec.nn.mdct import Mdct
from ncodec.nn.rvq import ResidualVectorQuantiser, Search

# The past of the blocks is a tensor for each of them.
TorchEncoderState = EncoderState[Tensor]
TorchDecoderState = DecoderState[Tensor]


def compand(bins: Tensor) -> Tensor:
    """Return sign(x) sqrt(|x|): halves the range in dB that the network must cover."""
    return bins.sign() * bins.abs().sqrt()


def _side_by_side(bins: Tensor, batch: int) -> Tensor:
    """Put the bins [B C, F, N] of channels one after the other: [B, F, C N]."""
    return bins.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2)


def expand(bins: Tensor) -> Tensor:
    """Undo `compand`."""
    return bins * bins.abs()


def to_mid_side(wav: Tensor) -> Tensor:
    """Return the mid and the side of [..., 2, T]; one channel as it is."""
    if wav.shape[-2] == 1:
        return wav
    left, right = wav.unbind(-2)
    return torch.stack([(left + right) / 2, (left - right) / 2], -2)


def from_mid_side(wav: Tensor) -> Tensor:
    """Undo `to_mid_side`."""
    if wav.shape[-2] == 1:
        return wav
    mid, side = wav.unbind(-2)
    return torch.stack([mid + side, mid - side], -2)


class SpectralCodec(SpectralFraming, TorchCodec):
    """MDCT frames, causal ConvNeXt networks, residual vector quantiser."""

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__(config)
        if config.n_channels not in (1, 2):
            raise ModelInvalid(f"n_channels is {config.n_channels!r}, expected 1 to 2")
        bins, width, latent = config.frame_bins, config.width, config.latent
        self.mdct = Mdct(config.samples_per_frame)
        self.edges = band_edges(config.samples_per_frame, config.n_bands)
        self.encoder_in = nn.Linear(2 * bins + config.frame_bands, width)
        sizes = (config.kernel, config.expansion, config.activation)
        self.encoder = ConvNeXtStack(width, config.encoder_blocks, *sizes)
        self.encoder_out = nn.Linear(width, latent)
        self.encoder_skip = nn.Linear(bins + config.frame_bands, latent, bias=False)
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
        self.register_buffer("noise", torch.from_numpy(noise_table()), persistent=False)
        self._start_as_transform_codec()

    @torch.no_grad()
    def _start_as_transform_codec(self) -> None:
        bins, n_bands = self.config.frame_bins, self.config.frame_bands
        low = self.config.low_bins
        n_low = len(low)
        for layer in (self.encoder_out, self.decoder_out):
            layer.weight.zero_()
            layer.bias.zero_()
        self.encoder_skip.weight.zero_()
        self.encoder_skip.weight[range(n_low), low] = 1
        self.encoder_skip.weight[n_low:, bins:] = torch.eye(n_bands)
        roots, levels = self.decoder_skip.weight.chunk(2)
        roots.zero_()
        levels.zero_()
        roots[low, range(n_low)] = 1
        for band, (first, end) in enumerate(self._bands()):
            levels[first:end, n_low + band] = 1 / LEVEL_SHARE
        self.decoder_skip.bias.zero_()
        self.decoder_skip.bias[bins:] = MIDDLE - 0.7  # somewhat less noise than there is
        self.decoder_skip.bias[[bins + each for each in low]] -= 2.0  # less where bins are coded

    def _bands(self) -> list[tuple[int, int]]:
        """Return the first and the end of the bins of each band of a frame, channel by channel."""
        starts = range(0, self.config.frame_bins, self.config.samples_per_frame)
        return [(at + first, at + end) for at in starts for first, end in pairwise(self.edges)]

    def start_encoder(
        self, batch: int, *, denoise: bool = False, search: int | Search | None = None
    ) -> TorchEncoderState:
        """Return the state before the first sample: a hop of silence."""
        config = self.config
        before = self.mdct.cosine.new_zeros(batch, config.n_channels, config.samples_per_frame)
        search = self.default_beam_width if search is None else search
        return EncoderState(before, self.encoder.start(batch), search)

    def start_decoder(self, batch: int, first_frame: int = 0) -> TorchDecoderState:
        """Return the state before frame `first_frame`."""
        like, config = self.mdct.cosine, self.config
        return DecoderState(
            past=self.decoder.start(batch),
            waiting=like.new_zeros(batch, 0, config.latent),
            scales=like.new_zeros(batch, 0, config.n_channels),
            overlap=like.new_zeros(batch, config.n_channels, config.samples_per_frame),
            next_frame=first_frame,
            skip_frames=config.lookahead_frames,
        )

    def latents(
        self, samples: Tensor, gain: Tensor, past: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Map [B, C, (F + 1) N] samples, times gain [B, 1], to latents [B, F, D]."""
        with torch.autocast(samples.device.type, enabled=False):
            mixed = to_mid_side(samples * gain[..., None])
            both = self.mdct(mixed.flatten(0, 1))
            cosine, sine = (_side_by_side(part, len(samples)) for part in both)
            levels = self.band_levels(cosine.square() + sine.square())
            features = torch.cat([compand(sine), compand(cosine), levels], -1)
            skipped = self.encoder_skip(features[..., sine.shape[-1] :])
        hidden, past = self.encoder(self.encoder_in(features), past)
        return skipped + self.encoder_out(hidden), past

    def band_levels(self, power: Tensor) -> Tensor:
        """Map the power [B, F, C N] of bins to the levels [B, F, C G] of bands, about -1 to 1."""
        means = [power[..., first:end].mean(-1) for first, end in self._bands()]
        return LEVEL_SHARE * ((torch.stack(means, -1) / 2 + QUIETEST).log() - MIDDLE)

    def rate_condition(self, n_q: Tensor) -> Tensor | None:
        """Return what the decoder's blocks are conditioned on, for [B] numbers of codebooks.

        A scale and a shift of each channel, [B, blocks, 2, W], as in Siuzdak, "Vocos", ICLR 2024.
        """
        return None if self.decoder_rates is None else self.decoder_rates[n_q - 1]

    def bins(self, hidden: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return MDCT coefficients and noise amplitudes, [B, F, C N] each."""
        roots, levels = (self.decoder_out(hidden) + self.decoder_skip(latents)).chunk(2, -1)
        return expand(roots), (levels.clamp_max(LOUDEST) / 2).exp()

    def noise_at(self, first_frame: int, n_frames: int) -> Tensor:
        """Return the noise [F, C N] of `n_frames` frames from number `first_frame` on."""
        places = noise_places(first_frame, n_frames, self.config.frame_bins)
        return self.noise[torch.from_numpy(places).to(self.noise.device)]

    def encode_chunk(
        self, wav: Tensor, state: TorchEncoderState, n_q: int, *, last: bool = False
    ) -> TensorChunk:
        """See TorchCodec.encode_chunk."""
        hop = self.config.samples_per_frame
        state.n_samples += wav.shape[-1]
        samples = torch.cat([state.pending, wav], -1)
        if last and state.n_samples:
            samples = F.pad(samples, (0, -samples.shape[-1] % hop + hop))
        n_frames = samples.shape[-1] // hop - 1
        if n_frames < 1:
            state.pending = samples
            codes = torch.empty(len(wav), n_q, 0, dtype=torch.int64, device=wav.device)
            return CodedChunk(codes, samples.new_zeros(len(wav), 0))
        state.pending = samples[..., n_frames * hop :]
        samples = samples[..., : (n_frames + 1) * hop]
        scale = self._level(samples, state)
        gain = torch.where(scale > 0, LEVEL / scale, 0)
        latents, state.past = self.latents(samples, gain, state.past)
        codes = self.quantiser.encode(latents, n_q, state.search)
        return CodedChunk(codes, self._scales(samples, scale))

    def _scales(self, samples: Tensor, level: Tensor) -> Tensor:
        """Return the scales [B, C] of a chunk [B, C, T]: its level, but 0 for no side."""
        if samples.shape[1] == 1:
            return level
        side = to_mid_side(samples)[:, 1].square().mean(1, keepdim=True).sqrt()
        return torch.cat([level, torch.where(side > NARROW * level, level, 0)], 1)

    def _level(self, samples: Tensor, state: TorchEncoderState) -> Tensor:
        """Return the RMS [B, 1] of a chunk [B, C, T]; for a short one, of what was before as well.

        That of mid and side together is the same as that of left and right.
        """
        power, length = samples.flatten(1).square().mean(1, keepdim=True), samples.shape[-1]
        if not self.is_short(length):
            return power.sqrt()
        weight = self.heard_before(state.weight, length)
        if state.power is None:
            state.power = power
        else:
            state.power = (state.power * weight + power * length) / (weight + length)
        state.weight = weight + length
        return torch.maximum(state.power, power / ONSET).sqrt()

    def decode_chunk(
        self, chunk: TensorChunk, state: TorchDecoderState, *, last: bool = False
    ) -> Tensor:
        """See TorchCodec.decode_chunk."""
        fresh = self.quantiser.decode(chunk.codes)
        ready = torch.cat([state.waiting, fresh], 1)
        scales = state.scales
        if fresh.shape[1]:
            scales = torch.cat([scales, chunk.scales[:, None].expand(-1, fresh.shape[1], -1)], 1)
        if last and ready.shape[1]:
            fresh = F.pad(fresh, (0, 0, 0, self.config.lookahead_frames))
        if not fresh.shape[1]:
            return fresh.new_zeros(len(fresh), self.config.n_channels, 0)
        condition = self.rate_condition(torch.tensor([chunk.codes.shape[1]], device=fresh.device))
        hidden, state.past = self.decoder(self.decoder_in(fresh), state.past, condition)
        dropped = min(state.skip_frames, hidden.shape[1])
        state.skip_frames -= dropped
        hidden = hidden[:, dropped:]
        n_frames = hidden.shape[1]
        coefficients, gains = self.bins(hidden, ready[:, :n_frames])
        coefficients = coefficients + gains * self.noise_at(state.next_frame, n_frames)
        by_channel = coefficients.unflatten(-1, (self.config.n_channels, -1))
        by_channel = by_channel * (scales[:, :n_frames, :, None] / LEVEL)
        state.waiting, state.scales = ready[:, n_frames:], scales[:, n_frames:]
        state.next_frame += n_frames
        return from_mid_side(self._overlap(by_channel.transpose(1, 2), state))

    def _overlap(self, coefficients: Tensor, state: TorchDecoderState) -> Tensor:
        """Overlap-add [B, C, F, N] coefficients onto the state's half frame: [B, C, T] samples."""
        hop = self.config.samples_per_frame
        if not coefficients.shape[2]:
            return state.overlap[..., :0]
        samples = self.mdct.inverse(coefficients.flatten(0, 1)).unflatten(0, coefficients.shape[:2])
        samples[..., :hop] += state.overlap
        state.overlap = samples[..., -hop:]
        done = samples[..., state.skip_hops * hop : -hop]
        state.skip_hops = 0
        return done

    def reconstruct(
        self, wav: Tensor, quantise: Callable[[Tensor], Tensor], denoise: Tensor | None = None,
        n_q: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """See TorchCodec.reconstruct: the first waveform is without the noise."""
        hop, lookahead = self.config.samples_per_frame, self.config.lookahead_frames
        n_samples = wav.shape[-1]
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
            both = torch.cat([plain, plain + gains * noise])
            by_channel = both.unflatten(-1, (self.config.n_channels, -1)).transpose(1, 2)
            samples = self.mdct.inverse(by_channel.flatten(0, 1))
            both = from_mid_side(samples.unflatten(0, by_channel.shape[:2]))
        plain, whole = both[..., hop : hop + n_samples].chunk(2)
        return plain, whole
