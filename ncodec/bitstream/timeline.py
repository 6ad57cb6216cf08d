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

MARGIN_SECONDS = 0.1  # around a stretch, for the resampler's filter
MAX_FRAME = 1 << 48  # of a run: a place that no codec computes wrong


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the audio, and the frames that make it. `end` and `stop` of None: not known."""

    first: int  # frame of the file
    end: int | None  # frame of the file, behind the last
    offset: int  # from frames of the file to those of the run
    start: int  # sample of the run, at the rate that is asked for
    stop: int | None
    edit_start: int  # frame of the file
    edit_end: int | None
    shift: int = 0  # from samples of the run to those of the file, at the rate that is asked for
    first_sample: int = 0  # of the edit, at the source's rate
    end_sample: int | None = None  # behind the edit's last, at the source's rate

    @property
    def is_silence(self) -> bool:
        """Whether there are no frames behind it."""
        return self.first == self.end


def context_frames(codec: Codec) -> int:
    """Return how many frames a decoder must see before the one whose first sample is wanted.

    They warm it up, and make up for what it gives late.
    """
    late = -(-codec.latency_samples // codec.config.samples_per_frame)
    return -(-(codec.warmup_frames + late) // codec.segment_frames) * codec.segment_frames


def window(
    start_s: float, end_s: float | None, rate_hz: int, n_samples: int | None, name: str
) -> tuple[int, int | None]:
    """Return the first sample of a stretch, and the one behind its last; None: not known.

    Raises UsageError where it has no sample.
    """
    if not 0 <= start_s < math.inf or not (end_s is None or start_s < end_s):
        to = "the end" if end_s is None else f"{end_s:g} s"
        raise UsageError(f"from {start_s:g} s to {to}: no audio is there")
    first = round(start_s * rate_hz)
    stop = None if end_s in (None, math.inf) else round(end_s * rate_hz)
    if n_samples is not None:
        stop = n_samples if stop is None else min(stop, n_samples)
        if first >= n_samples and first:
            raise UsageError(f"{name}: ends at {n_samples / rate_hz:g} s, before {start_s:g} s")
    if stop is not None and stop <= first and n_samples != 0:
        raise UsageError(f"from {start_s:g} s to {end_s:g} s: no audio is there")
    return first, stop


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
        """Return the edits of a file of so many samples that names none."""
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
        return sum(stop - start for start, stop in map(self._heard, self.edits))

    def at(self, rate_hz: int, n_source: int) -> int:
        """Return a place of the source at another rate."""
        return resampled_length(n_source, self._header.source_sample_rate_hz, rate_hz)

    def asked(self, n_source: int) -> int:
        """Return a place of the source at the rate that is asked for."""
        return self.at(self._rate_hz, n_source)

    def spans(self, first: int, end: int | None) -> Iterator[Span]:
        """Yield what makes samples `first` to `end` of the file, at the rate that is asked for.

        Raises InvalidField or LimitExceeded for an edit that cannot be played.
        """
        self._check_silence()
        if not self.is_known:
            frame = self._frame_before(first, 0) if first else 0
            behind = None if end is None else self._frame_behind(end)
            yield Span(frame, behind, 0, first, end, 0, None)
            return
        base = heard = 0  # frames and samples of the edits before
        for edit in self.edits:
            start, stop = self._heard(edit)
            low = max(0, first - heard)
            high = stop - start if end is None else min(stop - start, end - heard)
            if low < high:
                yield self._span(edit, base, heard - start, start + low, start + high)
            base, heard = base + edit.n_frames, heard + stop - start

    def audible_start(self, span: Span, frame: int) -> int:
        """Return the first sample, at the source's rate, that is heard from a frame of a span on.

        Before the edit's own first frame nothing is missing: its first sample is the edit's.
        """
        if frame == span.edit_start:
            return span.first_sample
        place = self._codec.first_sample(frame + span.offset)
        rate = self._header.source_sample_rate_hz
        return max(span.first_sample, -(-place * rate // self._header.sample_rate_hz))

    def audible_end(self, span: Span, frame: int, n_source: int | None = None) -> int:
        """Return the sample, at the source's rate, up to which the frames before one suffice.

        As many samples come out of the resampler, and need no more frames.

        n_source  samples of the source, where the span does not tell
        """
        codec, rate = self._codec, self._header.sample_rate_hz
        behind = frame + span.offset
        reach = 2 * codec.segment_frames * codec.config.samples_per_frame
        place = codec.first_sample(behind)
        most = range(max(0, place - reach), place + reach)
        n_codec = most.start + bisect.bisect_right(most, behind, key=codec.n_frames) - 1
        # The greatest number that is at most n_codec once it is rounded to the codec's rate.
        source_rate = self._header.source_sample_rate_hz
        n_fit = -(-source_rate * (2 * n_codec + 1) // (2 * rate)) - 1
        n_fit = min(n_fit, resampled_length(n_codec, rate, source_rate))
        known = n_source if span.end_sample is None else span.end_sample
        return n_fit if known is None else min(n_fit, known)

    def seconds_at(self, span: Span, frame: int) -> float:
        """Return where, in the audio of the file, a frame of a span is heard, or would be."""
        place = self._codec.first_sample(frame + span.offset)
        place = place * self._rate_hz // self._header.sample_rate_hz
        place = max(span.start, place if span.stop is None else min(place, span.stop))
        return (place + span.shift) / self._rate_hz

    def _heard(self, edit: Edit) -> tuple[int, int]:
        """Return which samples of its run are heard."""
        return self.asked(edit.first_sample), self.asked(edit.first_sample + edit.n_samples)

    def _span(self, edit: Edit, base: int, shift: int, start: int, stop: int) -> Span:
        if edit.is_silence:
            return Span(base, base, 0, start, stop, base, base, shift, 0, edit.n_samples)
        self._check(edit)
        offset, behind = edit.first_frame - base, edit.first_frame + edit.n_frames
        whole = self._heard(edit)
        first, end = edit.first_frame, behind
        if start > whole[0]:
            first = self._frame_before(start, edit.first_frame)
        if stop < whole[1]:
            end = min(behind, self._frame_behind(stop))
        return Span(
            first - offset, end - offset, offset, start, stop, base, base + edit.n_frames, shift,
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
        # The first sample that is heard at the codec's rate, give or take one.
        heard = self.at(self._header.sample_rate_hz, edit.first_sample) + 1
        codec = self._codec
        if edit.first_frame % codec.segment_frames or heard < codec.first_sample(edit.first_frame):
            raise InvalidField(
                f"header: edit list: frame {edit.first_frame} is no place to start from for sample "
                f"{edit.first_sample}"
            )
        end_sample, behind = edit.first_sample + edit.n_samples, edit.first_frame + edit.n_frames
        n_wanted = codec.n_frames(self.at(self._header.sample_rate_hz, end_sample))
        if behind < n_wanted:
            raise InvalidField(
                f"header: edit list: {end_sample} samples need {n_wanted} frames, an edit ends "
                f"with frame {behind}"
            )

    def _frame_before(self, sample: int, earliest: int) -> int:
        """Return the frame to start at for a sample."""
        codec = self._codec
        rate = codec.config.sample_rate_hz
        place = sample * rate // self._rate_hz - round(MARGIN_SECONDS * rate)
        frame = codec.frame_at(max(0, place)) - context_frames(codec)
        return max(earliest, frame)

    def _frame_behind(self, sample: int) -> int:
        """Return the frame to end before for all samples before one."""
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
