r"""`spectral`: a codec in the MDCT domain, ours, made for speed and for little training.

Shapes: B batch, C channels, T samples, F frames, N bins (= samples a frame), D latent, W width, G
bands.

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

Stereo is coded as mid and side, (left + right) / 2 and (left - right) / 2 (Johnston and Ferreira,
ICASSP 1992): their bins lie one after the other in a frame, and so do their levels, so that the
networks and the codes see both. Mid and side have a scale each, of the same value, or 0 for a side
that is not there: mono comes back as mono.

Here is what does not depend on how it is computed: `spectral` has it in torch, `spectral_kernel`
by the kernel in C, which is the way of files on a processor.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from ncodec.models.base import Codec, CodecConfig, Numbers
from ncodec.nn.noise import scrambled


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

    @property
    def frame_bins(self) -> int:
        """Bins of a frame, of all channels."""
        return self.n_channels * self.samples_per_frame

    @property
    def frame_bands(self) -> int:
        """Bands of a frame, of all channels."""
        return self.n_channels * self.n_bands

    @property
    def low_bins(self) -> list[int]:
        """The bins that are latents to begin with: the lowest, a third of them of the side."""
        n_low = self.latent - self.frame_bands
        n_side = n_low // 3 if self.n_channels == 2 else 0
        side = self.samples_per_frame
        return [*range(n_low - n_side), *range(side, side + n_side)]


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
        "spectral-48k": replace(
            _SPECTRAL,
            sample_rate_hz=48000,
            n_channels=2,
            samples_per_frame=640,
            n_codebooks=32,
            bandwidths_kbps=(6.0, 12.0, 24.0),
            default_bandwidth_kbps=12.0,
            latent=256,
            width=384,
            encoder_blocks=4,
            expansion=2,
            activation="relu2",
            rate_conditioned=True,
        ),
        "spectral-tiny-stereo": SpectralConfig(
            sample_rate_hz=8000,
            n_channels=2,
            samples_per_frame=80,
            n_codebooks=4,
            codebook_size=16,
            bandwidths_kbps=(0.4, 0.8, 1.6),
            default_bandwidth_kbps=1.6,
            latent=24,
            n_bands=6,
            width=24,
            encoder_blocks=2,
            decoder_blocks=2,
            kernel=3,
            expansion=2,
            lookahead_frames=1,
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
NARROW = 1e-4  # of the level, the RMS below which there is no side
ONSET = 4.0  # times the mean power that a short chunk is heard as it is


def noise_table() -> NDArray[np.float32]:
    """Return 2**NOISE_BITS uniform numbers of unit variance, the same on every machine.

    SplitMix64 in integers, then one exact division.
    """
    z = scrambled(np.arange(1, 2**NOISE_BITS + 1, dtype=np.uint64))
    uniform = (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1  # [-1, 1)
    return (uniform * 3**0.5).astype(np.float32)


def band_edges(n_bins: int, n_bands: int) -> list[int]:
    """Return the first bin of each of `n_bands` bands, and the end: narrow below, wide above."""
    growth = np.linspace(0, 1, n_bands + 1)
    curve = (np.power(20.0, growth) - 1) / 19
    edges = np.maximum(np.round(curve * n_bins), np.arange(n_bands + 1))
    return [int(edge) for edge in edges]


def noise_places(first_frame: int, n_frames: int, n_bins: int) -> NDArray[np.int64]:
    """Return where the noise [F, N] of frames lies in the table."""
    start = np.arange(first_frame, first_frame + n_frames) * 40503  # Knuth's hash, of 16 bits
    return (start[:, None] + np.arange(n_bins)) % 2**NOISE_BITS


def to_mid_side(wav: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mid and the side of [B, 2, T]; one channel as it is."""
    if wav.shape[1] == 1:
        return wav
    left, right = wav[:, 0], wav[:, 1]
    half = np.float32(0.5)
    return np.stack([(left + right) * half, (left - right) * half], 1)


def from_mid_side(wav: NDArray[np.float32]) -> NDArray[np.float32]:
    """Undo `to_mid_side`."""
    if wav.shape[1] == 1:
        return wav
    return np.stack([wav[:, 0] + wav[:, 1], wav[:, 0] - wav[:, 1]], 1)


@dataclass(slots=True)
class EncoderState(Generic[Numbers]):
    """What an encoder remembers between chunks."""

    pending: Numbers  # [B, C, t] samples: the last whole hop, then what is not yet a hop
    past: list[Numbers]  # of the blocks
    search: Any  # for codes: the width of a beam, or a search of another kind
    n_samples: int = 0
    power: Numbers | None = None  # [B, 1] mean of what was heard before, weighed by its age
    weight: float = 0.0  # of that mean, in samples


@dataclass(slots=True)
class DecoderState(Generic[Numbers]):
    """What a decoder remembers between chunks."""

    past: list[Numbers]  # of the blocks
    waiting: Numbers  # [B, <= lookahead, D] latents whose frame has not been made yet
    scales: Numbers  # [B, <= lookahead, C] of these frames
    overlap: Numbers  # [B, C, N] second half of the last frame
    next_frame: int
    skip_frames: int  # outputs to drop: the decoder is still ahead of its first frame
    skip_hops: int = 1  # the first hop has no neighbour before it


class SpectralFraming(Codec):
    """The sizes of the codec, however it is computed."""

    number = 1
    name = "spectral"
    config_class = SpectralConfig
    presets = PRESETS
    config: SpectralConfig

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

    def scale_counts(self, n_frames: int) -> tuple[int, ...]:
        """Return 1, the level of the chunk; for stereo 2, of mid and side."""
        return (self.config.n_channels if n_frames else 0,)

    def heard_before(self, weight: float, length: int) -> float:
        """Return what the power heard before a short chunk of `length` samples weighs, faded."""
        return weight * math.exp(-length / (MEMORY_SECONDS * self.config.sample_rate_hz))

    def is_short(self, length: int) -> bool:
        """Whether a chunk of so many samples has no level of its own."""
        return length < SHORT_SECONDS * self.config.sample_rate_hz
