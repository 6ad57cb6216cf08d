"""`encodec`: Meta's EnCodec: causal 24 kHz mono, 48 kHz stereo in segments, 32 kHz two-sided.

Shapes: B batch, C channels, T samples, Q codebooks, F frames, D latent.

    wav -> SEANet encoder, LSTM -> latents -> RVQ codes
    wav <- SEANet decoder, LSTM <- latents <- RVQ codes

Defossez et al., "High fidelity neural audio compression", 2022 (arXiv 2210.13438). The causal model
carries its state from chunk to chunk and gives exactly the codes of the whole. That of 48 kHz sees
segments of a second, each brought to one level and coded for itself; they overlap by a hundredth,
where the decoder fades from one to the next.

That of 32 kHz is MusicGen's (Copet et al., "Simple and controllable music generation", NeurIPS
2023). Its convolutions see both sides, its LSTM the past: layers hold back what they cannot give
yet, so that chunks give the codes of the whole here too.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ncodec.models.base import CodecConfig, CodedChunk
from ncodec.models.torch_codec import TensorChunk
from ncodec.models.waveform import EncoderState, WaveformCodec
from ncodec.nn.conv import Memory
from ncodec.nn.rvq import ResidualVectorQuantiser
from ncodec.nn.seanet import Reach, Seanet, SeanetDecoder, SeanetEncoder

QUIETEST = 1e-8  # added to a segment's level, so that silence can be divided by it
FIRST_FRAMES = 7  # of a stream, mirrored to its start: they must be there before the first is coded
WARMUP_FRAMES = 75  # the LSTM forgets slowly; what remains after these is in docs/MODELS.md


@dataclass(frozen=True, slots=True)
class EncodecConfig(CodecConfig):
    """Sizes of the networks, in addition to what every codec has."""

    n_filters: int
    latent: int
    strides: tuple[int, ...]  # of the encoder
    lstm_layers: int
    segment_samples: int  # 0: no segments
    segment_stride: int  # samples from one segment's start to the next one's
    two_sided: bool = False  # without segments: layers see what follows too; otherwise causal
    shortcut: bool = True  # a 1x1 convolution around a residual unit, instead of nothing

    @property
    def shape(self) -> Seanet:
        """What of the networks is not the same in all presets, and what is."""
        return Seanet(
            n_channels=self.n_channels, n_filters=self.n_filters, latent=self.latent,
            strides=self.strides, kernel=7, encoder_last_kernel=7, decoder_last_kernel=7,
            residual_kernel=3, dilations=(1,), compress=2, shortcut=self.shortcut,
            lstm_layers=self.lstm_layers, reach=self.reach, padding="reflect",
        )  # fmt: skip

    @property
    def reach(self) -> Reach:
        """What the layers see."""
        if self.segment_samples:
            return "segments"
        return "two-sided" if self.two_sided else "causal"

    def to_dict(self) -> dict[str, Any]:
        """See CodecConfig.to_dict; fields at their defaults are left out, as in earlier versions.

        So a checkpoint still comes to the same file, by whose digest .ncx files know it.
        """
        values = CodecConfig.to_dict(self)
        usual = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in values.items() if value != usual[name]}


MONO = EncodecConfig(
    sample_rate_hz=24000,
    n_channels=1,
    samples_per_frame=320,
    n_codebooks=32,
    codebook_size=1024,
    bandwidths_kbps=(1.5, 3.0, 6.0, 12.0, 24.0),
    default_bandwidth_kbps=6.0,
    n_filters=32,
    latent=128,
    strides=(2, 4, 5, 8),
    lstm_layers=2,
    segment_samples=0,
    segment_stride=0,
)
TINY = EncodecConfig(
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
    lstm_layers=1,
    segment_samples=0,
    segment_stride=0,
)
PRESETS: Mapping[str, EncodecConfig] = MappingProxyType(
    {
        "encodec_24khz": MONO,
        "encodec_48khz": replace(
            MONO,
            sample_rate_hz=48000,
            n_channels=2,
            n_codebooks=16,
            bandwidths_kbps=(3.0, 6.0, 12.0, 24.0),
            segment_samples=48000,
            segment_stride=47520,
        ),
        "encodec_32khz": replace(
            MONO,
            sample_rate_hz=32000,
            samples_per_frame=640,
            n_codebooks=4,
            codebook_size=2048,
            bandwidths_kbps=(2.2,),
            default_bandwidth_kbps=2.2,
            n_filters=64,
            strides=(4, 4, 5, 8),
            two_sided=True,
            shortcut=False,
        ),
        "encodec-small": replace(
            MONO,
            n_codebooks=16,
            bandwidths_kbps=(1.5, 3.0, 6.0, 12.0),
            n_filters=8,
            latent=64,
        ),
        "encodec-tiny": TINY,
        "encodec-tiny-stereo": replace(TINY, n_channels=2, segment_samples=960, segment_stride=860),
        "encodec-tiny-ahead": replace(TINY, two_sided=True, shortcut=False),
    }
)


@dataclass(slots=True)
class DecoderState:
    """What a decoder remembers between chunks."""

    pending: (
        Tensor  # [B, C, t] samples that still overlap, in segments; otherwise [B, D, f] latents
    )
    memory: Memory = field(default_factory=dict)
    slope: Tensor | None = None  # [t] the weight of each sample of a segment where two overlap


def _runs(lengths: list[int]) -> Iterator[tuple[int, int]]:
    """Yield how many equal lengths follow each other, and that length."""
    return ((len([*equal]), length) for length, equal in itertools.groupby(lengths))


class Encodec(WaveformCodec):
    """SEANet networks with an LSTM, residual vector quantiser."""

    number = 3
    name = "encodec"
    config_class = EncodecConfig
    presets = PRESETS
    config: EncodecConfig
    first_frames = FIRST_FRAMES

    def __init__(self, config: EncodecConfig) -> None:
        super().__init__(config)
        self.encoder = SeanetEncoder(config.shape)
        self.decoder = SeanetDecoder(config.shape)
        self.quantiser = ResidualVectorQuantiser(
            config.n_codebooks, config.codebook_size, config.latent
        )

    def _segments(self, n_samples: int) -> list[tuple[int, int]]:
        """Return where each segment of so many samples starts and ends."""
        length, stride = self.config.segment_samples, self.config.segment_stride
        starts = range(0, n_samples, stride)
        return [(start, min(start + length, n_samples)) for start in starts]

    def n_frames(self, n_samples: int) -> int:
        """Return ceil(T / hop), of every segment."""
        hop, length = self.config.samples_per_frame, self.config.segment_samples
        if not length:
            return super().n_frames(n_samples)
        n_whole = max(0, (n_samples - length) // self.config.segment_stride + 1)
        rest = n_samples - n_whole * self.config.segment_stride
        return n_whole * self.segment_frames + sum(
            -(-(end - start) // hop) for start, end in self._segments(rest)
        )

    @property
    def segment_frames(self) -> int:
        """Frames of a segment; 1 where there are none."""
        return max(1, -(-self.config.segment_samples // self.config.samples_per_frame))

    def first_sample(self, frame: int) -> int:
        """See TorchCodec.first_sample."""
        n_segments, inside = divmod(frame, self.segment_frames)
        stride = self.config.segment_stride or self.config.samples_per_frame
        return n_segments * stride + inside * self.config.samples_per_frame

    def frame_at(self, sample: int) -> int:
        """See TorchCodec.frame_at."""
        stride = self.config.segment_stride or self.config.samples_per_frame
        return sample // stride * self.segment_frames

    @property
    def coded_level(self) -> float | None:
        """1, of each segment; without segments the level is kept."""
        return 1.0 if self.config.segment_samples else None

    @property
    def lookahead_frames(self) -> int:
        """Those that the encoder's layers see, where they are two-sided."""
        return self.config.shape.lookahead_frames if self.config.two_sided else 0

    @property
    def latency_samples(self) -> int:
        """A frame or a segment is gathered; two-sided networks look ahead.

        The first frames of a stream wait for FIRST_FRAMES.
        """
        frame = self.config.samples_per_frame
        if self.config.two_sided:
            return (1 + self.lookahead_frames) * frame + self.config.shape.held_samples
        return self.config.segment_samples or frame

    @property
    def warmup_frames(self) -> int:
        """A segment, which fades out at the place; causal, see WARMUP_FRAMES."""
        return self.segment_frames if self.config.segment_samples else WARMUP_FRAMES

    @property
    def has_finite_context(self) -> bool:
        """Not with an LSTM that runs through the whole stream."""
        return bool(self.config.segment_samples) or not self.config.lstm_layers

    def start_decoder(self, batch: int, first_frame: int = 0) -> DecoderState:
        """Return the state before frame `first_frame`."""
        n_wide = self.config.n_channels if self.config.segment_samples else self.config.latent
        return DecoderState(self.quantiser.codebooks.new_zeros(batch, n_wide, 0))

    def scale_counts(self, n_frames: int) -> tuple[int, ...]:
        """Return 0, or 1 for each segment.

        The last segment can be so short that the one before it reaches the end as well, and lacks a
        frame: together they may have as many frames as one.
        """
        if not self.config.segment_samples:
            return (0,)
        n_segments = -(-n_frames // self.segment_frames)
        both = n_frames and n_frames % self.segment_frames == 0
        return (n_segments, n_segments + 1) if both else (n_segments,)

    def cut(self, chunk: CodedChunk[Any], first: int, end: int) -> CodedChunk[Any]:
        """See Codec.cut."""
        codes = chunk.codes[:, :, first:end]
        if not self.config.segment_samples:
            return CodedChunk(codes, chunk.scales)
        scales = chunk.scales[:, first // self.segment_frames :]
        if end < chunk.codes.shape[2]:
            scales = scales[:, : (end - first) // self.segment_frames]
        return CodedChunk(codes, scales)

    def is_whole(self, chunk: CodedChunk[Any]) -> bool:
        """See Codec.is_whole."""
        if not self.config.segment_samples:
            return True
        return chunk.codes.shape[2] == chunk.scales.shape[1] * self.segment_frames

    def encode_chunk(
        self, wav: Tensor, state: EncoderState, n_q: int, *, last: bool = False
    ) -> TensorChunk:
        """See TorchCodec.encode_chunk."""
        if not self.config.segment_samples:
            return super().encode_chunk(wav, state, n_q, last=last)
        return self._encode_segments(torch.cat([state.pending, wav], 2), state, n_q, last)

    def latents(self, wav: Tensor, state: EncoderState, last: bool) -> Tensor:
        """See WaveformCodec.latents."""
        return self.encoder(wav.transpose(1, 2), state.memory, last)

    def audio(self, latents: Tensor, memory: Memory, last: bool) -> Tensor:
        """See WaveformCodec.audio; or of segments."""
        return self.decoder(latents, memory, last).transpose(1, 2)

    def _encode_segments(
        self, samples: Tensor, state: EncoderState, n_q: int, last: bool
    ) -> TensorChunk:
        whole, stride = self.config.segment_samples, self.config.segment_stride
        n_samples = samples.shape[2]
        segments = self._segments(n_samples)
        if not last:
            segments = segments[: max(0, (n_samples - whole) // stride + 1)]
        state.pending = samples[:, :, len(segments) * stride :]
        latents, scales = [], []
        for n_equal, length in _runs([end - start for start, end in segments]):
            first = segments[len(scales)][0]
            alike = samples[:, :, first:].unfold(2, length, stride)[:, :, :n_equal]
            alike = alike.transpose(1, 2)  # [B, n, C, t]
            level = alike.mean(2).square().mean(2).sqrt() + QUIETEST
            wav = (alike / level[:, :, None, None]).flatten(0, 1)
            found = self.encoder(wav.transpose(1, 2), {}, True)  # nothing of what was before
            latents.append(found.unflatten(0, (-1, n_equal)).flatten(1, 2))  # [B, n F, D]
            scales += level.unbind(1)
        if not latents:
            return self.no_codes(samples, n_q)
        codes = self.quantiser.encode(torch.cat(latents, 1), n_q, state.search)
        return CodedChunk(codes, torch.stack(scales, 1))

    def decode_chunk(
        self, chunk: TensorChunk, state: DecoderState, *, last: bool = False
    ) -> Tensor:
        """See TorchCodec.decode_chunk."""
        if self.config.segment_samples:
            return self._decode_segments(chunk, state, last)
        latents = self.quantiser.decode(chunk.codes)
        latents = torch.cat([state.pending.transpose(1, 2), latents], 1)
        n_known = latents.shape[1]
        if (not n_known and not self._holds_back(state.memory, last)) or (
            not state.memory and not last and n_known < FIRST_FRAMES
        ):
            state.pending = latents.transpose(1, 2)
            return latents.new_zeros(len(latents), self.config.n_channels, 0)
        state.pending = latents.transpose(1, 2)[:, :, :0]
        return self.audio(latents, state.memory, last)

    def segment_sizes(self, n_frames: int, n_segments: int) -> list[int]:
        """Return the frames of each segment of a chunk; see `scale_counts`."""
        if not n_segments:
            return []
        sizes = [self.segment_frames] * (n_segments - 1)
        sizes.append(n_frames - sum(sizes))
        if sizes[-1] == 0:  # two segments that end together, as many frames as one
            sizes[-2:] = [self.segment_frames - 1, 1]
        return sizes

    def _decode_segments(self, chunk: TensorChunk, state: DecoderState, last: bool) -> Tensor:
        stride, channels = self.config.segment_stride, self.config.n_channels
        sizes = self.segment_sizes(chunk.codes.shape[2], chunk.scales.shape[1])
        done = []
        for segment, scale in zip(
            self._segment_audio(chunk.codes, sizes), chunk.scales.T, strict=True
        ):
            joined = self._fade(state, segment * scale[:, None, None])
            done.append(joined[:, :, :stride])
            state.pending = joined[:, :, stride:]
        if last:
            done.append(state.pending)
            state.pending = state.pending[:, :, :0]
        return torch.cat(done, 2) if done else chunk.scales.new_zeros(len(chunk.codes), channels, 0)

    def _segment_audio(self, codes: Tensor, sizes: list[int]) -> Iterator[Tensor]:
        """Yield what each segment of codes [B, Q, F] decodes to, [B, C, t]; equal ones together."""
        start = 0
        for n_equal, size in _runs(sizes):
            alike = codes[:, :, start : start + n_equal * size].unflatten(2, (n_equal, size))
            latents = self.quantiser.decode(alike.transpose(1, 2).flatten(0, 1))
            wav = self.audio(latents, {}, True)
            yield from wav.unflatten(0, (-1, n_equal)).unbind(1)
            start += n_equal * size

    def _fade(self, state: DecoderState, segment: Tensor) -> Tensor:
        """Return [B, C, t] samples, a mean of two segments where they overlap.

        The weights are a triangle over the length of the stream's first segment.
        """
        if state.slope is None:
            place = torch.linspace(0, 1, segment.shape[2] + 2, device=segment.device)[1:-1]
            state.slope = 0.5 - (place - 0.5).abs()
            return segment
        before, slope, stride = state.pending, state.slope, self.config.segment_stride
        n_both = min(before.shape[2], segment.shape[2])
        falling, rising = slope[stride : stride + n_both], slope[:n_both]
        both = before[:, :, :n_both] * falling + segment[:, :, :n_both] * rising
        rest = segment if segment.shape[2] > n_both else before
        return torch.cat([both / (falling + rising), rest[:, :, n_both:]], 2)
