"""`spectral` in torch: for training, for other devices, and where the kernel was not built.

`spectral_base` says what the codec does. Shapes: B batch, T samples, F frames, N bins (= samples a
frame), D latent, W width, G bands.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncodec.models.base import CodedChunk
from ncodec.models.spectral_base import (
    LEVEL,
    LEVEL_SHARE,
    LOUDEST,
    MIDDLE,
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


def expand(bins: Tensor) -> Tensor:
    """Undo `compand`."""
    return bins * bins.abs()


class SpectralCodec(SpectralFraming, TorchCodec):
    """MDCT frames, causal ConvNeXt networks, residual vector quantiser."""

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
        self.register_buffer("noise", torch.from_numpy(noise_table()), persistent=False)
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

    def start_encoder(
        self, batch: int, *, denoise: bool = False, search: int | Search | None = None
    ) -> TorchEncoderState:
        """Return the state before the first sample: a hop of silence."""
        before = self.mdct.cosine.new_zeros(batch, self.config.samples_per_frame)
        search = self.default_beam_width if search is None else search
        return EncoderState(before, self.encoder.start(batch), search)

    def start_decoder(self, batch: int, first_frame: int = 0) -> TorchDecoderState:
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
        places = noise_places(first_frame, n_frames, self.config.samples_per_frame)
        return self.noise[torch.from_numpy(places).to(self.noise.device)]

    def encode_chunk(
        self, wav: Tensor, state: TorchEncoderState, n_q: int, *, last: bool = False
    ) -> TensorChunk:
        """See TorchCodec.encode_chunk."""
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

    def _level(self, samples: Tensor, state: TorchEncoderState) -> Tensor:
        """Return the RMS [B, 1] of a chunk [B, T]; for a short one, of what was before as well."""
        power, length = samples.square().mean(1, keepdim=True), samples.shape[1]
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

    def _overlap(self, coefficients: Tensor, state: TorchDecoderState) -> Tensor:
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
        """See TorchCodec.reconstruct: the first waveform is without the noise."""
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
