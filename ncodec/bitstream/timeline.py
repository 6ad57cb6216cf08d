"""Which frames and samples of a file make what is asked for, edit by edit (NCX.md, section 3).

Frames of the file are counted over all its packets, those of a run from the run's start.
"""

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ncodec.audio import resampled_length
from ncodec.errors import InvalidField, LimitExceeded, UsageError
from ncodec.formats.ncx import EDIT_LIST, Edit, Header, pack_edits
from ncodec.formats.ncx.edit_list import MAX_SILENCE
from ncodec.models.base import Codec

MARGIN_SECONDS = 0.1  # around a segment, for the resampler's filter
MAX_FRAME = 1 << 48  # of a run: a place that no codec computes wrong


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked for of one edit: samples, and the frames that make them.

    All ranges are half-open, [start, end); an end of None is not known yet.

        edit's frames  |                 all that the file has of one run                 |
        frames                  | warm-up                              look-ahead |
                           start_frame                                         end_frame
        samples                           |        what is asked for       |
                                     start_sample                      end_sample

    Frames are counted over the file, `frame_offset` takes them to those of the run. Samples are
    counted in the run, at the rate that is asked for; `sample_offset` takes them to the file's.
    The edit's own samples, of the run too, are at the source's rate.
    """

    start_frame: int
    end_frame: int | None
    frame_offset: int
    start_sample: int
    end_sample: int | None
    edit_start_frame: int
    edit_end_frame: int | None
    sample_offset: int = 0
    source_start_sample: int = 0
    source_end_sample: int | None = None

    @property
    def is_silence(self) -> bool:
        """Whether no frames make it."""
        return self.start_frame == self.end_frame


def context_frames(codec: Codec) -> int:
    """Return how many frames a decoder must see before the one whose first sample is wanted.

    They warm it up, and make up for what it gives late.
    """
    late = -(-codec.latency_samples // codec.config.samples_per_frame)
    return -(-(codec.warmup_frames + late) // codec.segment_frames) * codec.segment_frames


def window(
    start_s: float, end_s: float | None, rate_hz: int, n_samples: int | None, name: str
) -> tuple[int, int | None]:
    """Return the samples [start, end) of a segment; an end of None is not known.

    Raises UsageError where it has no sample.
    """
    if not 0 <= start_s < math.inf or not (end_s is None or start_s < end_s):
        to = "the end" if end_s is None else f"{end_s:g} s"
        raise UsageError(f"from {start_s:g} s to {to}: no audio is there")
    start_sample = round(start_s * rate_hz)
    end_sample = None if end_s in (None, math.inf) else round(end_s * rate_hz)
    if n_samples is not None:
        end_sample = n_samples if end_sample is None else min(end_sample, n_samples)
        if start_sample >= n_samples and start_sample:
            raise UsageError(f"{name}: ends at {n_samples / rate_hz:g} s, before {start_s:g} s")
    if end_sample is not None and end_sample <= start_sample and n_samples != 0:
        raise UsageError(f"from {start_s:g} s to {end_s:g} s: no audio is there")
    return start_sample, end_sample


class Timeline:
    """The edits of a file, as samples at `rate_hz`.

    Attributes:
        is_known: where they end; of a live stream only the trailer will tell.
    """

    def __init__(self, codec: Codec, header: Header, rate_hz: int, n_samples: int | None) -> None:
        self._codec, self._header, self._rate_hz = codec, header, rate_hz
        if header.edits:
            self.edits: tuple[Edit, ...] = header.edits
        else:
            self.edits = () if n_samples is None else self.whole_run(n_samples)
        self.is_known = bool(header.edits) or n_samples is not None

    def whole_run(self, n_samples: int) -> tuple[Edit, ...]:
        """Return the edits of a file of `n_samples` that names none."""
        n_frames = self._codec.n_frames(self.at(self._header.sample_rate_hz, n_samples))
        return (Edit(0, n_frames, 0, n_samples),) if n_samples else ()

    @property
    def n_frames(self) -> int | None:
        """Frames of all edits; None if only the trailer will tell."""
        return sum(edit.n_frames for edit in self.edits) if self.is_known else None

    @property
    def n_samples(self) -> int | None:
        """Samples of all edits at the rate that is asked for."""
        if not self.is_known:
            return None
        return sum(end - start for start, end in map(self._audible, self.edits))

    def at(self, rate_hz: int, n_source: int) -> int:
        """Return a place of the source at another rate."""
        return resampled_length(n_source, self._header.source_sample_rate_hz, rate_hz)

    def asked(self, n_source: int) -> int:
        """Return a place of the source at the rate that is asked for."""
        return self.at(self._rate_hz, n_source)

    def spans(
        self, start_sample: int, end_sample: int | None, *, every: bool = False
    ) -> Iterator[Span]:
        """Yield what makes these samples of the file, at the rate that is asked for.

        every  also edits so short that they have no sample at this rate: for their codes

        Raises InvalidField or LimitExceeded for an edit that cannot be played.
        """
        self._check_silence()
        if not self.is_known:
            start_frame = self._start_frame(start_sample, 0) if start_sample else 0
            end_frame = None if end_sample is None else self._end_frame(end_sample)
            yield Span(start_frame, end_frame, 0, start_sample, end_sample, 0, None)
            return
        n_frames = n_samples = 0  # of the edits before
        for edit in self.edits:
            start, end = self._audible(edit)
            low = max(0, start_sample - n_samples)
            high = end - start if end_sample is None else min(end - start, end_sample - n_samples)
            if low < high or (every and start == end):
                yield self._span(edit, n_frames, n_samples - start, start + low, start + high)
            n_frames, n_samples = n_frames + edit.n_frames, n_samples + end - start

    def audible_start(self, span: Span, frame: int) -> int:
        """Return the first sample, at the source's rate, that is audible from a frame on."""
        # Before the edit's own first frame nothing is missing: its first sample is the edit's.
        if frame == span.edit_start_frame:
            return span.source_start_sample
        place = self._codec.first_sample(frame + span.frame_offset)
        rate = self._header.source_sample_rate_hz
        return max(span.source_start_sample, -(-place * rate // self._header.sample_rate_hz))

    def audible_end(self, span: Span, frame: int, n_source: int | None = None) -> int:
        """Return the end, at the source's rate, of the samples that the frames before one make.

        n_source  samples of the source, where the span does not tell
        """
        codec, rate = self._codec, self._header.sample_rate_hz
        end_frame = frame + span.frame_offset
        # At the codec's rate: the most samples that need no more frames than there are. A codec
        # says only how many frames a number of samples needs, so this is a search, around the
        # place where the next frame's own samples would start.
        reach = 2 * codec.segment_frames * codec.config.samples_per_frame
        place = codec.first_sample(end_frame)
        near = range(max(0, place - reach), place + reach)
        n_codec = near.start + bisect.bisect_right(near, end_frame, key=codec.n_frames) - 1
        # At the source's rate: the greatest number that, rounded to the codec's rate, is at most
        # n_codec; and no more than come out of the resampler.
        source_rate = self._header.source_sample_rate_hz
        n_fit = -(-source_rate * (2 * n_codec + 1) // (2 * rate)) - 1
        n_fit = min(n_fit, resampled_length(n_codec, rate, source_rate))
        known = n_source if span.source_end_sample is None else span.source_end_sample
        return n_fit if known is None else min(n_fit, known)

    def seconds_at(self, span: Span, frame: int) -> float:
        """Return where, in the audio of the file, a frame of a span is audible, or would be."""
        place = self._codec.first_sample(frame + span.frame_offset)
        place = place * self._rate_hz // self._header.sample_rate_hz
        if span.end_sample is not None:
            place = min(place, span.end_sample)
        place = max(place, span.start_sample)
        return (place + span.sample_offset) / self._rate_hz

    def _audible(self, edit: Edit) -> tuple[int, int]:
        """Return the samples [start, end) of its run that are audible."""
        return self.asked(edit.first_sample), self.asked(edit.first_sample + edit.n_samples)

    def _span(self, edit: Edit, before: int, shift: int, start: int, end: int) -> Span:
        """Return what makes samples [start, end) of its run, `before` frames into the file."""
        if edit.is_silence:
            return Span(before, before, 0, start, end, before, before, shift, 0, edit.n_samples)
        self._check(edit)
        offset = edit.first_frame - before
        start_frame, end_frame = edit.first_frame, edit.first_frame + edit.n_frames
        # Where it is wanted from its very start or to its very end, all its frames are: they hold
        # the context that it was cut with.
        audible_start, audible_end = self._audible(edit)
        if start > audible_start:
            start_frame = self._start_frame(start, start_frame)
        if end < audible_end:
            end_frame = min(end_frame, self._end_frame(end))
        return Span(
            start_frame - offset, end_frame - offset, offset, start, end,
            before, before + edit.n_frames, shift,
            edit.first_sample, edit.first_sample + edit.n_samples,
        )  # fmt: skip

    def _check_silence(self) -> None:
        """Raise LimitExceeded for more silence than there may be at the rate that is asked for."""
        silence = sum(edit.n_samples for edit in self.edits if edit.is_silence)
        if self.asked(silence) > MAX_SILENCE:
            raise LimitExceeded(
                f"header: edit list: {silence} samples of silence are more than {MAX_SILENCE} at "
                f"{self._rate_hz} Hz"
            )

    def _check(self, edit: Edit) -> None:
        """Raise InvalidField or LimitExceeded for an edit that starts where none can."""
        if edit.first_frame + edit.n_frames > MAX_FRAME:
            raise LimitExceeded(
                f"header: frame {edit.first_frame + edit.n_frames}, at most {MAX_FRAME}"
            )
        # The first audible sample at the codec's rate, give or take one.
        first = self.at(self._header.sample_rate_hz, edit.first_sample) + 1
        codec = self._codec
        if edit.first_frame % codec.segment_frames or first < codec.first_sample(edit.first_frame):
            raise InvalidField(
                f"header: edit list: frame {edit.first_frame} is no place to start from for sample "
                f"{edit.first_sample}"
            )
        end_sample, end_frame = edit.first_sample + edit.n_samples, edit.first_frame + edit.n_frames
        n_wanted = codec.n_frames(self.at(self._header.sample_rate_hz, end_sample))
        if end_frame < n_wanted:
            raise InvalidField(
                f"header: edit list: {end_sample} samples need {n_wanted} frames, an edit ends "
                f"with frame {end_frame}"
            )

    def _start_frame(self, sample: int, earliest: int) -> int:
        """Return the frame to start at for a sample, with the context before it."""
        codec = self._codec
        rate = codec.config.sample_rate_hz
        place = sample * rate // self._rate_hz - round(MARGIN_SECONDS * rate)
        frame = codec.frame_at(max(0, place)) - context_frames(codec)
        return max(earliest, frame)

    def _end_frame(self, sample: int) -> int:
        """Return the end of the frames for all samples before one."""
        codec = self._codec
        rate = codec.config.sample_rate_hz
        place = sample * rate // self._rate_hz + round(MARGIN_SECONDS * rate)
        n_frames = codec.n_frames(place + codec.latency_samples)
        return -(-n_frames // codec.segment_frames) * codec.segment_frames


def with_edits(header: Header, edits: Sequence[Edit], timeline: Timeline) -> Header:
    """Return the header of a file of these edits, which it names unless they are one whole run.

    Raises LimitExceeded where there is no room for so many.
    """
    n_samples = sum(edit.n_samples for edit in edits)
    extensions = dict(header.extensions)
    if tuple(edits) == timeline.whole_run(n_samples):
        extensions.pop(EDIT_LIST, None)
    else:
        extensions[EDIT_LIST] = pack_edits(edits)
    try:
        return replace(header, n_samples=n_samples, extensions=tuple(extensions.items()))
    except LimitExceeded as error:
        raise LimitExceeded(f"{len(edits)} edits do not fit into one header: {error}") from None
