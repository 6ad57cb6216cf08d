"""What could not be decoded, and where silence stands for it."""

from dataclasses import dataclass

from ncodec.bitstream.timeline import Span, Timeline
from ncodec.errors import FormatError


@dataclass(frozen=True, slots=True)
class Gap:
    """Where silence stands for what could not be decoded."""

    start_s: float  # in the audio of the whole file
    seconds: float
    error: FormatError


class Gaps:
    """The gaps of a file, in order. What one error cost in a row is one.

    Attributes:
        found: so far.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.found: list[Gap] = []

    def note(self, span: Span, first: int, end: int, error: FormatError) -> None:
        """Frames `first` to `end` of a span are lost."""
        start_s, end_s = (self._timeline.seconds_at(span, frame) for frame in (first, end))
        if self.found and self.found[-1].error is error:
            start_s = self.found.pop().start_s
        self.found.append(Gap(start_s, end_s - start_s, error))

    def note_fault(self, error: FormatError) -> None:
        """Something is wrong, but nothing is lost."""
        self.found.append(Gap(0.0, 0.0, error))
