"""`snac`: SNAC, codes at several rates, of speech at 1 kbit/s and of music at 2 to 2.6.

Shapes: B batch, T samples, Q codebooks, F frames, s fine steps of a frame, D latent.

    wav -> convolutions (-> attention in windows) -> s latents a frame -> codes of 3 or 4 rates
    wav <- tanh <- convolutions with noise (<- attention) <- s latents a frame <- codes

Siuzdak, Grotschla and Lanzendorfer, "SNAC: multi-scale neural audio codec", 2024 (arXiv
2410.14411). A frame is what one code of the slowest level stands for: 1 + 2 + 4 (+ 8) codes, which
are as many codebooks here. Nothing is causal: the layers, in nn/snac.py, hold back what they cannot
give yet, so that chunks give what the whole gives.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ncodec.errors import ModelInvalid
from ncodec.models.base import CodecConfig, CodedChunk
from ncodec.models.torch_codec import TensorChunk, TorchCodec, no_scales
from ncodec.nn.conv import Memory
from ncodec.nn.multiscale import MultiScaleQuantiser, level_counts
from ncodec.nn.rvq import Search
from ncodec.nn.seanet import blocks, run
from ncodec.nn.snac import (
    HEAD_SIZE,
    KERNEL,
    UNIT_REACH,
    Noise,
    decoder_layers,
    encoder_layers,
)

BLOCK_SAMPLES = 8192  # that go through the layers of high rates at once: they stay in the cache
FINE_STRIDE = 16  # samples between time steps, up to which a layer counts as one of these


@dataclass(frozen=True, slots=True)
class SnacConfig(CodecConfig):
    """Sizes of the networks, in addition to what every codec has. Raises ModelInvalid."""

    encoder_width: int  # channels of the first layer; doubled by each stride
    decoder_width: int  # channels before the first stride; halved by each
    strides: tuple[int, ...]  # of the encoder
    level_strides: tuple[int, ...]  # fine steps of a code of each level, the first those of a frame
    code_dim: int  # of the codes' vectors
    window: int  # fine steps that attention sees at once, 0 for no attention

    def __post_init__(self) -> None:
        widths = [self.encoder_width << len(self.strides), self.decoder_width]
        wrong = {
            "samples_per_frame": self.samples_per_frame != self.step_samples * self.frame_steps,
            "n_codebooks": self.n_codebooks != self.n_q_choices[-1],
            "level_strides": any(self.frame_steps % stride for stride in self.level_strides),
            "decoder_width": self.decoder_width % (1 << len(self.strides)) != 0,
            "n_channels": self.n_channels != 1,
            "window": self.window > 0 and any(width % HEAD_SIZE for width in widths),
        }
        if any(wrong.values()):
            names = ", ".join(name for name, is_wrong in wrong.items() if is_wrong)
            raise ModelInvalid(f"model config: {names}: contradicts the other sizes")

    @property
    def n_q_choices(self) -> tuple[int, ...]:
        """The codebooks of whole levels."""
        return tuple(accumulate(level_counts(self.level_strides)))

    @property
    def latent(self) -> int:
        """Channels of a fine step's latent."""
        return self.encoder_width << len(self.strides)

    @property
    def step_samples(self) -> int:
        """Samples of a fine step."""
        return math.prod(self.strides)

    @property
    def frame_steps(self) -> int:
        """Fine steps of a frame."""
        return self.level_strides[0]

    @property
    def segment_steps(self) -> int:
        """Fine steps of whole frames and whole windows."""
        return math.lcm(self.frame_steps, self.window or 1)


SPEECH = SnacConfig(
    sample_rate_hz=24000,
    n_channels=1,
    samples_per_frame=2048,
    n_codebooks=7,
    codebook_size=4096,
    bandwidths_kbps=(0.140625, 0.421875, 0.984375),
    default_bandwidth_kbps=0.984375,
    encoder_width=48,
    decoder_width=1024,
    strides=(2, 4, 8, 8),
    level_strides=(4, 2, 1),
    code_dim=8,
    window=0,
)
MUSIC = replace(
    SPEECH,
    sample_rate_hz=32000,
    samples_per_frame=3072,
    n_codebooks=15,
    bandwidths_kbps=(0.125, 0.375, 0.875, 1.875),
    default_bandwidth_kbps=1.875,
    encoder_width=64,
    decoder_width=1536,
    strides=(2, 3, 8, 8),
    level_strides=(8, 4, 2, 1),
    window=32,
)
TINY = SnacConfig(
    sample_rate_hz=8000,
    n_channels=1,
    samples_per_frame=80,
    n_codebooks=7,
    codebook_size=16,
    bandwidths_kbps=(0.4, 1.2, 2.8),
    default_bandwidth_kbps=2.8,
    encoder_width=16,
    decoder_width=64,
    strides=(4, 5),
    level_strides=(4, 2, 1),
    code_dim=4,
    window=0,
)
PRESETS: Mapping[str, SnacConfig] = MappingProxyType(
    {
        "snac_24khz": SPEECH,
        "snac_32khz": MUSIC,
        "snac_44khz": replace(
            MUSIC,
            sample_rate_hz=44100,
            bandwidths_kbps=(0.172265625, 0.516796875, 1.205859375, 2.583984375),
            default_bandwidth_kbps=2.583984375,
        ),
        "snac-tiny": TINY,
        "snac-tiny-windows": replace(TINY, window=8),
    }
)


@dataclass(slots=True)
class EncoderState:
    """What an encoder remembers between chunks."""

    pending: Tensor  # [B, t, D] fine steps of a segment that is not whole yet
    n_samples: int = 0
    memory: Memory = field(default_factory=dict)


class SnacEncoder(nn.Module):
    """Waveform to the latents of fine steps."""

    def __init__(self, config: SnacConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            encoder_layers(config.encoder_width, config.strides, config.window)
        )
        strides = list(accumulate(config.strides, int.__mul__))
        n_levels = sum(stride <= FINE_STRIDE for stride in strides)
        self.n_fine = 1 + n_levels * (len(self.layers) - 2 - bool(config.window)) // len(strides)

    def forward(self, wav: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, T] to what can be given of the stream of [B, T / step, D]."""
        parts = [
            run(self.layers[: self.n_fine], part, memory, last and is_last)
            for part, is_last in blocks(wav[:, :, None], BLOCK_SAMPLES)
        ]
        fine = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return run(self.layers[self.n_fine :], fine, memory, last)


class SnacDecoder(nn.Module):
    """Latents of fine steps to waveform."""

    def __init__(self, config: SnacConfig) -> None:
        super().__init__()
        strides = config.strides[::-1]
        self.layers = nn.ModuleList(
            decoder_layers(config.latent, config.decoder_width, strides, config.window)
        )
        n_before = 2 + bool(config.window)
        n_each = (len(self.layers) - n_before - 2) // len(strides)
        steps = [*accumulate(strides, int.__floordiv__, initial=config.step_samples)]  # before each
        n_coarse = sum(step > FINE_STRIDE for step in steps[:-1])
        self.n_coarse = n_before + n_coarse * n_each
        self.fine_stride = steps[n_coarse]
        self.noises = [layer for layer in self.layers if isinstance(layer, Noise)]
        self.noise_steps = steps[1:]  # samples between two numbers of each noise

    def start(self, first_sample: int) -> Memory:
        """Return the memory before a sample that is the first of a frame."""
        return {
            noise: first_sample // step
            for noise, step in zip(self.noises, self.noise_steps, strict=True)
        }

    def forward(self, latents: Tensor, memory: Memory, last: bool) -> Tensor:
        """Map [B, t, D] to what can be given of the stream of [B, step t]."""
        coarse = run(self.layers[: self.n_coarse], latents, memory, last)
        parts = [
            run(self.layers[self.n_coarse :], part, memory, last and is_last)
            for part, is_last in blocks(coarse, max(1, BLOCK_SAMPLES // self.fine_stride))
        ]
        return torch.cat(parts, 1)[:, :, 0].tanh()


class Snac(TorchCodec):
    """Two-sided convolutional networks, quantiser of several rates."""

    number = 6
    name = "snac"
    config_class = SnacConfig
    presets = PRESETS
    config: SnacConfig
    is_trainable = False

    def __init__(self, config: SnacConfig) -> None:
        super().__init__(config)
        self.encoder = SnacEncoder(config)
        self.decoder = SnacDecoder(config)
        self.quantiser = MultiScaleQuantiser(
            config.level_strides, config.codebook_size, config.code_dim, config.latent
        )

    def n_frames(self, n_samples: int) -> int:
        """Return the frames of ceil(T / segment) segments."""
        return -(-n_samples // self._segment_samples) * self.segment_frames

    @property
    def _segment_samples(self) -> int:
        return self.config.segment_steps * self.config.step_samples

    @property
    def segment_frames(self) -> int:
        """Frames that end where a window of attention does; 1 without attention."""
        return self.config.segment_steps // self.config.frame_steps

    def frame_at(self, sample: int) -> int:
        """See Codec.frame_at."""
        return sample // self._segment_samples * self.segment_frames

    @property
    def encoder_lookahead(self) -> int:
        """Samples after a segment that its codes depend on."""
        config = self.config
        n_steps = config.segment_steps + KERNEL // 2
        if config.window:
            n_steps = -(-n_steps // config.window) * config.window
        reach = n_steps
        for stride in reversed(config.strides):
            reach = reach * stride + stride // 2 + UNIT_REACH
        return reach + KERNEL // 2 - self._segment_samples

    @property
    def lookahead_frames(self) -> int:
        """The same in frames."""
        return -(-self.encoder_lookahead // self.config.samples_per_frame)

    def _decoder_reach(self) -> Iterator[tuple[int, int]]:
        """Yield how many samples layers see before and after one, and those between its steps.

        From the waveform to the attention, or to the first convolution.
        """
        yield KERNEL // 2, KERNEL // 2
        step = 1
        for stride in self.config.strides:
            yield UNIT_REACH * step, UNIT_REACH * step
            after = stride // 2
            yield (stride + after - 1) * step, (2 * stride - after - 1) * step
            step *= stride

    @property
    def latency_samples(self) -> int:
        """A segment is gathered; encoder and decoder look ahead, to the end of a window each."""
        reach = sum(after for _, after in self._decoder_reach())
        if self.config.window:
            reach += self._segment_samples
        first = KERNEL // 2 * self.config.step_samples
        return self._segment_samples + self.encoder_lookahead + reach + first

    @property
    def warmup_frames(self) -> int:
        """As many frames as the decoder's layers reach back together, to the start of a window."""
        n_steps = KERNEL // 2 + max(0, self.config.window - 1)
        reach = sum(before for before, _ in self._decoder_reach())
        reach += n_steps * self.config.step_samples
        return -(-reach // self.config.samples_per_frame)

    @property
    def can_search(self) -> bool:
        """Not in several rates at once."""
        return False

    def is_whole(self, chunk: CodedChunk[Any]) -> bool:
        """See Codec.is_whole."""
        return chunk.codes.shape[2] % self.segment_frames == 0

    def start_encoder(
        self, batch: int, *, denoise: bool = False, search: int | Search | None = None
    ) -> EncoderState:
        """Return the state before the first sample; there is no search."""
        assert not denoise
        return EncoderState(self.quantiser.codebooks.new_zeros(batch, 0, self.config.latent))

    def start_decoder(self, batch: int, first_frame: int = 0) -> Memory:
        """Return the state before frame `first_frame`."""
        return self.decoder.start(self.first_sample(first_frame))

    def encode_chunk(
        self, wav: Tensor, state: EncoderState, n_q: int, *, last: bool = False
    ) -> TensorChunk:
        """See TorchCodec.encode_chunk. Raises UsageError for a part of a level."""
        self.config.check_n_q(n_q)
        state.n_samples += wav.shape[2]
        steps = state.pending
        if state.n_samples and (wav.shape[2] or last):
            missing = -state.n_samples % self._segment_samples if last else 0
            padded = nn.functional.pad(wav[:, 0], (0, missing))
            steps = torch.cat([steps, self.encoder(padded, state.memory, last)], 1)
        n_whole = steps.shape[1] // self.config.segment_steps * self.config.segment_steps
        state.pending = steps[:, n_whole:].clone()
        codes = self.quantiser.encode(self._frames(steps[:, :n_whole]), n_q)
        return CodedChunk(codes, no_scales(wav))

    def _frames(self, steps: Tensor) -> Tensor:
        """Map the latents [B, s F, D] of fine steps to those [B, F, s D] of frames."""
        n_steps = self.config.frame_steps
        return steps.reshape(len(steps), steps.shape[1] // n_steps, n_steps * steps.shape[2])

    def _steps(self, frames: Tensor) -> Tensor:
        """Map the latents [B, F, s D] of frames to those [B, s F, D] of fine steps."""
        n_steps = frames.shape[1] * self.config.frame_steps
        return frames.reshape(len(frames), n_steps, self.config.latent)

    def decode_chunk(self, chunk: TensorChunk, state: Memory, *, last: bool = False) -> Tensor:
        """See TorchCodec.decode_chunk. Raises UsageError for a part of a level."""
        self.config.check_n_q(chunk.codes.shape[1])
        latents = self._steps(self.quantiser.decode(chunk.codes))
        return self.decoder(latents, state, last)[:, None]

    def reconstruct(
        self, wav: Tensor, quantise: Callable[[Tensor], Tensor], denoise: Tensor | None = None,
        n_q: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """See TorchCodec.reconstruct: both waveforms are the same."""
        missing = -wav.shape[2] % self._segment_samples
        steps = self.encoder(nn.functional.pad(wav[:, 0], (0, missing)), {}, True)
        latents = self._steps(quantise(self._frames(steps)))
        whole = self.decoder(latents, {}, True)[:, None, : wav.shape[2]]
        return whole, whole
