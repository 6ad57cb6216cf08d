"""The way back: packets -> codes -> audio, all of a file or a segment of it.

Shapes: C channels, T samples, S streams, Q codebooks, F frames; see `ncodec.codec`.
"""

import contextlib
from collections.abc import Iterator

import numpy as np

from ncodec.bitstream.access import InOrder, Packets, all_packets, open_packets
from ncodec.bitstream.codes import Lost, check_digest, digest_bytes, source_length
from ncodec.bitstream.gaps import Gap, Gaps
from ncodec.bitstream.recovery import RecoveringReader
from ncodec.bitstream.span_codes import chunk_of, codec_for, codes_of, place_of
from ncodec.bitstream.timeline import Span, Timeline, window
from ncodec.decoding.contiguous_run import ContiguousRun
from ncodec.decoding.options import DecodeOptions
from ncodec.decoding.synthesis import (
    MAX_BLOCK,
    Audio,
    PacketChunk,
    Playback,
    RegionPool,
    Trimmer,
)
from ncodec.errors import DigestMismatch, FormatError, InvalidField
from ncodec.formats.ncx import CodesDigest, Reader
from ncodec.native.threads import n_threads

_ALL = DecodeOptions()


class Decoding:
    """A .ncx stream on its way back to audio.

    reader  of the stream; with a RecoveringReader damage becomes silence, and `gaps` tells where

    Attributes:
        header: of the file.
        sample_rate_hz: of the audio that comes out.
        n_channels: of the audio that comes out.
        n_samples: per channel; None if only the trailer will tell.

    Raises FormatError, ModelError, UsageError where nothing lies between start and end.
    """

    def __init__(self, reader: Reader | RecoveringReader, options: DecodeOptions = _ALL) -> None:
        self._recovery = reader if isinstance(reader, RecoveringReader) else None
        self._reader = reader = reader.reader if isinstance(reader, RecoveringReader) else reader
        self.header = header = reader.header
        self._codec = codec_for(reader)
        self.n_channels = header.n_output_channels
        rate_hz = header.sample_rate_hz if options.codec_rate else header.source_sample_rate_hz
        self.sample_rate_hz = options.rate_hz or rate_hz
        self._n_threads = options.n_threads or n_threads()
        self._is_whole = options.is_whole
        self._packets: Packets | None = None
        n_source = header.n_samples
        if self._recovery is not None:
            n_source = self._recovery.n_samples
        elif not self._is_whole:
            self._packets = open_packets(reader)
            n_source = self._packets.n_samples
        self._timeline = Timeline(self._codec, header, self.sample_rate_hz, n_source)
        self._start_sample, self._end_sample = window(
            options.start, options.end, self.sample_rate_hz, self._timeline.n_samples, reader.name
        )
        end_sample = self._end_sample
        self.n_samples = None if end_sample is None else end_sample - self._start_sample
        self._gaps = Gaps(self._timeline)

    @property
    def gaps(self) -> list[Gap]:
        """What could not be decoded so far; with a RecoveringReader only."""
        return self._gaps.found

    def blocks(self) -> Iterator[Audio]:
        """Yield float32 [C, T] blocks, `n_samples` samples in all.

        Raises FormatError for a damaged file, after all that comes before the damage; with a
        RecoveringReader, only if nothing can be made of it.
        """
        with contextlib.ExitStack() as stack:
            pool = None
            if self._n_threads > 1 and self.header.n_samples is not None:
                pool = RegionPool(self._n_threads)
                stack.callback(pool.shutdown, cancel_futures=True)
            digest = CodesDigest()
            packets = self._packets or self._all_packets()
            given = 0
            for span in self._spans():
                trimmer = Trimmer(self.header.n_channels, span.start_sample, span.end_sample)
                for block in self._play(packets, span, trimmer, digest, pool):
                    yield from self._copied(block)
                given += trimmer.place - span.start_sample
            self._check_end(packets, digest)
            self.n_samples = given

    def _copied(self, block: Audio) -> Iterator[Audio]:
        """Yield all channels of the output, of which one may be coded."""
        if self.n_channels == len(block):
            yield block
            return
        n = MAX_BLOCK // self.n_channels
        for start in range(0, block.shape[1], n):
            yield np.repeat(block[:, start : start + n], self.header.n_copies, axis=0)

    def _spans(self) -> Iterator[Span]:
        try:
            yield from self._timeline.spans(
                self._start_sample, self._end_sample, every=self._is_whole
            )
        except FormatError as error:  # of the header
            raise error.within(self._reader.name) from None

    def _all_packets(self) -> InOrder:
        n_frames = self._timeline.n_frames
        if self._recovery is not None:
            return InOrder(self._recovery.items(n_frames), self._recovery.n_samples)
        return all_packets(self._reader, n_frames)

    def _play(
        self, packets: Packets, span: Span, trimmer: Trimmer, digest: CodesDigest,
        pool: RegionPool | None,
    ) -> Iterator[Audio]:  # fmt: skip
        """Yield the audio of a span, trimmed to it."""
        run: ContiguousRun | None = None
        end_frame = span.start_frame
        recovering = self._recovery is not None
        for frame, found in codes_of(
            packets, span, self._reader, self._codec, recovering=recovering
        ):
            if isinstance(found, Lost):
                if run is not None:
                    yield from run.close(frame)
                    run = None
                end_frame = frame + found.n_frames
                self._gaps.note(span, frame, end_frame, found.error)
                continue
            packet, codes = found
            digest.update(digest_bytes(codes))
            if run is None:
                playback = self._playback(span, frame, pool)
                run = ContiguousRun(self._timeline, span, playback, trimmer, frame)
            end_frame = frame + packet.n_frames
            coded = PacketChunk(chunk_of(packet, codes), place_of(self._reader, packet))
            yield from run.push(coded)
        yield from self._end_span(span, trimmer, run, end_frame)

    def _playback(self, span: Span, frame: int, pool: RegionPool | None) -> Playback:
        # What may lie after an end that is not known yet is held back.
        is_live = not self._timeline.is_known or self._recovery is not None
        return Playback(
            self._codec, self.header, self.sample_rate_hz, frame + span.frame_offset,
            pool=pool, is_live=is_live,
        )  # fmt: skip

    def _end_span(
        self, span: Span, trimmer: Trimmer, run: ContiguousRun | None, end_frame: int
    ) -> Iterator[Audio]:
        """Yield the end of a span, now that its frames before `end_frame` were read.

        Raises InvalidField for another number of frames than it takes, Truncated.
        """
        stop = span.end_sample
        if self._timeline.is_known:
            if self._recovery is None and span.end_frame is not None and end_frame < span.end_frame:
                raise InvalidField(
                    f"{self._reader.name}: {self._reader.n_samples} samples need {span.end_frame} "
                    f"frames, the packets hold {end_frame}"
                )
        elif span.end_frame is None or end_frame < span.end_frame:  # the source's end was met
            n_source = self._reader.n_samples
            if self._recovery is not None:
                yield from self._end_recovered(span, trimmer, run, end_frame, n_source)
                return
            n_source = source_length(self._reader)
            n_codec = self._timeline.at(self.header.sample_rate_hz, n_source)
            wanted = self._codec.n_frames(n_codec)
            if end_frame != wanted:
                raise InvalidField(
                    f"{self._reader.name}: {n_source} samples need {wanted} frames, "
                    f"the packets hold {end_frame}"
                )
            n_asked = self._timeline.asked(n_source)
            stop = n_asked if stop is None else min(stop, n_asked)
        if run is not None:
            yield from run.finish(stop)
        if stop is not None:
            yield from trimmer.fill(stop)

    def _end_recovered(
        self,
        span: Span,
        trimmer: Trimmer,
        run: ContiguousRun | None,
        end_frame: int,
        n_source: int | None,
    ) -> Iterator[Audio]:
        """Yield the end of a damaged live stream; `n_source` if its trailer was there."""
        if run is not None:
            yield from run.close(end_frame, n_source)
        if n_source is not None:
            yield from trimmer.fill(self._timeline.asked(n_source))

    def _check_end(self, packets: Packets, digest: CodesDigest) -> None:
        """Raise FormatError where what follows the last span is not as it should be."""
        if not self._is_whole:
            return
        for _ in packets.between(0, None):
            pass  # up to the trailer, if all is well
        try:
            check_digest(self._reader, digest)
        except DigestMismatch as error:
            if self._recovery is None:
                raise
            if not self._recovery.damage and not self.gaps:
                self._gaps.note_fault(error)
