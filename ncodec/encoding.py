"""Audio -> codes, block by block, in packets of some seconds or, live, of some frames.

Shapes: C channels, T samples, S streams, Q codebooks, F frames; see `ncodec.codec`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ncodec.audio import Resampler, Source
from ncodec.errors import AudioError, UsageError
from ncodec.models.base import Codec, CodedChunk
from ncodec.nn.rvq import Search
from ncodec.threads import one_thread
from ncodec.weights import ModelFile, load_codec

ALL_PIECES = range(2**63 - 1)
PIECE_SECONDS = 10.0  # of audio in one pass of the network, and in one packet of a file
BLOCK_VALUES = 1 << 22  # most samples, of all channels, that are read at once
LIVE_BLOCK_SECONDS = 0.01  # that are read at once
LIVE_LATENCY_SECONDS = 0.3
LIVE_ENTROPY = "adaptive"  # by default: frame by frame, a transformer takes much of a slow core


@dataclass(frozen=True, slots=True)
class Live:
    """How a live stream is cut into packets, and by how much it comes out late.

    The encoder takes `piece_samples` at once, at the codec's rate. `latency_s` is from a sample
    that is read to the sample that stands for it being written, apart from the time that computing
    and transport take.
    """

    packet_frames: int
    piece_samples: int
    latency_s: float


def plan_live(codec: Codec, sample_rate_hz: int, latency_s: float | None = None) -> Live:
    """Return the longest packets, and so the fewest bits for framing, within a latency.

    latency_s  by default LIVE_LATENCY_SECONDS, or more if the codec needs more

    Raises UsageError if the codec cannot be as fast.
    """
    config = codec.config
    frame_s = config.samples_per_frame / config.sample_rate_hz
    # The decoder holds back a frame, which may lie behind the end.
    fixed_s = codec.latency_samples / config.sample_rate_hz + frame_s + LIVE_BLOCK_SECONDS
    fixed_s += resampler_delay_s(sample_rate_hz, config.sample_rate_hz)
    fixed_s += resampler_delay_s(config.sample_rate_hz, sample_rate_hz)
    if latency_s is None:
        latency_s = max(LIVE_LATENCY_SECONDS, fixed_s)
    if latency_s < fixed_s:
        raise UsageError(
            f"a latency of {1000 * latency_s:g} ms: it takes {1000 * fixed_s:.0f} ms at least"
        )
    if codec.segment_frames > 1:  # which come when they are there
        return Live(codec.segment_frames, config.samples_per_frame, fixed_s + frame_s)
    n_frames = 1 + int((latency_s - fixed_s) / frame_s + 1e-6)
    latency_s = fixed_s + (n_frames - 1) * frame_s
    return Live(n_frames, n_frames * config.samples_per_frame, latency_s)


def resampler_delay_s(source_rate_hz: int, target_rate_hz: int) -> float:
    """Return by how much a resampled stream lags behind at most, in seconds; it is tried out."""
    resampler, delay_s = Resampler(source_rate_hz, target_rate_hz, 1), 0.0
    n_block = max(1, round(LIVE_BLOCK_SECONDS * source_rate_hz))
    block = np.zeros((1, n_block), np.float32)
    n_out = 0
    for number in range(1, 101):
        n_out += resampler.push(block).shape[1]
        if number > 50:  # it starts later than it goes on
            delay_s = max(delay_s, number * n_block / source_rate_hz - n_out / target_rate_hz)
    return delay_s


class _Pieces:
    """Blocks [C, any] cut into pieces [C, n].

    The last piece has up to `slack` more: a clip just over one packet stays one packet.
    With -1 every piece is given as soon as it is full.
    """

    def __init__(self, n_channels: int, n: int, slack: int) -> None:
        self.rest = np.zeros((n_channels, 0), np.float32)
        self._n, self._slack = n, slack

    def push(self, block: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Yield the pieces that are full."""
        self.rest = np.concatenate([self.rest, block], axis=1)
        while self.rest.shape[1] > self._n + self._slack:
            piece, self.rest = self.rest[:, : self._n], self.rest[:, self._n :]
            yield piece


class Encoding:
    """Audio on its way to codes.

    name           what errors call the audio
    effort         see `Codec.start_encoder`, and `ncodec.effort`, which chooses it
    piece_samples  that are coded at once, at the codec's rate, as soon as they are there; by
                   default those of PIECE_SECONDS
    pieces         numbers of those whose codes are wanted: they are what they are among the codes
                   of all, for a codec that `forgets` and has no segments
    device         that the networks run on

    Attributes:
        codec: that codes it.
        n_streams: of codes.
        n_samples: of the source, per channel, that came so far.
        is_finished: nothing more is to come.
    """

    def __init__(
        self, name: str, sample_rate_hz: int, n_channels: int, model: ModelFile, n_q: int, *,
        denoise: bool = False, effort: int | Search | None = None, piece_samples: int | None = None,
        pieces: range = ALL_PIECES, device: str = "cpu",
    ) -> None:  # fmt: skip
        self._name, self._n_q, self._device = name, n_q, device
        self.codec = load_codec(model, device)
        config = self.codec.config
        self.n_streams = count_streams(name, n_channels, model, config.n_channels)
        if denoise and not self.codec.can_denoise:
            raise UsageError(f"model {model.model_id!r} does not take noise away")
        self.n_samples = 0
        self.is_finished = False
        self._wanted, self._next = pieces, 0  # numbers of pieces
        self._resampler = Resampler(sample_rate_hz, config.sample_rate_hz, n_channels)
        n = round(PIECE_SECONDS * config.frame_rate_hz) * config.samples_per_frame
        self._pieces = _Pieces(n_channels, piece_samples or n, -1 if piece_samples else n // 8)
        self._state = self.codec.start_encoder(self.n_streams, denoise=denoise, effort=effort)

    def push(self, block: NDArray[np.float32]) -> Iterator[CodedChunk]:
        """Yield the codes [S, Q, F], F > 0, and scales that become known with [C, T] samples."""
        self.n_samples += block.shape[1]
        for piece in self._pieces.push(self._resampler.push(block)):
            yield from self._coded(piece)

    def finish(self) -> Iterator[CodedChunk]:
        """Yield what is left."""
        nothing = np.zeros((len(self._pieces.rest), 0), np.float32)
        for piece in self._pieces.push(self._resampler.push(nothing, last=True)):
            yield from self._coded(piece)
        yield from self._coded(self._pieces.rest, last=True)
        self.is_finished = True

    def chunks(
        self, source: Source, on_progress: Callable[[int], None] = lambda n_samples: None,
        block_seconds: float = PIECE_SECONDS,
    ) -> Iterator[CodedChunk]:  # fmt: skip
        """Yield the codes of a source, which is read up to the last piece that is wanted.

        Raises AudioError if the source changes its length while it is read.
        """
        n_block = round(block_seconds * source.sample_rate_hz)
        for block in source.blocks(max(1, min(n_block, BLOCK_VALUES // source.n_channels))):
            yield from self.push(block)
            on_progress(block.shape[1])
            if self._next >= self._wanted.stop:
                return
        yield from self.finish()
        if source.n_samples not in (None, self.n_samples):
            raise AudioError(
                f"{source.name}: {source.n_samples} samples were announced, "
                f"{self.n_samples} were read"
            )

    def _coded(self, piece: NDArray[np.float32], *, last: bool = False) -> Iterator[CodedChunk]:
        number = self._next
        self._next += 1
        if number < self._wanted.start - 1:  # that one leaves its traces in the state
            return
        n_channels, n_samples = piece.shape
        wav = torch.from_numpy(np.ascontiguousarray(piece))
        wav = wav.reshape(self.n_streams, n_channels // self.n_streams, n_samples)
        wav = wav.to(self._device).expand(-1, self.codec.config.n_channels, -1)
        with one_thread, torch.inference_mode():  # and nothing of the caller's
            chunk = self.codec.encode_chunk(wav, self._state, self._n_q, last=last).cpu()
        if not chunk.scales.isfinite().all():
            raise AudioError(f"{self._name}: its level is beyond what float32 holds")
        if chunk.codes.shape[-1] and number in self._wanted:
            yield chunk


def count_streams(name: str, n_channels: int, model: ModelFile, channels_per_stream: int) -> int:
    """Return how many streams so many channels make; a single one is repeated to fill one.

    Raises AudioError where they are not whole.
    """
    if n_channels == 1:
        return 1
    n_streams, odd = divmod(n_channels, channels_per_stream)
    if odd:
        raise AudioError(
            f"{name}: {n_channels} channels; model {model.model_id!r} codes "
            f"{channels_per_stream} at a time"
        )
    return n_streams
