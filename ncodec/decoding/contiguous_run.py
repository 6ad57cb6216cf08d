"""Packets of a span that follow each other without a loss, to audio in its place."""

from collections.abc import Iterator

from ncodec.bitstream.timeline import Span, Timeline
from ncodec.decoding.synthesis import Audio, PacketChunk, Playback, Trimmer


class ContiguousRun:
    """Audio from one frame of a span on.

    It starts and ends as the edit would that `ncodec repair` makes of it: where a loss is before or
    after, the samples that its frames alone do not give are silence.

        frames   |     run     |  lost  |     run     |
        audible  |===========|            |===========|

    Audible is from the first sample that a decoder gives which starts at the run's first frame, to
    the last one that needs no lost frame.
    """

    def __init__(
        self, timeline: Timeline, span: Span, playback: Playback, trimmer: Trimmer, first: int
    ) -> None:
        self._timeline, self._span = timeline, span
        self._playback, self._trimmer = playback, trimmer
        self._from = timeline.audible_start(span, first)  # at the source's rate
        self._start = timeline.asked(self._from)

    def push(self, coded: PacketChunk) -> Iterator[Audio]:
        """Yield the audio that becomes known."""
        return self._trimmer.take(self._playback.push(coded), self._start)

    def finish(self, stop: int | None) -> Iterator[Audio]:
        """Yield what is left of a span that is whole, up to where it stops."""
        return self._trimmer.take(self._playback.finish(), self._start, stop)

    def close(self, frame: int, n_source: int | None = None) -> Iterator[Audio]:
        """Yield what is left, where what follows from a frame on is lost.

        n_source  samples of the source, where the span does not tell
        """
        to = self._timeline.audible_end(self._span, frame, n_source)
        if to > self._from:
            stop = self._timeline.asked(to)
            yield from self._trimmer.take(self._playback.finish(), self._start, stop)
