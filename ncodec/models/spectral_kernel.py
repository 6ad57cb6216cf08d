"""`spectral` by the kernel in C, without torch: the way of files on a processor.

Its sums have one order, whatever the processor, the length of a chunk and the number of threads,
so that codes do not depend on them; see networks.h. `spectral_base` says what the codec does.

Shapes: B batch, C channels, T samples, F frames, N bins (= samples a frame), D latent, W width,
G bands, Q codebooks; + for rows that the kernel pads.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncodec.errors import ModelInvalid
from ncodec.models.base import ArrayChunk, CodedChunk, Search
from ncodec.models.spectral_base import (
    LEVEL,
    LEVEL_SHARE,
    LOUDEST,
    MIDDLE,
    NARROW,
    ONSET,
    QUIETEST,
    DecoderState,
    EncoderState,
    SpectralConfig,
    SpectralFraming,
    band_edges,
    from_mid_side,
    noise_places,
    noise_table,
    to_mid_side,
)
from ncodec.native.networks import ACTIVATIONS, Codebooks, Floats, Matrix, Stack, Weights, padded
from ncodec.nn.mdct_bases import mdct_bases

LARGEST = {
    "n_channels": 2,
    "samples_per_frame": 1 << 14,
    "n_codebooks": 128,
    "codebook_size": 1 << 15,
    "latent": 1 << 14,
    "n_bands": 1 << 14,
    "width": 1 << 13,
    "encoder_blocks": 256,
    "decoder_blocks": 256,
    "kernel": 1 << 10,
    "expansion": 8,
    "lookahead_frames": 1 << 10,
}
"""What sizes may be at most."""


# The past of the blocks is an array for each of the batch.
KernelEncoderState = EncoderState[Floats]
KernelDecoderState = DecoderState[Floats]


class SpectralKernel(SpectralFraming):
    """MDCT frames, causal ConvNeXt networks, residual vector quantiser.

    config   the sizes
    tensors  arrays of float16 or float32, by the names of the codec in torch
    path     of the kernel's

    Raises ModelInvalid for sizes that are not possible, and other tensors than `shapes` says.
    """

    def __init__(self, config: SpectralConfig, tensors: Mapping[str, Weights], path: str) -> None:
        super().__init__(config)
        self._tensors, self._path = tensors, path
        self._check()
        self._codebooks = Codebooks(tensors["quantiser.codebooks"], path)

    def _check(self) -> None:
        for name, limit in LARGEST.items():
            value: Any = getattr(self.config, name)
            least = 0 if name == "lookahead_frames" else 1
            if type(value) is not int or not least <= value <= limit:
                raise ModelInvalid(f"{name} is {value!r}, expected {least} to {limit}")
        if self.config.n_bands > self.config.samples_per_frame:
            raise ModelInvalid(f"{self.config.n_bands} bands are more than there are bins")
        if self.config.activation not in ACTIVATIONS:
            raise ModelInvalid(f"activation {self.config.activation!r} is unknown")
        wanted = shapes(self.config)
        for name in sorted(wanted.keys() ^ self._tensors.keys()):
            raise ModelInvalid(
                f"weights do not fit the architecture: tensor {name} unknown or missing"
            )
        for name, shape in wanted.items():
            if self._tensors[name].shape != shape:
                raise ModelInvalid(
                    f"weights do not fit the architecture: tensor {name} is "
                    f"{list(self._tensors[name].shape)}, expected {list(shape)}"
                )

    # The parts are made when they are first asked for: a decoder needs no encoder.

    def _matrix(self, name: str) -> Matrix:
        weights, biases = self._tensors[f"{name}.weight"], self._tensors.get(f"{name}.bias")
        return Matrix(weights, biases, self._path)

    def _stack(self, name: str, n_blocks: int) -> Stack:
        of = f"{name}."
        own = {key[len(of) :]: value for key, value in self._tensors.items() if key.startswith(of)}
        return Stack(own, n_blocks, self.config.activation, self._path)

    @cached_property
    def _analysis(self) -> Matrix:
        cosine, sine = mdct_bases(self.config.samples_per_frame)
        return Matrix(np.ascontiguousarray(np.concatenate([cosine, sine], 1).T), None, self._path)

    @cached_property
    def _synthesis(self) -> Matrix:
        return Matrix(mdct_bases(self.config.samples_per_frame)[0], None, self._path)

    @cached_property
    def _edges(self) -> NDArray[np.int64]:
        return np.array(band_edges(self.config.samples_per_frame, self.config.n_bands))

    @cached_property
    def _encoder(self) -> Stack:
        return self._stack("encoder", self.config.encoder_blocks)

    @cached_property
    def _encoder_layers(self) -> tuple[Matrix, Matrix, Matrix]:
        names = ("encoder_in", "encoder_out", "encoder_skip")
        first, last, skip = (self._matrix(name) for name in names)
        return first, last, skip

    @cached_property
    def _decoder(self) -> Stack:
        return self._stack("decoder", self.config.decoder_blocks)

    @cached_property
    def _decoder_layers(self) -> tuple[Matrix, Matrix, Matrix]:
        names = ("decoder_in", "decoder_out", "decoder_skip")
        first, last, skip = (self._matrix(name) for name in names)
        return first, last, skip

    @cached_property
    def _noise(self) -> Floats:
        return noise_table()

    def start_encoder(
        self, batch: int, *, denoise: bool = False, search: int | Search | None = None
    ) -> KernelEncoderState:
        """Return the state before the first sample: a hop of silence."""
        config = self.config
        before = np.zeros((batch, config.n_channels, config.samples_per_frame), np.float32)
        search = self.default_beam_width if search is None else search
        return EncoderState(before, [self._encoder.start() for _ in range(batch)], search)

    def start_decoder(self, batch: int, first_frame: int = 0) -> KernelDecoderState:
        """Return the state before frame `first_frame`."""
        config = self.config
        return DecoderState(
            past=[self._decoder.start() for _ in range(batch)],
            waiting=np.zeros((batch, 0, config.latent), np.float32),
            scales=np.zeros((batch, 0, config.n_channels), np.float32),
            overlap=np.zeros((batch, config.n_channels, config.samples_per_frame), np.float32),
            next_frame=first_frame,
            skip_frames=config.lookahead_frames,
        )

    def encode_arrays(
        self, wav: Floats, state: KernelEncoderState, n_q: int, *, last: bool = False
    ) -> ArrayChunk:
        """See Codec.encode_arrays."""
        return self.begin_arrays(wav, state, n_q, last=last)()

    def begin_arrays(
        self, wav: Floats, state: KernelEncoderState, n_q: int, *, last: bool = False
    ) -> Callable[[], ArrayChunk]:
        """See Codec.begin_arrays: the search for codes is left."""
        hop = self.config.samples_per_frame
        state.n_samples += wav.shape[-1]
        samples = np.concatenate([state.pending, wav], 2)
        if last and state.n_samples:
            samples = np.pad(samples, ((0, 0), (0, 0), (0, -samples.shape[2] % hop + hop)))
        n_frames = samples.shape[2] // hop - 1
        if n_frames < 1:
            state.pending = samples
            codes = np.empty((len(wav), n_q, 0), np.int64)
            nothing = CodedChunk(codes, np.zeros((len(wav), 0), np.float32))
            return lambda: nothing
        state.pending = samples[:, :, n_frames * hop :]
        samples = samples[:, :, : (n_frames + 1) * hop]
        scale = self._level(samples, state)
        gain = np.divide(np.float32(LEVEL), scale, out=np.zeros_like(scale), where=scale > 0)
        mixed = to_mid_side(samples)
        scales = self._scales(mixed, scale)
        mixed = mixed * gain[:, None]
        latents = np.stack(
            [self.latents(row, past) for row, past in zip(mixed, state.past, strict=True)]
        )
        search = state.search
        return lambda: CodedChunk(self._codes(latents, n_q, search), scales)

    def _codes(self, latents: Floats, n_q: int, search: int | Search) -> NDArray[np.int64]:
        """Return the codes [B, n_q, F] of latents [B, F, D]."""
        if isinstance(search, int):
            found = [self._codebooks.search(rows, n_q, search) for rows in latents]
        else:
            found = search.by_kernel(latents, self._codebooks, n_q)
        return np.stack(found).transpose(0, 2, 1).astype(np.int64)

    def _scales(self, mixed: Floats, level: Floats) -> Floats:
        """Return the scales [B, C] of a chunk [B, C, T]: its level, but 0 for no side."""
        if mixed.shape[1] == 1:
            return level
        side = np.sqrt(np.square(mixed[:, 1:], dtype=np.float64).mean(2))
        return np.concatenate([level, np.where(side > NARROW * level, level, np.float32(0))], 1)

    def _level(self, samples: Floats, state: KernelEncoderState) -> Floats:
        """Return the RMS [B, 1] of a chunk [B, C, T]; for a short one, of what was before too."""
        rows = samples.reshape(len(samples), -1)
        mean = np.square(rows, dtype=np.float64).mean(1, keepdims=True)
        with np.errstate(over="ignore"):  # the caller refuses what is not finite
            power = mean.astype(np.float32)
        length = samples.shape[2]
        if not self.is_short(length):
            return np.sqrt(power)
        weight = self.heard_before(state.weight, length)
        heard = power
        if state.power is not None:
            mean = (state.power * weight + power * length) / (weight + length)
            heard = mean.astype(np.float32)
        state.power, state.weight = heard, weight + length
        return np.sqrt(np.maximum(heard, power / np.float32(ONSET)))

    def latents(self, samples: Floats, past: Floats) -> Floats:
        """Map mid and side [C, (F + 1) N], at one level, to latents [F, D]; `past` is updated."""
        hop, bins, latent = (
            self.config.samples_per_frame,
            self.config.frame_bins,
            self.config.latent,
        )
        first, last, skip = self._encoder_layers
        n_frames = samples.shape[1] // hop - 1
        features = np.empty((n_frames, 2 * bins + self.config.frame_bands), np.float32)
        sines, cosines, levels = np.split(features, [bins, 2 * bins], 1)
        for channel, wav in enumerate(samples):
            both = self._analysis.strided(np.ascontiguousarray(wav), hop, n_frames)
            cosine, sine = both[:, :hop], both[:, hop : 2 * hop]
            place = slice(channel * hop, (channel + 1) * hop)
            compand(sine, sines[:, place])
            compand(cosine, cosines[:, place])
            first_band = channel * self.config.n_bands
            bands = slice(first_band, first_band + self.config.n_bands)
            levels[:, bands] = self._band_levels(cosine, sine)
        hidden = self._encoder.run(first(features), past)
        skipped = skip.strided(features.reshape(-1)[bins:], features.shape[1], n_frames)
        return np.ascontiguousarray((skipped + last(hidden))[:, :latent])

    def _band_levels(self, cosine: Floats, sine: Floats) -> Floats:
        """Return the levels [F, G] of bands, about -1 to 1, of bins [F, N]."""
        power = cosine * cosine
        power += sine * sine
        # In double precision: rounded, a logarithm is then the same whichever library finds it.
        sums = np.add.reduceat(power, self._edges[:-1], axis=1, dtype=np.float64)
        means = sums / np.diff(self._edges)
        return (LEVEL_SHARE * (np.log(means / 2 + QUIETEST) - MIDDLE)).astype(np.float32)

    def decode_arrays(
        self, chunk: ArrayChunk, state: KernelDecoderState, *, last: bool = False
    ) -> NDArray[np.float32]:
        """See Codec.decode_arrays."""
        batch, n_q, n_frames = chunk.codes.shape
        fresh = np.stack([self._codebooks.decode(codes) for codes in chunk.codes])
        ready = np.concatenate([state.waiting, fresh], 1)
        scales = np.concatenate(
            [
                state.scales,
                np.repeat(chunk.scales[:, None].astype(np.float32), n_frames, axis=1),
            ], 1
        ) if n_frames else state.scales  # fmt: skip
        if last and ready.shape[1]:
            fresh = np.pad(fresh, ((0, 0), (0, self.config.lookahead_frames), (0, 0)))
        if not fresh.shape[1]:
            return np.zeros((batch, self.config.n_channels, 0), np.float32)
        dropped = min(state.skip_frames, fresh.shape[1])
        state.skip_frames -= dropped
        n_made = fresh.shape[1] - dropped
        noise = self._noise[noise_places(state.next_frame, n_made, self.config.frame_bins)]
        condition = self._condition(n_q)
        made = []
        for row in range(batch):
            hidden = self._decoder.run(
                self._decoder_layers[0](fresh[row]), state.past[row], condition
            )
            bins = self._bins(hidden[dropped:], ready[row, :n_made], noise)
            factors = scales[row, :n_made] / np.float32(LEVEL)
            bins *= np.repeat(factors, self.config.samples_per_frame, axis=1)
            made.append(bins)
        state.waiting, state.scales = ready[:, n_made:], scales[:, n_made:]
        state.next_frame += n_made
        return from_mid_side(self._overlap(made, state))

    def _condition(self, n_q: int) -> Floats | None:
        """Return what the decoder's blocks are conditioned on, [blocks, 2, W+]."""
        rates = self._tensors.get("decoder_rates")
        if rates is None:
            return None
        width = self.config.width
        found = np.zeros((*rates.shape[1:3], padded(width)), np.float32)
        found[..., :width] = rates[n_q - 1]
        return found

    def _bins(self, hidden: Floats, latents: Floats, noise: Floats) -> Floats:
        """Return MDCT coefficients [F, C N], with the noise."""
        n_bins = self.config.frame_bins
        _, last, skip = self._decoder_layers
        both = last(hidden)
        both += skip(latents)
        roots, levels = both[:, :n_bins], both[:, n_bins : 2 * n_bins]
        levels = np.minimum(levels, np.float32(LOUDEST))
        levels *= np.float32(0.5)
        gains = np.exp(levels, out=levels)
        gains *= noise
        found = np.abs(roots)
        found *= roots
        found += gains
        return found

    def _overlap(self, made: list[Floats], state: KernelDecoderState) -> Floats:
        """Overlap-add [B][F, C N] coefficients onto the state's half frame: [B, C, T] samples."""
        hop, n_channels = self.config.samples_per_frame, self.config.n_channels
        if not len(made[0]):
            return state.overlap[..., :0]
        samples = np.empty((len(made), n_channels, (len(made[0]) + 1) * hop), np.float32)
        channels = [part for bins in made for part in np.split(bins, n_channels, 1)]
        for row, bins in zip(samples.reshape(len(channels), -1), channels, strict=True):
            halves = self._synthesis(np.ascontiguousarray(bins))
            frames = row.reshape(-1, hop)
            frames[:-1] = halves[:, :hop]
            frames[-1] = 0
            frames[1:] += halves[:, hop : 2 * hop]
        samples[..., :hop] += state.overlap
        state.overlap = samples[..., -hop:].copy()
        done = samples[..., state.skip_hops * hop : -hop]
        state.skip_hops = 0
        return done


def from_file(
    values: Mapping[str, Any], tensors: Mapping[str, Weights], path: str
) -> SpectralKernel:
    """Return the codec of what a model file says and holds. Raises ModelInvalid, TypeError."""
    return SpectralKernel(SpectralConfig.from_dict(dict(values)), tensors, path)


def compand(bins: Floats, out: Floats) -> None:
    """Write sign(x) sqrt(|x|): halves the range in dB that the network must cover."""
    np.abs(bins, out=out)
    np.sqrt(out, out=out)
    np.copysign(out, bins, out=out)


def shapes(config: SpectralConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of a model, by name."""
    c, n_bins, n_bands = config, config.frame_bins, config.frame_bands

    def linear(name: str, n_out: int, n_in: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)}

    def stack(name: str, n_blocks: int) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for block in (f"{name}.blocks.{number}" for number in range(n_blocks)):
            found |= {f"{block}.depthwise": (c.width, 1, c.kernel)}
            for vector in ("depthwise_bias", "norm.weight", "norm.bias", "scale"):
                found[f"{block}.{vector}"] = (c.width,)
            found |= linear(f"{block}.expand", c.expansion * c.width, c.width)
            found |= linear(f"{block}.project", c.width, c.expansion * c.width)
        return found | {f"{name}.norm.weight": (c.width,), f"{name}.norm.bias": (c.width,)}

    rates: dict[str, Any] = {"decoder_rates": (c.n_codebooks, c.decoder_blocks, 2, c.width)}
    return (
        linear("encoder_in", c.width, 2 * n_bins + n_bands)
        | stack("encoder", c.encoder_blocks)
        | linear("encoder_out", c.latent, c.width)
        | {"encoder_skip.weight": (c.latent, n_bins + n_bands)}
        | {"quantiser.codebooks": (c.n_codebooks, c.codebook_size, c.latent)}
        | linear("decoder_in", c.width, c.latent)
        | stack("decoder", c.decoder_blocks)
        | (rates if c.rate_conditioned else {})
        | linear("decoder_out", 2 * n_bins, c.width)
        | linear("decoder_skip", 2 * n_bins, c.latent)
    )
