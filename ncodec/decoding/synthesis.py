"""Chunks of codes to audio at any rate, from any frame on: the networks, then the resampler.

Shapes: C channels, T samples, S streams, F frames. Places are numbers of frames or samples in a
run of the codec (NCX.md, section 3).

A long file is decoded in regions of REGION_SECONDS. A decoder's output depends on a limited number
of frames before, its context. So each region starts with fresh state and first decodes the context,
whose audio is dropped as far as the region before has given it:

    codes   |     region 0     |     region 1     |     region 2 ...
                      |context-|------------------>
                                         |context-|------------- ...
    audio   |    region 0    |     region 1     |     region 2 ...

The regions can then be decoded in parallel. They are the same without threads, so that the audio
never depends on their number. A codec without such a limit is decoded as one region.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ncodec.audio import Resampler
from ncodec.bitstream.timeline import context_frames
from ncodec.errors import InvalidField
from ncodec.formats.ncx import Header
from ncodec.models.base import ArrayChunk, Codec, CodedChunk

REGION_SECONDS = 60.0
MAX_PENDING = 1 << 24  # values of audio that wait for each other when regions are decoded at once
MAX_BLOCK = 1 << 20  # values of audio that come at once

Audio = NDArray[np.float32]  # [C, T]
TimestampedAudio = tuple[int, Audio]  # the number of its first sample, and the audio


class RegionPool(ThreadPoolExecutor):
    """Threads that decode regions."""

    def __init__(self, n_threads: int) -> None:
        super().__init__(n_threads)
        self.n_threads = n_threads


@dataclass(frozen=True, slots=True)
class PacketChunk:
    """The coded chunk of a packet, and what errors call the packet."""

    chunk: ArrayChunk
    label: str

    @property
    def n_frames(self) -> int:
        """F."""
        return self.chunk.codes.shape[-1]


class _Region:
    """A decoder from some frame on, which first sees the codes before."""

    def __init__(
        self, codec: Codec, header: Header, first_frame: int, before: list[ArrayChunk]
    ) -> None:
        self._codec, self._header, self._before = codec, header, before
        first_frame -= sum(chunk.codes.shape[-1] for chunk in before)
        self._state = codec.start_decoder(header.n_streams, first_frame)
        self._place = codec.first_sample(first_frame)

    def push(self, coded: PacketChunk) -> TimestampedAudio:
        """Return the audio that becomes known. Raises InvalidField for what is not finite."""
        chunks, self._before = [*self._before, coded.chunk], []
        wav = np.concatenate([self._run(chunk) for chunk in chunks], axis=1)
        if not np.isfinite(wav).all():
            raise InvalidField(f"{coded.label}: its scales are beyond what audio holds")
        return self._timestamped(wav)

    def finish(self) -> TimestampedAudio:
        """Return what is left."""
        n_streams, n_q = self._header.n_streams, self._header.n_codebooks
        nothing = np.zeros((n_streams, n_q, 0), np.int64)
        chunk = CodedChunk(nothing, np.zeros((n_streams, 0), np.float32))
        return self._timestamped(self._run(chunk, last=True))

    def _timestamped(self, wav: Audio) -> TimestampedAudio:
        place, self._place = self._place, self._place + wav.shape[1]
        return place, wav

    def _run(self, chunk: ArrayChunk, *, last: bool = False) -> Audio:
        wav = self._codec.decode_arrays(chunk, self._state, last=last)
        if wav.shape[1] > self._header.channels_per_stream:
            wav = wav.mean(1)
        return wav.reshape(self._header.n_channels, -1)


def _decode_region(
    region: _Region, packets: list[PacketChunk], *, last: bool
) -> list[TimestampedAudio]:
    return [region.push(coded) for coded in packets] + ([region.finish()] if last else [])


class _Network:
    """Packets to audio at the codec's rate, from one frame on, region by region.

    With a pool the regions are decoded in its threads, and come when they are done.
    """

    def __init__(
        self, codec: Codec, header: Header, first_frame: int, pool: RegionPool | None
    ) -> None:
        self._codec, self._header = codec, header
        region = round(REGION_SECONDS * header.sample_rate_hz) * header.n_channels
        self._most_pending = min(pool.n_threads if pool else 0, MAX_PENDING // region)
        self._pool = pool if codec.has_finite_context and self._most_pending > 1 else None
        self._frame = first_frame  # that comes next
        self._place = codec.first_sample(first_frame)  # of the next sample to give
        self._recent: deque[ArrayChunk] = deque()  # the context of a region that would start here
        self._region = _Region(codec, header, first_frame, [])
        self._region_frames = 0
        self._waiting: list[PacketChunk] = []  # of the region, which wait for the pool
        self._pending: deque[Future[list[TimestampedAudio]]] = deque()

    def push(self, coded: PacketChunk) -> Iterator[Audio]:
        """Yield the audio that is ready."""
        is_full = self._region_frames >= REGION_SECONDS * self._frame_rate
        if self._codec.has_finite_context and is_full:
            yield from self._next_region()
        self._remember(coded.chunk)
        self._frame += coded.n_frames
        self._region_frames += coded.n_frames
        if self._pool is None:
            yield self._follow(self._region.push(coded))
        else:
            self._waiting.append(coded)

    def finish(self) -> Iterator[Audio]:
        """Yield what is left."""
        yield from self._drain(0)
        for timestamped in _decode_region(self._region, self._waiting, last=True):
            yield self._follow(timestamped)

    @property
    def _frame_rate(self) -> float:
        return self._codec.config.frame_rate_hz

    def _next_region(self) -> Iterator[Audio]:
        if self._pool is not None:
            job = self._pool.submit(_decode_region, self._region, self._waiting, last=False)
            self._pending.append(job)
            self._waiting = []
            yield from self._drain(self._most_pending)
        self._region = _Region(self._codec, self._header, self._frame, self._context())
        self._region_frames = 0

    def _drain(self, n_left: int) -> Iterator[Audio]:
        while len(self._pending) > n_left:
            for timestamped in self._pending.popleft().result():
                yield self._follow(timestamped)

    def _follow(self, timestamped: TimestampedAudio) -> Audio:
        """Return what is new of some audio."""
        place, wav = timestamped
        # A region's first audio is that of its context, which the region before has given already.
        wav = wav[:, max(0, self._place - place) :]
        self._place += wav.shape[1]
        return wav

    def _remember(self, chunk: ArrayChunk) -> None:
        self._recent.append(chunk)
        n_frames = sum(chunk.codes.shape[-1] for chunk in self._recent)
        while n_frames - self._recent[0].codes.shape[-1] >= context_frames(self._codec):
            n_frames -= self._recent.popleft().codes.shape[-1]

    def _context(self) -> list[ArrayChunk]:
        # As many frames whatever the packets' lengths, so the audio does not depend on those.
        chunks = [*self._recent]
        n_frames = [chunk.codes.shape[-1] for chunk in chunks]
        extra = max(0, sum(n_frames) - context_frames(self._codec))
        return [self._codec.cut(chunks[0], extra, n_frames[0]), *chunks[1:]]


class Playback:
    """Packets to audio at `rate_hz`, from one frame on.

    is_live  where it ends is not known yet, so what may lie after it is held back
    pool     whose threads decode side by side; without one, audio comes as soon as it is known
    """

    def __init__(
        self, codec: Codec, header: Header, rate_hz: int, first_frame: int, *,
        pool: RegionPool | None = None, is_live: bool = False,
    ) -> None:  # fmt: skip
        codec_rate = header.sample_rate_hz
        self._network = _Network(codec, header, first_frame, pool)
        self._n_held = header.samples_per_frame if is_live else 0
        self._held = np.zeros((header.n_channels, 0), np.float32)
        # Output samples must lie at the same times wherever decoding starts. So the resampler
        # starts where samples of both rates coincide, as every `numerator`th of the codec's does,
        # with silence from there to the first sample.
        self._ratio = ratio = Fraction(codec_rate, rate_hz)
        first = codec.first_sample(first_frame)
        n_before = first % ratio.numerator
        self._out = (first - n_before) // ratio.numerator * ratio.denominator
        self._resampler = Resampler(codec_rate, rate_hz, header.n_channels)
        self._silence = np.zeros((header.n_channels, n_before), np.float32)

    def push(self, coded: PacketChunk) -> Iterator[TimestampedAudio]:
        """Yield the audio that becomes known, and the place, at `rate_hz`, where it starts."""
        for wav in self._network.push(coded):
            yield from self._resampled(wav)

    def finish(self) -> Iterator[TimestampedAudio]:
        """Yield what is left, up to the end of the last frame."""
        self._n_held = 0
        for wav in self._network.finish():
            yield from self._resampled(wav)
        yield self._resample(self._held[:, :0], last=True)

    def _resampled(self, wav: Audio) -> Iterator[TimestampedAudio]:
        """Yield audio in blocks of a size that can be held at any rate and number of channels."""
        n = max(1, int(MAX_BLOCK / len(wav) * min(1, self._ratio)))
        for start in range(0, wav.shape[1], n):
            yield self._resample(wav[:, start : start + n])

    def _resample(self, wav: Audio, *, last: bool = False) -> TimestampedAudio:
        # Where the end is not known yet, the newest frame may turn out to be padding after it.
        wav = np.concatenate([self._held, wav], axis=1)
        n_sure = max(0, wav.shape[1] - self._n_held)
        wav, self._held = wav[:, :n_sure], wav[:, n_sure:]
        if self._silence.shape[1]:
            wav = np.concatenate([self._silence, wav], axis=1)
            self._silence = self._silence[:, :0]
        given = self._resampler.push(wav, last=last)
        place, self._out = self._out, self._out + given.shape[1]
        return place, given


class Trimmer:
    """Keeps timestamped audio in [start, stop), with silence where there is none.

    Attributes:
        place: of the next sample to come.
    """

    def __init__(self, n_channels: int, start: int, stop: int | None) -> None:
        self.place = start
        self._stop, self._n_channels = stop, n_channels

    def take(
        self, timestamped: Iterable[TimestampedAudio], start: int = 0, stop: int | None = None
    ) -> Iterator[Audio]:
        """Yield what is new of some audio from `start` to `stop`, and silence before it."""
        for place, wav in timestamped:
            first = max(place, start, self.place)
            ends = (place + wav.shape[1], stop, self._stop)
            end = min(end for end in ends if end is not None)
            if end > first:
                yield from self.fill(first)
                self.place = end
                yield wav[:, first - place : end - place]

    def fill(self, place: int) -> Iterator[Audio]:
        """Yield silence up to a place."""
        place = place if self._stop is None else min(place, self._stop)
        while self.place < place:
            n = min(place - self.place, max(1, MAX_BLOCK // self._n_channels))
            self.place += n
            yield np.zeros((self._n_channels, n), np.float32)
